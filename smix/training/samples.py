"""A few mixed images to look at: in every run folder, in the report, and in the picture of `smix mix`."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy.typing import NDArray

from smix import rng
from smix.data.sets import ImageSet
from smix.mixing import Method

SAMPLES = 8


@dataclass(frozen=True, eq=False)
class Samples:
    """Images, their mixes, and the plan of each: the content of samples.npz."""

    images: UInt8[np.ndarray, "n *S C"]
    mixed: UInt8[np.ndarray, "n *S C"]
    labels: Int[np.ndarray, "n"]
    partner: Int[np.ndarray, "n"]
    """Index of the partner among these images."""
    weight: Float[np.ndarray, "n *S"]
    """Weight map of the first image, in [0, 1]."""
    share: Float[np.ndarray, "n"]
    """Label weight (lambda) of the first image, in [0, 1]."""
    fell_back: Bool[np.ndarray, "n"]
    masks: Bool[np.ndarray, "n *S"] | None = None
    """Masks of the images; None if the method uses none."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of samples.npz by name."""
        return {name: array for name, array in vars(self).items() if array is not None}


def draw_samples(
    method: Method,
    data: ImageSet,
    seed: int,
    masks: NDArray[np.bool_] | None = None,
    valid: NDArray[np.bool_] | None = None,
) -> Samples:
    """Mix the images of `data` with each other.

    The mean is subtracted before, as in training, so that areas that a method fills with 0 have the mean colour.

    Args:
        method: Mixing method.
        data: A few images.
        seed: Seed of the mixes.
        masks: (n, *S) object masks.
        valid: (n,) flags of valid masks.
    """
    images = torch.from_numpy(np.array(data.array)).movedim(-1, 1) / 255
    mean = images.transpose(0, 1).flatten(1).mean(1).view(1, -1, *[1] * (images.ndim - 2))
    plan = method.plan(
        images - mean,
        masks=None if masks is None else torch.from_numpy(np.array(masks)),
        valid=None if valid is None else torch.from_numpy(np.array(valid)),
        generator=rng.generator(seed, "samples"),
    )
    mixed = ((plan.blend(images - mean) + mean) * 255).round().clamp(0, 255).to(torch.uint8).movedim(1, -1)
    weight = plan.weight.expand(-1, 1, *images.shape[2:])[:, 0]
    return Samples(
        images=data.array,
        mixed=mixed.numpy(),
        labels=data.labels,
        partner=plan.partner.numpy(),
        weight=weight.numpy(),
        share=plan.share.numpy(),
        fell_back=plan.fell_back.numpy(),
        masks=masks,
    )
