"""The network that comes with smix, and others of its kind, as a source of masks (docs/segmenter.md)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from smix.models.segmenter import ScoreModel, fuse
from smix.models.segmenter_file import BUILTIN, load_segmenter
from smix.models.segmenting import SMALL, WINDOW, WORKING, WORKING_SMALL, Forward, segment

SIZE_OF_FOLDERS = (224, 224)
"""Size of the maps of images that have different sizes."""
PIXELS = {"cpu": 64 * 32 * 32}
"""Number of pixels that are segmented at once, by type of device: on a CPU, few enough for its caches."""
PIXELS_ELSEWHERE = 1024 * 32 * 32
SCORE = "probability that the mask has an IoU over 0.5 with the main object"


@dataclass(frozen=True, eq=False)
class SegmenterSource:
    """A source that finds the main object of images with a segmenter."""

    name: str
    sha256: str
    """Sha256 of the weights."""
    forward: Forward
    score: ScoreModel
    device: torch.device
    precision: str
    batch_size: int = 256
    """Number of images per call."""

    def describe(self, data: ImageSet) -> dict[str, Any]:
        """Return the sha256 of the weights, how images are prepared, and what the score means."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "working_sizes": {f"at most {SMALL}": WORKING_SMALL, "larger": WORKING},
            "guided_filter_window": WINDOW,
            "hflip_tta": True,
            "precision": self.precision,
            "score": SCORE,
        }

    @torch.inference_mode()
    def __call__(self, data: ImageSet, index: NDArray[Any]) -> Segmentation:
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
        size = SIZE_OF_FOLDERS if data.size is None else None
        objects, scores = zip(*(self._segment(part, size) for part in self._parts(pictures)), strict=True)
        return Segmentation(torch.cat(objects).cpu(), None, score=torch.cat(scores).cpu())

    def _parts(self, pictures: Sequence[Tensor]) -> Iterator[Tensor]:
        pixels = PIXELS.get(self.device.type, PIXELS_ELSEWHERE)
        for images in pictures:
            yield from images.split(max(1, pixels // (images.shape[1] * images.shape[2])))

    def _segment(
        self, images: Tensor, size: tuple[int, int] | None
    ) -> tuple[Float[Tensor, "B h w"], Float[Tensor, "B"]]:
        """Return the maps of images (B, h, w, channels), at their own size or at `size`, and their scores."""
        batch = images.to(self.device).movedim(-1, 1).float().expand(-1, 3, -1, -1)  # grey is repeated
        maps, views = segment(self.forward, batch.contiguous())
        if size is not None:
            maps = F.interpolate(maps[:, None], size, mode="bilinear", antialias=True)[:, 0]
        return maps, self.score(views)


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
    score = ScoreModel(file.score.weight.to(device), file.score.bias.to(device))
    return SegmenterSource(name, file.sha256, forward, score, device, forward.precision)
