"""Decide which object masks of a batch are good enough to mix along.

The report's listing 1 calls a mask invalid if its mean is below 0.01 or the binary entropy of its mean is below 0.5 nats
(which is a coverage outside 20 to 80 %: it contradicts small objects); its figure 14 counts by the mean alone. The default
was chosen by measurement (docs/masks.md): it tells true masks from noise and from masks with object and background swapped.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smix.errors import OptionError
from smix.mixing.checks import set_numbers


@dataclass(frozen=True)
class Validity:
    """A mask is valid if it passes every criterion.

    Args:
        min_coverage, max_coverage: Bounds of the share of pixels that are object, in [0, 1].
        min_entropy: Least binary entropy of that share, in nats; 0: not asked.
        min_edges: Least edge density |grad M|_1 / number of pixels; 0: not asked.
        max_roughness: Most edges per pixel of the object or of the background, whichever is smaller; noise has 1.1 to 4, a line
            of one pixel 2, a square of n x n pixels 4 / n; 0: not asked.
        min_free_border: Least share of the border's pixels that are background, as a part of the share in the whole image; 0:
            not asked, as for signals with one dimension, whose border is two pixels. Objects lie inside of their images; where
            object and background are swapped, the border is object.
    """

    min_coverage: float = 0.01
    max_coverage: float = 0.95
    min_entropy: float = 0.0
    min_edges: float = 0.0
    max_roughness: float = 1.2
    min_free_border: float = 0.75

    def __post_init__(self) -> None:
        set_numbers(self)
        if not 0 <= self.min_coverage <= self.max_coverage <= 1:
            raise OptionError(
                f"validity: expected 0 <= min_coverage <= max_coverage <= 1, got {self.min_coverage} and {self.max_coverage}"
            )
        if not (self.min_entropy >= 0 and self.min_edges >= 0):
            raise OptionError(
                f"validity: expected min_entropy and min_edges of 0 or more, got {self.min_entropy} and {self.min_edges}"
            )
        if not (self.max_roughness >= 0 and self.min_free_border >= 0):
            raise OptionError(
                f"validity: expected max_roughness and min_free_border of 0 or more, got {self.max_roughness} and "
                f"{self.min_free_border}"
            )

    @classmethod
    def published(cls) -> "Validity":
        """The report's listing 1."""
        return cls(0.01, 1.0, min_entropy=0.5, max_roughness=0.0, min_free_border=0.0)

    @classmethod
    def figure14(cls) -> "Validity":
        """Return the rule of the report's figure 14: the mean alone."""
        return cls(0.01, 1.0, max_roughness=0.0, min_free_border=0.0)

    def __call__(self, masks: Float[Tensor, "B 1 *S"]) -> Bool[Tensor, "B"]:
        """Return which of these masks, with values in [0, 1], are valid."""
        coverage = masks.flatten(1).mean(1)
        valid = (coverage >= self.min_coverage) & (coverage <= self.max_coverage)
        if self.min_entropy > 0:
            valid = valid & (binary_entropy(coverage) >= self.min_entropy)
        if self.min_edges > 0 or self.max_roughness > 0:
            edges = edge_density(masks)
            valid = valid & (edges > self.min_edges) if self.min_edges > 0 else valid
            if self.max_roughness > 0:
                valid = valid & (edges <= self.max_roughness * torch.minimum(coverage, 1 - coverage))
        if self.min_free_border > 0 and masks.ndim > 3:
            valid = valid & (1 - border_share(masks) >= self.min_free_border * (1 - coverage))
        return valid


def binary_entropy(share: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """-p ln p - (1 - p) ln(1 - p), in nats; 0 at p = 0 and 1."""
    return torch.special.entr(share) + torch.special.entr(1 - share)


def edge_density(masks: Float[Tensor, "B 1 *S"]) -> Float[Tensor, "B"]:
    """Sum over all axes of |differences of neighbouring pixels|, divided by the number of pixels."""
    total = sum(masks.diff(dim=axis).abs().flatten(1).sum(1) for axis in range(2, masks.ndim))
    assert isinstance(total, Tensor)
    return total / masks[0].numel()


def border_share(masks: Float[Tensor, "B 1 *S"]) -> Float[Tensor, "B"]:
    """Share of the image's outermost pixels that are object."""
    inner = masks[(slice(None),) * 2 + (slice(1, -1),) * (masks.ndim - 2)]
    axes = tuple(range(1, masks.ndim))
    return (masks.sum(axes) - inner.sum(axes)) / (masks[0].numel() - inner[0].numel())
