"""Vanilla: no mixing, the baseline of every comparison."""

from dataclasses import dataclass

import torch

from smix.mixing.core import Batch, Method
from smix.mixing.plan import Plan


@dataclass(frozen=True, repr=False)
class Vanilla(Method):
    """Leaves every image and label as it is, and draws nothing."""

    def draw(self, batch: Batch) -> Plan:
        itself = torch.arange(len(batch.x), device=batch.x.device)
        one = torch.ones(len(batch.x), device=batch.x.device)
        no = torch.zeros_like(itself, dtype=torch.bool)
        return Plan(itself, batch.per_draw(one), one, mixed=no, fell_back=no)
