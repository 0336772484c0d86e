"""Masks as files that other programs read and people correct: a PNG a mask, or COCO's annotations. `masks:DIR` reads both back."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smix import files, progress
from smix.data.pictures import Pictures
from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks.store import MaskStore

Format = Literal["png", "coco"]
BATCH = 256


def export(store: MaskStore, data: ImageSet, out: Path | str, format: Format = "png", quiet: bool = True) -> int:
    """Write every mask that is built and not broken, at the store's size; files of the same names are replaced.

    Args:
        data: The data set of the store, whole: it names the files.
        out: Folder. png: `STEM.png`, 0 and 255, where STEM is the image's path without its suffix, or its row ("000017").
            coco: one annotations.json, with compressed run-length codes, boxes and areas; an empty mask is no annotation.

    Returns:
        How many masks were written.

    Raises:
        MaskError: the store is of another data set, has not 2 spatial dimensions, or is broken.
    """
    out = Path(out)
    store.check_made_of(data)
    if len(store.shape) != 2:
        raise MaskError(f"{store.path}: expected masks with 2 spatial dimensions to export, got size {store.shape}")
    rows = np.flatnonzero(store.built & ~np.isin(np.arange(len(store)), list(store.problems)))
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    with progress.bar("masks", len(rows), "masks", quiet) as done:
        for first in range(0, len(rows), BATCH):
            some = rows[first : first + BATCH]
            for row, mask in zip(some.tolist(), store[some], strict=True):
                if format == "png":
                    _write_png(out / f"{data.stem(row)}.png", mask)
                else:
                    images.append(_image(data, row, mask))
                    annotations += _annotation(data, row, mask)
            done(first + len(some))
    if format == "coco":
        categories = [{"id": number, "name": name} for number, name in enumerate(data.classes, 1)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        files.write_bytes(out / "annotations.json", json.dumps(content).encode())
    return len(rows)


def _write_png(path: Path, mask: NDArray[np.bool_]) -> None:
    with files.atomic(path) as file:
        Image.fromarray(mask.astype(np.uint8) * 255).save(file, "png")


def _image(data: ImageSet, row: int, mask: NDArray[np.bool_]) -> dict[str, Any]:
    name = str(data.images.names[row]) if isinstance(data.images, Pictures) else f"{data.stem(row)}.png"
    return {"id": row, "file_name": name, "height": mask.shape[0], "width": mask.shape[1]}


def _annotation(data: ImageSet, row: int, mask: NDArray[np.bool_]) -> list[dict[str, Any]]:
    try:
        from pycocotools import mask as codes
    except ImportError:
        raise MaskError("coco: expected the package pycocotools, got none; install smix[coco]") from None
    if not mask.any():
        return []
    code = codes.encode(np.asfortranarray(mask.astype(np.uint8)))
    return [
        {
            "id": row,
            "image_id": row,
            "category_id": int(data.labels[row]) + 1,
            "segmentation": {"size": list(map(int, code["size"])), "counts": code["counts"].decode()},
            "bbox": [int(number) for number in codes.toBbox(code)],
            "area": int(mask.sum()),
            "iscrowd": 1,
        }
    ]
