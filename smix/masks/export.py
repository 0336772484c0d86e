"""Masks as files that other programs read and people correct: a PNG a mask, or COCO's annotations. `masks:DIR` reads both back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smix import files, progress
from smix.data.pictures import Pictures
from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks.sources.places import EXPORTED, check_exported
from smix.masks.store import MaskStore
from smix.untrusted import first_duplicate

Format = Literal["png", "coco"]
BATCH = 256
ANNOTATIONS = "annotations.json"


def export(store: MaskStore, data: ImageSet, out: Path | str, format: Format = "png", quiet: bool = True) -> int:
    """Write every mask that is built and not broken, at the store's size; files of the same names are replaced.

    Args:
        data: The data set of the store, whole: it names the files.
        out: Folder. png: `STEM.png`, 0 and 255, where STEM is the image's path without its suffix, or its row ("000017").
            coco: one annotations.json, with compressed run-length codes, boxes and areas; an empty mask is no annotation.
            Beside them exported.json says of which images they are: `masks:DIR` refuses them for others.

    Returns:
        How many masks were written.

    Raises:
        MaskError: the store is of another data set, has not 2 spatial dimensions, or is broken; `out` lies among the images;
            PNG files would lie beside an annotations.json, which hides them; pycocotools is missing.
        RunError: `out` cannot be written.
    """
    out = Path(out)
    store.check_made_of(data)
    if len(data) != len(store):
        raise MaskError(f"{store.path}: expected a whole split, got a part of {data.name}; give the whole one")
    if len(store.shape) != 2:
        raise MaskError(f"{store.path}: expected masks with 2 spatial dimensions to export, got size {store.shape}")
    _check_folder(out, data, format)
    provenance_of = {"name": data.name, "split": data.split, "fingerprint": data.fingerprint}
    rows = np.flatnonzero(store.built & ~np.isin(np.arange(len(store)), list(store.problems)))
    with progress.bar("masks", len(rows), "masks", quiet) as done:
        _check_names(data, rows)
        if format == "coco":
            _write_coco(out / ANNOTATIONS, data, store.shape, rows, _masks(store, rows, done))
        else:
            for row, mask in _masks(store, rows, done):
                _write_png(out, data.stem(row), mask)
    files.write_json(out / EXPORTED, provenance_of)
    return len(rows)


def _write_png(out: Path, stem: str, mask: NDArray[np.bool_]) -> None:
    """Write a mask: whole or not at all. It is not synced, which would take most of the time and save nothing that is lost."""
    path = out / f"{stem}.png"
    files.check_no_link(out, path.parent)
    with files.atomic(path, sync=False) as file:
        Image.fromarray(mask.astype(np.uint8) * 255).save(file, "png")


def _check_folder(out: Path, data: ImageSet, format: Format) -> None:
    if isinstance(data.images, Pictures):
        home = data.images.home.resolve()
        if any(out.resolve().is_relative_to(home.parent / split) for split in ("train", "test", "val", home.name)):
            raise MaskError(
                f"{out}: expected a folder outside of the images, which the masks might replace, got one inside; choose another"
            )
    check_exported(out, data)
    if format == "png" and (out / ANNOTATIONS).is_file():
        raise MaskError(
            f"{out}: expected a folder without {ANNOTATIONS}, which would be read instead of the masks, got one; remove it or "
            "choose another folder"
        )


def _check_names(data: ImageSet, rows: NDArray[np.int64]) -> None:
    """Raise MaskError where two images differ by the suffix alone, or a name leads out of the folder."""
    stems = list(map(data.stem, rows.tolist()))
    if (stem := first_duplicate(stems)) is not None:
        raise MaskError(f"{data.name}: expected images of different names, got two called {stem}; rename one")
    if odd := next((stem for stem in stems if ".." in stem.split("/") or stem.startswith("/")), ""):
        raise MaskError(f"{data.name}: expected images inside their folder, got {odd}; move it")


def _masks(store: MaskStore, rows: NDArray[np.int64], done: Any) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    for first in range(0, len(rows), BATCH):
        some = rows[first : first + BATCH]
        yield from zip(some.tolist(), store[some], strict=True)
        done(first + len(some))


def _write_coco(
    path: Path,
    data: ImageSet,
    size: tuple[int, ...],
    rows: NDArray[np.int64],
    masks: Iterator[tuple[int, NDArray[np.bool_]]],
) -> None:
    """Line by line: a million annotations need not fit into memory."""
    try:
        from pycocotools import mask as codes
    except ImportError:
        raise MaskError("coco: expected the package pycocotools, got none; install smix[coco]") from None

    def annotations() -> Iterator[dict[str, Any]]:
        for row, mask in masks:
            if not mask.any():
                continue
            code = codes.encode(np.asfortranarray(mask.astype(np.uint8)))
            yield {
                "id": row + 1,
                "image_id": row + 1,
                "category_id": int(data.labels[row]) + 1,
                "segmentation": {"size": list(mask.shape), "counts": code["counts"].decode()},
                "bbox": [int(number) for number in codes.toBbox(code)],
                "area": int(mask.sum()),
                "iscrowd": 0,  # what COCO's own codes are of; trainers leave crowds out
            }

    height, width = size
    names = data.images.names if isinstance(data.images, Pictures) else None
    images = (
        {
            "id": row + 1,  # some tools take 0 for none
            "file_name": f"{data.stem(row)}.png" if names is None else str(names[row]),
            "height": height,
            "width": width,
        }
        for row in rows.tolist()
    )
    categories = ({"id": number, "name": name} for number, name in enumerate(data.classes, 1))
    with files.atomic(path) as file:
        for before, part, entries in (
            ("{", "images", images),
            (",\n", "annotations", annotations()),
            (",\n", "categories", categories),
        ):
            file.write(f'{before}"{part}": ['.encode())
            for number, entry in enumerate(entries):
                file.write(f"{',' if number else ''}\n{json.dumps(entry)}".encode())
            file.write(b"\n]")
        file.write(b"}\n")
