"""The most confident mistakes of each method, as pictures."""

import math
from collections.abc import Mapping, Sequence

from jaxtyping import UInt8
from matplotlib.figure import Figure
from numpy.typing import NDArray

from smix.evaluation.scores import Mistake, Scores
from smix.report.images import show
from smix.report.layout import EDGE, WIDTH, Heading, line_height, mark, sheet, shortened, width_of, wrapped, write
from smix.report.style import SIZE, SMALL, SOFT, Style, looks

SHOWN = 5
"""Number of images in a row: under more of them the names of classes could not be read."""
GAP = 0.1


@looks
def mistakes(
    images: Mapping[int, UInt8[NDArray, "H W C"]],
    scores: Mapping[str, Scores],
    classes: Sequence[str],
    styles: Mapping[str, Style],
    shown: int = SHOWN,
) -> Figure | None:
    """A row a method with its most confident mistakes: the image, what the network said, how sure it was, and what is true.

    Args:
        images: Of the split that was predicted, by row, of 1 or 3 channels; those of `wanted` are enough. Mistakes whose image is
            not in it are left out.
        scores: Of one network of each method.
        shown: At most so many in a row.

    Returns:
        None: there is no mistake with an image.
    """
    found = {method: [one for one in mine.mistakes if one.row in images][:shown] for method, mine in scores.items()}
    found = {method: mine for method, mine in found.items() if mine}
    if not found:
        return None
    cell = (WIDTH - 2 * EDGE - (shown - 1) * GAP) / shown
    heading = Heading(
        "The most confident mistakes",
        "Of one network a method, on test images: what it said, how sure it was, and what is true. Beside each name: how many "
        "of its predictions are wrong with a confidence above 90 %.",
    )
    titles = {method: wrapped(method, 3.6, SIZE, bold=True) for method in found}
    head = {method: len(lines) * line_height() + 0.08 for method, lines in titles.items()}
    foot = 3 * line_height(SMALL) + 0.14
    figure = sheet(heading, sum(head.values()) + len(found) * (cell + foot))
    top = heading.height
    for method, mine in found.items():
        lines = titles[method]
        mark(figure, EDGE + 0.06, top + line_height() / 2, styles[method])
        write(figure, EDGE + 0.18, top + len(lines) * line_height() / 2, lines, bold=True)
        beside = EDGE + 0.3 + max(width_of(line, SIZE, bold=True) for line in lines)
        write(figure, beside, top + line_height() / 2, _sure(scores[method]), SMALL, colour=SOFT)
        top += head[method]
        for column, one in enumerate(mine):
            x = EDGE + column * (cell + GAP)
            show(figure, x, top, cell, cell, images[one.row])
            said = [shortened(line, cell) for line in _said(one, classes)]
            write(figure, x, top + cell + 0.02 + 1.5 * line_height(SMALL), said, SMALL)
        top += cell + foot
    return figure


def wanted(scores: Mapping[str, Scores], shown: int = SHOWN) -> list[int]:
    """The rows of the images that `mistakes` shows, rising."""
    return sorted({one.row for mine in scores.values() for one in mine.mistakes[:shown]})


def _said(mistake: Mistake, classes: Sequence[str]) -> list[str]:
    sure = math.floor(1e4 * mistake.confidence) / 100  # 99.996 % is not 100
    return [f"said {classes[mistake.predicted]}", f"sure to {sure:.2f} %", f"is {classes[mistake.label]}"]


def _sure(scores: Scores) -> str:
    level = next((one for one in scores.sure if one.low == 0.9), None)
    return "" if level is None else f"{level.wrong:,} of {level.samples:,}"
