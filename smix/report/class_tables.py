"""Classes: how well each is told, and whether a method gains where its masks are valid."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from smix.evaluation.accuracy import most_confused
from smix.evaluation.statistics import EXACT_PAIRS, holm, rank_correlation
from smix.report.comparison import Comparison
from smix.report.table import UNKNOWN, Cell, Table, number
from smix.report.tables import PLAIN, p_value

CONFUSED = 5
"""Pairs of classes that are named for each method."""


def gains(comparison: Comparison) -> dict[str, Float[NDArray, "K"]]:
    """Accuracy of each class less that under vanilla with the same seed, in points, mean over seeds; NaN for classes without images.

    Methods without predictions are left out; none without those of vanilla.
    """
    found = {}
    for method, seeds in _shared(comparison).items():
        mine, plain = comparison.scores_of(method), comparison.scores_of(PLAIN)
        each = [(mine[seed].class_accuracy - plain[seed].class_accuracy).numpy() for seed in seeds]
        found[method] = 100 * np.mean(each, axis=0)
    return found


def _shared(comparison: Comparison) -> dict[str, list[int]]:
    """The seeds whose predictions a method has as vanilla has; methods without one are left out."""
    plain = comparison.scores_of(PLAIN).keys() if PLAIN in comparison.methods else set()
    shared = {
        method: sorted(comparison.scores_of(method).keys() & plain) for method in comparison.methods if method != PLAIN
    }
    return {method: seeds for method, seeds in shared.items() if seeds}


def class_table(comparison: Comparison, shares: Mapping[str, float] | None) -> Table | None:
    """Accuracy of each class under vanilla, what the others gain, and the share of its masks that are valid, in percent.

    Args:
        shares: By class name, in percent; None: not known.
    """
    gained = gains(comparison)
    if not gained:
        return None
    of_plain = comparison.scores_of(PLAIN)
    plain = np.mean([one.class_accuracy.numpy() for one in of_plain.values()], axis=0)
    rows = []
    for place, name in enumerate(comparison.classes):
        valid = () if shares is None else (number(shares.get(name, math.nan), 1),)
        rows.append(
            (
                Cell(name),
                *valid,
                number(float(plain[place]), 1, 100),
                *(number(float(mine[place]), 1, sign=True) for mine in gained.values()),
            )
        )
    names = [comparison.named(method, len(seeds)) for method, seeds in _shared(comparison).items()]
    valid_head = ("Valid masks (%)",) if shares is not None else ()
    head = ("Class", *valid_head, f"{comparison.named(PLAIN, len(of_plain))} (%)", *names)
    return Table(
        "classes",
        "Accuracy of each class, and what each method gains",
        head,
        tuple(rows),
        f"Column of {PLAIN}: mean over all its seeds. Columns of methods: points of accuracy over {PLAIN} with the same seed, mean over "
        "the seeds that both have.",
    )


def gain_table(comparison: Comparison, shares: Mapping[str, float]) -> Table | None:
    """Show whether a method gains more in classes whose masks are more often valid. Methods without masks stand beside as controls.

    None: nothing to compare, or fewer than four classes.
    """
    known = np.array([shares.get(name, math.nan) for name in comparison.classes])
    rows, tests = [], []
    for method, mine in gains(comparison).items():
        both = np.isfinite(mine) & np.isfinite(known)
        rho, p = rank_correlation(known[both], mine[both])
        if both.sum() < 4 or math.isnan(rho):
            continue
        rows.append((method, int(both.sum()), rho))
        tests.append(p)
    if not rows:
        return None
    seeds = _shared(comparison)
    return Table(
        "gain-and-masks",
        "Gain of a class against the share of its masks that are valid",
        ("Method", "Classes", "Spearman's rho", "p, Holm-corrected"),
        tuple(
            (
                Cell(comparison.named(method, len(seeds[method]))),
                Cell(str(count), count),
                number(rho, sign=True),
                Cell(p_value(p), p),
            )
            for (method, count, rho), p in zip(rows, holm(tests), strict=True)
        ),
        "Near +1: a method gains in the classes whose objects the segmenter finds. If methods without masks show the same, masks are not "
        f"the reason. p from all orders of the classes up to {EXACT_PAIRS} of them, above from Student's t. Corrected over the rows.",
    )


def confused_table(comparison: Comparison) -> Table | None:
    """The pairs of classes that each method confuses most, over all seeds. None: no predictions."""
    rows = []
    for method in comparison.methods:
        scores = comparison.scores_of(method)
        if not scores:
            continue
        confusion = torch.stack([one.confusion for one in scores.values()]).sum(0)
        pairs = most_confused(confusion, comparison.classes, CONFUSED)
        texts = [f"{one.label} as {one.predicted}, {100 * one.share:.1f} %" for one in pairs]
        cells = [Cell(text) for text in (*texts, *[UNKNOWN] * (CONFUSED - len(texts)))]
        rows.append((Cell(comparison.named(method, len(scores))), *cells))
    if not rows:
        return None
    ordinals = ("Most", "Second", "Third", "Fourth", "Fifth")
    return Table(
        "confused",
        "Classes that are confused most",
        ("Method", *ordinals),
        tuple(rows),
        "Class as prediction, and the share of that class's test images. Over all seeds.",
    )
