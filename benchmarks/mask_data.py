"""What masks are judged on: photographs with true masks or boxes, drawn shapes, noise, and what networks find.

The photographs are three folders of one DIR: `people` and `shapes16` (images/, masks/ of 0, 1 and 255 = unknown, images.tsv)
and `tiny-imagenet-20` (images.tsv with a box for each file: x0 y0 x1 y1, inclusive pixels).
"""

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from smix.data.sets import ImageSet
from smix.files import sha256
from smix.masks import load_source
from smix.masks.build import confidence, shrink
from smix.masks.sources import Source

SIDE = 160
"""Pixels that the photographs with true masks are stretched to, which is the longest side of all of them."""
UNKNOWN = 255
CHUNK = 40
"""Images that are segmented and kept together."""


@dataclass(frozen=True, eq=False)
class Photographs:
    """Square photographs, and where their objects are."""

    name: str
    images: NDArray[np.uint8]
    """(N, side, side, 3)."""
    truth: NDArray[np.uint8] | None
    """(N, side, side): 0 background, 1 object, 255 unknown."""
    boxes: NDArray[np.int64] | None
    """(N, 4): first column, first row, last column, last row."""
    reported: NDArray[np.bool_]
    """(N,): numbers are chosen on the others."""

    @property
    def side(self) -> int:
        return self.images.shape[1]

    def few(self, each_half: int) -> "Photographs":
        """The first of both halves."""
        rows = np.sort(np.concatenate([np.flatnonzero(self.reported == half)[:each_half] for half in (False, True)]))
        parts = {key: None if (value := getattr(self, key)) is None else value[rows] for key in ("truth", "boxes")}
        return replace(self, images=self.images[rows], reported=self.reported[rows], **parts)

    def shrunk(self, side: int) -> NDArray[np.uint8]:
        """The images at that side, antialiased."""
        if side == self.side:
            return self.images
        images = torch.from_numpy(self.images).movedim(-1, 1).float()
        small = F.interpolate(images, (side, side), mode="bicubic", antialias=True).clamp(0, 255)
        return small.round().to(torch.uint8).movedim(1, -1).numpy()

    def truth_at(self, side: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Object, and known, of each pixel at that side: a pixel is what most of its area is."""
        assert self.truth is not None
        object_, known = (
            F.interpolate(torch.from_numpy(part)[:, None].float(), (side, side), mode="area")[:, 0].numpy()
            for part in (self.truth == 1, self.truth != UNKNOWN)
        )
        return object_ >= 0.5 * np.maximum(known, 1e-6), known >= 0.5


def photographs(name: str, data_root: Path, seed: int = 0) -> Photographs:
    """All photographs of a set in a random order. Images with the same true mask are in the same half."""
    folder = data_root / name
    with (folder / "images.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    rng = np.random.default_rng(seed)
    if "x0" in rows[0]:
        rows = [row for row in rows if row["file"].startswith("val/")]
        groups = [row["file"] for row in rows]
    else:
        groups = [row["sha1_mask"] for row in rows]
    rows, groups = zip(*((rows[place], groups[place]) for place in rng.permutation(len(rows))), strict=True)
    distinct = sorted(set(groups))
    half = dict(zip(distinct, rng.permutation(len(distinct)) % 2 == 1, strict=True))
    reported = np.array([half[group] for group in groups])
    if "x0" in rows[0]:
        images = np.stack([np.asarray(Image.open(folder / row["file"]).convert("RGB")) for row in rows])
        boxes = np.array([[int(row[key]) for key in ("x0", "y0", "x1", "y1")] for row in rows])
        return Photographs(name, images, None, boxes, reported)
    size = (SIDE, SIDE)
    images = np.stack(
        [np.asarray(Image.open(folder / row["image"]).convert("RGB").resize(size, Image.BICUBIC)) for row in rows]
    )
    truth = np.stack([np.asarray(Image.open(folder / row["mask"]).resize(size, Image.NEAREST)) for row in rows])
    return Photographs(name, images, truth, None, reported)


@dataclass(frozen=True, eq=False)
class Found:
    """Masks of a network at its own resolution."""

    masks: NDArray[np.bool_]
    """(n, s, s)."""
    score: NDArray[np.float32]
    """(n,): mean confidence on the object."""


def segment(network: Path, images: NDArray[np.uint8], input_size: str, flip: bool, cache: Path) -> Found:
    """What a network finds in images (n, side, side, 3). Each answer is kept in `cache`, by content.

    Args:
        input_size: "own" or a number of pixels, as on the command line.
        flip: Average with the answer to the mirrored image.
    """
    source = load_source(f"onnx:{network}", input_size=input_size, hflip_tta=flip)
    how = [sha256(network), input_size, flip]
    parts = [
        _segment_chunk(source, images[start : start + CHUNK], how, cache) for start in range(0, len(images), CHUNK)
    ]
    return Found(np.concatenate([part.masks for part in parts]), np.concatenate([part.score for part in parts]))


def _segment_chunk(source: Source, images: NDArray[np.uint8], how: list[str | bool], cache: Path) -> Found:
    content = json.dumps([*how, list(images.shape)]).encode() + images.tobytes()
    file = cache / f"{hashlib.sha256(content).hexdigest()[:24]}.npz"
    if not file.is_file():
        data = ImageSet(images, np.zeros(len(images), np.int64), ("object",), name="photographs", split="test")
        masks, score = [], []
        for start in range(0, len(images), 4):
            found = source(data, np.arange(start, min(start + 4, len(images))))
            masks.append(found.mask().numpy())
            score.append(confidence(found).numpy())
        joined = np.concatenate(masks)
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".part.npz")
        np.savez(unfinished, masks=np.packbits(joined), shape=joined.shape, score=np.concatenate(score))
        unfinished.replace(file)
    with np.load(file) as kept:
        shape = tuple(kept["shape"])
        masks = np.unpackbits(kept["masks"], count=int(np.prod(shape))).reshape(shape).astype(bool)
        return Found(masks, kept["score"].astype(np.float32))


@dataclass(frozen=True, eq=False)
class Network:
    path: Path
    count: int
    """Photographs of each half that are segmented at many input sizes."""
    cache: Path

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def native(self) -> int:
        return int(json.loads(self.path.with_suffix(".json").read_text())["input_size"][0])

    def segment(self, images: NDArray[np.uint8], size: int | str, flip: bool = False) -> Found:
        return segment(self.path, images, str(size), flip, self.cache)


def shrunk(found: Found, side: int) -> NDArray[np.bool_]:
    return shrink(torch.from_numpy(found.masks), (side, side)).numpy()


def discs(side: int, count: int, seed: int) -> NDArray[np.bool_]:
    """Discs of all radii, centred anywhere in the image, cut by its border; each covers 1 % of the image or more."""
    rng = np.random.default_rng((seed, side))
    rows, columns = np.mgrid[:side, :side]
    found: list[NDArray[np.bool_]] = []
    while len(found) < count:
        radius = side * np.exp(rng.uniform(np.log(0.04), np.log(1.0)))
        edge = rng.random() < 0.75
        row, column = rng.uniform(0, side, 2)
        if edge:  # the centre is nearer to a border than the radius
            row = rng.choice([-0.5, side - 0.5]) + rng.uniform(-0.9, 0.9) * radius
        disc = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
        if 0.01 <= disc.mean() <= 0.95:
            found.append(disc)
    return np.stack(found)


def noise(side: int, density: float, count: int, seed: int) -> NDArray[np.bool_]:
    return np.random.default_rng((seed, side, int(1000 * density))).random((count, side, side)) < density


def flipped(masks: NDArray[np.bool_], share: float, seed: int) -> NDArray[np.bool_]:
    """Masks with this share of their pixels turned, at random."""
    return masks ^ (np.random.default_rng((seed, masks.shape[-1])).random(masks.shape) < share)


def iou(
    masks: NDArray[np.bool_], truth: NDArray[np.bool_], known: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Intersection over union of each mask (n, h, w) with the truth, over known pixels; 1 where both are empty."""
    known = np.ones_like(truth) if known is None else known
    both = (masks & truth & known).sum((1, 2))
    either = ((masks | truth) & known).sum((1, 2))
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def in_boxes(
    masks: NDArray[np.bool_], boxes: NDArray[np.int64], side: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of each mask inside its box (NaN: empty), and IoU of the mask's bounding box with it (0: empty).

    Boxes are of images of `side` pixels; the masks may be of any size.
    """
    scale = masks.shape[-1] / side
    share, overlap = np.full(len(masks), np.nan), np.zeros(len(masks))
    for place, (mask, box) in enumerate(zip(masks, boxes, strict=True)):
        if not mask.any():
            continue
        x0, y0, x1, y1 = box[0] * scale, box[1] * scale, (box[2] + 1) * scale, (box[3] + 1) * scale
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        centres = np.arange(mask.shape[0]) + 0.5
        inside = mask[np.ix_((centres > y0) & (centres < y1), (centres > x0) & (centres < x1))].sum()
        share[place] = inside / mask.sum()
        left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        both = max(0.0, min(x1, right) - max(x0, left)) * max(0.0, min(y1, bottom) - max(y0, top))
        overlap[place] = both / ((x1 - x0) * (y1 - y0) + (right - left) * (bottom - top) - both)
    return share, overlap


@dataclass(frozen=True)
class Table:
    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def markdown(self) -> str:
        cells = [[f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row] for row in self.rows]
        lines = [self.head, ["---"] * len(self.head), *cells]
        return f"## {self.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
