"""Combine methods: choose between their plans per sample. All of them share the same partners."""

from dataclasses import dataclass, field, replace

import torch

from smix.errors import OptionError
from smix.mixing.core import Method, MixBatch
from smix.mixing.plan import Plan
from smix.mixing.validity import Validity


@dataclass(frozen=True, repr=False)
class Fallback(Method):
    """Use the first method where the own mask is valid, the second elsewhere: the hybrid of the SMix report, eq. 10.

    `Target.fell_back` is True where the second method was used, even if its own `prob` then left the sample unmixed.

    Args:
        first: A method that follows masks, such as `SMix()`.
        second: A method for the samples whose mask is unusable, such as `FMix()`.
        valid: Criteria of a valid mask, in addition to the caller's `valid=` (such as the verdicts of a mask store).

    >>> x, y = torch.zeros(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    >>> masks = torch.zeros(4, 32, 32, dtype=torch.bool)  # no image has an object
    >>> method = smix.Fallback(smix.SMix(), smix.FMix())
    >>> mixed, target = method(x, y, masks=masks, generator=torch.Generator().manual_seed(0))
    >>> torch.equal(target.fell_back, target.mixed)
    True
    """

    first: Method
    second: Method
    valid: Validity = field(default_factory=Validity)

    def check(self) -> None:
        if not (isinstance(self.first, Method) and isinstance(self.second, Method)):
            raise OptionError(f"fallback: expected two methods, got {self.first!r} and {self.second!r}")
        if not isinstance(self.valid, Validity):
            raise OptionError(f"fallback: expected smix.Validity for valid, got {self.valid!r}")

    @property
    def needs_masks(self) -> bool:
        return True

    def draw(self, batch: MixBatch) -> Plan:
        assert batch.masks is not None
        valid = self.valid(batch.masks)
        if batch.valid is not None:
            valid = valid & batch.valid
        plan = self.first.plan_pairs(batch).where(valid, self.second.plan_pairs(batch))
        paired = batch.partner != torch.arange(len(batch.x), device=batch.x.device)
        return replace(plan, fell_back=plan.fell_back | (~valid & (paired | plan.mixed)))


@dataclass(frozen=True, repr=False)
class RandomChoice(Method):
    """Use one of several methods, chosen at random for each sample, or with `per_batch=True` for the whole batch.

    The plans of all methods are drawn before one is selected, to avoid synchronising with the device. The cost is the sum of
    their costs.

    Args:
        methods: Two or more methods.
        weights: Relative probability of each method, 0 or more. Default: all equal.

    >>> x, y = torch.zeros(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    >>> method = smix.RandomChoice((smix.Mixup(alpha=0.8), smix.CutMix(alpha=1.0)), weights=(0.3, 0.7))
    >>> mixed, target = method(x, y, generator=torch.Generator().manual_seed(0))
    >>> mixed.shape
    torch.Size([4, 3, 32, 32])
    """

    methods: tuple[Method, ...]
    weights: tuple[float, ...] | None = None

    def check(self) -> None:
        if not (isinstance(self.methods, tuple) and all(isinstance(method, Method) for method in self.methods)):
            raise OptionError(f"random choice: expected a tuple of methods, got {self.methods!r}")
        if len(self.methods) < 2:
            raise OptionError(f"random choice: expected two or more methods, got {len(self.methods)}")
        if self.weights is not None and not (
            isinstance(self.weights, tuple)
            and len(self.weights) == len(self.methods)
            and all(0 <= weight < float("inf") for weight in self.weights)
            and sum(self.weights) > 0
        ):
            raise OptionError(
                f"random choice: expected weights as a tuple of {len(self.methods)} numbers of 0 or more, not all 0, got {self.weights}"
            )

    @property
    def needs_masks(self) -> bool:
        return any(method.needs_masks for method in self.methods)

    def draw(self, batch: MixBatch) -> Plan:
        weights = self.weights or (1.0,) * len(self.methods)
        uniform = batch.uniform().expand(len(batch.x))
        plan, cumulative = self.methods[0].plan_pairs(batch), 0.0
        for method, weight in zip(self.methods[1:], weights, strict=False):
            cumulative += weight
            plan = plan.where(uniform < cumulative / sum(weights), method.plan_pairs(batch))
        return plan
