"""Everything that the predictions of one network say: accuracy, confusion, calibration, and how sure it is of its mistakes."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smix.evaluation.accuracy import class_accuracy, confusion_matrix, top_k_accuracy
from smix.evaluation.calibration import BINS, Calibration, calibration
from smix.evaluation.confidence import SURE, Level, RiskCoverage, above, by_level, risk_coverage
from smix.evaluation.softmax import top
from smix.evaluation.temperature import TemperatureScaling, temperature_scaling

MISTAKES = 24
"""Number of the most confident errors that are kept."""


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
    """One network on one split."""

    correct: Bool[Tensor, "N"]
    """True for correct predictions."""
    top5: float
    """Top-5 accuracy in [0, 1]; 1 with five classes or fewer."""
    confusion: Int[Tensor, "K K"]
    """Samples of class `row` that were taken for class `column`."""
    calibration: Calibration
    levels: tuple[Level, ...]
    """Wrong predictions by confidence."""
    sure: tuple[Level, ...]
    """Errors above each confidence of `SURE`."""
    risk: RiskCoverage
    temperature: TemperatureScaling | None
    """None: there are no predictions of validation images to fit it on."""
    mistakes: tuple[Mistake, ...]
    """At most `MISTAKES`, the most confident first; of equal ones the earlier row."""

    @property
    def class_accuracy(self) -> Float[Tensor, "K"]:
        """Recall of each class in [0, 1]; NaN for a class without samples."""
        return class_accuracy(self.confusion)

    def numbers(self) -> dict[str, float]:
        """The figures that are one number, by name, as tables and files have them; shares in [0, 1]."""
        c = self.calibration
        found = {
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
            found[f"errors_above_{level.low:g}"] = level.wrong / level.samples
        if self.temperature is not None and (after := self.temperature.after) is not None:
            found |= {"temperature": self.temperature.temperature, "ece_scaled": after.ece, "nll_scaled": after.nll}
        return found


def scores(
    logits: Float[Tensor, "N K"],
    labels: Int[Tensor, "N"],
    validation: tuple[Float[Tensor, "V K"], Int[Tensor, "V"]] | None = None,
    bins: int = BINS,
) -> Scores:
    """All of it.

    Args:
        validation: Predictions of other images by the same network; a temperature is fitted on them.

    Raises:
        DataError: no sample, labels out of [0, K), or a logit that is NaN or infinite.
    """
    said = top(logits, labels)
    confidence, correct = said.confidence, said.correct
    return Scores(
        correct=correct,
        top5=top_k_accuracy(logits, labels),
        confusion=confusion_matrix(logits, labels),
        calibration=calibration(logits, labels, bins),
        levels=by_level(confidence, correct),
        sure=tuple(above(confidence, correct, threshold) for threshold in SURE),
        risk=risk_coverage(confidence, correct),
        temperature=None if validation is None else temperature_scaling(logits, labels, *validation, bins),
        mistakes=tuple(
            Mistake(row, int(labels[row]), int(said.predicted[row]), float(confidence[row]))
            for row in _most_confident(confidence, correct)
        ),
    )


def _most_confident(confidence: Tensor, correct: Tensor) -> list[int]:
    """Rows of the wrong predictions."""
    wrong = torch.nonzero(~correct)[:, 0].numpy()
    order = np.argsort(-confidence[wrong].numpy(), kind="stable")[:MISTAKES]
    return wrong[order].tolist()
