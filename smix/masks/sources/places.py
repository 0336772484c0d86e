"""Where the files lie that other programs wrote for an image, and at which size the masks in them come."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from smix.data.pictures import Pictures
from smix.data.sets import ImageSet
from smix.errors import MaskError

SIZE_OF_FOLDERS = (512, 512)
"""What masks are brought to where neither they nor the images share a size."""


@dataclass(frozen=True)
class Places:
    """What the file of an image may be called in a folder, without its suffix."""

    folder: Path
    splits: tuple[str, ...]
    """Names of the folder of this split."""
    flat: bool
    """May 001 stand for cat/001? Not if two images are called 001."""

    def names(self, stem: str) -> Iterator[str]:
        """Of cat/001: cat/001, train/cat/001, and if it is the only 001, 001 and train/001."""
        for name in (stem, stem.rpartition("/")[2]) if self.flat else (stem,):
            yield name
            for split in self.splits:
                yield f"{split}/{name}"


def places_of(folder: Path, data: ImageSet) -> Places:
    """Of the files in `folder` that belong to the images of `data`, a whole split.

    Raises:
        MaskError: images have other than 2 spatial dimensions.
    """
    if data.size is not None and len(data.size) != 2:
        raise MaskError(
            f"{folder}: expected images with 2 spatial dimensions, got size {data.size} of {data.name}; use another source"
        )
    if not isinstance(data.images, Pictures):
        return Places(folder, (data.split,), flat=False)
    home = data.images.home  # "val" may be that of the test split
    last = {data.stem(place).rpartition("/")[2] for place in range(len(data))}
    return Places(folder, tuple(dict.fromkeys((data.split, home.name))), flat=len(last) == len(data))


def fitted(numbers: NDArray[np.uint8], size: tuple[int, ...]) -> torch.Tensor:
    """A class map at another size: larger by the nearest pixel, smaller by area, of which the object must have half."""
    given = torch.from_numpy(numbers)
    if tuple(given.shape) == size:
        return given
    near = F.interpolate(given[None, None].float(), size, mode="nearest-exact")[0, 0].to(torch.uint8)
    if any(new > old for new, old in zip(size, given.shape, strict=True)):
        return near
    share = F.interpolate((given != 0)[None, None].float(), size, mode="area")[0, 0]
    # Where the nearest pixel is none of the object's, the largest number near it stands for its class.
    most = F.adaptive_max_pool2d(given[None, None].float(), size)[0, 0].to(torch.uint8)
    return torch.where(share >= 0.5, torch.where(near != 0, near, most), torch.zeros_like(near))
