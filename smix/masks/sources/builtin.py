"""The network that comes with smix, and others of its kind, as a source of masks (docs/segmenter.md)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from smix.data.pictures import Pictures
from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks.sources.network import TorchForward
from smix.masks.sources.reading import Segmentation
from smix.models.segmenter import STRIDE, ScoreModel, fuse, normalise
from smix.models.segmenter_file import BUILTIN, load_segmenter

LARGEST = 96
"""Longest side in pixels of an image that is segmented at its own size."""
SHRUNK = 96
"""Longest side that larger images are shrunk to."""
SIZE_OF_FOLDERS = (224, 224)
"""Size of the maps of images that have different sizes."""
SCORE = "probability that the mask has an IoU over 0.5 with the main object"


@dataclass(frozen=True, eq=False)
class SegmenterSource:
    """A source that finds the main object of images with a segmenter. Maps are averaged over each image and its mirror image."""

    name: str
    sha256: str
    forward: Callable[[Float[Tensor, "B 3 h w"]], Tensor]
    """Function that returns logits (B, 1, h, w) of images that are normalised and whose sides are multiples of 8."""
    score: ScoreModel
    device: torch.device
    precision: str
    batch_pixels: int = 256 * 32 * 32

    @property
    def batch_size(self) -> int:
        """Number of images per call."""
        return 256

    def describe(self, data: ImageSet) -> dict[str, Any]:
        """Return the sha256 of the weights, how images are prepared, and what the score means."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "largest": LARGEST,
            "shrunk": SHRUNK,
            "precision": self.precision,
            "hflip_tta": True,
            "score": SCORE,
        }

    @torch.inference_mode()
    def __call__(self, data: ImageSet, index: NDArray[np.int64]) -> Segmentation:
        """Segment the images of `data` at `index` (n,)."""
        if isinstance(data.images, Pictures):
            pictures = [torch.from_numpy(data.images[int(place)])[None] for place in index]
            if len({picture.shape for picture in pictures}) == 1:
                pictures = [torch.cat(pictures)]
        elif data.images.ndim == 4:
            pictures = [torch.from_numpy(data.images[index])]
        else:
            raise MaskError(
                f"{self.name}: expected images with 2 spatial dimensions, got size {data.size} of {data.name}; "
                "give another source"
            )
        size = None if len(pictures) == 1 else SIZE_OF_FOLDERS
        objects, scores = zip(*(self._segment(part, size) for part in self._parts(pictures)), strict=True)
        return Segmentation(torch.cat(objects).cpu(), None, score=torch.cat(scores).cpu())

    def _parts(self, pictures: Sequence[Tensor]) -> Iterator[Tensor]:
        for images in pictures:
            height, width = images.shape[1:3]
            yield from images.split(max(1, self.batch_pixels // (min(height, SHRUNK) * min(width, SHRUNK))))

    def _segment(
        self, images: Tensor, size: tuple[int, int] | None
    ) -> tuple[Float[Tensor, "B h w"], Float[Tensor, "B"]]:
        """Return the maps of images (B, h, w, channels), at their own size or at `size`, and their scores."""
        batch = images.to(self.device).movedim(-1, 1).float().expand(-1, 3, -1, -1)  # grey is repeated
        own = (batch.shape[2], batch.shape[3])
        small = F.interpolate(batch, shrunk_size(own), mode="bilinear", antialias=True) if max(own) > LARGEST else batch
        views = torch.stack([self._maps(small), self._maps(small.flip(-1)).flip(-1)])
        maps, scores = views.mean(0), self.score(views)
        size = size or own
        if tuple(maps.shape[1:]) != size:
            maps = F.interpolate(maps[:, None], size, mode="bilinear")[:, 0]
        return maps, scores

    def _maps(self, images: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B h w"]:
        height, width = images.shape[2:]
        return self.forward(normalise(pad(images)))[:, 0, :height, :width].float().sigmoid()


def pad(images: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B 3 H W"]:
    """Pad images at the bottom and on the right to multiples of 8 pixels by reflection; a side that is too short is repeated."""
    height, width = images.shape[2:]
    down, right = -height % STRIDE, -width % STRIDE
    if not down and not right:
        return images
    mode = "reflect" if down < height and right < width else "replicate"
    return F.pad(images, (0, right, 0, down), mode=mode)


def shrunk_size(size: tuple[int, int], longest: int = SHRUNK) -> tuple[int, int]:
    """Return the size with the same aspect ratio, to the pixel, whose longer side is `longest`."""
    scale = longest / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def segmenter_source(path: Path, device: torch.device) -> SegmenterSource:
    """Load a segmenter as a source.

    Args:
        path: Weights that were fitted with smix.
        device: Device to compute on.

    Raises:
        MaskError: The file is missing or does not contain a segmenter.
    """
    file = load_segmenter(path)
    name = "builtin" if path == BUILTIN else f"segmenter:{path.name}"
    forward = TorchForward(name, fuse(file.model), device)
    weight, bias = file.score.weight.to(device), file.score.bias.to(device)
    return SegmenterSource(name, file.sha256, forward, ScoreModel(weight, bias), device, forward.precision)
