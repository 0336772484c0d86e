"""Criteria for object masks that are good enough to mix along.

Listing 1 of the SMix report calls a mask invalid if its mean is below 0.01 or the binary entropy of its mean is below 0.5 nats
(that is a coverage outside 20 to 80 %, which excludes small objects); its figure 14 counts by the mean alone. The default
was chosen by measurement (docs/masks.md): it separates true masks from noise and from masks with object and background swapped.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smix.errors import OptionError
from smix.mixing.checks import check_options


@dataclass(frozen=True)
class Validity:
    """Criteria for a valid mask, all of which must be met.

    Args:
        min_coverage: Smallest fraction of the pixels that is object, in [0, 1].
        max_coverage: Largest fraction of the pixels that is object, in [0, 1].
        min_entropy: Smallest binary entropy of that fraction, in nats; 0: not tested.
        min_edges: Smallest edge density |grad M|_1 / number of pixels; 0: not tested.
        max_roughness: Largest number of edges per pixel of the object or of the background, whichever is smaller; noise has 1.1 to
            4, a line of one pixel 2, a square of n x n pixels 4 / n; 0: not tested.
        min_free_border: Smallest fraction of the border that is background, relative to that of the entire image; 0: not tested.
            Never tested for signals with one dimension, whose border is two pixels. Objects usually lie inside their
            images; if object and background are swapped, the border is object.

    Raises:
        OptionError: A bound is out of its range.

    >>> masks = torch.zeros(2, 1, 32, 32)
    >>> masks[0, :, 8:24, 8:24] = 1.0
    >>> smix.Validity()(masks)
    tensor([ True, False])
    """

    min_coverage: float = 0.01
    max_coverage: float = 0.95
    min_entropy: float = 0.0
    min_edges: float = 0.0
    max_roughness: float = 1.2
    min_free_border: float = 0.75

    def __post_init__(self) -> None:
        check_options(self)
        if not 0 <= self.min_coverage <= self.max_coverage <= 1:
            raise OptionError(
                f"validity: expected 0 <= min_coverage <= max_coverage <= 1, got {self.min_coverage} and {self.max_coverage}"
            )
        for field in fields(self)[2:]:
            if not getattr(self, field.name) >= 0:
                raise OptionError(f"validity: expected {field.name} of 0 or more, got {getattr(self, field.name)}")

    @classmethod
    def published(cls) -> "Validity":
        """Return the criteria of the SMix report, listing 1."""
        return cls(0.01, 1.0, min_entropy=0.5, max_roughness=0.0, min_free_border=0.0)

    @classmethod
    def figure14(cls) -> "Validity":
        """Return the criterion of the SMix report, figure 14: the mean alone."""
        return cls(0.01, 1.0, max_roughness=0.0, min_free_border=0.0)

    def __call__(self, masks: Float[Tensor, "B 1 *S"]) -> Bool[Tensor, "B"]:
        """Return which masks are valid.

        Args:
            masks: Object masks with values in [0, 1].

        Returns:
            True for valid masks.
        """
        return torch.stack(list(self.tests(masks).values())).all(0)

    def tests(self, masks: Float[Tensor, "B 1 *S"]) -> dict[str, Bool[Tensor, "B"]]:
        """Return which masks meet each criterion that is tested, by the name of its option.

        Args:
            masks: Object masks with values in [0, 1].
        """
        coverage = masks.flatten(1).mean(1)
        passed = {"min_coverage": coverage >= self.min_coverage, "max_coverage": coverage <= self.max_coverage}
        if self.min_entropy > 0:
            passed["min_entropy"] = binary_entropy(coverage) >= self.min_entropy
        if self.min_edges > 0 or self.max_roughness > 0:
            edges = edge_density(masks)
            if self.min_edges > 0:
                passed["min_edges"] = edges > self.min_edges
            if self.max_roughness > 0:
                passed["max_roughness"] = edges <= self.max_roughness * torch.minimum(coverage, 1 - coverage)
        if self.min_free_border > 0 and masks.ndim > 3:
            passed["min_free_border"] = 1 - border_coverage(masks) >= self.min_free_border * (1 - coverage)
        return passed


def binary_entropy(probability: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """Return -p ln p - (1 - p) ln(1 - p), in nats; 0 at p = 0 and 1."""
    entropy: Tensor = torch.special.entr(probability) + torch.special.entr(1 - probability)
    return entropy


def edge_density(masks: Float[Tensor, "B 1 *S"]) -> Float[Tensor, "B"]:
    """Return the sum over all axes of |differences of neighbouring pixels|, divided by the number of pixels."""
    total = sum(masks.diff(dim=axis).abs().flatten(1).sum(1) for axis in range(2, masks.ndim))
    assert isinstance(total, Tensor)
    return total / masks[0].numel()


def border_coverage(masks: Float[Tensor, "B 1 *S"]) -> Float[Tensor, "B"]:
    """Return the fraction of the image's outermost pixels that is object, in [0, 1]."""
    inner = masks[(slice(None),) * 2 + (slice(1, -1),) * (masks.ndim - 2)]
    axes = tuple(range(1, masks.ndim))
    return (masks.sum(axes) - inner.sum(axes)) / (masks[0].numel() - inner[0].numel())
