"""Write masks as files that other programs read and people correct: a PNG per mask, or COCO annotations. `masks:DIR` reads both."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int
from PIL import Image

from smix import files, progress
from smix.data.optional import import_optional
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
    """Write every mask that is built and not broken, at the store's size. Files of the same names are replaced.

    A file exported.json names the data set: `masks:DIR` refuses the masks for other images.

    Args:
        store: The mask store.
        data: The whole data set of the store, which names the files.
        out: Folder.
        format: "png": `STEM.png` with 0 and 255, where STEM is the image's path without its suffix, or its row ("000017").
            "coco": one annotations.json with compressed run-length codes, boxes and areas; an empty mask is no annotation.
        quiet: Show no progress bar.

    Returns:
        The number of masks that were written.

    Raises:
        MaskError: The store belongs to another data set, does not have 2 spatial dimensions or is damaged, `out` is inside the images'
            folder, PNG files would be hidden by an annotations.json, or pycocotools is not installed.
        RunError: `out` cannot be written.
    """
    out = Path(out)
    store.check_made_of(data)
    if len(data) != len(store):
        raise MaskError(f"{store.path}: expected a whole split, got a subset of {data.name}; pass the whole split")
    if len(store.shape) != 2:
        raise MaskError(f"{store.path}: only masks with 2 spatial dimensions can be exported, got size {store.shape}")
    _check_folder(out, data, format)
    rows = np.flatnonzero(store.built & ~np.isin(np.arange(len(store)), list(store.problems)))
    _check_names(data, rows)
    with progress.bar("masks", len(rows), "masks", quiet) as show:
        masks = _masks(store, rows, show)
        if format == "coco":
            _write_coco(out / ANNOTATIONS, data, store.shape, rows, masks)
        else:
            for row, mask in masks:
                path = out / f"{data.stem(row)}.png"
                files.check_no_link(out, path.parent)
                # Not synced, which would take most of the time: an export can be repeated.
                with files.atomic(path, sync=False) as file:
                    Image.fromarray(mask.astype(np.uint8) * 255).save(file, "png")
    identity = {"name": data.name, "split": data.split, "fingerprint": data.fingerprint, "size": list(store.shape)}
    files.write_json(out / EXPORTED, identity)
    return len(rows)


def _check_folder(out: Path, data: ImageSet, format: Format) -> None:
    if isinstance(data.images, Pictures):
        home = data.images.home.resolve()
        if any(out.resolve().is_relative_to(home.parent / split) for split in ("train", "test", "val", home.name)):
            raise MaskError(f"{out}: the folder is inside that of the images; choose another")
    check_exported(out, data)
    if format == "png" and (out / ANNOTATIONS).is_file():
        raise MaskError(
            f"{out}: the folder contains {ANNOTATIONS}, which would be read instead of the masks; remove it or choose another folder"
        )


def _check_names(data: ImageSet, rows: Int[np.ndarray, "n"]) -> None:
    """Raise MaskError if two images differ by the suffix alone, or a name leads out of the folder."""
    stems = list(map(data.stem, rows.tolist()))
    if (stem := first_duplicate(stems)) is not None:
        raise MaskError(f"{data.name}: expected images of different names, got two called {stem}; rename one")
    if outside := next((stem for stem in stems if ".." in stem.split("/") or stem.startswith("/")), ""):
        raise MaskError(f"{data.name}: expected images inside their folder, got {outside}; move it")


def _masks(store: MaskStore, rows: Int[np.ndarray, "n"], show: Any) -> Iterator[tuple[int, Bool[np.ndarray, "H W"]]]:
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        yield from zip(batch.tolist(), store[batch], strict=True)
        show(start + len(batch))


def _write_coco(
    path: Path,
    data: ImageSet,
    size: tuple[int, ...],
    rows: Int[np.ndarray, "n"],
    masks: Iterable[tuple[int, Bool[np.ndarray, "H W"]]],
) -> None:
    """Write annotations line by line: a million of them need not fit into memory."""
    codes = import_optional("pycocotools.mask", "coco", MaskError)

    def images() -> Iterator[dict[str, Any]]:
        names = data.images.names if isinstance(data.images, Pictures) else None
        for row in rows.tolist():
            name = f"{data.stem(row)}.png" if names is None else str(names[row])
            yield {
                "id": row + 1,
                "file_name": name,
                "height": size[0],
                "width": size[1],
            }  # some tools ignore an id of 0

    def annotations() -> Iterator[dict[str, Any]]:
        for row, mask in masks:
            if mask.any():
                code = codes.encode(np.asfortranarray(mask.astype(np.uint8)))
                yield {
                    "id": row + 1,
                    "image_id": row + 1,
                    "category_id": int(data.labels[row]) + 1,
                    "segmentation": {"size": list(mask.shape), "counts": code["counts"].decode()},
                    "bbox": [int(number) for number in codes.toBbox(code)],
                    "area": int(mask.sum()),
                    "iscrowd": 0,  # run-length codes in COCO are crowds, which trainers ignore
                }

    categories = ({"id": number, "name": name} for number, name in enumerate(data.classes, 1))
    parts = {"images": images(), "annotations": annotations(), "categories": categories}
    with files.atomic(path) as file:
        for number, (name, entries) in enumerate(parts.items()):
            start = ",\n" if number else "{"
            file.write(f'{start}"{name}": ['.encode())
            for place, entry in enumerate(entries):
                file.write(f"{',' if place else ''}\n{json.dumps(entry)}".encode())
            file.write(b"\n]")
        file.write(b"}\n")
