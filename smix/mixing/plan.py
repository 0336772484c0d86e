"""Plan and Target: how a batch is mixed, and the labels that follow from it."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smix.errors import OptionError
from smix.mixing.checks import check_blend, check_class_weight, check_classes, check_labels, check_out
from smix.mixing.move import Move, moved, resample, stay
from smix.mixing.tensors import Tensors, parts, per_sample


@dataclass(frozen=True, eq=False)
class Target(Tensors):
    """The labels of a mixed batch: `share` of `y`, the rest of `y_partner`. Slices are targets of micro-batches."""

    y: Int[Tensor, "B"] | Float[Tensor, "B K"]
    y_partner: Int[Tensor, "B"] | Float[Tensor, "B K"]
    share: Float[Tensor, "B"]
    mixed: Bool[Tensor, "B"]
    fell_back: Bool[Tensor, "B"]

    def __len__(self) -> int:
        return len(self.share)

    def __getitem__(self, rows: slice | Tensor) -> "Target":
        return self.each(lambda tensor: tensor[rows])

    def loss(
        self,
        logits: Float[Tensor, "B K"],
        kind: Literal["ce", "bce"] = "ce",
        label_smoothing: float = 0.0,
        reduction: Literal["mean", "sum", "none"] = "mean",
        class_weight: Float[Tensor, "K"] | None = None,
    ) -> Float[Tensor, "*B"]:
        """`share` CE(logits, y) + (1 - share) CE(logits, y_partner); `bce` is the mean over the classes of the binary
        cross-entropies against `soft(K)`.

        Args:
            logits: One row a sample, one column a class.
            kind: Cross-entropy, or binary cross-entropy of every class (labels of several classes).
            label_smoothing: In [0, 1]: this much of each label is spread evenly over the classes.
            reduction: As in torch.nn.functional.cross_entropy.
            class_weight: Weight of each class in the cross-entropy, for class numbers; the mean is over the weights, each
                label counted by its share. torch divides by other numbers for numbers than for rows, so rows are refused.
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
            each = F.binary_cross_entropy_with_logits(logits, soft.to(logits.dtype), reduction="none").mean(1)
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
            each = self.share * own + (1 - self.share) * other
        if reduction == "none":
            return each
        if reduction == "sum":
            return each.sum()
        if class_weight is None:
            return each.mean()
        return each.sum() / (self.share * class_weight[self.y] + (1 - self.share) * class_weight[self.y_partner]).sum()

    def soft(self, num_classes: int) -> Float[Tensor, "B K"]:
        """The label weights as rows over the classes; they sum to 1 if those of y do.

        Raises:
            DataError: a class number that is not below `num_classes`, or rows of another length.
        """
        check_classes(self.y, len(self), (len(self), num_classes))
        if self.y.ndim == 2:
            return torch.lerp(self.y_partner, self.y, self.share[:, None].to(self.y.dtype))
        rows = torch.zeros(len(self), num_classes, device=self.share.device)
        rows = rows.scatter_add(1, self.y[:, None], self.share[:, None])
        return rows.scatter_add(1, self.y_partner[:, None], 1 - self.share[:, None])

    def accuracy(self, logits: Float[Tensor, "B K"]) -> Float[Tensor, ""]:
        """Mean over the batch of the label share that the predicted class has, in [0, 1]."""
        check_classes(self.y, len(self), logits.shape)
        guess = logits.argmax(1)
        if self.y.ndim == 2:
            return self.soft(logits.shape[1]).gather(1, guess[:, None]).mean()
        return (self.share * (self.y == guess) + (1 - self.share) * (self.y_partner == guess)).mean()


@dataclass(frozen=True, eq=False)
class Plan(Tensors):
    """The mix of each sample of a batch. An unmixed sample has itself as partner, weight 1 and share 1."""

    partner: Int[Tensor, "B"]
    weight: Float[Tensor, "B 1 *S"]
    """Weight map of the own image in [0, 1]; every spatial axis may be 1: one weight for the whole axis."""
    share: Float[Tensor, "B"]
    mixed: Bool[Tensor, "B"]
    """The gate was open and the partner is another sample (or nothing, where `fill` is)."""
    fell_back: Bool[Tensor, "B"]
    """`Fallback` used its second method."""
    own_move: Move | None = None
    """Move of the own image before it is mixed; None: none."""
    partner_move: Move | None = None
    """Move of the partner's image before it is mixed."""
    fill: Bool[Tensor, "B"] | None = None
    """Zeros, the mean of normalised images, in place of a partner."""

    def blend(self, x: Float[Tensor, "B C *S"], out: Float[Tensor, "B C *S"] | None = None) -> Float[Tensor, "B C *S"]:
        """w x + (1 - w) x[partner], in the type and memory format of x; x is not changed.

        Args:
            x: The images that the plan was drawn for, or others of their number and size (of any size if the map is
                one number: hidden layers, say).
            out: A buffer like x to write to and return. At 224 pixels, on a CPU, fresh memory costs more than the mix.
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
        for part in parts(len(x), x[0:1].numel(), x.device):
            mixed[part].lerp_(resample(x[part], self.own_move[part]), weight[part])
        return mixed

    def _partners(self, x: Tensor, out: Tensor | None) -> Tensor:
        """The partners' images, in memory that may be written to."""
        if self.partner_move is not None:
            images = moved(x, self.partner_move, self.partner)
            return images if out is None else out.copy_(images)
        if torch.is_grad_enabled() and x.requires_grad:
            return x[self.partner]
        # Three times faster than x[partner], and it keeps the memory format.
        return torch.index_select(x, 0, self.partner, out=torch.empty_like(x) if out is None else out)

    def target(self, y: Int[Tensor, "B"] | Float[Tensor, "B K"]) -> Target:
        """The labels of the mixed batch. y: class numbers, or one row of class weights a sample."""
        check_labels(y, len(self.partner), self.partner.device)
        return Target(y, y[self.partner], self.share, self.mixed, self.fell_back)

    def where(self, chosen: Bool[Tensor, "B"], other: "Plan") -> "Plan":
        """This plan where `chosen`, the other elsewhere; what one of them has not is filled with what changes nothing."""
        return Plan(
            torch.where(chosen, self.partner, other.partner),
            torch.lerp(other.weight, self.weight, per_sample(chosen, self.weight).float()),  # exact for 0 and 1
            torch.where(chosen, self.share, other.share),
            torch.where(chosen, self.mixed, other.mixed),
            torch.where(chosen, self.fell_back, other.fell_back),
            where_moved(chosen, self.own_move, other.own_move),
            where_moved(chosen, self.partner_move, other.partner_move),
            _where_filled(chosen, self.fill, other.fill),
        )

    def only(self, gate: Bool[Tensor, "B"]) -> "Plan":
        """This plan where the gate is open, no mixing elsewhere."""
        itself = torch.arange(len(gate), device=gate.device)
        return Plan(
            torch.where(gate, self.partner, itself),
            opened(gate, self.weight),
            torch.where(gate, self.share, 1.0),
            self.mixed & gate,
            self.fell_back & gate,
            where_moved(gate, self.own_move, None),
            where_moved(gate, self.partner_move, None),
            None if self.fill is None else self.fill & gate,
        )


def opened(
    gate: Bool[Tensor, "B"], weight: Float[Tensor, "B 1 *S"], out: Float[Tensor, "B 1 *S"] | None = None
) -> Float[Tensor, "B 1 *S"]:
    """The weights where the gate is open, 1 elsewhere. (Three times faster than a broadcast `where`.)"""
    return torch.maximum(weight, per_sample(~gate, weight).float(), out=out)


def where_moved(chosen: Bool[Tensor, "B"], mine: Move | None, other: Move | None) -> Move | None:
    """One move where `chosen`, the other elsewhere; None stays where it is."""
    if mine is None and other is None:
        return None
    count, axes = (mine or other).scale.shape  # type: ignore[union-attr]
    still = stay(count, axes, chosen.device)
    return (mine or still).where(chosen, other or still)


def _where_filled(chosen: Tensor, mine: Tensor | None, other: Tensor | None) -> Tensor | None:
    if mine is None and other is None:
        return None
    no = torch.zeros_like(chosen)
    return torch.where(chosen, no if mine is None else mine, no if other is None else other)


torch.export.register_dataclass(Target)
torch.export.register_dataclass(Plan)
