"""Find the files that other programs wrote for an image, and resize the masks in them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from smix.data.pictures import MASK_ENDINGS, Pictures
from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.untrusted import first_duplicate, read_json

EXPORTED = "exported.json"
"""File that `smix masks export` writes next to masks: it names their images."""
SIZE_OF_FOLDERS = (512, 512)
"""Size of masks where neither they nor the images share a size."""


@dataclass(frozen=True)
class Places:
    """Possible names of the file of an image in a folder, without suffix."""

    folder: Path
    splits: tuple[str, ...]
    """Names of the folder of this split."""
    flat: bool
    """May 001 stand for cat/001? Not if two images are called 001."""
    others: frozenset[str] = field(default=frozenset(), repr=False)
    """Images that are called as the mask of another would be: 001_mask."""

    def names(self, stem: str) -> Iterator[str]:
        """Yield the names for cat/001: cat/001, train/cat/001, and if it is the only 001, 001 and train/001."""
        for name in (stem, stem.rpartition("/")[2]) if self.flat else (stem,):
            yield name
            for split in self.splits:
                yield f"{split}/{name}"


def places_of(folder: Path, data: ImageSet) -> Places:
    """Return the names of files in `folder` that belong to the images of `data`, a whole split.

    Raises:
        MaskError: images have other than 2 spatial dimensions, or two have one name; the masks were exported for other images.
    """
    check_exported(folder, data)
    if data.size is not None and len(data.size) != 2:
        raise MaskError(
            f"{folder}: expected images with 2 spatial dimensions, got size {data.size} of {data.name}; use another source"
        )
    if not isinstance(data.images, Pictures):
        return Places(folder, (data.split,), flat=False)
    stems = [data.stem(place) for place in range(len(data))]
    if (twice := first_duplicate(stems)) is not None:
        raise MaskError(f"{data.name}: expected images of different names, got two called {twice}; rename one")
    flat = len({stem.rpartition("/")[2] for stem in stems}) == len(stems)
    splits = dict.fromkeys((data.split, data.images.home.name))  # "val" may be that of the test split
    others = (stem for stem in stems if stem.endswith(MASK_ENDINGS))
    both = (name for stem in others for name in ((stem, stem.rpartition("/")[2]) if flat else (stem,)))
    return Places(folder, tuple(splits), flat, frozenset(both))


def check_exported(folder: Path, data: ImageSet) -> None:
    """Raises MaskError if the masks in a folder were exported for other images than `data`."""
    if not (folder / EXPORTED).is_file():
        return
    try:
        provenance_of = read_json(folder / EXPORTED)
        theirs = str(provenance_of["fingerprint"])
        whose = f"{provenance_of['name']} {provenance_of['split']}"
    except (ValueError, KeyError, TypeError):
        raise MaskError(f"{folder}: expected a whole {EXPORTED}, got something else; remove it") from None
    if theirs != data.fingerprint:
        raise MaskError(
            f"{folder}: expected masks of {data.name} {data.split} ({data.fingerprint[:8]}), got masks exported for {whose} "
            f"({theirs[:8]}); choose another folder, or, if they are of these images, remove {EXPORTED}"
        )


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
