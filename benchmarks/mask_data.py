"""Data of `benchmarks.mask_quality`: photographs with true masks or boxes, discs, noise, and the masks of networks.

The photographs are in three folders of one DIR: `people` and `shapes16` (images/, masks/ with values 0, 1 and 255 = unknown, images.tsv)
and `tiny-imagenet-20` (images.tsv with a box for each file: x0 y0 x1 y1, inclusive pixels).
"""

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image

from benchmarks.harness import markdown
from smix.data.sets import ImageSet
from smix.files import sha256
from smix.masks import load_source
from smix.masks.build import confidence, resize_masks
from smix.masks.sources import Source

SIDE = 160
"""Side in pixels to which photographs with true masks are resized: the longest side that occurs."""
UNKNOWN = 255
CHUNK = 40
"""Number of images that share a cache file."""


@dataclass(frozen=True, eq=False)
class Photographs:
    """Square photographs, with true masks or with boxes of their objects."""

    name: str
    images: UInt8[np.ndarray, "N side side 3"]
    truth: UInt8[np.ndarray, "N side side"] | None
    """0 background, 1 object, 255 unknown."""
    boxes: Int[np.ndarray, "N 4"] | None
    """First column, first row, last column, last row."""
    reported: Bool[np.ndarray, "N"]
    """True for the half that results are reported of. Constants were chosen on the other half."""

    @property
    def side(self) -> int:
        return int(self.images.shape[1])

    def few(self, each_half: int) -> "Photographs":
        """Return the first `each_half` photographs of both halves."""
        rows = np.sort(np.concatenate([np.flatnonzero(self.reported == half)[:each_half] for half in (False, True)]))
        truth = None if self.truth is None else self.truth[rows]
        boxes = None if self.boxes is None else self.boxes[rows]
        return Photographs(self.name, self.images[rows], truth, boxes, self.reported[rows])

    def shrunk(self, side: int) -> UInt8[np.ndarray, "N s s 3"]:
        """Return the images at another side, antialiased."""
        if side == self.side:
            return self.images
        images = torch.from_numpy(self.images).movedim(-1, 1).float()
        small = F.interpolate(images, (side, side), mode="bicubic", antialias=True).clamp(0, 255)
        return small.round().to(torch.uint8).movedim(1, -1).numpy()

    def truth_at(self, side: int) -> tuple[Bool[np.ndarray, "N s s"], Bool[np.ndarray, "N s s"]]:
        """Return for each pixel at another side whether most of its area is object, and whether most of it is known."""
        assert self.truth is not None
        object_, known = (
            F.interpolate(torch.from_numpy(part)[:, None].float(), (side, side), mode="area")[:, 0].numpy()
            for part in (self.truth == 1, self.truth != UNKNOWN)
        )
        return object_ >= 0.5 * np.maximum(known, 1e-6), known >= 0.5


def photographs(name: str, data_root: Path, seed: int = 0) -> Photographs:
    """Return all photographs of a set in random order. Images with the same true mask are in the same half."""
    folder = data_root / name
    with (folder / "images.tsv").open() as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    rng = np.random.default_rng(seed)
    has_boxes = "x0" in table[0]
    if has_boxes:
        table = [row for row in table if row["file"].startswith("val/")]
    rows = [table[place] for place in rng.permutation(len(table))]
    groups = [row["file" if has_boxes else "sha1_mask"] for row in rows]
    distinct = sorted(set(groups))
    half = dict(zip(distinct, rng.permutation(len(distinct)) % 2 == 1, strict=True))
    reported = np.array([half[group] for group in groups])
    if has_boxes:
        images = np.stack([np.asarray(Image.open(folder / row["file"]).convert("RGB")) for row in rows])
        boxes = np.array([[int(row[key]) for key in ("x0", "y0", "x1", "y1")] for row in rows])
        return Photographs(name, images, None, boxes, reported)
    size = (SIDE, SIDE)
    bicubic, nearest = Image.Resampling.BICUBIC, Image.Resampling.NEAREST
    images = np.stack(
        [np.asarray(Image.open(folder / row["image"]).convert("RGB").resize(size, bicubic)) for row in rows]
    )
    truth = np.stack([np.asarray(Image.open(folder / row["mask"]).resize(size, nearest)) for row in rows])
    return Photographs(name, images, truth, None, reported)


@dataclass(frozen=True, eq=False)
class Masks:
    """Masks of a network at its own resolution, with the mean confidence on each object."""

    masks: Bool[np.ndarray, "n s s"]
    score: Float[np.ndarray, "n"]


def segment(
    network: Path, images: UInt8[np.ndarray, "n side side 3"], input_size: str, hflip_tta: bool, cache: Path
) -> Masks:
    """Return the masks that a network predicts. They are cached by content.

    Args:
        network: ONNX file.
        images: Images to segment.
        input_size: "own" or a number of pixels, as on the command line.
        hflip_tta: Average over each image and its mirror image.
        cache: Folder of the cache.
    """
    source = load_source(f"onnx:{network}", input_size=input_size, hflip_tta=hflip_tta)
    key: list[str | bool] = [sha256(network), input_size, hflip_tta]
    parts = [
        _segment_chunk(source, images[start : start + CHUNK], key, cache) for start in range(0, len(images), CHUNK)
    ]
    return Masks(np.concatenate([part.masks for part in parts]), np.concatenate([part.score for part in parts]))


def _segment_chunk(
    source: Source, images: UInt8[np.ndarray, "n side side 3"], key: list[str | bool], cache: Path
) -> Masks:
    content = json.dumps([*key, list(images.shape)]).encode() + images.tobytes()
    file = cache / f"{hashlib.sha256(content).hexdigest()[:24]}.npz"
    if not file.is_file():
        data = ImageSet(images, np.zeros(len(images), np.int64), ("object",), name="photographs", split="test")
        masks, scores = [], []
        for start in range(0, len(images), 4):
            segmentation = source(data, np.arange(start, min(start + 4, len(images))))
            masks.append(segmentation.mask().numpy())
            scores.append(confidence(segmentation).numpy())
        joined = np.concatenate(masks)
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".part.npz")
        np.savez(unfinished, masks=np.packbits(joined), shape=joined.shape, score=np.concatenate(scores))
        unfinished.replace(file)
    with np.load(file) as arrays:
        shape = tuple(arrays["shape"])
        bits = np.unpackbits(arrays["masks"], count=int(np.prod(shape)))
        return Masks(bits.reshape(shape).astype(bool), arrays["score"].astype(np.float32))


@dataclass(frozen=True, eq=False)
class Network:
    """A segmentation network to evaluate."""

    path: Path
    """ONNX file, with a JSON file of the same name next to it."""
    count: int
    """Number of photographs of each half that are segmented at many input sizes."""
    cache: Path

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def native(self) -> int:
        """Input size in pixels that the network was trained with."""
        return int(json.loads(self.path.with_suffix(".json").read_text())["input_size"][0])

    def segment(self, images: UInt8[np.ndarray, "n side side 3"], size: int | str, hflip_tta: bool = False) -> Masks:
        return segment(self.path, images, str(size), hflip_tta, self.cache)


def shrunk(masks: Masks, side: int) -> Bool[np.ndarray, "n side side"]:
    return resize_masks(torch.from_numpy(masks.masks), (side, side)).numpy()


def discs(side: int, count: int, seed: int) -> Bool[np.ndarray, "count side side"]:
    """Return discs of all radii, most of them cut by a border; each covers 1 to 95 % of the image."""
    rng = np.random.default_rng((seed, side))
    rows, columns = np.mgrid[:side, :side]
    drawn: list[Bool[np.ndarray, "side side"]] = []
    while len(drawn) < count:
        radius = side * np.exp(rng.uniform(np.log(0.04), np.log(1.0)))
        cut = rng.random() < 0.75
        row, column = rng.uniform(0, side, 2)
        if cut:  # the centre is closer to a border than the radius
            row = rng.choice([-0.5, side - 0.5]) + rng.uniform(-0.9, 0.9) * radius
        disc = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
        if 0.01 <= disc.mean() <= 0.95:
            drawn.append(disc)
    return np.stack(drawn)


def noise(side: int, density: float, count: int, seed: int) -> Bool[np.ndarray, "count side side"]:
    """Return random masks of independent pixels, each True with probability `density`."""
    return np.random.default_rng((seed, side, int(1000 * density))).random((count, side, side)) < density


def invert_pixels(masks: Bool[np.ndarray, "n h w"], share: float, seed: int) -> Bool[np.ndarray, "n h w"]:
    """Return the masks with this share of their pixels inverted at random."""
    return masks ^ (np.random.default_rng((seed, masks.shape[-1])).random(masks.shape) < share)


def iou(
    masks: Bool[np.ndarray, "n h w"], truth: Bool[np.ndarray, "n h w"], known: Bool[np.ndarray, "n h w"] | None = None
) -> Float[np.ndarray, "n"]:
    """Return the intersection over union of each mask with the truth, over known pixels; 1 where both are empty."""
    known = np.ones_like(truth) if known is None else known
    intersection = (masks & truth & known).sum((1, 2))
    union = ((masks | truth) & known).sum((1, 2))
    return np.where(union > 0, intersection / np.maximum(union, 1), 1.0)


def in_boxes(
    masks: Bool[np.ndarray, "n h w"], boxes: Int[np.ndarray, "n 4"], side: int
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Compare masks with boxes of their objects.

    Args:
        masks: Masks of any size.
        boxes: First column, first row, last column, last row in images of `side` pixels.
        side: Side of the images that the boxes refer to.

    Returns:
        Share of each mask inside its box (NaN for an empty mask), and IoU of the mask's bounding box with the box (0 for an empty mask).
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
        intersection = max(0.0, min(x1, right) - max(x0, left)) * max(0.0, min(y1, bottom) - max(y0, top))
        union = (x1 - x0) * (y1 - y0) + (right - left) * (bottom - top) - intersection
        overlap[place] = intersection / union
    return share, overlap


@dataclass(frozen=True)
class Table:
    """A table of results, with numbers as float, int or text."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def markdown(self) -> str:
        cells = [[f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row] for row in self.rows]
        return f"## {self.title}\n\n" + "\n".join(markdown(self.head, cells)) + "\n"
