"""A mix is a plan: for each sample a partner, a weight map over its pixels, and the share of its own label.

    x_mix = w x + (1 - w) x[partner]        loss = s CE(f(x_mix), y) + (1 - s) CE(f(x_mix), y[partner])

A method states one thing: how it draws the map (`Method.weights`). Pairing, the gate `prob`, label shares, blending and
checks are here, once, for all. Weights and shares are always those of the *own* image: 1 keeps it, 0 takes the partner's.
"""

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, TypeVar, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from smix.errors import DataError, OptionError

Labels = Literal["area", "half", "coverage"]
Masks = Shaped[Tensor, "B *S"] | Shaped[Tensor, "B 1 *S"]

# Not typing.Self: beartype, which checks the shapes in the tests, refuses it on single methods.
_T = TypeVar("_T", bound="_Tensors")


class _Tensors:
    """What a frozen dataclass of tensors can do: move, pin and be sliced."""

    def _each(self: _T, change: Any) -> _T:
        return type(self)(*(change(getattr(self, field.name)) for field in fields(cast(Any, self))))

    def to(self: _T, device: torch.device | str) -> _T:
        return self._each(lambda tensor: tensor.to(device))

    def pin_memory(self: _T) -> _T:
        return self._each(lambda tensor: tensor.pin_memory())


@dataclass(frozen=True, eq=False)
class Target(_Tensors):
    """The labels of a mixed batch: `share` of `y`, the rest of `y_partner`. Slices are targets of micro-batches."""

    y: Int[Tensor, "B"] | Float[Tensor, "B K"]
    y_partner: Int[Tensor, "B"] | Float[Tensor, "B K"]
    share: Float[Tensor, "B"]
    mixed: Bool[Tensor, "B"]
    fell_back: Bool[Tensor, "B"]

    def __len__(self) -> int:
        return len(self.share)

    def __getitem__(self, rows: slice | Tensor) -> "Target":
        return self._each(lambda tensor: tensor[rows])

    def loss(
        self,
        logits: Float[Tensor, "B K"],
        kind: Literal["ce", "bce"] = "ce",
        label_smoothing: float = 0.0,
        reduction: Literal["mean", "sum", "none"] = "mean",
    ) -> Float[Tensor, "*B"]:
        """`share` CE(logits, y) + (1 - share) CE(logits, y_partner); `bce` is the mean over the classes of the binary
        cross-entropies against `soft(K)`."""
        if kind not in ("ce", "bce") or reduction not in ("mean", "sum", "none"):
            raise OptionError(
                'loss: expected kind "ce" or "bce" and reduction "mean", "sum" or "none", '
                f'got "{kind}" and "{reduction}"'
            )
        if kind == "bce":
            soft = self.soft(logits.shape[1])
            soft = soft * (1 - label_smoothing) + label_smoothing / logits.shape[1]
            each = F.binary_cross_entropy_with_logits(logits, soft.to(logits.dtype), reduction="none").mean(1)
        else:
            own, other = (
                F.cross_entropy(
                    logits, y if y.ndim == 1 else y.to(logits.dtype), reduction="none", label_smoothing=label_smoothing
                )
                for y in (self.y, self.y_partner)
            )
            each = self.share * own + (1 - self.share) * other
        return each if reduction == "none" else each.mean() if reduction == "mean" else each.sum()

    def soft(self, num_classes: int) -> Float[Tensor, "B K"]:
        """The label weights as rows over the classes; they sum to 1 if those of y do."""
        if self.y.ndim == 2:
            return torch.lerp(self.y_partner, self.y, self.share[:, None].to(self.y.dtype))
        rows = torch.zeros(len(self), num_classes, device=self.share.device)
        rows = rows.scatter_add(1, self.y[:, None], self.share[:, None])
        return rows.scatter_add(1, self.y_partner[:, None], 1 - self.share[:, None])

    def accuracy(self, logits: Float[Tensor, "B K"]) -> Float[Tensor, ""]:
        """Mean over the batch of the label share that the predicted class has, in [0, 1]."""
        guess = logits.argmax(1, keepdim=True)
        return self.soft(logits.shape[1]).gather(1, guess).mean()


@dataclass(frozen=True, eq=False)
class Plan(_Tensors):
    """How each sample of a batch is mixed. An unmixed sample has itself as partner, weight 1 and share 1."""

    partner: Int[Tensor, "B"]
    weight: Float[Tensor, "B 1 *S"]
    """In [0, 1]; every spatial axis may be 1: one weight for the whole axis."""
    share: Float[Tensor, "B"]
    mixed: Bool[Tensor, "B"]
    """The gate was open and the partner is another sample."""
    fell_back: Bool[Tensor, "B"]
    """`Fallback` used its second method."""

    def blend(self, x: Float[Tensor, "B C *S"]) -> Float[Tensor, "B C *S"]:
        """w x + (1 - w) x[partner], in the type and memory format of x; x is not changed."""
        if len(x) != len(self.partner):
            raise DataError(f"blend: expected the {len(self.partner)} images of this plan, got {len(x)}")
        return torch.lerp(x[self.partner], x, self.weight.to(x.dtype))

    def target(self, y: Int[Tensor, "B"] | Float[Tensor, "B K"]) -> Target:
        """The labels of the mixed batch. y: class numbers, or one row of class weights a sample."""
        _check_labels(y, len(self.partner), self.partner.device)
        return Target(y, y[self.partner], self.share, self.mixed, self.fell_back)

    def where(self, chosen: Bool[Tensor, "B"], other: "Plan") -> "Plan":
        """This plan where `chosen`, the other elsewhere."""

        def pick(mine: Tensor, theirs: Tensor) -> Tensor:
            return torch.where(chosen.view(-1, *[1] * (mine.ndim - 1)), mine, theirs)

        return Plan(*(pick(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)))


torch.export.register_dataclass(Target)
torch.export.register_dataclass(Plan)


@dataclass(frozen=True, eq=False)
class Batch:
    """What a method may look at while it draws: the images, their object masks, who is paired with whom, and the
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

        def log_gamma_draw(shape: float) -> Tensor:
            full = torch.full((self.draws,), shape + 1.0, device=self.x.device)
            return torch._standard_gamma(full, generator=self.generator).log() + (1 - self.uniform()).log() / shape

        return torch.sigmoid(log_gamma_draw(a) - log_gamma_draw(b))


@dataclass(frozen=True, kw_only=True, repr=False)
class Method:
    """A mixing method. Subclasses are frozen dataclasses of numbers that say how to draw weight maps.

    Args:
        prob: Probability that a sample is mixed at all.
        per_batch: One draw for the whole batch, as most papers' code does, instead of one a sample.
    """

    needs_masks: ClassVar[bool] = False

    prob: float = 1.0
    per_batch: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.prob <= 1:
            raise OptionError(f"prob: expected a probability in [0, 1], got {self.prob}")
        if not isinstance(self.per_batch, bool):
            raise OptionError(f"per_batch: expected True or False, got {self.per_batch!r}")
        self.check()

    def check(self) -> None:
        """Raises OptionError where a number of this method is out of its range."""

    def __call__(
        self,
        x: Float[Tensor, "B C *S"],
        y: Int[Tensor, "B"] | Float[Tensor, "B K"],
        *,
        masks: Masks | None = None,
        valid: Bool[Tensor, "B"] | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Float[Tensor, "B C *S"], Target]:
        """Mix a batch. The arguments are those of `plan`, and y: class numbers or rows of class weights.

        Returns:
            The mixed images, in the type and memory format of x, and their labels.
        """
        plan = self.plan(x, masks=masks, valid=valid, generator=generator)
        return plan.blend(x), plan.target(y)

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
            valid: Masks that may be used, say of a store; None: all.
            generator: On the device of x. None: torch's global one.

        Raises:
            DataError: shapes, types, devices or values that do not fit.
        """
        _check_images(x)
        if generator is not None and generator.device.type != x.device.type:
            raise DataError(
                f"generator: expected one on {x.device}, got one on {generator.device}; make it with torch.Generator({x.device.type!r})"
            )
        if masks is None and self.needs_masks:
            raise DataError(
                f"{self!r}: expected masks=, the object of each image, got None; load them from a MaskStore"
            )
        masks = None if masks is None else _checked_masks(masks, x)
        if valid is not None and (valid.shape != x.shape[:1] or valid.dtype != torch.bool or valid.device != x.device):
            raise DataError(
                f"valid: expected a bool tensor of shape {tuple(x.shape[:1])} on {x.device}, "
                f"got {valid.dtype} of shape {tuple(valid.shape)} on {valid.device}"
            )
        partner = torch.randperm(len(x), device=x.device, **drawn_from(generator))
        return self.pair(Batch(x, masks, valid, partner, generator, len(x)))

    def pair(self, batch: Batch) -> Plan:
        """The plan of this method for partners that are drawn already."""
        if self.per_batch:
            batch = Batch(batch.x, batch.masks, batch.valid, batch.partner, batch.generator, draws=1)
        plan = self.draw(batch)
        gate = batch.partner != torch.arange(len(batch.x), device=batch.x.device)
        if self.prob < 1:
            gate = gate & (batch.uniform() < self.prob)
        return plan.where(gate, unmixed(batch.x))

    def draw(self, batch: Batch) -> Plan:
        """The plan before the gate: every sample mixed with its partner."""
        weight = self.weights(batch)
        weight = weight.expand(len(batch.x), *weight.shape[1:])
        share = label_share(getattr(self, "labels", "area"), weight, batch.masks)
        yes = torch.ones_like(batch.partner, dtype=torch.bool)
        return Plan(batch.partner, weight, share, mixed=yes, fell_back=~yes)

    def weights(self, batch: Batch) -> Float[Tensor, "n 1 *S"]:
        """The weight maps of the own images: one a sample, or a single one for all; axes may be 1."""
        raise AssertionError(f"{type(self).__name__} states no weights")

    def __repr__(self) -> str:
        ordered = sorted(fields(self), key=lambda field: bool(field.kw_only))
        return f"{type(self).__name__}({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in ordered)})"


def drawn_from(generator: torch.Generator | None) -> dict[str, Any]:
    """The keyword of torch's samplers. Left out where None: spelt out, torch.compile makes a graph for every batch size."""
    return {} if generator is None else {"generator": generator}


def unmixed(x: Float[Tensor, "B C *S"]) -> Plan:
    """The plan that changes nothing."""
    itself = torch.arange(len(x), device=x.device)
    share = torch.ones(len(x), device=x.device)
    no = torch.zeros_like(itself, dtype=torch.bool)
    return Plan(itself, share.view(-1, 1, *[1] * (x.ndim - 2)), share, mixed=no, fell_back=no)


def label_share(
    rule: Labels, weight: Float[Tensor, "B 1 *T"], masks: Float[Tensor, "B 1 *S"] | None
) -> Float[Tensor, "B"]:
    """The share of the own label.

    area: what the own image contributes to the mix, mean of the map. half: 1/2 (the report's eq. 3). coverage: how much
    of the own image is object, mean of the mask (its eq. 11).
    """
    if rule == "area":
        return weight.flatten(1).mean(1)
    if rule == "coverage":
        assert masks is not None
        return masks.flatten(1).mean(1)
    return torch.full((len(weight),), 0.5, device=weight.device)


def _looks_at_values(x: Tensor) -> bool:
    """On the CPU values are checked too. On a GPU that would wait for the device, and a compiled graph would break."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def _check_images(x: Tensor) -> None:
    if not 3 <= x.ndim <= 5:
        raise DataError(
            f"x: expected (B, C, *S) with 1, 2 or 3 spatial dimensions, got shape {tuple(x.shape)}; a single image needs x[None]"
        )
    if not x.is_floating_point():
        raise DataError(f"x: expected floating-point images, got {x.dtype}; convert and normalise them first")
    if _looks_at_values(x) and not x.sum(dtype=torch.float32).isfinite():
        raise DataError("x: expected finite pixels, got NaN or infinity; look at the images before mixing")


def _checked_masks(masks: Tensor, x: Tensor) -> Tensor:
    """As float32 (B, 1, *S)."""
    batch, size = x.shape[:1], x.shape[2:]
    if masks.shape not in ((*batch, 1, *size), (*batch, *size)):
        raise DataError(
            f"masks: expected shape {(*batch, 1, *size)} or {(*batch, *size)} for images {tuple(x.shape)}, got {tuple(masks.shape)}"
        )
    if masks.device != x.device:
        raise DataError(f"masks: expected them on {x.device} like the images, got {masks.device}")
    if not (masks.dtype in (torch.bool, torch.uint8) or masks.is_floating_point()):
        raise DataError(f"masks: expected bool, uint8 or floating point, got {masks.dtype}")
    if masks.dtype != torch.bool and _looks_at_values(x) and masks.numel():
        low, high = masks.aminmax()
        if not (low >= 0 and high <= 1):
            raise DataError(
                f"masks: expected values in [0, 1], got {low:g} to {high:g}; divide by 255 if they are pictures"
            )
    return masks.reshape(*batch, 1, *size).float()


def _check_labels(y: Tensor, count: int, device: torch.device) -> None:
    if y.ndim not in (1, 2) or len(y) != count:
        raise DataError(f"y: expected {count} labels, shape ({count},) or ({count}, K), got shape {tuple(y.shape)}")
    if (y.ndim == 1) == y.is_floating_point() or (y.ndim == 1 and y.dtype != torch.int64):
        raise DataError(
            f"y: expected int64 class numbers (B,) or floating-point rows (B, K), got {y.dtype} of shape {tuple(y.shape)}"
        )
    if y.ndim == 1 and _looks_at_values(y) and y.numel() and (least := y.min()) < 0:
        raise DataError(f"y: expected class numbers from 0, got {least}; leave out images without a label")
    if y.device != device:
        raise DataError(f"y: expected it on {device} like the images, got {y.device}")
