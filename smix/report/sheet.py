"""A contact sheet as one HTML file: all masks of a store, paged, sorted and filtered in the browser, without any request.

Each image is a small WebP in base64, each mask its bits; a page decodes what it shows. Written as it goes: memory does not grow.
"""

import base64
import io
import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from smix import files, progress
from smix.data.pictures import Pictures
from smix.data.sets import ImageSet, balanced_order
from smix.masks.lookup import stretch
from smix.masks.store import pack
from smix.report.judge import Checked, by_class, percent
from smix.report.thumbnails import thumbnail

MOST = 100_000
"""More masks do not fit into a page that a browser opens; a class-balanced part is shown then."""
SIDE, FINE_SIDE = 64, 128
"""Longest side of an image on the page, in pixels; the larger one for at most ..."""
FINE = 10_000
"""... so many masks."""
QUALITY = 70
"""Quality of the WebP images, 0 to 100."""
BATCH = 128
VALID, BROKEN = 1, 2


def write_sheet(path: Path, checked: Checked, data: ImageSet, quiet: bool = True) -> Path:
    """Write the sheet of the masks of a store, in class-balanced order.

    Args:
        data: The whole split.
    """
    order = balanced_order(data.labels, data.fingerprint)
    rows = order[np.isin(order, checked.rows)][:MOST]
    tiles = _Tiles(checked, data, rows, FINE_SIDE if len(rows) <= FINE else SIDE)
    page = Environment(loader=PackageLoader("smix.report"), autoescape=True).get_template("sheet.html")
    head = _head(checked, data, len(rows))
    with (
        files.atomic(path) as file,
        progress.bar(f"page of {checked.name}", len(rows), "masks", quiet) as done,
    ):
        # The facts are asked for when all tiles are written: they say where each begins.
        for part in page.generate(**head, tiles=tiles.written(done), facts=lambda: _script(tiles.facts())):
            file.write(part.encode(errors="replace"))
    return path


def _head(checked: Checked, data: ImageSet, shown: int) -> dict[str, Any]:
    """Return the words and figures at the top of the page."""
    source, refine = checked.store.manifest.source, checked.store.manifest.refine
    size = source.get("input_size", "own")
    coverage = checked.coverage
    return {
        "name": checked.name,
        "count": len(checked.rows),
        "shown": shown,
        "good": int(checked.valid["default"].sum()),
        "shares": {criterion: checked.share(criterion) for criterion in checked.valid},
        "coverage": percent(coverage),
        "empty": int((coverage == 0).sum()),
        "broken": len(checked.store.problems),
        "source": source["name"],
        "input_size": " x ".join(map(str, size)) if isinstance(size, list) else size,
        "refine": refine["name"],
        "by_class": by_class(checked, data),
    }


@dataclass(frozen=True, eq=False)
class _Tiles:
    """The images of some rows and their masks, as text."""

    checked: Checked
    data: ImageSet
    rows: NDArray[np.int64]
    side: int
    sizes: list[tuple[int, int, int]] = field(default_factory=list)
    """Height and width of each tile in pixels, and the length of its text: known once it is written."""

    def written(self, done: Callable[[int], None]) -> Iterator[Markup]:
        """The text of each tile in turn: the bits of its mask, then its picture, in base64. Threads work a few batches ahead."""
        threads = min(8, os.cpu_count() or 1)
        ahead: deque[Future[list[tuple[int, int, str]]]] = deque()
        batches = [self.rows[first : first + BATCH] for first in range(0, len(self.rows), BATCH)]
        with ThreadPoolExecutor(threads) as pool:
            try:
                for place in range(len(batches)):
                    while len(ahead) < 2 * threads and place + len(ahead) < len(batches):
                        ahead.append(pool.submit(self._texts, batches[place + len(ahead)]))
                    for height, width, text in ahead.popleft().result():
                        self.sizes.append((height, width, len(text)))
                        yield Markup(text)
                    done(len(self.sizes))
            finally:
                pool.shutdown(cancel_futures=True)

    def _texts(self, rows: NDArray[np.int64]) -> list[tuple[int, int, str]]:
        texts = []
        for row, mask in zip(rows.tolist(), self.checked.store[rows], strict=True):
            picture = thumbnail(self.data, row, self.side)
            small = stretch(mask[None], picture.shape[:2])[0]
            texts.append((*small.shape, _base64(pack(small[None])) + _base64(_webp(picture))))
        return texts

    def facts(self) -> dict[str, Any]:
        """Return the data of each tile, in order; numbers as the bytes of little-endian arrays."""
        checked, rows, store = self.checked, self.rows, self.checked.store
        listed = set(rows.tolist())
        problems = {row: why for row, why in store.problems.items() if row in listed}
        good = checked.valid["default"][np.searchsorted(checked.rows, rows)]
        sizes = np.array(self.sizes).reshape(-1, 3)
        return {
            "begins": _base64(np.concatenate([[0], sizes[:, 2].cumsum()]).astype("<u4")),
            "high": _base64(sizes[:, 0].astype("u1")),
            "wide": _base64(sizes[:, 1].astype("u1")),
            "row": _base64(rows.astype("<u4")),
            "coverage": _base64(store.coverage[rows].astype("<f4")),
            "score": _base64(store.score[rows].astype("<f4")),
            "label": _base64(self.data.labels[rows].astype("<u4")),
            "flags": _base64((VALID * good + BROKEN * np.isin(rows, list(problems))).astype("u1")),
            "classes": list(self.data.classes),
            "names": self.data.images.names[rows].tolist() if isinstance(self.data.images, Pictures) else None,
            "problems": problems,
        }


def _webp(picture: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "webp", quality=QUALITY, method=2)
    return file.getvalue()


def _base64(content: bytes | NDArray[Any]) -> str:
    return base64.b64encode(content if isinstance(content, bytes) else content.tobytes()).decode()


def _script(values: dict[str, Any]) -> Markup:
    """JSON in a script element, which a "<" in a name could end."""
    return Markup(json.dumps(values).replace("<", "\\u003c"))
