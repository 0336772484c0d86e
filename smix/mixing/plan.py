"""Plan and Target: how a batch is mixed, and the labels that follow from it."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smix.errors import OptionError
from smix.mixing.checks import check_blend, check_class_weight, check_classes, check_labels, check_out
from smix.mixing.move import Move, apply_move, no_move, resample
from smix.mixing.tensors import Tensors, batch_slices, per_sample
from smix.reprs import short_repr


@dataclass(frozen=True, eq=False)
class Target(Tensors):
    """Labels of a mixed batch: weight `share` for `y`, 1 - `share` for `y_partner`. A slice is the target of a micro-batch.

    >>> x, y = torch.zeros(4, 3, 8, 8), torch.tensor([0, 1, 2, 2])
    >>> mixed, target = smix.Mixup()(x, y, generator=torch.Generator().manual_seed(0))
    >>> target.soft(num_classes=3).sum(1)
    tensor([1., 1., 1., 1.])
    >>> logits = torch.zeros(4, 3)  # model(mixed)
    >>> target.loss(logits)  # log 3
    tensor(1.0986)
    >>> len(target[:2])
    2
    """

    y: Int[Tensor, "B"] | Float[Tensor, "B K"]
    """Own labels: class numbers, or rows of class weights."""
    y_partner: Int[Tensor, "B"] | Float[Tensor, "B K"]
    """Labels of the partners."""
    share: Float[Tensor, "B"]
    """Weight of the own label, the papers' lambda, in [0, 1]."""
    mixed: Bool[Tensor, "B"]
    """True for mixed samples; see `Plan.mixed`."""
    fell_back: Bool[Tensor, "B"]
    """True where `Fallback` used its second method."""
    __repr__ = short_repr("target.loss(logits), target.soft(num_classes), target.accuracy(logits)")

    def __len__(self) -> int:
        return len(self.share)

    def __getitem__(self, rows: slice | Tensor) -> "Target":
        return self.map(lambda tensor: tensor[rows])

    def loss(
        self,
        logits: Float[Tensor, "B K"],
        kind: Literal["ce", "bce"] = "ce",
        label_smoothing: float = 0.0,
        reduction: Literal["mean", "sum", "none"] = "mean",
        class_weight: Float[Tensor, "K"] | None = None,
    ) -> Float[Tensor, "*B"]:
        """Return `share` CE(logits, y) + (1 - share) CE(logits, y_partner), in nats.

        Args:
            logits: One row per sample, one column per class.
            kind: `ce`: cross-entropy. `bce`: mean over the classes of the binary cross-entropies against `soft(K)`, for labels of
                several classes.
            label_smoothing: Fraction of each label that is distributed evenly over the classes, in [0, 1].
            reduction: Reduction over the batch, as in torch.nn.functional.cross_entropy.
            class_weight: Weight of each class in the cross-entropy, for class numbers. The mean is over the weights, each label
                counted by its share. Not supported for rows of class weights, whose loss torch normalises differently.

        Returns:
            A scalar, or with `reduction="none"` one loss per sample.

        Raises:
            OptionError: An option is out of its range.
            DataError: The shapes of logits, labels and class weights do not fit.
        """
        if kind not in ("ce", "bce") or reduction not in ("mean", "sum", "none"):
            raise OptionError(
                'loss: expected kind "ce" or "bce" and reduction "mean", "sum" or "none", '
                f'got "{kind}" and "{reduction}"'
            )
        if not 0 <= label_smoothing <= 1:
            raise OptionError(f"loss: expected label_smoothing in [0, 1], got {label_smoothing}")
        check_classes(self.y, len(self), logits.shape)
        if class_weight is not None:
            check_class_weight(class_weight, kind, self.y, logits.shape[1])
        if kind == "bce":
            soft = self.soft(logits.shape[1])
            soft = soft * (1 - label_smoothing) + label_smoothing / logits.shape[1]
            losses = F.binary_cross_entropy_with_logits(logits, soft.to(logits.dtype), reduction="none").mean(1)
        else:
            own, other = (
                F.cross_entropy(
                    logits,
                    y if y.ndim == 1 else y.to(logits.dtype),
                    weight=None if class_weight is None else class_weight.to(logits.dtype),
                    reduction="none",
                    label_smoothing=label_smoothing,
                )
                for y in (self.y, self.y_partner)
            )
            losses = self.share * own + (1 - self.share) * other
        if reduction == "none":
            return losses
        if reduction == "sum":
            return losses.sum()
        if class_weight is None:
            return losses.mean()
        weights = self.share * class_weight[self.y] + (1 - self.share) * class_weight[self.y_partner]
        return losses.sum() / weights.sum()

    def soft(self, num_classes: int) -> Float[Tensor, "B K"]:
        """Return rows of class weights, for other loss functions. They sum to 1 if those of y do.

        Args:
            num_classes: Number of classes K.

        Raises:
            DataError: A class number is not below `num_classes`, or the rows of y have a different length.
        """
        check_classes(self.y, len(self), (len(self), num_classes))
        if self.y.ndim == 2:
            return torch.lerp(self.y_partner, self.y, self.share[:, None].to(self.y.dtype))
        rows = torch.zeros(len(self), num_classes, device=self.share.device)
        rows = rows.scatter_add(1, self.y[:, None], self.share[:, None])
        return rows.scatter_add(1, self.y_partner[:, None], 1 - self.share[:, None])

    def accuracy(self, logits: Float[Tensor, "B K"]) -> Float[Tensor, ""]:
        """Return the mean label weight of the predicted classes, in [0, 1].

        Args:
            logits: One row per sample, one column per class.

        Raises:
            DataError: The shapes of logits and labels do not fit.
        """
        check_classes(self.y, len(self), logits.shape)
        predicted = logits.argmax(1)
        if self.y.ndim == 2:
            return self.soft(logits.shape[1]).gather(1, predicted[:, None]).mean()
        return (self.share * (self.y == predicted) + (1 - self.share) * (self.y_partner == predicted)).mean()


@dataclass(frozen=True, eq=False)
class Plan(Tensors):
    """Mix that was drawn for each sample of a batch. An unmixed sample is its own partner, with weight 1 and share 1.

    >>> x = torch.zeros(4, 3, 8, 8)
    >>> plan = smix.CutMix().plan(x, generator=torch.Generator().manual_seed(0))
    >>> plan.weight.shape, plan.partner.shape
    (torch.Size([4, 1, 8, 8]), torch.Size([4]))
    >>> mixed, target = plan.blend(x), plan.target(torch.arange(4))
    >>> torch.equal(target.share, plan.weight.mean((1, 2, 3)))
    True
    """

    partner: Int[Tensor, "B"]
    """Index of the partner in the batch."""
    weight: Float[Tensor, "B 1 *S"]
    """Weight map of the own image, in [0, 1]. An axis of length 1 has the same weight everywhere."""
    share: Float[Tensor, "B"]
    """Weight of the own label, the papers' lambda, in [0, 1]."""
    mixed: Bool[Tensor, "B"]
    """True for samples that are mixed with another sample (or with zeros: see `fill`)."""
    fell_back: Bool[Tensor, "B"]
    """True where `Fallback` used its second method."""
    own_move: Move | None = None
    """Move of the own images before they are mixed. None: they are not moved."""
    partner_move: Move | None = None
    """Move of the partners' images before they are mixed. None: they are not moved."""
    fill: Bool[Tensor, "B"] | None = None
    """True where zeros, the mean of normalised images, replace a partner. None: for no sample."""
    __repr__ = short_repr("plan.blend(x), plan.target(y)")

    def blend(self, x: Float[Tensor, "B C *S"], out: Float[Tensor, "B C *S"] | None = None) -> Float[Tensor, "B C *S"]:
        """Return w x + (1 - w) x[partner], in the type and memory format of x; x is not changed.

        Args:
            x: The images that the plan was drawn for, or other images with the same number and size. Maps of a single weight,
                such as those of `Mixup`, fit any size, so that hidden layers can be mixed, too.
            out: Buffer like x to write to and return. At 224 pixels on a CPU, allocating memory takes longer than mixing.

        Raises:
            DataError: The images or the buffer do not fit the plan.
        """
        check_blend(x, self.weight)
        if out is not None:
            check_out(out, x)
        mixed = self._partners(x, out)
        if self.fill is not None:
            mixed = mixed.masked_fill_(per_sample(self.fill, mixed), 0.0)
        weight = self.weight.to(x.dtype)
        if self.own_move is None:
            return mixed.lerp_(x, weight)
        for part in batch_slices(len(x), x[0:1].numel(), x.device):
            mixed[part].lerp_(resample(x[part], self.own_move[part]), weight[part])
        return mixed

    def _partners(self, x: Tensor, out: Tensor | None) -> Tensor:
        """Return the partners' images in a tensor that the caller may overwrite."""
        if self.partner_move is not None:
            images = apply_move(x, self.partner_move, self.partner)
            return images if out is None else out.copy_(images)
        if torch.is_grad_enabled() and x.requires_grad:
            return x[self.partner]
        # Three times faster than x[partner], and it keeps the memory format.
        return torch.index_select(x, 0, self.partner, out=torch.empty_like(x) if out is None else out)

    def target(self, y: Int[Tensor, "B"] | Float[Tensor, "B K"]) -> Target:
        """Return the labels of the mixed batch.

        Args:
            y: Class numbers, or one row of class weights per sample.

        Raises:
            DataError: The number, type, device or values of the labels do not fit this batch.
        """
        check_labels(y, len(self.partner), self.partner.device)
        return Target(y, y[self.partner], self.share, self.mixed, self.fell_back)

    def where(self, chosen: Bool[Tensor, "B"], other: "Plan") -> "Plan":
        """Return this plan where `chosen` is True and the other elsewhere, like torch.where."""
        return Plan(
            torch.where(chosen, self.partner, other.partner),
            torch.lerp(other.weight, self.weight, per_sample(chosen, self.weight).float()),  # exact for 0 and 1
            torch.where(chosen, self.share, other.share),
            torch.where(chosen, self.mixed, other.mixed),
            torch.where(chosen, self.fell_back, other.fell_back),
            select_move(chosen, self.own_move, other.own_move),
            select_move(chosen, self.partner_move, other.partner_move),
            _select_fill(chosen, self.fill, other.fill),
        )

    def gated(self, gate: Bool[Tensor, "B"]) -> "Plan":
        """Return this plan where `gate` is True, and leave the other samples unmixed."""
        itself = torch.arange(len(gate), device=gate.device)
        return Plan(
            torch.where(gate, self.partner, itself),
            keep_own(~gate, self.weight),
            torch.where(gate, self.share, 1.0),
            self.mixed & gate,
            self.fell_back & gate,
            select_move(gate, self.own_move, None),
            select_move(gate, self.partner_move, None),
            None if self.fill is None else self.fill & gate,
        )


def keep_own(
    kept: Bool[Tensor, "B"], weight: Float[Tensor, "B 1 *S"], out: Float[Tensor, "B 1 *S"] | None = None
) -> Float[Tensor, "B 1 *S"]:
    """Return the weight maps, with 1 in samples that are kept unmixed; three times faster than torch.where."""
    return torch.maximum(weight, per_sample(kept, weight).float(), out=out)


def select_move(chosen: Bool[Tensor, "B"], first: Move | None, second: Move | None) -> Move | None:
    """Return `first` where `chosen` is True and `second` elsewhere, like torch.where; None leaves images in place."""
    either = first or second
    if either is None:
        return None
    count, axes = either.scale.shape
    in_place = no_move(count, axes, chosen.device)
    return (first or in_place).where(chosen, second or in_place)


def _select_fill(chosen: Tensor, first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None and second is None:
        return None
    nowhere = torch.zeros_like(chosen)
    return torch.where(chosen, nowhere if first is None else first, nowhere if second is None else second)


torch.export.register_dataclass(Target)
torch.export.register_dataclass(Plan)
