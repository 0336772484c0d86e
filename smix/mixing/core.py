"""A mix is a plan: for each sample a partner, a weight map over its pixels, and the weight of its own label.

    x_mix = w x + (1 - w) x[partner]        loss = s CE(f(x_mix), y) + (1 - s) CE(f(x_mix), y[partner])

A method states how it draws the map (`Method.maps`). Pairing, the probability `prob`, label weights, blending and
checks are written once, for all methods. Weights always belong to the *own* image, the one at the same index of the
batch: 1 keeps it, 0 takes its partner. In code the weight map w is `weight`, and the weight s of the own label, the papers'
lambda, is `share`.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from smix.errors import DataError, OptionError
from smix.mixing.checks import check_choice, check_generator, check_images, check_masks, check_options, check_valid
from smix.mixing.move import Move
from smix.mixing.plan import Plan, Target, keep_own, select_move
from smix.mixing.share import LabelRule, label_share
from smix.reprs import short_repr

MaskTensor = Shaped[Tensor, "B *S"] | Shaped[Tensor, "B 1 *S"]


@dataclass(frozen=True, eq=False)
class MixBatch:
    """Input from which a method draws a plan: images, masks, partners and the source of random numbers.

    `draws` is the number of independent draws: B, or 1 for a single draw that the whole batch shares.
    """

    x: Float[Tensor, "B C *S"]
    masks: Float[Tensor, "B 1 *S"] | None
    valid: Bool[Tensor, "B"] | None
    partner: Int[Tensor, "B"]
    generator: torch.Generator | None
    draws: int
    __repr__ = short_repr()

    @property
    def size(self) -> tuple[int, ...]:
        """Spatial size S of the images, in pixels."""
        return tuple(self.x.shape[2:])

    def per_draw(self, values: Float[Tensor, "n"]) -> Float[Tensor, "n 1 *one"]:
        """Return one value per draw, shaped to broadcast over a map."""
        return values.view(-1, 1, *[1] * len(self.size))

    def uniform(self, *shape: int) -> Float[Tensor, "..."]:
        """Return independent uniform draws from [0, 1), float32, of shape (draws, *shape)."""
        return torch.rand(self.draws, *shape, device=self.x.device, **generator_option(self.generator))

    def beta(self, a: float, b: float) -> Float[Tensor, "n"]:
        """Return one draw from Beta(a, b) per draw of the batch.

        They are sigmoid(log g_a - log g_b), with log g_a = log Gamma(a + 1) + log(U) / a: a ratio of two float32 gamma draws
        would underflow to 0 / 0 for a below 0.05.
        """
        if a == b == 1:
            return self.uniform()
        shape = torch.full((2, self.draws), a, device=self.x.device)
        if a != b:
            shape[1].fill_(b)  # `shape[1] = b` would make a tensor on the CPU first
        uniform = torch.rand(2, self.draws, device=self.x.device, **generator_option(self.generator))
        log_gamma = torch._standard_gamma(shape + 1, generator=self.generator).log() + (1 - uniform).log() / shape
        return torch.sigmoid(log_gamma[0] - log_gamma[1])


@dataclass(frozen=True, kw_only=True, repr=False)
class Method:
    """Base class of the mixing methods: frozen dataclasses whose fields are the options of a method.

    A subclass defines `maps` and, if it has options, `check`.

    Args:
        prob: Probability that a sample is mixed at all, in [0, 1].
        per_batch: Draw once for the whole batch, as the code of most papers does, instead of once per sample.

    Raises:
        OptionError: An option has a wrong type or is out of its range.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True, repr=False)
    ... class TopHalf(smix.Method):
    ...     def maps(self, batch):
    ...         weight = torch.zeros(1, 1, *batch.size)
    ...         weight[:, :, : batch.size[0] // 2] = 1.0
    ...         return weight
    >>> generator = torch.Generator().manual_seed(0)
    >>> mixed, target = TopHalf()(torch.zeros(4, 3, 8, 8), torch.arange(4), generator=generator)
    >>> target.share[target.mixed].unique()
    tensor([0.5000])
    """

    prob: float = 1.0
    per_batch: bool = False

    def __post_init__(self) -> None:
        check_options(self)
        if not 0 <= self.prob <= 1:
            raise OptionError(f"prob: expected a probability in [0, 1], got {self.prob}")
        if not isinstance(self.per_batch, bool):
            raise OptionError(f"per_batch: expected True or False, got {self.per_batch!r}")
        self.check()

    def check(self) -> None:
        """Raise OptionError if an option of this method is out of its range."""

    @property
    def needs_masks(self) -> bool:
        """True if `masks=` is required."""
        return False

    @property
    def label_rule(self) -> LabelRule:
        """Rule for the weight of the own label; see `label_share`."""
        return "area"

    def __call__(
        self,
        x: Float[Tensor, "B C *S"],
        y: Int[Tensor, "B"] | Float[Tensor, "B K"],
        *,
        masks: MaskTensor | None = None,
        valid: Bool[Tensor, "B"] | None = None,
        generator: torch.Generator | None = None,
        out: Float[Tensor, "B C *S"] | None = None,
    ) -> tuple[Float[Tensor, "B C *S"], Target]:
        """Mix a batch of images and their labels.

        This calls `plan`, `Plan.blend` and `Plan.target`, which describe the arguments in detail.

        Args:
            x: Images.
            y: Class numbers, or rows of class weights.
            masks: Object masks.
            valid: True for masks that may be used.
            generator: Source of all random numbers.
            out: Buffer for the mixed images.

        Returns:
            The mixed images, in the type and memory format of x, and their labels.

        Raises:
            DataError: The shape, type, device or values of an argument do not fit.
        """
        plan = self.plan(x, masks=masks, valid=valid, generator=generator)
        return plan.blend(x, out), plan.target(y)

    def plan(
        self,
        x: Float[Tensor, "B C *S"],
        *,
        masks: MaskTensor | None = None,
        valid: Bool[Tensor, "B"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Plan:
        """Draw a plan for mixing a batch.

        Args:
            x: Images with 1, 2 or 3 spatial dimensions, floating point.
            masks: Object of each image, (B, 1, *S) or (B, *S): bool, uint8 of 0 and 1, or float in [0, 1].
            valid: True for masks that may be used, such as the verdicts of a mask store. Only `Fallback` reads it; other methods
                use every mask. Default: all masks.
            generator: Source of all random numbers, on the device of x. Default: torch's global generator.

        Returns:
            The plan, on the device of x.

        Raises:
            DataError: The shape, type, device or values of an argument do not fit.
        """
        check_images(x)
        check_generator(generator, x.device)
        if masks is None and self.needs_masks:
            raise DataError(
                f"{self!r}: this method needs the object mask of each image; pass masks=, for example from a MaskStore"
            )
        masks = None if masks is None else check_masks(masks, x)
        if valid is not None:
            check_valid(valid, x)
        partner = torch.randperm(len(x), device=x.device, **generator_option(generator))
        batch = MixBatch(x, masks, valid, partner, generator, len(x))
        return self.plan_pairs(batch) if len(x) else unmixed(batch)  # Fourier transforms refuse an empty batch

    def plan_pairs(self, batch: MixBatch) -> Plan:
        """Return the plan for partners that are already drawn. Each sample is mixed with probability `prob`."""
        if self.per_batch:
            batch = replace(batch, draws=1)
        plan = self.draw(batch)
        if self.prob < 1:
            plan = plan.gated((batch.uniform() < self.prob).expand(len(batch.x)))
        return plan

    def draw(self, batch: MixBatch) -> Plan:
        """Return the plan before `prob` is applied: every sample is mixed with its partner, unless it is its own partner."""
        return self.plan_maps(batch, self.maps(batch))

    def maps(self, batch: MixBatch) -> Float[Tensor, "n 1 *S"]:
        """Return the weight maps of the own images, in new memory: one per draw. Axes may have length 1."""
        raise NotImplementedError(f"{type(self).__name__} must define `maps` or `draw`")

    def plan_maps(
        self,
        batch: MixBatch,
        weight: Float[Tensor, "n 1 *S"],
        own_move: Move | None = None,
        partner_move: Move | None = None,
    ) -> Plan:
        """Return the plan for these maps and moves, with the label weights that follow from them."""
        own_memory = len(weight) == len(batch.x) and not weight.requires_grad
        weight = weight.expand(len(batch.x), *weight.shape[1:])
        share = label_share(self.label_rule, weight, batch.masks, batch.partner, own_move, partner_move)
        paired = batch.partner != torch.arange(len(batch.x), device=batch.x.device)
        return Plan(
            batch.partner,
            # In place: this needs one map less of memory and, at 64 pixels, a fifth of the time.
            keep_own(~paired, weight, out=weight if own_memory else None),
            torch.where(paired, share, 1.0),
            mixed=paired,
            fell_back=torch.zeros_like(paired),
            own_move=select_move(paired, own_move, None),
            partner_move=partner_move,
        )

    def __repr__(self) -> str:
        common = [field.name for field in fields(Method)]
        names = sorted((field.name for field in fields(self)), key=lambda name: (name in common, name == "labels"))
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"


@dataclass(frozen=True, kw_only=True, repr=False)
class MapMethod(Method):
    """Base class of methods whose weights differ between pixels, so that labels may follow the objects.

    Args:
        labels: Rule for the weight of the own label: `area` (mean of the map) or `visible` (visible part of each object; needs
            masks). See `label_share`.
    """

    labels: LabelRule = "area"

    LABEL_RULES: ClassVar[tuple[str, ...]] = ("area", "visible")

    def __post_init__(self) -> None:
        check_choice(self, "labels", self.LABEL_RULES)
        super().__post_init__()

    @property
    def needs_masks(self) -> bool:
        return self.labels == "visible"

    @property
    def label_rule(self) -> LabelRule:
        return self.labels


def unmixed(batch: MixBatch) -> Plan:
    """Return the plan that leaves every image and label of a batch as it is."""
    itself = torch.arange(len(batch.x), device=batch.x.device)
    ones = torch.ones(len(batch.x), device=batch.x.device)
    nowhere = torch.zeros_like(itself, dtype=torch.bool)
    return Plan(itself, batch.per_draw(ones), ones, mixed=nowhere, fell_back=nowhere)


def generator_option(generator: torch.Generator | None) -> dict[str, Any]:
    """Return `generator=` as a keyword argument of torch's samplers, or none.

    With an explicit None, torch.compile would compile a graph for every batch size.
    """
    return {} if generator is None else {"generator": generator}


MIN_ALPHA, MAX_ALPHA = 1e-30, 1e30
"""Range of the parameters of a Beta distribution. At the lower bound the distribution is practically a fair coin, at the upper one
constant; within the range float32 does not overflow."""


def check_alpha(method: str, alpha: float) -> None:
    """Raise OptionError unless alpha can be a parameter of a Beta distribution."""
    if not MIN_ALPHA <= alpha <= MAX_ALPHA:
        raise OptionError(f"{method}: expected alpha from {MIN_ALPHA:g} to {MAX_ALPHA:g}, got {alpha}")
