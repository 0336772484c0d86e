"""Decide which masks of a store are good enough, by the rules of mixing/validity.py and slower ones."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from smix.errors import OptionError
from smix.masks.refine import label_pieces
from smix.mixing import Validity


@dataclass(frozen=True)
class StoreValidity:
    """A mask is valid if it passes every criterion. The default asks no more than `Validity` does: on the masks that it was
    chosen on, neither number of pieces nor confidence was needed (docs/masks.md).

    Args:
        shape: What the mask alone must have.
        max_pieces: Most pieces that do not touch each other; 0: not asked.
        min_score: Least mean confidence of the source on the object, in [0, 1].
    """

    shape: Validity = field(default_factory=Validity)
    max_pieces: int = 0
    min_score: float = 0.0

    def __post_init__(self) -> None:
        if not (self.max_pieces >= 0 and 0 <= self.min_score <= 1):
            raise OptionError(
                f"validity: expected max_pieces of 0 or more and min_score in 0 to 1, got {self.max_pieces} and {self.min_score}"
            )

    def __call__(self, masks: NDArray[np.bool_], score: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which of these masks (n, *S), with scores (n,), are valid: (n,)."""
        valid = self.shape(torch.from_numpy(masks)[:, None].float()).numpy() & (score >= self.min_score)
        return valid & (pieces(masks) <= self.max_pieces) if self.max_pieces > 0 else valid


def pieces(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the number of pieces of each of these masks (n, *S), (n,). Pieces that touch at a corner are one."""
    labels = label_pieces(masks)
    owner = np.zeros(labels.max(initial=0) + 1, np.int64)
    owner[labels] = np.arange(len(masks)).reshape(-1, *(1,) * (masks.ndim - 1))
    return np.bincount(owner[1:], minlength=len(masks))
