"""A mix is a plan: for each sample a partner, a weight map over its pixels, and the share of its own label.

    x_mix = w x + (1 - w) x[partner]        loss = s CE(f(x_mix), y) + (1 - s) CE(f(x_mix), y[partner])

A method states one thing: how it draws the map (`Method.maps`). Pairing, the gate `prob`, label shares, blending and
checks are written once, for all. Weights and shares are always those of the *own* image: 1 keeps it, 0 takes the partner's.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from smix.errors import DataError, OptionError
from smix.mixing.checks import check_generator, check_images, check_valid, checked_masks, set_numbers
from smix.mixing.move import Move
from smix.mixing.plan import Plan, Target, opened, where_moved
from smix.mixing.share import Labels, label_share

Masks = Shaped[Tensor, "B *S"] | Shaped[Tensor, "B 1 *S"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Input of a method while it draws: the images, their object masks, who is paired with whom, and the
    generator. `draws` is the number of independent draws: B, or 1 for one draw a batch."""

    x: Float[Tensor, "B C *S"]
    masks: Float[Tensor, "B 1 *S"] | None
    valid: Bool[Tensor, "B"] | None
    partner: Int[Tensor, "B"]
    generator: torch.Generator | None
    draws: int

    @property
    def size(self) -> tuple[int, ...]:
        """The spatial size S."""
        return tuple(self.x.shape[2:])

    def per_draw(self, values: Float[Tensor, "n"]) -> Float[Tensor, "n 1 *one"]:
        """One value a draw, shaped to broadcast over a map."""
        return values.view(-1, 1, *[1] * len(self.size))

    def uniform(self, *shape: int) -> Float[Tensor, "..."]:
        """Independent uniform draws from [0, 1), float32."""
        return torch.rand(self.draws, *shape, device=self.x.device, **drawn_from(self.generator))

    def beta(self, a: float, b: float) -> Float[Tensor, "n"]:
        """Draws from Beta(a, b).

        As sigmoid(log g_a - log g_b), with log g_a = log Gamma(a + 1) + log(U) / a: a ratio of two float32 gamma draws
        would underflow to 0 / 0 for a below 0.05.
        """
        if a == b == 1:
            return self.uniform()
        shape = torch.full((2, self.draws), a, device=self.x.device)
        if a != b:
            shape[1].fill_(b)  # `shape[1] = b` would make a tensor on the CPU first
        uniform = torch.rand(2, self.draws, device=self.x.device, **drawn_from(self.generator))
        log_gamma = torch._standard_gamma(shape + 1, generator=self.generator).log() + (1 - uniform).log() / shape
        return torch.sigmoid(log_gamma[0] - log_gamma[1])


@dataclass(frozen=True, kw_only=True, repr=False)
class Method:
    """A mixing method. Subclasses are frozen dataclasses of numbers that say how to draw weight maps.

    Args:
        prob: Probability that a sample is mixed at all.
        per_batch: One draw for the whole batch, as most papers' code does, instead of one a sample.
    """

    prob: float = 1.0
    per_batch: bool = False

    def __post_init__(self) -> None:
        set_numbers(self)
        if not 0 <= self.prob <= 1:
            raise OptionError(f"prob: expected a probability in [0, 1], got {self.prob}")
        if not isinstance(self.per_batch, bool):
            raise OptionError(f"per_batch: expected True or False, got {self.per_batch!r}")
        self.check()

    def check(self) -> None:
        """Raises OptionError where a number of this method is out of its range."""

    @property
    def needs_masks(self) -> bool:
        """True if `masks=` must be given."""
        return getattr(self, "labels", "area") == "visible"

    def __call__(
        self,
        x: Float[Tensor, "B C *S"],
        y: Int[Tensor, "B"] | Float[Tensor, "B K"],
        *,
        masks: Masks | None = None,
        valid: Bool[Tensor, "B"] | None = None,
        generator: torch.Generator | None = None,
        out: Float[Tensor, "B C *S"] | None = None,
    ) -> tuple[Float[Tensor, "B C *S"], Target]:
        """Mix a batch. The arguments are those of `plan` and `Plan.blend`, and y: class numbers or rows of class weights.

        Returns:
            The mixed images, in the type and memory format of x, and their labels.
        """
        plan = self.plan(x, masks=masks, valid=valid, generator=generator)
        return plan.blend(x, out), plan.target(y)

    def plan(
        self,
        x: Float[Tensor, "B C *S"],
        *,
        masks: Masks | None = None,
        valid: Bool[Tensor, "B"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Plan:
        """Draw how to mix a batch.

        Args:
            x: Images with 1, 2 or 3 spatial dimensions, floating point.
            masks: (B, 1, *S) or (B, *S), the object of each image: bool, uint8 of 0 and 1, or float in [0, 1].
            valid: Masks that may be used, say of a store; None: all. `Fallback` looks at it; other methods use every mask.
            generator: On the device of x. None: torch's global one.

        Raises:
            DataError: shapes, types, devices or values that do not fit.
        """
        check_images(x)
        check_generator(generator, x.device)
        if masks is None and self.needs_masks:
            raise DataError(
                f"{self!r}: expected masks=, the object of each image, got None; load them from a MaskStore"
            )
        masks = None if masks is None else checked_masks(masks, x)
        if valid is not None:
            check_valid(valid, x)
        partner = torch.randperm(len(x), device=x.device, **drawn_from(generator))
        batch = Batch(x, masks, valid, partner, generator, len(x))
        return self.pair(batch) if len(x) else unmixed(batch)  # Fourier transforms refuse an empty batch

    def pair(self, batch: Batch) -> Plan:
        """The plan of this method for partners that are drawn already."""
        if self.per_batch:
            batch = replace(batch, draws=1)
        plan = self.draw(batch)
        if self.prob < 1:
            plan = plan.only((batch.uniform() < self.prob).expand(len(batch.x)))
        return plan

    def draw(self, batch: Batch) -> Plan:
        """The plan before the gate: every sample mixed with its partner, if that is another one."""
        return self.planned(batch, self.maps(batch))

    def maps(self, batch: Batch) -> Float[Tensor, "n 1 *S"]:
        """The weight maps of the own images, in new memory: one a sample, or a single one for all; axes may be 1."""
        raise AssertionError(f"{type(self).__name__} states no maps")

    def planned(
        self,
        batch: Batch,
        weight: Float[Tensor, "n 1 *S"],
        own_move: Move | None = None,
        partner_move: Move | None = None,
    ) -> Plan:
        """The plan of these maps and moves, with the label shares that follow from them."""
        own_memory = len(weight) == len(batch.x) and not weight.requires_grad
        weight = weight.expand(len(batch.x), *weight.shape[1:])
        rule: Labels = getattr(self, "labels", "area")
        share = label_share(rule, weight, batch.masks, batch.partner, own_move, partner_move)
        other = batch.partner != torch.arange(len(batch.x), device=batch.x.device)
        return Plan(
            batch.partner,
            # In place: a map less in memory, and at 64 pixels a fifth of the time.
            opened(other, weight, out=weight if own_memory else None),
            torch.where(other, share, 1.0),
            mixed=other,
            fell_back=torch.zeros_like(other),
            own_move=where_moved(other, own_move, None),
            partner_move=partner_move,
        )

    def __repr__(self) -> str:
        ordered = sorted(fields(self), key=lambda field: bool(field.kw_only))
        return f"{type(self).__name__}({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in ordered)})"


def unmixed(batch: Batch) -> Plan:
    """Return the plan that leaves every image and label of a batch as it is."""
    itself = torch.arange(len(batch.x), device=batch.x.device)
    one = torch.ones(len(batch.x), device=batch.x.device)
    no = torch.zeros_like(itself, dtype=torch.bool)
    return Plan(itself, batch.per_draw(one), one, mixed=no, fell_back=no)


def drawn_from(generator: torch.Generator | None) -> dict[str, Any]:
    """The keyword of torch's samplers. Left out where None: spelt out, torch.compile makes a graph for every batch size."""
    return {} if generator is None else {"generator": generator}


LEAST_ALPHA, LARGEST_ALPHA = 1e-30, 1e30
"""Far beyond where a Beta is a coin, or 1/2; not so far that float32 overflows."""


def check_alpha(method: str, alpha: float) -> None:
    """OptionError unless alpha can be a parameter of a Beta."""
    if not LEAST_ALPHA <= alpha <= LARGEST_ALPHA:
        raise OptionError(f"{method}: expected alpha from {LEAST_ALPHA:g} to {LARGEST_ALPHA:g}, got {alpha}")
