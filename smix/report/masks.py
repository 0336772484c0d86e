"""Describe mask stores for `smix masks build` and `smix masks check`: tables for the terminal, and pictures and pages in a folder."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from smix import files
from smix.data.sets import ImageSet, Split, load_data
from smix.errors import MaskError, printable
from smix.masks.store import MaskStore
from smix.report.judge import CRITERIA, Checked, ClassShares, by_class, check, percent
from smix.report.mask_figures import contact_sheet, coverage_chart, valid_chart
from smix.report.render import save
from smix.report.sheet import write_sheet

NAMED = 5
"""Maximum number of broken images that are named on the terminal."""
CLASSES = 20
"""More classes are left to classes.csv, but for those with the lowest and the highest valid share."""
VALID = tuple(f"Valid, {key}" for key in CRITERIA)


def write_check(
    paths: Sequence[Path], data: str | None, out: Path | None, data_root: Path, quiet: bool = True
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
    sets = _images_of(stores, data, data_root)
    checked = [check(store, name, quiet) for store, name in zip(stores, _names(paths, stores), strict=True)]
    first = paths[0] if paths[0].name else paths[0].resolve()
    folder = out or first.with_name(f"{first.name}-check")
    written = [
        save(valid_chart(checked), folder / "valid.png"),
        save(coverage_chart(checked), folder / "coverage.png"),
    ]
    said: list[Table | str] = [check_table(checked)]
    for judged, images, name in zip(checked, sets, _file_names(checked), strict=True):
        written.append(save(contact_sheet(images, judged), folder / f"contact-sheet-{name}.png"))
        written.append(write_sheet(folder / f"contact-sheet-{name}.html", judged, images, quiet))
        said += [class_table(judged.name, by_class(judged, images)), *_broken(judged.store)]
    files.write_bytes(folder / "classes.csv", _csv(checked, sets))
    return said, [*written, folder / "classes.csv"]


def _names(paths: Sequence[Path], stores: Sequence[MaskStore]) -> list[str]:
    """The shortest kind of name that tells the stores apart."""
    names = [short_name(store) for store in stores]
    for longer in ([path.resolve().name for path in paths], [str(path) for path in paths]):
        names = names if len(set(names)) == len(names) else longer
    return names


def _file_names(checked: Sequence[Checked]) -> list[str]:
    """The names of the stores without what a file name cannot have; numbered if that makes two the same."""
    names = [one.name.strip("/").replace("/", "-").replace(" ", "-") for one in checked]
    return names if len(set(names)) == len(names) else [f"{name}-{place}" for place, name in enumerate(names, 1)]


def _images_of(stores: Sequence[MaskStore], data: str | None, data_root: Path) -> list[ImageSet]:
    """The images that each store has masks of, to be drawn; those of several stores are loaded once."""
    loaded: dict[tuple[str, Split], ImageSet] = {}
    for store in stores:
        if len(store.shape) != 2:
            raise MaskError(f"{store.path}: expected masks with 2 spatial dimensions to draw, got size {store.shape}")
        if (key := _set_of(store, data)) not in loaded:
            loaded[key] = load_data(key[0], data_root, key[1])
        store.check_made_of(loaded[key])
    return [loaded[_set_of(store, data)] for store in stores]


def _set_of(store: MaskStore, data: str | None) -> tuple[str, Split]:
    return data or store.manifest.data.name, store.manifest.data.split


def build_summary(store: MaskStore) -> list[str]:
    """Describe what a build made in a line, and which images are broken."""
    built, provenance_of = store.built, store.manifest.data
    lines = [
        f"{store.path}: {built.sum():,} masks of {provenance_of.name} {provenance_of.split}, "
        f"{100 * store.valid[built].mean():.1f} % show an object, mean coverage {100 * store.coverage[built].mean():.1f} %"
    ]
    return lines + _broken(store)


def _broken(store: MaskStore) -> list[str]:
    problems = store.problems
    if not problems:
        return []
    more = ", such as:" if len(problems) > NAMED else ":"
    named = (_plain(f"  {why}").plain for why in list(problems.values())[:NAMED])
    count = "1 image has" if len(problems) == 1 else f"{len(problems):,} images have"
    return [f"{count} no mask{more}", *named]


def check_table(checked: Sequence[Checked]) -> Table:
    """Valid shares by each criterion, for the terminal."""
    table = _table("Valid masks, in percent", "Store", "Masks", "Mean coverage", "Empty", *VALID)
    for one in checked:
        table.add_row(
            _plain(one.name),
            f"{len(one.rows):,}" if len(one.rows) == len(one.store) else f"{len(one.rows):,} of {len(one.store):,}",
            _number(percent(one.coverage)),
            _number(percent(one.coverage == 0)),
            *(_number(one.share(key)) for key in CRITERIA),
        )
    return table


def class_table(name: str, classes: Sequence[ClassShares]) -> Table:
    """Valid shares of each class of a store; of many classes those with the lowest and the highest by default."""
    title, half = f"Classes of {name}, in percent", 0
    if len(classes) > CLASSES:
        half = CLASSES // 2
        ranked = sorted(classes, key=lambda one: one.valid["default"])
        title += f": {half} with the lowest and {half} with the highest valid share, default, of {len(classes):,}"
        classes = [*ranked[:half], *ranked[-half:]]
    table = _table(title, "Class", "Masks", "Mean coverage", *VALID)
    for place, one in enumerate(classes, 1):
        shares = (_number(share) for share in (one.coverage, *one.valid.values()))
        table.add_row(_plain(one.name), f"{one.masks:,}", *shares, end_section=place == half)
    return table


def _csv(checked: Sequence[Checked], sets: Sequence[ImageSet]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["store", "class", "masks", "mean coverage (%)", *(f"valid, {key} (%)" for key in CRITERIA)])
    for judged, data in zip(checked, sets, strict=True):
        for one in by_class(judged, data):
            shares = (f"{share:.2f}" for share in (one.coverage, *one.valid.values()))
            writer.writerow([judged.name, one.name, one.masks, *shares])
    return text.getvalue().encode(errors="replace")


def _table(title: str, first: str, *heads: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=_plain(title), title_justify="left")
    table.add_column(first, overflow="fold")
    for head in heads:
        table.add_column(head, justify="right", overflow="fold")
    return table


def _plain(text: str) -> Text:
    """Return a name that is not ours as text without markup, and without anything that a terminal obeys."""
    return Text(printable(text))


def short_name(store: MaskStore) -> str:
    """A store's data set, without the path of its file: `npz:/somewhere/cifar10.npz` is cifar10."""
    kind, colon, place = store.manifest.data.name.partition(":")
    name = Path(place).stem if colon else kind
    return f"{name} {store.manifest.data.split}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f}"
