"""`smix masks build` and `smix masks check`: tables of mask stores for the terminal, and their charts and pages in a folder."""

from collections import Counter
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table as TerminalTable

from smix import files
from smix.data.outputs import check_outside
from smix.data.sets import ImageSet, load_data
from smix.errors import MaskError, printable
from smix.masks.reasons import Reason, reasons_of_rows
from smix.masks.store import MaskStore
from smix.paths import data_name
from smix.plots.charts import Estimate, Row, interval_rows, panels
from smix.plots.layout import Heading
from smix.plots.style import FEWER, MORE, SOFT, Style, looks
from smix.plots.svg import save
from smix.report.comparison import Comparison, ReportAssets
from smix.report.mask_reasons import control_lines, invalid_table, reason_lines
from smix.report.masks import CRITERIA, ClassShares, JudgedMasks, judge_store, percent
from smix.report.pictures import drawable
from smix.report.sheet import draw_invalid, draw_sheet, write_sheet
from smix.report.table import Cell, Table, csv_text, number, terminal

SUMMARISED = 10_000
"""Maximum number of masks that are read after a build for the share that passes the criteria."""
NAMED = 5
"""Maximum number of broken images that are named on the terminal."""
CLASSES = 20
"""Maximum number of classes on the terminal; of more classes, the lowest and the highest valid shares are shown."""
VALID_HEADS = tuple(f"Valid, {criterion}" for criterion in CRITERIA)
CLASS_HEADS = ("Class", "Masks", "Mean coverage", *VALID_HEADS)
VALID, INVALID = MORE, FEWER


def write_check(
    paths: Sequence[Path],
    data: str | None,
    out: Path | None,
    data_root: Path,
    quiet: bool = True,
    only_invalid: bool = False,
) -> tuple[list[TerminalTable | str], list[Path]]:
    """Judge mask stores, and write their charts, their contact sheets, and the shares of each class.

    Args:
        paths: Folders of the stores.
        data: Data set that a single store was built for; None: the name saved in each store.
        out: Output folder for the images; None: next to the first store, with "-check" appended to its name.
        data_root: Root folder of the data sets.
        only_invalid: Draw contact sheets of all invalid masks, instead of a selection of all masks.

    Returns:
        Tables and lines for the terminal, and the written files.

    Raises:
        MaskError: A store is damaged, belongs to other images, or does not have 2 spatial dimensions.
        RunError: The output folder lies in the folder of the images.
    """
    if data is not None and len(paths) > 1:
        raise MaskError(
            f"data: expected one store with --data, got {len(paths)}; omit --data or check one store at a time"
        )
    stores = [MaskStore(path) for path in paths]
    first = paths[0] if paths[0].name else paths[0].resolve()
    folder = out or first.with_name(f"{first.name}-check")
    for store in stores:
        check_outside(folder, data or store.manifest.data.name)
    names, sets = _names(paths, stores), _images_of(stores, data, data_root)
    judged = [judge_store(*each, quiet) for each in zip(stores, sets, names, strict=True)]
    written = [save(draw_valid(judged), folder / "valid.png"), save(draw_coverage(judged), folder / "coverage.png")]
    lines: list[TerminalTable | str] = [terminal(check_table(judged))]
    for one, store, name in zip(judged, stores, _file_names([one.name for one in judged]), strict=True):
        written += _write_sheets(one, folder, name, quiet, only_invalid)
        lines += [
            terminal(class_table(one.name, one.by_class())),
            *reason_lines(one),
            *control_lines(one),
            *_broken(store),
        ]
    files.write_text(folder / "invalid.csv", csv_text(invalid_table(judged)))
    rows = tuple((Cell(one.name), *_class_row(each)) for one in judged for each in one.by_class())
    files.write_text(folder / "classes.csv", csv_text(Table("classes", "Classes", ("Store", *CLASS_HEADS), rows)))
    return lines, [*written, folder / "classes.csv", folder / "invalid.csv"]


def _write_sheets(judged: JudgedMasks, folder: Path, name: str, quiet: bool, only_invalid: bool) -> list[Path]:
    if not only_invalid:
        return [
            save(draw_sheet(judged), folder / f"contact-sheet-{name}.png"),
            write_sheet(folder / f"contact-sheet-{name}.html", judged, quiet),
        ]
    for left in folder.glob(f"invalid-{name}-[0-9]*.png"):  # pages of masks that are valid by now
        left.unlink()
    pictures = [
        save(figure, folder / f"invalid-{name}-{page:02d}.png") for page, figure in enumerate(draw_invalid(judged), 1)
    ]
    return [*pictures, write_sheet(folder / f"invalid-{name}.html", judged, quiet, only_invalid)]


def _names(paths: Sequence[Path], stores: Sequence[MaskStore]) -> list[str]:
    """Return the shortest kind of name that distinguishes the stores."""
    data = [f"{data_name(store.manifest.data.name)} {store.manifest.data.split}" for store in stores]
    kinds = (data, [path.resolve().name for path in paths], [str(path) for path in paths])
    return next((names for names in kinds if len(set(names)) == len(names)), kinds[-1])


def _file_names(names: Sequence[str]) -> list[str]:
    """Return names without characters that a file name cannot have, numbered if two of them become equal."""
    safe = [name.strip("/").replace("/", "-").replace(" ", "-") for name in names]
    return safe if len(set(safe)) == len(safe) else [f"{name}-{number}" for number, name in enumerate(safe, 1)]


def _images_of(stores: Sequence[MaskStore], data: str | None, data_root: Path) -> list[ImageSet]:
    """Return the images of each store; those of several stores are loaded once."""
    load, sets = cache(partial(load_data, data_root=data_root)), []
    for store in stores:
        if len(store.shape) != 2:
            raise MaskError(f"{store.path}: expected masks with 2 spatial dimensions to draw, got size {store.shape}")
        sets.append(load(data or store.manifest.data.name, split=store.manifest.data.split))
        store.align(sets[-1])
    return sets


@looks
def draw_valid(judged: Sequence[JudgedMasks], criterion: str = "figure14") -> Figure:
    """Draw the shares of valid and invalid masks of each store as horizontal bars, by the criterion of figure 14."""
    heading = Heading(
        "Valid masks", "In percent of the masks, as in figure 14: a mask with a coverage of 1 % or more is valid."
    )
    rows = []
    for one in judged:
        valid = one.share(criterion)
        rows.append(Row(f"{one.name} ({len(one.rows):,} masks)"))
        for label, colour, share in (("valid", VALID, valid), ("invalid", INVALID, 100 - valid)):
            rows.append(Row(label, [Estimate(Style(colour, "|"), share, 0.0, share, [share])], f"{share:.1f} %"))
    figure = interval_rows(heading, {"": rows}, "Share of the masks (%)")
    figure.axes[0].set_xlim(0, 100)
    return figure


@looks
def draw_coverage(judged: Sequence[JudgedMasks]) -> Figure:
    """Draw a histogram of the coverage of each store's masks, with the bounds of the default rule."""
    bounds = CRITERIA["default"].shape
    low, high = 100 * bounds.min_coverage, 100 * bounds.max_coverage
    heading = Heading(
        "Coverage of the image by the masks",
        "Share of the masks, in percent, for each percent of coverage. Blue: valid by the default rule, orange: invalid. Dotted: "
        f"{low:g} and {high:g} %, the bounds of this rule.",
    )
    labels, notes = {}, {}
    for n, one in enumerate(judged):
        empty = percent(one.coverage == 0)  # not drawn: they can be so many that nothing else would be visible
        labels[str(n)] = f"{one.name}: {len(one.rows):,} masks"
        notes[str(n)] = f"{empty:.1f} % of them empty (not drawn)" if empty > 0 else ""
    figure, axes = panels(heading, labels, {}, notes, 1, 1.3, left=0.6)
    for one, chart in zip(judged, axes.values(), strict=True):
        if chart is not figure.axes[0]:
            chart.sharey(figure.axes[0])
        valid = one.valid["default"]
        groups = [100 * one.coverage[group & (one.coverage > 0)] for group in (valid, ~valid)]
        weights = [np.full(len(group), 100 / max(1, len(one.rows))) for group in groups]
        chart.hist(groups, list(range(101)), weights=weights, stacked=True, color=[VALID, INVALID])
        for bound in (low, high):
            chart.axvline(bound, color=SOFT, lw=1, ls=":")
        chart.set_xlim(0, 100)
        chart.grid(axis="y")
        chart.set_xlabel("Coverage of the image (%)")
    return figure


def valid_masks(comparison: Comparison, assets: ReportAssets) -> Figure | None:
    """Draw the shares of valid and invalid masks; return None if there are no masks."""
    return None if assets.masks is None else draw_valid([assets.masks])


def contact_sheet(comparison: Comparison, assets: ReportAssets) -> Figure | None:
    """Draw images next to their masks; return None if there are no masks or the images cannot be drawn."""
    return None if assets.masks is None or not drawable(assets.masks.data) else draw_sheet(assets.masks)


def build_summary(store: MaskStore) -> list[str]:
    """Return the result of a build in one line, followed by the broken images.

    The share of masks that pass the criteria is that of at most `SUMMARISED` masks, evenly spaced.
    """
    rows, data = np.flatnonzero(store.built), store.manifest.data
    part = rows[:: -(-len(rows) // SUMMARISED) or 1]
    codes = reasons_of_rows(store, part, CRITERIA["default"])
    looked_at = "" if len(part) == len(rows) else f" (of {len(part):,} of them)"
    line = (
        f"{store.path}: {len(rows):,} masks of {data.name} {data.split}, {percent(codes == Reason.VALID):.1f} % pass the criteria"
        f"{looked_at}, mean coverage {percent(store.coverage[rows]):.1f} %"
    )
    counts = Counter(codes[codes != Reason.VALID].tolist()).most_common()
    others = [f"Not valid: {', '.join(f'{Reason(code).text} {count:,}' for code, count in counts)}"] if counts else []
    return [line, *others, *_broken(store)]


def _broken(store: MaskStore) -> list[str]:
    problems = list(store.problems.values())
    if not problems:
        return []
    count = "1 image has" if len(problems) == 1 else f"{len(problems):,} images have"
    more = ", such as:" if len(problems) > NAMED else ":"
    return [f"{count} no mask{more}", *(f"  {printable(problem)}" for problem in problems[:NAMED])]


def check_table(judged: Sequence[JudgedMasks]) -> Table:
    """Return the valid shares of stores by each criterion."""
    rows = []
    for one in judged:
        count, total = len(one.rows), len(one.data)
        shares = (percent(one.coverage), percent(one.coverage == 0), *map(one.share, CRITERIA))
        masks = Cell(f"{count:,}" if count == total else f"{count:,} of {total:,}", count)
        rows.append((Cell(one.name), masks, *(number(share, 1) for share in shares)))
    head = ("Store", "Masks", "Mean coverage", "Empty", *VALID_HEADS)
    return Table("masks", "Valid masks, in percent", head, tuple(rows))


def class_table(name: str, classes: Sequence[ClassShares]) -> Table:
    """Return the valid shares of each class of a store; for many classes, the lowest and the highest."""
    title = f"Classes of {printable(name)}, in percent"
    if len(classes) > CLASSES:
        half, ranked = CLASSES // 2, sorted(classes, key=lambda one: one.valid["default"])
        title += f": {half} with the lowest and {half} with the highest valid share, default, of {len(classes):,}"
        classes = [*ranked[:half], *ranked[-half:]]
    return Table("classes", title, CLASS_HEADS, tuple(map(_class_row, classes)))


def _class_row(one: ClassShares) -> tuple[Cell, ...]:
    shares = (number(share, 1) for share in (one.coverage, *one.valid.values()))
    return (Cell(one.name), Cell(f"{one.masks:,}", one.masks), *shares)
