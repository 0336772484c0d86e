"""What is said of every figure: it can be read."""

import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from smix.report.style import looks


@looks
def drawn_texts(figure: Figure) -> dict[Text, tuple[float, float, float, float]]:
    """Every text that is drawn, with its box in pixels: left, bottom, right, top."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    found: list[Text] = []
    draw = renderer.draw_text

    def noted(gc, x, y, s, prop, angle, ismath=False, mtext=None):
        # A text of several lines is drawn line by line, without saying whose they are; in a page they would be out of line.
        assert mtext is not None, f"{s!r} is one of several lines"
        assert not ismath, f"{s!r} is taken for mathematics"
        found.append(mtext)
        draw(gc, x, y, s, prop, angle, ismath, mtext)

    renderer.draw_text = noted
    figure.draw(renderer)
    boxes = {text: text.get_window_extent(renderer) for text in found if text.get_text().strip()}
    return {text: (box.x0, box.y0, box.x1, box.y1) for text, box in boxes.items()}


def texts_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in drawn_texts(figure)]


def assert_readable(figure: Figure) -> None:
    """No text meets another, leaves the figure, or is too small for a phone."""
    boxes = drawn_texts(figure)
    assert boxes
    width, height = figure.get_size_inches() * figure.dpi
    for text, (left, bottom, right, top) in boxes.items():
        assert text.get_fontsize() >= 9, text
        inside = left >= 0 and bottom >= 0 and right <= width and top <= height
        assert inside, f"{text} is cut off"
    for (one, a), (other, b) in itertools.combinations(boxes.items(), 2):
        apart = a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3]
        assert apart, f"{one} meets {other}"
