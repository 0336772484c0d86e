"""When is an object mask good enough to mix along? What a batch of masks can say by itself.

The report's listing 1 calls a mask invalid if its mean is below 0.01 or the binary entropy of its mean is below 0.5 nats
(which is a coverage outside 20 to 80 %: it contradicts small objects); its figure 14 counts by the mean alone.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smix.errors import OptionError


@dataclass(frozen=True)
class Validity:
    """A mask is valid if it passes every criterion.

    Args:
        min_coverage, max_coverage: Bounds of the share of pixels that are object, in [0, 1].
        min_entropy: Least binary entropy of that share, in nats; 0: not asked.
        min_edges: Least edge density |grad M|_1 / number of pixels; 0: not asked.
    """

    min_coverage: float = 0.01
    max_coverage: float = 0.95
    min_entropy: float = 0.0
    min_edges: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.min_coverage <= self.max_coverage <= 1:
            raise OptionError(
                f"validity: expected 0 <= min_coverage <= max_coverage <= 1, got {self.min_coverage} and {self.max_coverage}"
            )
        if not (self.min_entropy >= 0 and self.min_edges >= 0):
            raise OptionError(
                f"validity: expected min_entropy and min_edges of 0 or more, got {self.min_entropy} and {self.min_edges}"
            )

    @classmethod
    def published(cls) -> "Validity":
        """The report's listing 1."""
        return cls(min_coverage=0.01, max_coverage=1.0, min_entropy=0.5)

    @classmethod
    def figure14(cls) -> "Validity":
        """How the report's figure 14 counts: by the mean alone."""
        return cls(min_coverage=0.01, max_coverage=1.0)

    def __call__(self, masks: Float[Tensor, "B 1 *S"]) -> Bool[Tensor, "B"]:
        """Which of these masks, with values in [0, 1], are valid."""
        coverage = masks.flatten(1).mean(1)
        valid = (coverage >= self.min_coverage) & (coverage <= self.max_coverage)
        if self.min_entropy > 0:
            valid = valid & (binary_entropy(coverage) >= self.min_entropy)
        if self.min_edges > 0:
            valid = valid & (edge_density(masks) > self.min_edges)
        return valid


def binary_entropy(share: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """-p ln p - (1 - p) ln(1 - p), in nats; 0 at p = 0 and 1."""
    return torch.special.entr(share) + torch.special.entr(1 - share)


def edge_density(masks: Float[Tensor, "B 1 *S"]) -> Float[Tensor, "B"]:
    """Sum over all axes of |differences of neighbouring pixels|, divided by the number of pixels."""
    total = sum(masks.diff(dim=axis).abs().flatten(1).sum(1) for axis in range(2, masks.ndim))
    assert isinstance(total, Tensor)
    return total / masks[0].numel()
