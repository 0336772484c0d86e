"""Classes: their accuracy, what each method gains in them, and whether it gains where the masks are valid."""

import math
from collections.abc import Callable
from functools import partial
from statistics import fmean

import numpy as np
import torch
from jaxtyping import Float

from smix.evaluation.accuracy import most_confused
from smix.evaluation.statistics import EXACT_PAIRS, holm, rank_correlation, summary
from smix.report.records import PLAIN, Comparison, ReportAssets
from smix.report.table import UNKNOWN, Cell, Table, number, p_value
from smix.report.tables import listing

CONFUSED = ("Most", "Second", "Third", "Fourth", "Fifth")
"""Headings of the pairs of classes that are confused most."""


def gains(comparison: Comparison) -> dict[str, Float[np.ndarray, "K"]]:
    """Return the accuracy of each class minus that under vanilla with the same seed, in points, as the mean over seeds.

    NaN for classes without images. Methods without predictions are left out, and all of them without those of vanilla.
    """
    shared = comparison.shared_seeds("accuracy")
    gained = {method: np.full(len(comparison.classes), math.nan) for method in shared}
    for place, name in enumerate(comparison.classes):
        values = comparison.values("class_accuracy", condition=name)
        for method, seeds in shared.items():
            if method in values:
                gained[method][place] = 100 * fmean(values[method][seed] - values[PLAIN][seed] for seed in seeds)
    return gained


def class_table(comparison: Comparison, assets: ReportAssets) -> Table | None:
    """Return the table of the classes: accuracy under vanilla, gains of the other methods, and the share of valid masks."""
    gained = gains(comparison)
    if not gained:
        return None
    columns: dict[str, Callable[[int], Cell]] = {"Class": lambda k: Cell(comparison.classes[k])}
    if assets.masks is not None:
        shares = assets.masks.class_shares
        columns["Valid masks (%)"] = lambda k: number(shares.get(comparison.classes[k], math.nan), 1)

    def plain_accuracy(k: int) -> Cell:
        values = comparison.values("class_accuracy", comparison.classes[k]).get(PLAIN, {})
        return number(summary(list(values.values())).mean, 1, 100)

    columns[f"{comparison.label(PLAIN, len(comparison.scores_of(PLAIN)))} (%)"] = plain_accuracy
    for method, seeds in comparison.shared_seeds("accuracy").items():
        columns[comparison.label(method, len(seeds))] = partial(_gain_cell, gained[method])
    return listing(
        "classes",
        "Accuracy of each class, and gains of each method",
        columns,
        range(len(comparison.classes)),
        f"Column of {PLAIN}: mean over all its seeds. Columns of methods: points of accuracy over {PLAIN} with the same seed, mean over "
        "the seeds that both have.",
    )


def _gain_cell(gain: Float[np.ndarray, "K"], k: int) -> Cell:
    return number(float(gain[k]), 1, sign=True)


def gain_table(comparison: Comparison, assets: ReportAssets) -> Table | None:
    """Return the rank correlation between the gain of a class and the share of its valid masks; methods without masks are controls.

    None: no masks, no gains, or fewer than four classes.
    """
    if assets.masks is None:
        return None
    shares = assets.masks.class_shares
    known = np.array([shares.get(name, math.nan) for name in comparison.classes])
    seeds, tests = comparison.shared_seeds("accuracy"), []
    for method, gain in gains(comparison).items():
        both = np.isfinite(gain) & np.isfinite(known)
        rho, p = rank_correlation(known[both], gain[both])
        if both.sum() >= 4 and not math.isnan(rho):
            tests.append((comparison.label(method, len(seeds[method])), int(both.sum()), rho, p))
    corrected = holm([p for *_, p in tests])
    return listing(
        "gain-and-masks",
        "Gain of a class against the share of its valid masks",
        {
            "Method": lambda row: Cell(row[0]),
            "Classes": lambda row: Cell(str(row[1]), row[1]),
            "Spearman's rho": lambda row: number(row[2], sign=True),
            "p, Holm-corrected": lambda row: Cell(p_value(row[3]), row[3]),
        },
        [(*test[:3], p) for test, p in zip(tests, corrected, strict=True)],
        "Near +1: a method gains in the classes whose objects the segmenter finds. If methods without masks show the same, masks are not "
        f"the reason. p from all orders of up to {EXACT_PAIRS} classes, from Student's t for more, corrected over the rows.",
    )


def confused_table(comparison: Comparison, assets: ReportAssets) -> Table | None:
    """Return the pairs of classes that each method confuses most, over all seeds."""
    rows = []
    for method in comparison.methods:
        if scores := comparison.scores_of(method):
            confusion = torch.stack([seed.confusion for seed in scores.values()]).sum(0)
            pairs = most_confused(confusion, comparison.classes, len(CONFUSED))
            texts = [f"{pair.label} as {pair.predicted}, {100 * pair.share:.1f} %" for pair in pairs]
            texts += [UNKNOWN] * (len(CONFUSED) - len(texts))
            rows.append(tuple(map(Cell, (comparison.label(method, len(scores)), *texts))))
    note = "Class as prediction, and the share of that class's test images. Over all seeds."
    return (
        Table("confused", "Classes that are confused most", ("Method", *CONFUSED), tuple(rows), note) if rows else None
    )
