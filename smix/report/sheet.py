"""Contact sheet of masks, as an image and as a self-contained HTML file that pages, sorts and filters them in the browser.

In the HTML file each image is a small WebP in base64 and each mask its bits; a page decodes what it shows. The file is written in
parts, so that memory does not grow.
"""

import base64
import io
import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from smix import files, progress
from smix.data.pictures import Pictures
from smix.data.sets import balanced_order
from smix.masks.lookup import stretch
from smix.masks.reasons import Reason, explanation
from smix.masks.store import pack
from smix.plots.layout import Heading
from smix.plots.pictures import Band, Tile, image_grid, paint
from smix.plots.style import looks
from smix.report.masks import CRITERIA, JudgedMasks, input_size, percent
from smix.report.pictures import thumbnail

MAX_MASKS = 100_000
"""Maximum number of masks on a page that a browser can open; if there are more, a class-balanced part is shown."""
SIDE, FINE_SIDE = 64, 128
"""Longest side of an image on a page, in pixels; `FINE_SIDE` with up to `FINE` masks."""
FINE = 10_000
QUALITY = 70
"""Quality of the WebP images, 0 to 100."""
BATCH = 128
VALID, BROKEN = 1, 2
"""Flags of a tile."""
PICTURED, COLUMNS, PICTURE_SIDE = 60, 4, 150
"""Masks on an image, tiles in a row, and the longest side of an image there in pixels."""
PAGES = 20
"""Maximum number of images of invalid masks; the page in the browser has all of them."""


@looks
def draw_sheet(judged: JudgedMasks, count: int = PICTURED) -> Figure:
    """Draw `count` class-balanced images, each next to a copy with its mask in pink, above the coverage, the class, and the
    reason if the mask is invalid."""
    rows = _balanced(judged, count)
    return _draw(judged, rows, f"{len(rows)} of {len(judged.rows):,}, class-balanced")


def draw_invalid(judged: JudgedMasks) -> Iterator[Figure]:
    """Draw the masks that are not valid by the default rule, in the order of their reasons: `PICTURED` on a page, at most
    `PAGES` pages."""
    rows = _balanced(judged, MAX_MASKS, only_invalid=True)
    rows = rows[np.argsort(judged.reasons[judged.positions(rows)], kind="stable")]
    pages = -(-len(rows) // PICTURED)
    for page in range(min(pages, PAGES)):
        part = rows[page * PICTURED : (page + 1) * PICTURED]
        yield _draw(judged, part, f"Page {page + 1} of {pages:,}: {len(rows):,} masks are not valid")


def _draw(judged: JudgedMasks, rows: Int[np.ndarray, "n"], selection: str) -> Figure:
    where = judged.positions(rows)
    tiles = []
    for row, mask, coverage, reason in zip(
        rows.tolist(), judged.masks[rows], judged.coverage[where], _reasons(judged)[where].tolist(), strict=True
    ):
        image = thumbnail(judged.data, row, PICTURE_SIDE)
        painted = paint(image, stretch(mask[None], image.shape[:2])[0])
        name = judged.data.classes[judged.data.labels[row]]
        caption = [f"{100 * coverage:.1f} %, {name}", f"✗ {Reason(reason).text}" if reason else ""]
        tiles.append(Tile([np.concatenate([image, painted], 1)], caption))
    heading = Heading(
        f"Masks of {judged.name}",
        f"{selection}. Each image, the same with its mask in pink, and the coverage of the mask (✗: not valid by the default rule, with "
        "the reason).",
    )
    return image_grid(heading, [Band(tiles[n : n + COLUMNS], {}) for n in range(0, len(tiles), COLUMNS)], COLUMNS, 0.12)


def _reasons(judged: JudgedMasks) -> UInt8[np.ndarray, "n"]:
    """Return the reasons of all judged masks."""
    return judged.reasons if len(judged.reasons) else np.zeros(len(judged.rows), np.uint8)


def _balanced(judged: JudgedMasks, count: int, only_invalid: bool = False) -> Int[np.ndarray, "n"]:
    """Return at most `count` rows in class-balanced order, all or those whose masks are not valid by the default rule."""
    order = balanced_order(judged.data.labels, judged.data.fingerprint)
    rows = judged.rows[~judged.valid["default"]] if only_invalid else judged.rows
    return order[np.isin(order, rows)][:count]


def write_sheet(path: Path, judged: JudgedMasks, quiet: bool = True, only_invalid: bool = False) -> Path:
    """Write the page of all masks, or of those that are not valid by the default rule, in class-balanced order."""
    rows = _balanced(judged, MAX_MASKS, only_invalid)
    tiles = _Tiles(judged, rows, FINE_SIDE if len(rows) <= FINE else SIDE)
    page = Environment(loader=PackageLoader("smix.report"), autoescape=True).get_template("sheet.html")
    with files.atomic(path) as file, progress.bar(f"page of {judged.name}", len(rows), "masks", quiet) as advance:
        valid = int(judged.valid["default"].sum())
        values = {"masks": judged, "count": len(judged.rows), "shown": len(rows), "coverage": percent(judged.coverage)}
        values |= {"input_size": input_size(judged.source), "valid": valid, "empty": int((judged.coverage == 0).sum())}
        values |= {"only_invalid": only_invalid, "pool": len(judged.rows) - valid if only_invalid else len(judged.rows)}
        values["reasons"] = [
            (reason.value, reason.text, explanation(reason, CRITERIA["default"]), number)
            for reason, number in judged.reason_counts().items()
        ]
        # The facts are requested after all tiles are written: they say where each tile begins.
        parts = {"tiles": tiles.written(advance), "facts": lambda: _script(tiles.facts())}
        for part in page.generate(**values, **parts):
            file.write(part.encode(errors="replace"))
    return path


@dataclass(frozen=True, eq=False)
class _Tiles:
    """Images of some rows and their masks, as text."""

    judged: JudgedMasks
    rows: Int[np.ndarray, "n"]
    side: int
    sizes: list[tuple[int, int, int]] = field(default_factory=list)
    """Height and width of each written tile in pixels, and the length of its text."""

    def written(self, advance: Callable[[int], None]) -> Iterator[Markup]:
        """Yield the text of each tile: the bits of its mask, then its image, in base64. Threads work a few batches ahead."""
        threads = min(8, os.cpu_count() or 1)
        batches = iter([self.rows[first : first + BATCH] for first in range(0, len(self.rows), BATCH)])
        with ThreadPoolExecutor(threads) as pool:
            ahead = deque(pool.submit(self._texts, batch) for batch in islice(batches, 2 * threads))
            try:
                while ahead:
                    for height, width, text in ahead.popleft().result():
                        self.sizes.append((height, width, len(text)))
                        yield Markup(text)
                    advance(len(self.sizes))
                    ahead.extend(pool.submit(self._texts, batch) for batch in islice(batches, 1))
            finally:
                pool.shutdown(cancel_futures=True)

    def _texts(self, rows: Int[np.ndarray, "n"]) -> list[tuple[int, int, str]]:
        texts = []
        for row, mask in zip(rows.tolist(), self.judged.masks[rows], strict=True):
            picture = thumbnail(self.judged.data, row, self.side)
            small = stretch(mask[None], picture.shape[:2])[0]
            texts.append((*small.shape, _base64(pack(small[None])) + _base64(_webp(picture))))
        return texts

    def facts(self) -> dict[str, Any]:
        """Return the data of each tile, in order; numbers as the bytes of little-endian arrays."""
        judged, rows, data = self.judged, self.rows, self.judged.data
        where, shown = judged.positions(rows), set(rows.tolist())
        problems = {row: problem for row, problem in judged.problems.items() if row in shown}
        flags = VALID * judged.valid["default"][where] + BROKEN * np.isin(rows, list(problems))
        sizes = np.array(self.sizes).reshape(-1, 3)
        return {
            "begins": _base64(np.concatenate([[0], sizes[:, 2].cumsum()]).astype("<u4")),
            "high": _base64(sizes[:, 0].astype("u1")),
            "wide": _base64(sizes[:, 1].astype("u1")),
            "row": _base64(rows.astype("<u4")),
            "coverage": _base64(judged.coverage[where].astype("<f4")),
            "score": _base64(judged.score[where].astype("<f4")),
            "label": _base64(data.labels[rows].astype("<u4")),
            "flags": _base64(flags.astype("u1")),
            "reason": _base64(_reasons(judged)[where].astype("u1")),
            "reasons": [reason.text for reason in Reason],
            "classes": list(data.classes),
            "names": data.images.names[rows].tolist() if isinstance(data.images, Pictures) else None,
            "problems": problems,
        }


def _webp(picture: UInt8[np.ndarray, "h w 3"]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "webp", quality=QUALITY, method=2)
    return file.getvalue()


def _base64(content: bytes | NDArray[Any]) -> str:
    return base64.b64encode(content if isinstance(content, bytes) else content.tobytes()).decode()


def _script(values: dict[str, Any]) -> Markup:
    """Return JSON for a script element; "<" is escaped, since it could end the element."""
    return Markup(json.dumps(values).replace("<", "\\u003c"))
