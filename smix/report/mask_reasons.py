"""Tables of `smix masks check`: reasons for invalid masks, and a comparison of valid masks with controls."""

from collections.abc import Sequence

import numpy as np
from rich.table import Table as TerminalTable

from smix.errors import printable
from smix.masks.controls import MAX_IMAGES, MIN_MASKS, compare_with_controls, images_at, masks_at, working_size
from smix.masks.reasons import Reason, explanation
from smix.report.masks import CRITERIA, JudgedMasks
from smix.report.table import Cell, Table, number, terminal


def reason_lines(judged: JudgedMasks) -> list[TerminalTable | str]:
    """Return the number of masks for each reason why they are not valid."""
    counts = judged.reason_counts()
    if not counts:
        return []
    rows = [
        (
            Cell(f"{reason.text}: {explanation(reason, CRITERIA['default'])}"),
            Cell(f"{count:,}", count),
            number(100 * count / len(judged.rows), 1),
        )
        for reason, count in counts.items()
    ]
    title = f"Masks of {printable(judged.name)} that are not valid by the default rule"
    return [terminal(Table("reasons", title, ("Reason", "Masks", "In percent"), tuple(rows)))]


def invalid_table(judged: Sequence[JudgedMasks]) -> Table:
    """Return the row, the image, the class and the reason of every mask that is not valid by the default rule."""
    rows = []
    for one in judged:
        for place in np.flatnonzero(one.reasons).tolist():
            row = int(one.rows[place])
            name = one.data.classes[one.data.labels[row]]
            texts = (one.data.stem(row), name, Reason(int(one.reasons[place])).text, one.problems.get(row, ""))
            rows.append((Cell(one.name), Cell(str(row), row), *map(Cell, texts)))
    return Table(
        "invalid", "Masks that are not valid", ("Store", "Row", "Image", "Class", "Reason", "Detail"), tuple(rows)
    )


def control_lines(judged: JudgedMasks) -> list[TerminalTable | str]:
    """Return the masks next to their controls, and a warning if they are not better."""
    rows = judged.rows
    if len(rows) > MAX_IMAGES:
        rows = np.sort(np.random.default_rng(0).choice(rows, MAX_IMAGES, replace=False))
    if not len(rows):
        return []
    height, width = judged.masks[rows[:1]].shape[1:]
    size = working_size((height, width))
    masks = masks_at(judged.masks, rows, size)
    controls = compare_with_controls(images_at(judged.data, rows, size), masks, CRITERIA["default"])
    title = f"Controls of {printable(judged.name)}: {controls.images:,} images, in percent (chance is 50 for Follow the image)"
    cells = tuple((Cell(one.name), number(one.passing, 1, 100), number(one.following, 1, 100)) for one in controls.rows)
    lines: list[TerminalTable | str] = [
        terminal(Table("controls", title, ("Masks", "Pass the criteria", "Follow the image"), cells))
    ]
    if controls.follow is False:
        lines.append(
            f"Warning: the masks of {judged.name} follow their images no better than masks of other images do "
            f"({100 * controls.rows[0].following:.0f} %, chance is 50 %); check the weights and the input of the source"
        )
    elif controls.valid >= MIN_MASKS and controls.compared < MIN_MASKS:
        missing = (
            "the images have no edges" if not controls.compared else f"only {controls.compared:,} images have edges"
        )
        lines.append(f"The masks of {judged.name} cannot be compared with controls: {missing}")
    elif controls.follow is None and controls.images >= MIN_MASKS:
        lines.append(
            f"Warning: {controls.valid:,} of {controls.images:,} masks of {judged.name} pass the criteria, too few to compare with "
            "controls; the reasons are above"
        )
    return lines
