"""Topics of what the networks predict: calibration, confidence, classes, corruptions, attacks, objects, other data."""

import math
from statistics import fmean

from smix.evaluation.statistics import Difference
from smix.report import confidence_figures, confusion_figures, robustness_figures
from smix.report.class_tables import class_table, confused_table
from smix.report.comparison import Comparison
from smix.report.robustness_tables import (
    attack_table,
    corruption_table,
    corruptions_table,
    objects_table,
    other_data_table,
    suites,
)
from smix.report.score_tables import calibration_table, change, confidence_table, levels_table
from smix.report.tables import PLAIN
from smix.report.topic import Beside, Part, Styles, Topic, drawn, topic


def calibration(comparison: Comparison, beside: Beside, styles: Styles) -> Topic | None:
    table = calibration_table(comparison)
    if table is None:
        return None
    return topic(
        "calibration",
        "Calibration: is a network as often right as it says?",
        _overconfidence(comparison),
        drawn(
            "overconfidence",
            "Overconfidence",
            "Mean confidence minus accuracy of each run: above 0 the network is too sure, below 0 not sure enough.",
            confidence_figures.overconfidence(comparison, styles),
        ),
        drawn(
            "reliability",
            "Reliability diagrams",
            "Accuracy against confidence of each method, in 15 bins; on the diagonal a network is as often right as it says.",
            confidence_figures.reliability(comparison, styles),
        ),
        table,
    )


def _overconfidence(comparison: Comparison) -> str:
    """Describe whether, and by how much, mixing reduces overconfidence."""
    means = {
        method: 100 * fmean(one.calibration.overconfidence for one in scores.values())
        for method in comparison.methods
        if (scores := comparison.scores_of(method))
    }
    said = [
        f"{comparison.named(method, len(comparison.scores_of(method)))} is {'too sure' if mean > 0 else 'not sure enough'} by "
        f"{abs(mean):.1f} points{_beside(mean, means.get(PLAIN)) if method != PLAIN else ''}"
        for method, mean in means.items()
    ]
    changes = change(comparison, lambda one: one.calibration.overconfidence)
    parts = [f"{pair.first} {100 * pair.mean:+.1f}{_interval(pair)}" for pair in changes]
    against = (
        f" Changes against {PLAIN} over the seeds that both have, estimates with 95 % intervals: {'; '.join(parts)}."
    )
    return f"{'; '.join(said)}.{against if parts else ''}"


def _beside(mean: float, plain: float | None) -> str:
    if plain is None:
        return ""
    return f", {'nearer to its accuracy' if abs(mean) < abs(plain) else 'no nearer to its accuracy'} than {PLAIN}"


def _interval(pair: Difference) -> str:
    return "" if math.isnan(pair.low) else f" ({100 * pair.low:+.1f} to {100 * pair.high:+.1f})"


def confidence(comparison: Comparison, beside: Beside, styles: Styles) -> Topic | None:
    table = confidence_table(comparison)
    if table is None:
        return None
    return topic(
        "confidence",
        "Mistakes at each level of confidence",
        "How often a network is wrong when it says that it is sure, and how many mistakes are left if it answers only then.",
        drawn(
            "wrong-by-confidence",
            "Wrong predictions by confidence",
            "Share of wrong predictions at each level of confidence, by method.",
            confidence_figures.wrong_by_confidence(comparison, styles),
        ),
        table,
        drawn(
            "risk-coverage",
            "Errors against coverage",
            "Share of wrong answers when only the surest predictions are given, against the share that is given.",
            confidence_figures.risk_coverage(comparison, styles),
        ),
        levels_table(comparison),
    )


def classes(comparison: Comparison, beside: Beside, styles: Styles) -> Topic | None:
    if not comparison.scores:
        return None
    return topic(
        "classes",
        "Classes",
        "Which classes are told, which are taken for which, and what changes with the method.",
        drawn(
            "confusion",
            "Confusion matrices",
            "For each method, the share of each class's test images that was taken for each class, over all seeds.",
            confusion_figures.confusion(comparison, styles),
        ),
        drawn(
            "confusion-change",
            f"Confusion: difference from {PLAIN}",
            f"The same, less that of {PLAIN}, in points.",
            confusion_figures.confusion_change(comparison, styles),
        ),
        confused_table(comparison),
        class_table(comparison, None if beside.masks is None else beside.masks.shares),
    )


def corruptions(comparison: Comparison, beside: Beside, styles: Styles) -> Topic | None:
    parts: list[Part | None] = []
    for suite in suites(comparison):
        name = "corruptions" if suite.startswith("own") else "corruptions-official"
        parts += [
            drawn(
                name,
                f"Accuracy on corrupted images: {suite}",
                "Accuracy on each of the corruptions, and at each severity, by method.",
                robustness_figures.corruptions(comparison, styles, suite),
            ),
            corruption_table(comparison, suite),
            corruptions_table(comparison, suite),
        ]
    if not parts:
        return None
    return topic(
        "corruptions", "Corrupted images", "What noise, blur, weather and digital damage leave of the accuracy.", *parts
    )


def attacks(comparison: Comparison, beside: Beside, styles: Styles) -> Topic | None:
    table = attack_table(comparison)
    if table is None:
        return None
    figure = drawn(
        "attacks",
        "Accuracy under attack",
        "Accuracy against the size of the change that an attack may make, by method.",
        robustness_figures.attacks(comparison, styles),
    )
    lead = "Images whose values were changed a little, with knowledge of the network, so that it mistakes them."
    return topic("attacks", "Attacks", lead, figure, table)


def objects(comparison: Comparison, beside: Beside, styles: Styles) -> Topic | None:
    table = objects_table(comparison)
    if table is None:
        return None
    figure = drawn(
        "background",
        "Objects on other backgrounds",
        "Accuracy on test images as they are, with another background, without the object, and without the background.",
        robustness_figures.objects(comparison, styles),
    )
    return topic(
        "background", "Background swap", "Does the network look at the object, or at what is around it?", figure, table
    )


def other_data(comparison: Comparison, beside: Beside, styles: Styles) -> Topic | None:
    table = other_data_table(comparison)
    return (
        None
        if table is None
        else topic("other-data", "Other data", "The same networks on images of other data sets.", table)
    )
