"""The masks that a data set carries itself."""

import hashlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks.sources.reading import Segmentation


class CarriedSource:
    """Takes `ImageSet.masks` for what was found."""

    name = "carried"
    classes = ()
    needs_images = False

    def describe(self, data: ImageSet) -> dict[str, Any]:
        masks = None if data.masks is None else hashlib.sha256(np.packbits(data.masks).tobytes()).hexdigest()
        return {"name": self.name, "sha256": masks, "input_size": "own"}

    def __call__(self, data: ImageSet, index: NDArray[np.int64]) -> Segmentation:
        if data.masks is None:
            raise MaskError(
                f"carried: expected a data set that has masks, got {data.name} without; use another source, or put mask_train "
                "into the npz file"
            )
        return Segmentation(torch.from_numpy(data.masks[index]).float(), None)
