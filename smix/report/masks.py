"""Pictures of mask stores: how many masks are valid, and a contact sheet of images with their masks in pink."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich import box
from rich.table import Table

from smix.data.sets import ImageSet, balanced_order, load_data
from smix.errors import MaskError
from smix.masks.store import MaskStore
from smix.mixing import Validity
from smix.report import figures
from smix.report.figures import columns_for, paint, shortened

CRITERIA = {"figure14": Validity.figure14(), "published": Validity.published(), "default": Validity()}
"""The three ways to call a mask valid that `smix masks check` shows side by side."""
SHEET = 60
NAMED = 5
"""How many broken images are named on the terminal."""


@dataclass(frozen=True, eq=False)
class Checked:
    """The masks of a store that are built, judged."""

    name: str
    store: MaskStore
    rows: NDArray[np.int64]
    """Built rows of the store."""
    valid: dict[str, NDArray[np.bool_]]
    """For each of `CRITERIA`, whether each of `rows` is valid."""

    def share(self, criterion: str) -> float:
        """Valid share of the built masks, in percent; NaN without any."""
        return 100 * float(self.valid[criterion].mean()) if len(self.rows) else math.nan


def check(store: MaskStore, name: str) -> Checked:
    """Read the whole store, which compares every file with its sha256, and judge its masks.

    Raises:
        MaskError: the store is broken.
    """
    store.check_whole()
    rows = np.flatnonzero(store.built)
    masks = torch.from_numpy(store[rows]).float()[:, None]
    usable = store.valid[rows]
    return Checked(name, store, rows, {key: valid(masks).numpy() & usable for key, valid in CRITERIA.items()})


def write_check(
    paths: Sequence[Path], data: str | None, out: Path | None, root: Path
) -> tuple[list[Checked], list[Path]]:
    """Judge stores, and write their chart and their contact sheets.

    Args:
        paths: Folders of the stores.
        data: The data set of a single store; None: the name that each was built with.
        out: Folder of the pictures; None: beside the first store, with "-check" at its name.
        root: Folder of the data sets that are looked for by name.

    Returns:
        What was found in each store, and the pictures.

    Raises:
        MaskError: a store is broken, of other images, or without 2 spatial dimensions.
    """
    if data is not None and len(paths) > 1:
        raise MaskError(f"data: expected one store with --data, got {len(paths)}; leave --data out or check one by one")
    stores = [MaskStore(path) for path in paths]
    checked = [check(store, name) for store, name in zip(stores, _names(paths, stores), strict=True)]
    sets = [_images_of(store, data, root) for store in stores]
    first = paths[0] if paths[0].name else paths[0].resolve()
    folder = out or first.with_name(f"{first.name}-check")
    pictures = [figures.save(valid_chart(checked), folder / "valid.png")]
    for judged, images in zip(checked, sets, strict=True):
        name = judged.name.strip("/").replace("/", "-").replace(" ", "-")
        pictures.append(figures.save(contact_sheet(images, judged), folder / f"contact-sheet-{name}.png"))
    return checked, pictures


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
    built, problems, made_of = store.built, store.problems, store.manifest.data
    lines = [
        f"{store.path}: {built.sum():,} masks of {made_of['name']} {made_of['split']}, "
        f"{100 * store.valid[built].mean():.1f} % show an object, mean coverage {100 * store.coverage[built].mean():.1f} %"
    ]
    if problems:
        lines.append(f"{len(problems):,} images have no mask, such as:")
        lines += [f"  {why}" for why in list(problems.values())[:NAMED]]
    return lines


def check_tables(checked: Sequence[Checked]) -> list[Table]:
    return [check_table(checked)]


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


def valid_chart(checked: Sequence[Checked], criterion: str = "figure14") -> Figure:
    """Valid and invalid masks side by side for each store: the report's figure 14."""
    figure = Figure(figsize=(max(4.8, 1.6 * len(checked) + 2), 4.2), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(checked))
    for shift, colour, label, values in (
        (-0.2, "#0072B2", "valid", [one.share(criterion) for one in checked]),
        (0.2, "#D55E00", "invalid", [100 - one.share(criterion) for one in checked]),
    ):
        bars = axes.bar(places + shift, values, 0.38, color=colour, label=label)
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=9)
    axes.set_xticks(places, [f"{one.name}\n({len(one.rows):,} masks)" for one in checked], parse_math=False)
    axes.set(ylabel="Share of the masks (%)", ylim=(0, 108), xlim=(-0.7, len(checked) - 0.3))
    axes.set_title("Valid masks, as in figure 14: coverage of 1 % or more", loc="left", fontsize=11)
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def contact_sheet(data: ImageSet, checked: Checked, count: int = SHEET) -> Figure:
    """Images beside themselves with the mask in pink, class-balanced; under each its class and the mask's coverage."""
    order = balanced_order(data.labels, data.fingerprint)
    shown = order[np.isin(data.index[order], checked.rows)][:count]
    rows = data.index[shown]
    masks = checked.store[rows]
    verdict = dict(zip(checked.rows.tolist(), checked.valid["default"].tolist(), strict=True))
    columns = columns_for(len(shown), widest=8)
    lines = math.ceil(len(shown) / columns)
    cell, text, head, gap = 1.0, 0.34, 0.5, 0.14
    width = columns * (2 * cell + gap) + gap
    height = head + lines * (cell + text)
    figure = Figure(figsize=(width, height))
    figure.text(
        gap / width,
        1 - 0.24 / height,
        f"{checked.name}: {len(shown)} of {len(checked.rows):,} masks; each image, and with its mask in pink "
        "(✗: not valid by default: coverage below 1 % or above 95 %)",
        va="center",
        fontsize=10,
        parse_math=False,
    )
    for place, (where, row, mask) in enumerate(zip(shown, rows, masks, strict=True)):
        line, column = divmod(place, columns)
        x, y = gap + column * (2 * cell + gap), height - head - line * (cell + text) - cell
        both = np.concatenate(
            [np.broadcast_to(data.images[where], (*mask.shape, 3)), paint(data.images[where], mask)], 1
        )
        axes = figure.add_axes((x / width, y / height, 2 * cell / width, cell / height))
        axes.imshow(both, aspect="auto")
        axes.set_axis_off()
        good = verdict[int(row)]
        note = f"{shortened(data.classes[data.labels[where]], 20)}  {100 * mask.mean():.1f} %{'' if good else '  ✗'}"
        colour = "black" if good else "#B00020"
        figure.text(
            (x + cell) / width,
            (y - 0.04) / height,
            note,
            ha="center",
            va="top",
            fontsize=8,
            color=colour,
            parse_math=False,
        )
    return figure


def short_name(store: MaskStore) -> str:
    """A store's data set, without the path of its file: `npz:/somewhere/cifar10.npz` is cifar10."""
    kind, colon, place = store.manifest.data["name"].partition(":")
    name = Path(place).stem if colon else kind
    return f"{name} {store.manifest.data['split']}"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f}"
