"""Vanilla: no mixing, the baseline of every comparison."""

from dataclasses import dataclass

from smix.mixing.core import Method, MixBatch, unmixed
from smix.mixing.plan import Plan


@dataclass(frozen=True, repr=False)
class Vanilla(Method):
    """Leave all images and labels unchanged.

    >>> x, y = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(4)
    >>> images, target = smix.Vanilla()(x, y, generator=torch.Generator().manual_seed(0))
    >>> torch.equal(images, x), bool(target.mixed.any())
    (True, False)
    """

    def draw(self, batch: MixBatch) -> Plan:
        return unmixed(batch)
