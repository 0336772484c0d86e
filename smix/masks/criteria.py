"""Criteria for valid masks of a store: those of `smix.Validity`, the number of pieces and the confidence of the source."""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int

from smix.errors import OptionError
from smix.masks.refine import label_pieces
from smix.mixing import Validity


@dataclass(frozen=True)
class StoreValidity:
    """Criteria that a mask of a store must meet to be valid.

    By default only those of `Validity` apply: the others did not improve results when measured (docs/masks.md).

    Args:
        shape: Criteria that depend on the mask alone.
        max_pieces: Maximum number of pieces (connected components). 0: no maximum.
        min_score: Minimum mean confidence of the source over the pixels of the object, in [0, 1].

    Raises:
        OptionError: A number is out of range.
    """

    shape: Validity = field(default_factory=Validity)
    max_pieces: int = 0
    min_score: float = 0.0

    def __post_init__(self) -> None:
        if not (self.max_pieces >= 0 and 0 <= self.min_score <= 1):
            raise OptionError(
                f"validity: max_pieces must be 0 or more and min_score from 0 to 1, got {self.max_pieces} and {self.min_score}"
            )

    def __call__(self, masks: Bool[np.ndarray, "n *S"], score: Float32[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
        """Return True for each valid mask.

        Args:
            masks: Masks of any size.
            score: Mean confidence of the source over the pixels of each object, in [0, 1].
        """
        valid = self.shape(torch.from_numpy(masks)[:, None].float()).numpy() & (score >= self.min_score)
        return valid & (pieces(masks) <= self.max_pieces) if self.max_pieces > 0 else valid


def pieces(masks: Bool[np.ndarray, "n *S"]) -> Int[np.ndarray, "n"]:
    """Return the number of pieces (connected components) of each mask. Pixels that touch at a corner are connected."""
    labels = label_pieces(masks)
    mask_of_piece = np.zeros(labels.max(initial=0) + 1, np.int64)
    mask_of_piece[labels] = np.arange(len(masks)).reshape(-1, *(1,) * (masks.ndim - 1))
    return np.bincount(mask_of_piece[1:], minlength=len(masks))
