"""Cut crops around objects out of photographs, framed as the images of CIFAR are, at any size."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

UNKNOWN = 255
"""Value of the pixels of a mask that count neither as object nor as background."""


@dataclass(frozen=True, eq=False)
class Photographs:
    """Photographs of one size with the masks of their main objects."""

    planes: UInt8[np.ndarray, "N 5 h w"]
    """Red, green and blue; 255 where the object is; 255 where the mask is known and the picture is not padded."""
    picture: Int[np.ndarray, "N 4"]
    """Top, left, bottom and right edge of the picture inside its padding, in pixels."""
    object_box: Float[np.ndarray, "N 4"]
    """Top, left, bottom and right edge of the object, in pixels; that of the picture where the mask is empty."""

    def __len__(self) -> int:
        return len(self.planes)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels, padding included."""
        return self.planes.shape[2], self.planes.shape[3]


def photographs(
    images: UInt8[np.ndarray, "N h w 3"],
    masks: UInt8[np.ndarray, "N h w"],
    picture: Int[np.ndarray, "N 4"] | UInt8[np.ndarray, "N 4"] | None = None,
) -> Photographs:
    """Return photographs with the boxes of their objects.

    Args:
        images: The photographs.
        masks: 0: background, 1: object, 255: unknown.
        picture: Top, left, bottom and right edge of each picture inside its padding. None: nothing is padded.
    """
    count, height, width = masks.shape
    if picture is None:
        picture = np.tile(np.array([0, 0, height, width]), (count, 1))
    planes = np.zeros((count, 5, height, width), np.uint8)
    boxes = np.empty((count, 4), np.float32)
    for row, (top, left, bottom, right) in enumerate(picture.tolist()):
        mask, planes[row, :3] = masks[row], images[row].transpose(2, 0, 1)
        planes[row, 3] = 255 * (mask == 1)
        planes[row, 4, top:bottom, left:right] = 255 * (mask[top:bottom, left:right] != UNKNOWN)
        inside = mask[top:bottom, left:right] == 1
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        boxes[row] = (
            (top + rows[0], left + columns[0], top + rows[-1] + 1, left + columns[-1] + 1)
            if len(rows)
            else (top, left, bottom, right)
        )
    return Photographs(planes, picture.astype(np.int64), boxes)


@dataclass(frozen=True, eq=False)
class Frames:
    """Squares to cut out: an affine map from the pixels of each crop to those of its photograph."""

    rows: Int[np.ndarray, "B"]
    """Index of the photograph."""
    maps: Float[np.ndarray, "B 2 3"]
    """Map of (x, y, 1), where both are in [-1, 1] across the crop, to x and y in pixels from the photograph's corner."""


@dataclass(frozen=True, kw_only=True)
class Framing:
    """Distribution of frames around objects."""

    fill: tuple[float, float] = (0.4, 0.95)
    """Range of the object's longer side, as a share of the side of the crop."""
    cut: float = 0.08
    """Share of crops that cut the object."""
    empty: float = 0.015
    """Share of crops that may show no object."""
    angle: float = 8.0
    """Standard deviation of the rotation in degrees, of two fifths of the crops."""
    stretch: float = 0.12
    """Standard deviation of the logarithm of the aspect ratio, of half of the crops."""
    hflip: float = 0.5


VALIDATION = Framing(cut=0.0, empty=0.0, angle=0.0, stretch=0.0, hflip=0.0)
"""Frames for measurements: not cut, rotated, stretched or mirrored."""


def draw_frames(
    data: Photographs, rows: Int[np.ndarray, "B"], rng: np.random.Generator, framing: Framing = VALIDATION
) -> Frames:
    """Draw a frame around the object of each photograph of `rows`.

    The frame stays inside the picture where it fits.
    """
    count = len(rows)
    top, left, bottom, right = data.picture[rows].astype(np.float64).T
    object_top, object_left, object_bottom, object_right = data.object_box[rows].astype(np.float64).T
    height, width = object_bottom - object_top, object_right - object_left
    longer, shorter_edge = np.maximum(height, width), np.minimum(bottom - top, right - left)
    kind = rng.random(count)
    side = np.minimum(longer / rng.uniform(*framing.fill, count), np.maximum(shorter_edge, longer / framing.fill[1]))
    side = np.where(kind < framing.cut, longer / rng.uniform(1.0, 1.6, count), side)
    side = np.maximum(side, 12.0)
    y = (object_top + object_bottom) / 2 + rng.uniform(-0.5, 0.5, count) * np.abs(side - height)
    x = (object_left + object_right) / 2 + rng.uniform(-0.5, 0.5, count) * np.abs(side - width)
    for place in np.flatnonzero(kind > 1 - framing.empty):
        y[place], x[place], side[place] = _without_object(data, int(rows[place]), rng, y[place], x[place], side[place])
    y = np.where(side <= bottom - top, np.clip(y, top + side / 2, bottom - side / 2), (top + bottom) / 2)
    x = np.where(side <= right - left, np.clip(x, left + side / 2, right - side / 2), (left + right) / 2)
    angle = np.deg2rad(framing.angle) * rng.normal(size=count) * (rng.random(count) < 0.4)
    aspect = np.exp(framing.stretch * rng.normal(size=count) * (rng.random(count) < 0.5))
    mirror = np.where(rng.random(count) < framing.hflip, -1.0, 1.0)
    scale_x, scale_y = side / 2 * np.sqrt(aspect) * mirror, side / 2 / np.sqrt(aspect)
    maps = np.stack(
        [
            np.stack([np.cos(angle) * scale_x, -np.sin(angle) * scale_y, x], 1),
            np.stack([np.sin(angle) * scale_x, np.cos(angle) * scale_y, y], 1),
        ],
        1,
    )
    return Frames(np.asarray(rows), maps)


def _without_object(
    data: Photographs, row: int, rng: np.random.Generator, y: float, x: float, side: float
) -> tuple[float, float, float]:
    """Return the centre and the side of a frame without the object; those given if ten tries find none."""
    top, left, bottom, right = data.picture[row]
    largest = min(bottom - top, right - left)
    for _ in range(10):
        tried = rng.uniform(0.2, 0.6) * largest
        y0, x0 = rng.uniform(top, bottom - tried), rng.uniform(left, right - tried)
        window = data.planes[row, 3:, int(y0) : int(y0 + tried) + 1, int(x0) : int(x0 + tried) + 1]
        if not window[0].any() and window[1].all():
            return y0 + tried / 2, x0 + tried / 2, tried
    return y, x, side


@dataclass(frozen=True, eq=False)
class Crops:
    """Crops of one size, with their masks."""

    images: Float[Tensor, "B 3 s s"]
    """Values from 0 to 1."""
    objects: Float[Tensor, "B s s"]
    """Share of each pixel that belongs to the object."""
    known: Bool[Tensor, "B s s"]
    """True where the mask is known and the photograph is not padded."""


def cut(data: Photographs, frames: Frames, size: int) -> Crops:
    """Cut frames out of photographs. Each pixel is the mean of four samples.

    Args:
        data: The photographs.
        frames: The frames.
        size: Height and width of the crops in pixels.
    """
    grid = sampling_grid(frames, 2 * size, data.size)
    planes = torch.from_numpy(data.planes[frames.rows]).float()
    sampled = F.grid_sample(planes, grid, padding_mode="reflection", align_corners=False)
    sampled = F.avg_pool2d(sampled, 2).div_(255)
    # Reflection repeats the photograph beyond its edge; no mask is known there.
    outside = F.max_pool2d(grid.abs().amax(-1)[:, None], 2)[:, 0] > 1 + 1e-4
    return Crops(sampled[:, :3].contiguous(), sampled[:, 3], (sampled[:, 4] > 0.5) & ~outside)


def sampling_grid(frames: Frames, size: int, of: tuple[int, ...]) -> Float[Tensor, "B s s 2"]:
    """Return the positions of the pixels of crops for `torch.nn.functional.grid_sample`.

    Args:
        frames: The frames.
        size: Height and width of the crops.
        of: Height and width of the photographs, in the unit of the frames.
    """
    centres = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    maps = torch.from_numpy(frames.maps).float()
    pixels = torch.stack([x, y, torch.ones_like(x)], -1) @ maps.transpose(1, 2)[:, None]
    return pixels / torch.tensor([of[1], of[0]]) * 2 - 1
