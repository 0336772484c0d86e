"""Decide which masks of a store are good enough, by the criteria of `smix.Validity` and slower ones."""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int

from smix.errors import OptionError
from smix.masks.refine import label_pieces
from smix.mixing import Validity


@dataclass(frozen=True)
class StoreValidity:
    """Criteria of a valid mask. The default adds none to those of `Validity`: the others did not help when measured (docs/masks.md).

    Args:
        shape: Criteria for the mask alone.
        max_pieces: Maximum number of pieces that do not touch each other. 0: any number.
        min_score: Lowest mean confidence of the source on the object, in [0, 1].

    Raises:
        OptionError: A number is out of range.
    """

    shape: Validity = field(default_factory=Validity)
    max_pieces: int = 0
    min_score: float = 0.0

    def __post_init__(self) -> None:
        if not (self.max_pieces >= 0 and 0 <= self.min_score <= 1):
            raise OptionError(
                f"validity: expected max_pieces of 0 or more and min_score in 0 to 1, got {self.max_pieces} and {self.min_score}"
            )

    def __call__(self, masks: Bool[np.ndarray, "n *S"], score: Float32[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
        """Return which masks with these scores are valid."""
        valid = self.shape(torch.from_numpy(masks)[:, None].float()).numpy() & (score >= self.min_score)
        return valid & (pieces(masks) <= self.max_pieces) if self.max_pieces > 0 else valid


def pieces(masks: Bool[np.ndarray, "n *S"]) -> Int[np.ndarray, "n"]:
    """Return the number of pieces of each mask. Pieces that touch at a corner are one."""
    labels = label_pieces(masks)
    mask_of_piece = np.zeros(labels.max(initial=0) + 1, np.int64)
    mask_of_piece[labels] = np.arange(len(masks)).reshape(-1, *(1,) * (masks.ndim - 1))
    return np.bincount(mask_of_piece[1:], minlength=len(masks))
