"""The masks that a data set carries itself."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks.sources.network import Segmentation


class CarriedSource:
    """Takes `ImageSet.masks` for what was found."""

    name = "carried"

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "sha256": None, "input_size": "own"}

    def __call__(self, data: ImageSet, index: NDArray[np.int64]) -> Segmentation:
        if data.masks is None:
            raise MaskError(
                f"carried: expected a data set that has masks, got {data.name} without; use another source, or put mask_train "
                "into the npz file"
            )
        return Segmentation(torch.from_numpy(data.masks[index]).float(), None)
