"""Provide small real images: crops of the two sample photographs of scikit-learn."""

from functools import cache

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor

CROPS = (("flower.jpg", 150, 60), ("china.jpg", 180, 60), ("flower.jpg", 20, 20), ("china.jpg", 10, 50))


@cache
def _pixels(side: int) -> np.ndarray:
    crops = [
        Image.fromarray(load_sample_image(name)).crop((x, y, x + 350, y + 350)).resize((side, side))
        for name, x, y in CROPS
    ]
    return np.stack([np.array(crop) for crop in crops])


def photographs(side: int = 32, channels: int = 3) -> UInt8[Tensor, "4 side side channels"]:
    return torch.from_numpy(_pixels(side)[..., :channels].copy())
