"""The metrics of a report: the only description of each, which tables, figures and the terminal share.

Values are shares in [0, 1] or in units of their own; `Metric.scale` turns them into what is shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Best = Literal["max", "min", "zero"]


@dataclass(frozen=True)
class Metric:
    """Heading, format and direction of a metric."""

    heading: str
    """Heading of a column and label of an axis, with the unit."""
    best: Best | None = None
    """Best value: the largest, the smallest, or that nearest to 0. None: no value is better than another."""
    scale: float = 100
    """Factor of the values: 100 turns shares into percentages."""
    decimals: int = 2


METRICS: Mapping[str, Metric] = {
    "accuracy": Metric("Accuracy (%)", "max"),
    "top5": Metric("Top-5 accuracy (%)", "max"),
    "error": Metric("Error (%)", "min"),
    "top5_error": Metric("Top-5 error (%)", "min"),
    "confidence": Metric("Mean confidence (%)"),
    "overconfidence": Metric("Overconfidence (points)", "zero"),
    "ece": Metric("ECE (%)", "min"),
    "ece_mass": Metric("ECE, equal mass (%)", "min"),
    "class_wise": Metric("ECE, class-wise (%)", "min"),
    "mce": Metric("Max error (%)", "min", decimals=1),
    "brier": Metric("Brier score", "min", 1, 3),
    "nll": Metric("NLL (nats)", "min", 1, 3),
    "temperature": Metric("Temperature", scale=1),
    "ece_scaled": Metric("ECE, scaled (%)", "min"),
    "nll_scaled": Metric("NLL, scaled (nats)", "min", 1, 3),
    "errors_above_0.9": Metric("Errors above confidence 0.9 (%)", "min"),
    "errors_above_0.99": Metric("Errors above confidence 0.99 (%)", "min"),
    "error_rate": Metric("Error rate (%)", "min"),
    "aurc": Metric("AURC (%)", "min"),
    "class_accuracy": Metric("Accuracy (%)", "max", decimals=1),
    "class_ece": Metric("ECE (%)", "min", decimals=1),
    "corruption_error": Metric("mCE, vanilla = 100", "min", decimals=1),
    "swap_loss": Metric("Drop after the swap (points)", "min"),
    "test_accuracy": Metric("Test accuracy (%)", "max"),
    "test_loss": Metric("Test loss", "min", 1, 3),
    "val_accuracy": Metric("Validation accuracy (%)", "max"),
    "images_seen": Metric("Images seen", None, 1, 0),
    "seconds": Metric("Seconds", None, 1, 0),
}
"""Metrics by their names in records, evaluations and results, in the order in which the terminal shows them."""
