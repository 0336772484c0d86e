"""A contact sheet as one HTML file: all masks of a store, paged, sorted and filtered in the browser, without any request.

Each image is a small WebP in base64, each mask its bits; a page decodes what it shows. Written as it goes: memory does not grow.
"""

import base64
import io
import json
from collections.abc import Iterator
from importlib.resources import files as resources
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jinja2 import Environment
from numpy.typing import NDArray
from PIL import Image

from smix import files, progress
from smix.data.pictures import Pictures
from smix.data.sets import ImageSet
from smix.errors import DataError
from smix.masks.store import MaskStore, pack

SIDE = 64
"""Longest side of a picture on the sheet."""
QUALITY = 60
MOST = 100_000
"""More masks do not fit into a page that a browser opens; a class-balanced part is shown then."""
BATCH = 512
VALID, BROKEN = 1, 2


def write_sheet(
    path: Path,
    store: MaskStore,
    data: ImageSet,
    rows: NDArray[np.int64],
    valid: NDArray[np.bool_],
    title: str,
    answer: str,
    figures: list[tuple[str, str]],
    quiet: bool = True,
) -> Path:
    """Write the sheet of some rows of a store.

    Args:
        data: The whole split.
        rows: (n,) rows that are built, in the order in which they are shown.
        valid: (n,) the verdict on each.
        title, answer, figures: The head of the page; name and value of each figure.
    """
    rows, valid = rows[:MOST], valid[:MOST]
    problems = store.problems
    shown = {row: problems[row] for row in rows.tolist() if row in problems}
    source, refine = store.manifest.source, store.manifest.refine
    made_by = f"Source: {source['name']}, input size {_words(source.get('input_size'))}. Refinement: {refine['name']}."
    head, tail = (
        _page().render(title=title, answer=answer, figures=figures, made_by=made_by, SPLIT="\0", FACTS="\1").split("\0")
    )
    widths, heights = np.zeros((2, len(rows)), np.uint8)
    begins = np.zeros(len(rows) + 1, np.uint32)
    with files.atomic(path) as file, progress.bar(f"sheet of {title}", len(rows), "masks", quiet) as done:
        file.write(head.encode())
        for place, (picture, mask) in enumerate(_tiles(store, data, rows)):
            heights[place], widths[place] = mask.shape
            content = base64.b64encode(pack(mask[None])[0].tobytes()) + base64.b64encode(_webp(picture))
            begins[place + 1] = begins[place] + len(content)
            file.write(content)
            done(place + 1)
        flags = np.where(valid, VALID, 0) | np.where(np.isin(rows, list(shown)), BROKEN, 0)
        facts = {
            "at": _numbers(begins),
            "row": _numbers(rows.astype(np.uint32)),
            "coverage": _numbers(store.coverage[rows].astype("<f4")),
            "score": _numbers(store.score[rows].astype("<f4")),
            "label": _numbers(data.labels[rows].astype(np.uint32)),
            "flags": _numbers(flags.astype(np.uint8)),
            "wide": _numbers(widths),
            "high": _numbers(heights),
            "classes": list(data.classes),
            "broken": shown,
        }
        # "<" would let a name end the script.
        file.write(tail.replace("\1", json.dumps(facts).replace("<", "\\u003c")).encode())
    return path


def _page():  # type: ignore[no-untyped-def]
    text = (resources("smix.report") / "templates" / "sheet.html").read_text()
    return Environment(autoescape=True).from_string(text)


def _tiles(
    store: MaskStore, data: ImageSet, rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    for first in range(0, len(rows), BATCH):
        some = rows[first : first + BATCH]
        for row, mask in zip(some.tolist(), store[some], strict=True):
            yield tile(data, row, mask)


def tile(data: ImageSet, place: int, mask: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The image at this place, at most `SIDE` pixels long, and its mask at the same size; grey if it cannot be read."""
    picture = _small(_image(data, place))
    size = picture.shape[:2]
    if mask.shape != size:
        share = F.interpolate(torch.from_numpy(mask)[None, None].float(), size, mode="area")[0, 0]
        mask = (share >= 0.5).numpy()
    return picture, mask


def _image(data: ImageSet, row: int) -> NDArray[np.uint8]:
    if isinstance(data.images, Pictures):
        try:
            return data.images[row]
        except DataError:
            return np.full((SIDE, SIDE, 3), 128, np.uint8)
    image = data.images[row]
    return image.repeat(3, -1) if image.shape[-1] == 1 else image


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    longest = max(image.shape[:2])
    if longest <= SIDE:
        return image
    height, width = (max(1, round(side * SIDE / longest)) for side in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))


def _webp(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "webp", quality=QUALITY, method=0)
    return file.getvalue()


def _numbers(array: NDArray[np.generic]) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _words(size: object) -> str:
    return " x ".join(map(str, size)) if isinstance(size, list) else str(size or "own")
