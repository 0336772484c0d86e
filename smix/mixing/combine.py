"""Methods made of methods: a `where` over their plans, with partners drawn once for all."""

from dataclasses import dataclass, field, replace

import torch

from smix.errors import OptionError
from smix.mixing.core import Batch, Method
from smix.mixing.plan import Plan
from smix.mixing.validity import Validity


@dataclass(frozen=True, repr=False)
class Fallback(Method):
    """The first method where the own mask is valid, the second elsewhere: the report's hybrid (section on repairs, eq. 10).
    `fell_back` says where the second was asked, whether or not its own `prob` then mixed.

    Args:
        first: A method that follows masks, say `SMix()`.
        second: A method for the samples whose mask is of no use, say `FMix()`.
        valid: What a mask must have; the caller's `valid=` (a store's verdict) is AND-ed with it.
    """

    first: Method
    second: Method
    valid: Validity = field(default_factory=Validity)

    def check(self) -> None:
        if not (isinstance(self.first, Method) and isinstance(self.second, Method)):
            raise OptionError(f"fallback: expected two methods, got {self.first!r} and {self.second!r}")
        if not isinstance(self.valid, Validity):
            raise OptionError(f"fallback: expected valid as a Validity, got {self.valid!r}")

    @property
    def needs_masks(self) -> bool:
        return True

    def draw(self, batch: Batch) -> Plan:
        assert batch.masks is not None
        valid = self.valid(batch.masks)
        if batch.valid is not None:
            valid = valid & batch.valid
        plan = self.first.pair(batch).where(valid, self.second.pair(batch))
        paired = batch.partner != torch.arange(len(batch.x), device=batch.x.device)
        return replace(plan, fell_back=plan.fell_back | (~valid & (paired | plan.mixed)))


@dataclass(frozen=True, repr=False)
class RandomChoice(Method):
    """One of several methods for each sample, by chance (`per_batch=True`: one for the whole batch, drawn once a batch too). All
    of them are drawn, so that nothing waits for the device: it costs their sum.

    Args:
        methods: Two or more.
        weights: How likely each one is, in proportion; None: all alike.
    """

    methods: tuple[Method, ...]
    weights: tuple[float, ...] | None = None

    def check(self) -> None:
        if not (isinstance(self.methods, tuple) and all(isinstance(method, Method) for method in self.methods)):
            raise OptionError(f"random choice: expected a tuple of methods, got {self.methods!r}")
        if len(self.methods) < 2:
            raise OptionError(f"random choice: expected two methods or more, got {len(self.methods)}")
        if self.weights is not None and not (
            isinstance(self.weights, tuple)
            and len(self.weights) == len(self.methods)
            and all(0 <= weight < float("inf") for weight in self.weights)
            and sum(self.weights) > 0
        ):
            raise OptionError(
                f"random choice: expected a tuple of {len(self.methods)} weights, of 0 or more and not all 0, got {self.weights}"
            )

    @property
    def needs_masks(self) -> bool:
        return any(method.needs_masks for method in self.methods)

    def draw(self, batch: Batch) -> Plan:
        weights = self.weights or (1.0,) * len(self.methods)
        uniform = batch.uniform().expand(len(batch.x))
        plan, passed = self.methods[0].pair(batch), 0.0
        for method, weight in zip(self.methods[1:], weights, strict=False):
            passed += weight
            plan = plan.where(uniform < passed / sum(weights), method.pair(batch))
        return plan
