"""What `smix masks build` and `smix masks check` say of stores: tables for the terminal, and pictures and pages in a folder."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich import box
from rich.table import Table

from smix import files
from smix.data.sets import ImageSet, balanced_order, load_data
from smix.errors import MaskError
from smix.masks.store import MaskStore
from smix.report import figures
from smix.report.judge import CRITERIA, Checked, check
from smix.report.mask_figures import contact_sheet, coverage_chart, valid_chart
from smix.report.sheet import write_sheet

NAMED = 5
"""How many broken images are named on the terminal."""
CLASSES = 20
"""More classes are left to classes.csv, but for those with most and fewest valid masks."""


def write_check(
    paths: Sequence[Path], data: str | None, out: Path | None, root: Path, quiet: bool = True
) -> tuple[list[Table | str], list[Path]]:
    """Judge stores, and write their charts, their contact sheets, and the shares of each class.

    Args:
        paths: Folders of the stores.
        data: The data set of a single store; None: the name that each was built with.
        out: Folder of the pictures; None: beside the first store, with "-check" at its name.
        root: Folder of the data sets that are looked for by name.

    Returns:
        What was found, for the terminal, and the files.

    Raises:
        MaskError: a store is broken, of other images, or without 2 spatial dimensions.
    """
    if data is not None and len(paths) > 1:
        raise MaskError(f"data: expected one store with --data, got {len(paths)}; leave --data out or check one by one")
    stores = [MaskStore(path) for path in paths]
    sets = [_images_of(store, data, root) for store in stores]
    checked = [check(store, name) for store, name in zip(stores, _names(paths, stores), strict=True)]
    first = paths[0] if paths[0].name else paths[0].resolve()
    folder = out or first.with_name(f"{first.name}-check")
    written = [
        figures.save(valid_chart(checked), folder / "valid.png"),
        figures.save(coverage_chart(checked), folder / "coverage.png"),
    ]
    said: list[Table | str] = [check_table(checked)]
    for judged, images in zip(checked, sets, strict=True):
        name = judged.name.strip("/").replace("/", "-").replace(" ", "-")
        written.append(figures.save(contact_sheet(images, judged), folder / f"contact-sheet-{name}.png"))
        written.append(_page(folder / f"contact-sheet-{name}.html", judged, images, quiet))
        said += [class_table(judged, images), *_broken(judged.store)]
    files.write_bytes(folder / "classes.csv", _csv(checked, sets))
    return said, [*written, folder / "classes.csv"]


def _names(paths: Sequence[Path], stores: Sequence[MaskStore]) -> list[str]:
    """The shortest kind of name that tells the stores apart."""
    names = [short_name(store) for store in stores]
    for longer in ([path.resolve().name for path in paths], [str(path) for path in paths]):
        names = names if len(set(names)) == len(names) else longer
    return names


def _images_of(store: MaskStore, data: str | None, root: Path) -> ImageSet:
    """The images that a store has masks of, to be drawn."""
    made_of = store.manifest.data
    images = load_data(data or made_of["name"], root, made_of["split"])
    if len(store.shape) != 2:
        raise MaskError(f"{store.path}: expected masks with 2 spatial dimensions to draw, got size {store.shape}")
    store.check_made_of(images)
    return images


def build_summary(store: MaskStore) -> list[str]:
    """What a build made, in a line; and which images are broken."""
    built, made_of = store.built, store.manifest.data
    lines = [
        f"{store.path}: {built.sum():,} masks of {made_of['name']} {made_of['split']}, "
        f"{100 * store.valid[built].mean():.1f} % show an object, mean coverage {100 * store.coverage[built].mean():.1f} %"
    ]
    return lines + _broken(store)


def _broken(store: MaskStore) -> list[str]:
    problems = store.problems
    if not problems:
        return []
    more = ", such as:" if len(problems) > NAMED else ":"
    count = "1 image has" if len(problems) == 1 else f"{len(problems):,} images have"
    return [f"{count} no mask{more}", *(f"  {why}" for why in list(problems.values())[:NAMED])]


def check_table(checked: Sequence[Checked]) -> Table:
    """Valid shares by each criterion, for the terminal."""
    table = Table(box=box.SIMPLE_HEAD, title="Valid masks", title_justify="left")
    table.add_column("Store", overflow="fold")
    for head in (
        "Masks",
        "Mean coverage (%)",
        "Empty (%)",
        *(f"Valid, {key} (%)" for key in CRITERIA),
        "Invalid, default (%)",
    ):
        table.add_column(head, justify="right", overflow="fold")
    for one in checked:
        coverage = one.store.coverage[one.rows]
        table.add_row(
            one.name,
            f"{len(one.rows):,}" if len(one.rows) == len(one.store) else f"{len(one.rows):,} of {len(one.store):,}",
            _percent(100 * float(coverage.mean()) if len(coverage) else math.nan),
            _percent(100 * float((coverage == 0).mean()) if len(coverage) else math.nan),
            *(_percent(one.share(key)) for key in CRITERIA),
            _percent(100 - one.share("default")),
        )
    return table


def class_table(judged: Checked, data: ImageSet) -> Table:
    """Valid shares of each class; of many classes those with the fewest and the most."""
    rows = _by_class(judged, data)
    title = f"Classes of {judged.name}"
    if len(rows) > CLASSES:
        rows = sorted(rows, key=lambda row: row[-1])
        rows = rows[: CLASSES // 2] + rows[-(CLASSES // 2) :]
        title += f": the {CLASSES // 2} with the fewest and the {CLASSES // 2} with the most valid masks"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    table.add_column("Class", overflow="fold")
    for head in ("Masks", "Mean coverage (%)", *(f"Valid, {key} (%)" for key in CRITERIA)):
        table.add_column(head, justify="right", overflow="fold")
    for name, count, *shares in rows:
        table.add_row(str(name), f"{count:,}", *(_percent(share) for share in shares))
    return table


def _by_class(judged: Checked, data: ImageSet) -> list[tuple[str, int, float, float, float, float]]:
    """Name, masks, mean coverage and the shares of `CRITERIA`, of each class that has masks."""
    labels, rows = data.labels[judged.rows], []
    for label, name in enumerate(data.classes):
        mine = labels == label
        if mine.any():
            coverage = 100 * float(judged.store.coverage[judged.rows[mine]].mean())
            rows.append((name, int(mine.sum()), coverage, *(judged.share(key, mine) for key in CRITERIA)))
    return rows  # type: ignore[return-value]


def _csv(checked: Sequence[Checked], sets: Sequence[ImageSet]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["store", "class", "masks", "mean coverage (%)", *(f"valid, {key} (%)" for key in CRITERIA)])
    for judged, data in zip(checked, sets, strict=True):
        for name, count, *shares in _by_class(judged, data):
            writer.writerow([judged.name, name, count, *(f"{share:.2f}" for share in shares)])
    return text.getvalue().encode()


def _page(path: Path, judged: Checked, data: ImageSet, quiet: bool) -> Path:
    """Class-balanced first, so that a part of a large store is one, too."""
    place = np.full(len(judged.store), -1)
    place[judged.rows] = np.arange(len(judged.rows))
    order = place[balanced_order(data.labels, data.fingerprint)]
    order = order[order >= 0]
    shown = [(f"valid, {key}", f"{_percent(judged.share(key))} %") for key in CRITERIA]
    coverage = judged.store.coverage[judged.rows]
    mean = f"{_percent(100 * float(coverage.mean()) if len(coverage) else math.nan)} %"
    return write_sheet(
        path,
        judged.store,
        data,
        judged.rows[order],
        judged.valid["default"][order],
        f"Masks of {judged.name}",
        f"{int(judged.valid['default'].sum()):,} of {len(judged.rows):,} masks are valid by the default rule.",
        [
            *shown,
            ("mean coverage", mean),
            ("empty", f"{int((coverage == 0).sum()):,}"),
            ("no mask", f"{len(judged.store.problems):,}"),
        ],
        quiet,
    )


def short_name(store: MaskStore) -> str:
    """A store's data set, without the path of its file: `npz:/somewhere/cifar10.npz` is cifar10."""
    kind, colon, place = store.manifest.data["name"].partition(":")
    name = Path(place).stem if colon else kind
    return f"{name} {store.manifest.data['split']}"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f}"
