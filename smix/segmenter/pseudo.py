"""Masks of images without true ones, for self-training: what a segmenter finds at several sizes and in mirror images alike."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8

from smix.models.segmenter import Segmenter, fuse
from smix.models.segmenting import segment
from smix.segmenter.crops import UNKNOWN
from smix.segmenter.fit import autocast

SIZES = (40, 48, 64)
"""Working sizes whose maps are averaged."""
UNCERTAIN = 0.2
"""Pixels whose mean probability is between this and 1 minus this are unknown."""


@torch.inference_mode()
def pseudo_masks(
    model: Segmenter, images: UInt8[np.ndarray, "N h w 3"], side: int, sizes: Sequence[int] = SIZES
) -> tuple[UInt8[np.ndarray, "N side side 3"], UInt8[np.ndarray, "N side side"], Float[np.ndarray, "N"]]:
    """Return images and their masks at another size, and the agreement of all views.

    Args:
        model: The segmenter.
        images: Images without masks.
        side: Height and width of the results in pixels.
        sizes: Working sizes.

    Returns:
        The enlarged images, their masks (0: background, 1: object, 255: unknown), and the IoU of all views' masks: their intersection
        over their union.
    """
    fused = fuse(model)

    def forward(batch: torch.Tensor) -> torch.Tensor:
        with autocast():
            logits: torch.Tensor = fused(batch)
        return logits.float()

    pictures, masks, agreement = [], [], []
    for part in torch.from_numpy(images).split(64):
        batch = part.movedim(-1, 1).float()
        maps, views = zip(*(segment(forward, batch, size) for size in sizes), strict=True)
        mean = F.interpolate(torch.stack(maps).mean(0)[:, None], (side, side), mode="bilinear")[:, 0]
        known = (mean - 0.5).abs() > 0.5 - UNCERTAIN
        masks.append(torch.where(known, (mean > 0.5).byte(), UNKNOWN).byte())
        enlarged = F.interpolate(batch, (side, side), mode="bicubic", antialias=True).clamp(0, 255)
        pictures.append(enlarged.round().byte().movedim(1, -1))
        found = torch.cat([F.interpolate(view, (side // 2, side // 2), mode="bilinear") for view in views]) > 0.5
        agreement.append(found.all(0).sum((1, 2)) / found.any(0).sum((1, 2)).clamp(min=1))
    return torch.cat(pictures).numpy(), torch.cat(masks).numpy(), torch.cat(agreement).numpy().astype(np.float64)
