"""Fit the score of masks, the probability that a mask has an IoU over 0.5 with the object, to photographs that the network has not seen."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from smix.models.segmenter import ScoreModel, Segmenter, map_statistics
from smix.models.segmenting import segment
from smix.segmenter.crops import Crops, Framing, Photographs, cut, draw_frames
from smix.segmenter.fit import autocast, iou

GOOD = 0.5
"""IoU with the object that a good mask exceeds."""
FRAMES = 3
"""Number of crops of each photograph at each size."""
FRAMING = Framing(empty=0.0, angle=0.0, stretch=0.0)


@torch.inference_mode()
def segment_crops(model: Segmenter, crops: Crops) -> tuple[Float32[np.ndarray, "B s s"], Float[Tensor, "2 B _ _"]]:
    """Return the maps of crops, as the source of masks makes them, and those of both views."""

    def forward(images: Tensor) -> Tensor:
        with autocast():
            logits: Tensor = model(images)
        return logits.float()

    maps, views = zip(*(segment(forward, images * 255) for images in crops.images.split(64)), strict=True)
    return torch.cat(maps).numpy(), torch.cat(views, 1)


def fit_score(
    model: Segmenter, data: Photographs, rows: Int[np.ndarray, "n"], sizes: Sequence[int] = (32, 64), seed: int = 0
) -> ScoreModel:
    """Fit a logistic regression of good masks to the statistics of their maps.

    Args:
        model: The network, in evaluation mode.
        data: Photographs with masks.
        rows: Photographs that the network was not fitted to.
        sizes: Sizes of the crops in pixels.
        seed: Seed of the frames.

    Returns:
        The score; constant if all masks are good or none is.
    """
    from sklearn.linear_model import LogisticRegression

    rng, statistics, good = np.random.default_rng(seed), [], []
    for size in sizes:
        for _ in range(FRAMES):
            crops = cut(data, draw_frames(data, rows, rng, FRAMING), size)
            maps, views = segment_crops(model, crops)
            statistics.append(map_statistics(views).numpy())
            good.append(iou(maps, crops) > GOOD)
    x, y = np.concatenate(statistics), np.concatenate(good)
    if y.all() or not y.any():
        share = np.clip(y.mean(), 1 / (len(y) + 2), 1 - 1 / (len(y) + 2))
        return ScoreModel(torch.zeros(x.shape[1]), torch.tensor(float(np.log(share / (1 - share)))))
    mean, spread = x.mean(0), x.std(0) + 1e-6
    fitted = LogisticRegression(max_iter=1000).fit((x - mean) / spread, y)
    weight = fitted.coef_[0] / spread
    return ScoreModel(
        torch.tensor(weight, dtype=torch.float32),
        torch.tensor(float(fitted.intercept_[0] - weight @ mean), dtype=torch.float32),
    )
