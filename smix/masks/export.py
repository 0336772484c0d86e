"""Export masks as PNG files or COCO annotations, to view or correct them with other programs. `masks:DIR` reads both."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int
from PIL import Image

from smix import files, progress
from smix.data.layout import image_folders
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
    """Export every mask that is built and not broken, at the store's size. Existing files of the same names are overwritten.

    The file exported.json records the data set, so that `masks:DIR` rejects the masks for other images.

    Args:
        store: The mask store.
        data: The images whose masks are exported, a whole split; the files are named after them.
        out: Output folder.
        format: "png": one `STEM.png` per mask with values 0 and 255, where STEM is the image's path without its suffix, or its row
            ("000017"). "coco": one annotations.json with compressed run-length encodings, bounding boxes and areas; empty masks
            have no annotation.
        quiet: Do not show a progress bar.

    Returns:
        The number of exported masks, including empty ones.

    Raises:
        MaskError: The store belongs to another data set, does not have 2 spatial dimensions or is damaged, `out` lies in the folder
            of the images, `out` contains an annotations.json that would be read instead of PNG files, two images share a name, or
            pycocotools is not installed.
        RunError: `out` cannot be written.
    """
    out = Path(out)
    stored = store.align(data)
    if (
        len(data.index) != len(data)
        or not np.array_equal(data.index, np.arange(len(data)))
        or (not store.has_paths and len(data) != len(store))
    ):
        raise MaskError(
            f"{store.path}: only the masks of a whole split can be exported, but this is a subset of {data.name}; pass the whole split"
        )
    if len(store.shape) != 2:
        raise MaskError(f"{store.path}: only masks with 2 spatial dimensions can be exported, got size {store.shape}")
    _check_folder(out, data, format)
    rows = np.flatnonzero(store.built[stored] & ~np.isin(stored, list(store.problems)))
    _check_names(data, rows)
    with progress.bar("masks", len(rows), "masks", quiet) as show:
        masks = _masks(store, stored, rows, show)
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
        # In a data set with folders of splits, a folder next to them is no part of it.
        folders = [data.images.home] if data.files is None else image_folders(data.files.root)
        if any(out.resolve().is_relative_to(folder.resolve()) for folder in folders):
            raise MaskError(f"{out}: the folder lies inside the folder of the images; choose another")
    check_exported(out, data)
    if format == "png" and (out / ANNOTATIONS).is_file():
        raise MaskError(
            f"{out}: the folder contains {ANNOTATIONS}, and it would be read instead of the masks; remove it or choose another folder"
        )


def _check_names(data: ImageSet, rows: Int[np.ndarray, "n"]) -> None:
    """Raise MaskError if the names of two images differ only in their suffix, or a name points outside the folder."""
    stems = list(map(data.stem, rows.tolist()))
    if (stem := first_duplicate(stems)) is not None:
        raise MaskError(f"{data.name}: two images are called {stem} (without suffix); rename one")
    if outside := next((stem for stem in stems if ".." in stem.split("/") or stem.startswith("/")), ""):
        raise MaskError(f"{data.name}: the image {outside} lies outside the folder of the data set; move it there")


def _masks(
    store: MaskStore, stored: Int[np.ndarray, "N"], rows: Int[np.ndarray, "n"], show: Any
) -> Iterator[tuple[int, Bool[np.ndarray, "H W"]]]:
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        yield from zip(batch.tolist(), store[stored[batch]], strict=True)
        show(start + len(batch))


def _write_coco(
    path: Path,
    data: ImageSet,
    size: tuple[int, ...],
    rows: Int[np.ndarray, "n"],
    masks: Iterable[tuple[int, Bool[np.ndarray, "H W"]]],
) -> None:
    """Write annotations one by one, since a million of them may not fit into memory."""
    coco_mask = import_optional("pycocotools.mask", "coco", MaskError)

    def images() -> Iterator[dict[str, Any]]:
        names = data.images.names if isinstance(data.images, Pictures) else None
        for row in rows.tolist():
            name = f"{data.stem(row)}.png" if names is None else str(names[row])
            # Ids start at 1: some tools ignore an id of 0.
            yield {"id": row + 1, "file_name": name, "height": size[0], "width": size[1]}

    def annotations() -> Iterator[dict[str, Any]]:
        for row, mask in masks:
            if mask.any():
                encoding = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
                yield {
                    "id": row + 1,
                    "image_id": row + 1,
                    "category_id": int(data.labels[row]) + 1,
                    "segmentation": {"size": list(mask.shape), "counts": encoding["counts"].decode()},
                    "bbox": [int(number) for number in coco_mask.toBbox(encoding)],
                    "area": int(mask.sum()),
                    "iscrowd": 0,  # by convention, run-length encodings have 1, and training code ignores crowds
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
