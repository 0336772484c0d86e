"""Masks that are part of the data set: arrays, or files listed for its images."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks.sources.files import FilesSource
from smix.masks.sources.reading import Segmentation


def carries_masks(data: ImageSet) -> bool:
    """Return whether a data set includes masks of its images, as arrays or as listed files."""
    return data.masks is not None or (data.files is not None and data.files.masks is not None)


@dataclass(eq=False)
class CarriedSource:
    """A source that returns `ImageSet.masks`, or reads the files in `ImageFiles.masks`."""

    listed: FilesSource | None = None
    """Source of the files. Set by `describe` if the data set lists files."""
    needs_images = False

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes 1, 2, ... of listed files; empty for arrays, and before `describe`."""
        return () if self.listed is None else self.listed.classes

    def describe(self, data: ImageSet) -> dict[str, Any]:
        """Return the sha256 of the masks and, for files, their style and size.

        Raises:
            MaskError: No image has a mask, or the style of the files cannot be determined.
        """
        if data.files is not None and data.files.masks is not None:
            self.listed = FilesSource(data.files.root, None, listed=True)
            return {**self.listed.describe(data), "name": "carried"}
        masks = None if data.masks is None else hashlib.sha256(np.packbits(data.masks).tobytes()).hexdigest()
        return {"name": "carried", "sha256": masks, "input_size": "own"}

    def __call__(self, data: ImageSet, index: NDArray[np.int64]) -> Segmentation:
        """Return the masks of the images of `data` at `index`. Raises MaskError if it has none."""
        if self.listed is not None:
            return self.listed(data, index)
        if data.masks is None:
            raise MaskError(
                f"carried: {data.name} has no masks; use another source, or add mask_train to its npz file or a column mask to its CSV "
                "file"
            )
        return Segmentation(torch.from_numpy(data.masks[index]).float(), None)
