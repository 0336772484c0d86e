"""Mix a few images for display in run folders, in the report, and by `smix mix`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8, jaxtyped
from numpy.typing import NDArray

from smix import rng
from smix.arrays import read_npz
from smix.data.sets import ImageSet
from smix.errors import RunError, SmixError
from smix.mixing import Method
from smix.reprs import short_repr
from smix.training.records import Run, check_unchanged

SAMPLES = 8


@dataclass(frozen=True, eq=False)
class Samples:
    """Content of samples.npz: images, their mixes, and the plan of each mix."""

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
    __repr__ = short_repr()

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

    The mean is subtracted first, as in training, so that areas that a method fills with 0 have the mean colour.

    Args:
        method: Mixing method.
        data: A few images.
        seed: Random seed for mixing.
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


def read_samples(run: Run) -> Samples | None:
    """Return the mixed images of a run, or None if it has no samples.npz.

    Raises:
        RunError: The file is damaged or modified, or its arrays do not fit each other.
    """
    path = run.path / "samples.npz"
    if not path.is_file():
        return None
    if path.name in run.files:
        check_unchanged(run, path.name)
    try:
        arrays = read_npz(path)
    except SmixError as error:
        raise RunError(
            f"expected arrays in {path.name}, got {error}; restore the original file or train again"
        ) from None
    if not _fit_together(arrays, len(run.provenance["data"]["classes"])):
        raise RunError(
            f"expected images, mixes and plans that fit each other in {path.name}; restore the original file or train again"
        )
    return Samples(**arrays)


def _fit_together(arrays: Mapping[str, NDArray[Any]], classes: int) -> bool:
    """Return whether these are the arrays of `Samples`, with the annotated types and shapes and with valid values."""
    hints = get_type_hints(Samples)
    if not hints.keys() - {"masks"} <= arrays.keys() <= hints.keys():
        return False
    with jaxtyped("context"):  # equal names of axes must have equal sizes
        if not all(isinstance(array, hints[name]) for name, array in arrays.items()):
            return False
    return (
        arrays["images"].size > 0
        and all(arrays[name].min() >= 0 for name in ("labels", "partner"))
        and bool(arrays["labels"].max() < classes)
        and bool(arrays["partner"].max() < len(arrays["images"]))
        and all(bool(np.isfinite(arrays[name]).all()) for name in ("weight", "share"))
    )
