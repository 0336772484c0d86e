"""All scores of the predictions of one model: accuracy, confusion, calibration, and its most confident errors."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smix.evaluation.accuracy import class_accuracy, confusion_matrix, top_k_accuracy
from smix.evaluation.calibration import BINS, Calibration, calibration
from smix.evaluation.confidence import (
    SURE,
    Level,
    RiskCoverage,
    errors_above,
    errors_by_confidence,
    risk_coverage,
)
from smix.evaluation.softmax import top_class
from smix.evaluation.temperature import TemperatureScaling, temperature_scaling
from smix.reprs import short_repr

MISTAKES = 24
"""Maximum number of most confident errors to keep."""


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction."""

    row: int
    """Row of the image in its split."""
    label: int
    predicted: int
    confidence: float
    """Probability of the prediction, in [0, 1]."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of one model on one split."""

    correct: Bool[Tensor, "N"]
    """True for correct predictions."""
    top5: float
    """Top-5 accuracy in [0, 1]; 1 with five classes or fewer."""
    confusion: Int[Tensor, "K K"]
    """Number of samples of class `row` that are predicted as class `column`."""
    calibration: Calibration
    levels: tuple[Level, ...]
    """Errors at each confidence level."""
    sure: tuple[Level, ...]
    """Errors above each threshold in `SURE`."""
    risk: RiskCoverage
    temperature: TemperatureScaling | None
    """Temperature scaling. None: there are no predictions of validation images to fit it on."""
    mistakes: tuple[Mistake, ...]
    """The most confident errors, at most `MISTAKES`, in order of decreasing confidence, then by row."""
    __repr__ = short_repr("scores.numbers()")

    @property
    def class_accuracy(self) -> Float[Tensor, "K"]:
        """Recall of each class in [0, 1]; NaN for a class without samples."""
        return class_accuracy(self.confusion)

    def numbers(self) -> dict[str, float]:
        """Return the scores that are single numbers, by their names in tables and files; fractions in [0, 1], nll in nats."""
        c = self.calibration
        numbers = {
            "accuracy": c.accuracy,
            "top5": self.top5,
            "ece": c.ece,
            "ece_mass": c.ece_mass,
            "class_wise": c.class_wise,
            "mce": c.mce,
            "brier": c.brier,
            "nll": c.nll,
            "confidence": c.confidence,
            "overconfidence": c.overconfidence,
            "aurc": self.risk.aurc,
        }
        for level in self.sure:
            numbers[f"errors_above_{level.low:g}"] = level.wrong / level.samples
        if self.temperature is not None and (after := self.temperature.after) is not None:
            numbers |= {"temperature": self.temperature.temperature, "ece_scaled": after.ece, "nll_scaled": after.nll}
        return numbers


def compute_scores(
    logits: Float[Tensor, "N K"],
    labels: Int[Tensor, "N"],
    validation: tuple[Float[Tensor, "V K"], Int[Tensor, "V"]] | None = None,
    bins: int = BINS,
) -> Scores:
    """Return all scores of the predictions of one model.

    Args:
        logits: One row per sample, one column per class.
        labels: Class numbers.
        validation: Logits and labels of other images by the same model, to fit a temperature on. Default: no temperature.
        bins: Number of bins of the calibration errors, 1 or more.

    Raises:
        DataError: There is no sample, a label is out of [0, K), or a logit is NaN or infinite.
        OptionError: `bins` is below 1.

    >>> logits, labels = 5 * torch.eye(3)[[0, 1, 2, 0]], torch.tensor([0, 1, 2, 1])
    >>> result = smix.evaluation.compute_scores(logits, labels)
    >>> result.numbers()["accuracy"], len(result.mistakes)
    (0.75, 1)
    """
    top = top_class(logits, labels)
    confidence, correct = top.confidence, top.correct
    return Scores(
        correct=correct,
        top5=top_k_accuracy(logits, labels),
        confusion=confusion_matrix(logits, labels),
        calibration=calibration(logits, labels, bins),
        levels=errors_by_confidence(confidence, correct),
        sure=tuple(errors_above(confidence, correct, threshold) for threshold in SURE),
        risk=risk_coverage(confidence, correct),
        temperature=None if validation is None else temperature_scaling(logits, labels, *validation, bins),
        mistakes=tuple(
            Mistake(row, int(labels[row]), int(top.predicted[row]), float(confidence[row]))
            for row in _most_confident(confidence, correct)
        ),
    )


def _most_confident(confidence: Tensor, correct: Tensor) -> list[int]:
    """Return the rows of the most confident errors."""
    wrong = torch.nonzero(~correct)[:, 0]
    order = confidence[wrong].argsort(descending=True, stable=True)[:MISTAKES]
    return [int(row) for row in wrong[order]]
