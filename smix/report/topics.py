"""What a report tells of a comparison, in order: topics of sentences, tables and figures. How they are written is write.py's."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from matplotlib.figure import Figure

from smix.data.sets import ImageSet
from smix.evaluation.statistics import Difference
from smix.report import (
    accuracy_figures,
    class_figures,
    confidence_figures,
    confusion_figures,
    mask_figures,
    mistake_figures,
    mix_figures,
    robustness_figures,
)
from smix.report.class_tables import class_table, confused_table, gain_table
from smix.report.comparison import Comparison
from smix.report.conclusion import sentences
from smix.report.cost_tables import cost_table
from smix.report.how import how, versions
from smix.report.material import Masks
from smix.report.page import Facts
from smix.report.robustness_tables import (
    attack_table,
    corruption_table,
    corruptions_table,
    objects_table,
    other_data_table,
    suites,
)
from smix.report.score_tables import calibration_table, change, confidence_table, images_table, levels_table
from smix.report.style import Style
from smix.report.table import Table
from smix.report.tables import PLAIN, accuracy_table, differences, pairs_table, runs_table
from smix.report.thumbnails import thumbnail

Styles = Mapping[str, Style]
SIDE = 160
"""Longest side of a mistaken image, in pixels."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A figure, and what is said of it."""

    name: str
    """Of its files."""
    title: str
    alt: str
    """What it shows, for those who do not see it."""
    figure: Figure
    caption: str = ""
    photographs: bool = False
    """It shows images: written as PNG alone."""


Part = Table | Drawn | Facts | str


@dataclass(frozen=True, eq=False)
class Topic:
    """One question, and what answers it."""

    name: str
    title: str
    lead: str
    parts: tuple[Part, ...]
    folded: bool = False
    """Long, and rarely read."""


@dataclass(frozen=True, eq=False)
class Beside:
    """What a report shows that the runs' folders do not hold. None: it is not here."""

    images: ImageSet | None
    """The test split."""
    masks: Masks | None


def topics_of(comparison: Comparison, beside: Beside, styles: Styles) -> list[Topic]:
    """All that the files of the runs have something to say about."""
    makers: Sequence[Callable[[Comparison, Beside, Styles], Topic | None]] = (
        _accuracy,
        _pairs,
        _training,
        _calibration,
        _confidence,
        _classes,
        _corruptions,
        _attacks,
        _objects,
        _other_data,
        _cost,
        _masks,
        _mixes,
        _mistakes,
        _made,
    )
    return [topic for make in makers if (topic := make(comparison, beside, styles)) is not None]


def _accuracy(comparison: Comparison, beside: Beside, styles: Styles) -> Topic:
    runs, pairs = comparison.runs, differences(comparison.runs)
    return _topic(
        "accuracy",
        "Accuracy",
        "Test accuracy of each run at the last epoch, and whether the methods differ by more than noise.",
        accuracy_table(runs),
        _drawn(
            "accuracy-distribution",
            "Test accuracy of each run",
            "A point a run; the line is the mean of a method, the box one standard deviation to each side.",
            accuracy_figures.accuracy_distribution(comparison, styles),
        ),
        _drawn(
            "accuracy-differences",
            f"Difference from {PLAIN}",
            f"Mean difference from {PLAIN} over seeds with its 95 % interval, in points of test accuracy.",
            accuracy_figures.differences_chart(pairs, styles),
        ),
    )


def _pairs(comparison: Comparison, beside: Beside, styles: Styles) -> Topic | None:
    pairs = differences(comparison.runs)
    if not pairs:
        return None
    return _topic(
        "pairs",
        "Every pair of methods",
        "Which differ by more than noise, and what so many seeds could have shown.",
        pairs_table(pairs),
        Facts(
            tuple((f"{pair.first}, {pair.second}", text) for pair, text in zip(pairs, sentences(pairs), strict=True)),
            "In words",
        ),
        images_table(comparison),
        folded=True,
    )


def _training(comparison: Comparison, beside: Beside, styles: Styles) -> Topic:
    seconds = 0.0 if beside.masks is None else beside.masks.seconds
    return _topic(
        "training",
        "Training",
        "Accuracy while training, by epochs and by seconds.",
        _drawn(
            "accuracy-per-epoch",
            "Accuracy per epoch",
            "Accuracy of each method after each epoch: the mean over seeds and the range from least to most.",
            accuracy_figures.accuracy_per_epoch(comparison, styles),
        ),
        _drawn(
            "accuracy-over-time",
            "Accuracy by time",
            "The same accuracy against the seconds of training that it took; methods with masks begin when these are built.",
            accuracy_figures.accuracy_over_time(comparison, styles, 0.0 if math.isnan(seconds) else seconds),
        ),
    )


def _calibration(comparison: Comparison, beside: Beside, styles: Styles) -> Topic | None:
    table = calibration_table(comparison)
    if table is None:
        return None
    return _topic(
        "calibration",
        "Calibration: is a network as often right as it says?",
        _overconfidence(comparison),
        _drawn(
            "overconfidence",
            "Overconfidence",
            "Mean confidence minus accuracy of each run: above 0 the network is too sure, below 0 not sure enough.",
            confidence_figures.overconfidence(comparison, styles),
        ),
        _drawn(
            "reliability",
            "Reliability diagrams",
            "Accuracy against confidence of each method, in 15 bins; on the diagonal a network is as often right as it says.",
            confidence_figures.reliability(comparison, styles),
        ),
        table,
    )


def _overconfidence(comparison: Comparison) -> str:
    """Whether, and by how much, mixing reduces overconfidence."""
    plain = (
        [one.calibration.overconfidence for one in comparison.scores_of(PLAIN).values()]
        if _has_plain(comparison)
        else []
    )
    if not plain:
        return "Confidence against accuracy, and what dividing the logits by one number can mend."
    said = f"The confidence of {PLAIN} is {100 * fmean(plain):+.1f} points from its accuracy"
    changes = change(comparison, lambda one: one.calibration.overconfidence)
    if not changes:
        return f"{said}."
    parts = [f"{pair.first} {100 * pair.mean:+.1f}{_interval(pair)}" for pair in changes]
    intervals = " (95 % intervals of each alone, no test)" if any(math.isfinite(pair.low) for pair in changes) else ""
    return f"{said}. The others change that by, in points{intervals}: {'; '.join(parts)}."


def _interval(pair: Difference) -> str:
    return "" if math.isnan(pair.low) else f" ({100 * pair.low:+.1f} to {100 * pair.high:+.1f})"


def _has_plain(comparison: Comparison) -> bool:
    return PLAIN in comparison.methods


def _confidence(comparison: Comparison, beside: Beside, styles: Styles) -> Topic | None:
    table = confidence_table(comparison)
    if table is None:
        return None
    return _topic(
        "confidence",
        "Mistakes at each level of confidence",
        "How often a network is wrong when it says that it is sure, and how many mistakes are left if it answers only then.",
        _drawn(
            "wrong-by-confidence",
            "Wrong predictions by confidence",
            "Share of wrong predictions at each level of confidence, by method.",
            confidence_figures.wrong_by_confidence(comparison, styles),
        ),
        table,
        _drawn(
            "risk-coverage",
            "Errors against coverage",
            "Share of wrong answers when only the surest predictions are given, against the share that is given.",
            confidence_figures.risk_coverage(comparison, styles),
        ),
        levels_table(comparison),
    )


def _classes(comparison: Comparison, beside: Beside, styles: Styles) -> Topic | None:
    if not comparison.scores:
        return None
    return _topic(
        "classes",
        "Classes",
        "Which classes are told, which are taken for which, and what changes with the method.",
        _drawn(
            "confusion",
            "Confusion matrices",
            "For each method, the share of each class's test images that was taken for each class, over all seeds.",
            confusion_figures.confusion(comparison, styles),
        ),
        _drawn(
            "confusion-change",
            f"Confusion: difference from {PLAIN}",
            f"The same, less that of {PLAIN}, in points.",
            confusion_figures.confusion_change(comparison, styles),
        ),
        confused_table(comparison),
        class_table(comparison, None if beside.masks is None else beside.masks.shares),
    )


def _corruptions(comparison: Comparison, beside: Beside, styles: Styles) -> Topic | None:
    parts: list[Part | None] = []
    for suite in suites(comparison):
        name = "corruptions" if suite.startswith("own") else "corruptions-official"
        parts += [
            _drawn(
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
    return _topic(
        "corruptions", "Corrupted images", "What noise, blur, weather and digital damage leave of the accuracy.", *parts
    )


def _attacks(comparison: Comparison, beside: Beside, styles: Styles) -> Topic | None:
    table = attack_table(comparison)
    if table is None:
        return None
    figure = _drawn(
        "attacks",
        "Accuracy under attack",
        "Accuracy against the size of the change that an attack may make, by method.",
        robustness_figures.attacks(comparison, styles),
    )
    lead = "Images that were changed as little as possible, with knowledge of the network, to be mistaken."
    return _topic("attacks", "Attacks", lead, figure, table)


def _objects(comparison: Comparison, beside: Beside, styles: Styles) -> Topic | None:
    table = objects_table(comparison)
    if table is None:
        return None
    figure = _drawn(
        "background",
        "Objects on other backgrounds",
        "Accuracy on test images as they are, with another background, without the object, and without the background.",
        robustness_figures.objects(comparison, styles),
    )
    return _topic(
        "background", "Background swap", "Does the network look at the object, or at what is around it?", figure, table
    )


def _other_data(comparison: Comparison, beside: Beside, styles: Styles) -> Topic | None:
    table = other_data_table(comparison)
    return (
        None
        if table is None
        else _topic("other-data", "Other data", "The same networks on images of other data sets.", table)
    )


def _cost(comparison: Comparison, beside: Beside, styles: Styles) -> Topic:
    seconds = math.nan if beside.masks is None else beside.masks.seconds
    return _topic(
        "cost",
        "Cost",
        "What a run of each method takes, masks counted in, and its accuracy after equal epochs and after equal seconds.",
        cost_table(comparison, seconds),
    )


def _masks(comparison: Comparison, beside: Beside, styles: Styles) -> Topic | None:
    if beside.masks is None:
        return None
    checked, shares = beside.masks.checked, beside.masks.shares
    return _topic(
        "masks",
        "Masks",
        f"{checked.share('default'):.1f} % of the {len(checked.rows):,} masks are valid by the default rule, "
        f"{checked.share('figure14'):.1f} % as in figure 14 (coverage of 1 % or more). Does a method gain more in the classes whose "
        "masks are valid?",
        _drawn(
            "class-gain",
            "Gain of a class against its valid masks",
            "For each method with masks, the gain of each class over vanilla against the share of its masks that are valid.",
            class_figures.class_gain(comparison, styles, shares),
        ),
        gain_table(comparison, shares),
        _drawn(
            "valid-masks",
            "Valid masks",
            "Share of the masks that are valid and invalid as in figure 14.",
            mask_figures.valid_chart([checked]),
        ),
        _drawn(
            "contact-sheet",
            "Contact sheet",
            "Images beside themselves with their masks in pink.",
            mask_figures.contact_sheet(beside.masks.data, checked),
            photographs=True,
        ),
    )


def _mixes(comparison: Comparison, beside: Beside, styles: Styles) -> Topic | None:
    if not comparison.samples:
        return None
    return _topic(
        "mixes",
        "Mixes",
        "The same images under every method, as a training step sees them.",
        _drawn(
            "pair",
            "One pair under every method",
            "An image and its partner, and for each method their mix, the weight of each pixel, and the shares of the labels.",
            mix_figures.pair(comparison, styles),
            photographs=True,
        ),
        _drawn(
            "mixes",
            "Eight images under every method",
            "Eight images and their partners, and for each method their mixes, weight maps and label shares.",
            mix_figures.mixes(comparison.samples, comparison.classes),
            photographs=True,
        ),
    )


def _mistakes(comparison: Comparison, beside: Beside, styles: Styles) -> Topic | None:
    scores = {
        method: next(iter(found.values())) for method in comparison.methods if (found := comparison.scores_of(method))
    }
    if beside.images is None or not scores or len(beside.images.images[0].shape) != 3:
        return None
    images = {row: thumbnail(beside.images, row, SIDE) for row in mistake_figures.wanted(scores)}
    return _topic(
        "mistakes",
        "The most confident mistakes",
        "Of the first seed of each method: what it was surest of, and wrong.",
        _drawn(
            "mistakes",
            "The most confident mistakes",
            "Test images that were mistaken with the highest confidence, by method: what was said, how surely, and what is true.",
            mistake_figures.mistakes(images, scores, comparison.classes, styles),
            photographs=True,
        ),
    )


def _made(comparison: Comparison, beside: Beside, styles: Styles) -> Topic:
    return _topic(
        "how",
        "How it was made",
        "All that the runs have in common, and every run.",
        Facts(tuple(how(comparison)), "Options, data and masks"),
        Facts(tuple(versions(comparison)), "Versions and devices"),
        runs_table(comparison.runs),
        folded=True,
    )


def _topic(name: str, title: str, lead: str, *parts: Part | None, folded: bool = False) -> Topic:
    return Topic(name, title, lead, tuple(part for part in parts if part is not None), folded)


def _drawn(
    name: str, title: str, alt: str, figure: Figure | None, caption: str = "", photographs: bool = False
) -> Drawn | None:
    """None: there is nothing to draw."""
    return None if figure is None else Drawn(name, title, alt, figure, caption, photographs)
