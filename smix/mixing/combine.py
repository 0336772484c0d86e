"""Methods made of methods: a `where` over their plans, with partners drawn once for all."""

from dataclasses import dataclass, field, replace

from smix.mixing.core import Batch, Method, Plan
from smix.mixing.validity import Validity


@dataclass(frozen=True, repr=False)
class Fallback(Method):
    """The first method where the own mask is valid, the second elsewhere: the report's hybrid (section on repairs, eq. 10).

    Args:
        first: A method that follows masks, say `SMix()`.
        second: A method for the samples whose mask is of no use, say `FMix()`.
        valid: What a mask must have; the caller's `valid=` (a store's verdict) is AND-ed with it.
    """

    needs_masks = True

    first: Method
    second: Method
    valid: Validity = field(default_factory=Validity)

    def draw(self, batch: Batch) -> Plan:
        assert batch.masks is not None
        valid = self.valid(batch.masks)
        if batch.valid is not None:
            valid = valid & batch.valid
        plan = self.first.pair(batch).where(valid, self.second.pair(batch))
        return replace(plan, fell_back=plan.fell_back | ~valid)
