"""Topics of a report, in order; those of its runs are here, those of predictions in score_topics.py."""

import math
from collections.abc import Callable, Sequence

from smix.report import (
    accuracy_figures,
    class_figures,
    mask_figures,
    mistake_figures,
    mix_figures,
    score_topics,
)
from smix.report.class_tables import gain_table
from smix.report.comparison import Comparison
from smix.report.conclusion import sentences
from smix.report.cost_tables import cost_table
from smix.report.how import how, versions
from smix.report.page import Facts
from smix.report.score_tables import images_table
from smix.report.tables import PLAIN, accuracy_table, differences, pairs_table, runs_table
from smix.report.thumbnails import drawable, thumbnail
from smix.report.topic import Beside, Styles, Topic, drawn, topic

SIDE = 160
"""Longest side of a mistaken image, in pixels."""


def topics_of(comparison: Comparison, beside: Beside, styles: Styles) -> list[Topic]:
    """All that the files of the runs have something to say about."""
    makers: Sequence[Callable[[Comparison, Beside, Styles], Topic | None]] = (
        _accuracy,
        _mixes,
        _pairs,
        _training,
        score_topics.calibration,
        score_topics.confidence,
        score_topics.classes,
        score_topics.corruptions,
        score_topics.attacks,
        score_topics.objects,
        score_topics.other_data,
        _cost,
        _masks,
        _mistakes,
        _made,
    )
    return [found for make in makers if (found := make(comparison, beside, styles)) is not None]


def _accuracy(comparison: Comparison, beside: Beside, styles: Styles) -> Topic:
    runs, pairs = comparison.runs, differences(comparison.runs)
    return topic(
        "accuracy",
        "Accuracy",
        "Test accuracy of each run at the last epoch, and whether the methods differ significantly.",
        accuracy_table(runs),
        drawn(
            "accuracy-distribution",
            "Test accuracy of each run",
            "A point a run; the line is the mean of a method, the box one standard deviation to each side.",
            accuracy_figures.accuracy_distribution(comparison, styles),
        ),
        drawn(
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
    return topic(
        "pairs",
        "Every pair of methods",
        "The differences that are statistically significant, and those that so many seeds could have shown.",
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
    known = math.isfinite(seconds)
    begin = (
        "methods with masks begin when these are built"
        if known
        else "what their masks took is not known, so all begin at 0"
    )
    return topic(
        "training",
        "Training",
        "Accuracy while training, by epochs and by seconds.",
        drawn(
            "accuracy-per-epoch",
            "Accuracy per epoch",
            "Accuracy of each method after each epoch: the mean over seeds and the range from least to most.",
            accuracy_figures.accuracy_per_epoch(comparison, styles),
        ),
        drawn(
            "accuracy-over-time",
            "Accuracy by time",
            f"The same accuracy against the seconds of training that it took; {begin}.",
            accuracy_figures.accuracy_over_time(comparison, styles, seconds if known else 0.0),
        ),
    )


def _cost(comparison: Comparison, beside: Beside, styles: Styles) -> Topic:
    seconds = math.nan if beside.masks is None else beside.masks.seconds
    return topic(
        "cost",
        "Cost",
        "What a run of each method takes, masks counted in, and its accuracy after equal epochs and after equal seconds.",
        cost_table(comparison, seconds),
    )


def _masks(comparison: Comparison, beside: Beside, styles: Styles) -> Topic | None:
    if beside.masks is None:
        return None
    checked, shares = beside.masks.checked, beside.masks.shares
    return topic(
        "masks",
        "Masks",
        f"{checked.share('default'):.1f} % of the {len(checked.rows):,} masks are valid by the default rule, "
        f"{checked.share('figure14'):.1f} % as in figure 14 (coverage of 1 % or more). Whether a method gains more in the classes "
        "whose masks are valid is in the table.",
        drawn(
            "class-gain",
            "Gain of a class against its valid masks",
            "For each method with masks, the gain of each class over vanilla against the share of its masks that are valid.",
            class_figures.class_gain(comparison, styles, shares),
        ),
        gain_table(comparison, shares),
        drawn(
            "valid-masks",
            "Valid masks",
            "Share of the masks that are valid and invalid as in figure 14.",
            mask_figures.valid_chart([checked]),
        ),
        drawn(
            "contact-sheet",
            "Contact sheet",
            "Images beside themselves with their masks in pink.",
            mask_figures.contact_sheet(beside.masks.data, checked) if drawable(beside.masks.data) else None,
            photographs=True,
        ),
    )


def _mixes(comparison: Comparison, beside: Beside, styles: Styles) -> Topic | None:
    if not comparison.samples:
        return None
    return topic(
        "mixes",
        "Mixes",
        "The same images under every method, as a training step sees them.",
        drawn(
            "pair",
            "One pair under every method",
            "An image and its partner, and for each method their mix, the weight of each pixel, and the shares of the labels.",
            mix_figures.pair(comparison, styles),
            photographs=True,
        ),
        drawn(
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
    if beside.images is None or not scores or not drawable(beside.images):
        return None
    images = {row: thumbnail(beside.images, row, SIDE) for row in mistake_figures.wanted(scores)}
    return topic(
        "mistakes",
        "The most confident mistakes",
        "Of the first seed of each method: what it was surest of, and wrong.",
        drawn(
            "mistakes",
            "The most confident mistakes",
            "Test images that were mistaken with the highest confidence, by method: what was said, how surely, and what is true.",
            mistake_figures.mistakes(images, scores, comparison.classes, styles),
            photographs=True,
        ),
    )


def _made(comparison: Comparison, beside: Beside, styles: Styles) -> Topic:
    return topic(
        "how",
        "How it was made",
        "All that the runs have in common, and every run.",
        Facts(tuple(how(comparison)), "Options, data and masks"),
        Facts(tuple(versions(comparison)), "Versions and devices"),
        runs_table(comparison.runs),
        folded=True,
    )
