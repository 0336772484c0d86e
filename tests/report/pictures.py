"""Check that a figure is readable."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from smix.plots.style import looks


@looks
def drawn_texts(figure: Figure) -> dict[Text, tuple[float, float, float, float]]:
    """Return every drawn text with its box in pixels: left, bottom, right, top."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    result: list[Text] = []
    draw = renderer.draw_text

    def noted(gc, x, y, s, prop, angle, ismath=False, mtext=None):
        # A text of several lines is drawn line by line, without saying whose they are; in a page they would be out of line.
        assert mtext is not None, f"{s!r} is one of several lines"
        assert not ismath, f"{s!r} is taken for mathematics"
        result.append(mtext)
        draw(gc, x, y, s, prop, angle, ismath, mtext)

    renderer.draw_text = noted
    figure.draw(renderer)
    boxes = {text: text.get_window_extent(renderer) for text in result if text.get_text().strip()}
    return {text: (box.x0, box.y0, box.x1, box.y1) for text, box in boxes.items()}


def texts_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in drawn_texts(figure)]


def assert_readable(figure: Figure) -> None:
    """Assert that no text overlaps another, leaves the figure, or is too small for a phone."""
    boxes = drawn_texts(figure)
    assert boxes
    width, height = figure.get_size_inches() * figure.dpi
    for text, (left, bottom, right, top) in boxes.items():
        assert text.get_fontsize() >= 9, text
        inside = left >= 0 and bottom >= 0 and right <= width and top <= height
        assert inside, f"{text} is cut off"
    texts, box = list(boxes), np.array(list(boxes.values()))
    meet = np.ones((len(box), len(box)), bool)
    for low, high in ((0, 2), (1, 3)):
        meet &= (box[:, None, low] < box[None, :, high]) & (box[None, :, low] < box[:, None, high])
    pairs = [(texts[a], texts[b]) for a, b in np.argwhere(meet).tolist() if a < b]
    assert not pairs, f"{pairs[0][0]} meets {pairs[0][1]}"
