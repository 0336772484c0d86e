"""Vanilla: no mixing, the baseline of every comparison."""

from dataclasses import dataclass

from smix.mixing.core import Batch, Method, unmixed
from smix.mixing.plan import Plan


@dataclass(frozen=True, repr=False)
class Vanilla(Method):
    """Leaves every image and label as it is, and draws nothing."""

    def draw(self, batch: Batch) -> Plan:
        return unmixed(batch)
