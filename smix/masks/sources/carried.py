"""Masks that are part of the data set."""

import hashlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks.sources.reading import Segmentation


class CarriedSource:
    """A source that returns `ImageSet.masks`."""

    classes = ()
    needs_images = False

    def describe(self, data: ImageSet) -> dict[str, Any]:
        """Return the sha256 of the masks."""
        masks = None if data.masks is None else hashlib.sha256(np.packbits(data.masks).tobytes()).hexdigest()
        return {"name": "carried", "sha256": masks, "input_size": "own"}

    def __call__(self, data: ImageSet, index: NDArray[np.int64]) -> Segmentation:
        """Return the masks of the images of `data` at `index`. Raises MaskError if it has none."""
        if data.masks is None:
            raise MaskError(f"carried: {data.name} has no masks; use another source, or add mask_train to its npz file")
        return Segmentation(torch.from_numpy(data.masks[index]).float(), None)
