import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from smix.evaluation.statistics import rank_correlation
from smix.plots.layout import signed
from smix.plots.style import styles
from smix.report import predictions
from smix.report.comparison import Comparison
from smix.report.predictions import gains
from tests.report.comparisons import METHODS, assets_of, compared, judged, made_comparison, made_scores, place
from tests.report.pictures import assert_readable, drawn_texts, texts_of

STYLES = styles(METHODS)
CLASSES = ("cat", "dog $x$", "<b>", "none")


def class_gain(comparison: Comparison, shares: dict[str, float]):
    """Draw the gain of each class for masks with these valid shares."""
    return predictions.class_gain(comparison, assets_of(masks=judged(shares)))


def right(*hits: int):
    """Return scores of ten samples of each class but the last, of which this many are right."""
    matrix = torch.zeros(4, 4, dtype=torch.int64)
    for label, count in enumerate(hits):
        matrix[label, label], matrix[label, (label + 1) % 4] = count, 10 - count
    return replace(made_scores(), confusion=matrix)


def comparison_of(scores: dict[str, list], masked=("smix",)) -> Comparison:
    predictions = {
        place(method, seed): one for method, mine in scores.items() for seed, one in enumerate(mine) if one is not None
    }
    return compared({m: [0.5] * len(mine) for m, mine in scores.items()}, CLASSES, predictions, masked=masked)


SCORES = {
    "vanilla": [right(5, 5, 5), right(6, 5, 4), right(0, 0, 0)],
    "smix": [right(6, 5, 3), right(9, 5, 4), None],
    "mixup": [right(5, 5, 5)] * 3,
}
SHARES = {"cat": 90.0, "dog $x$": 50.0, "<b>": 20.0, "none": 70.0}


def test_the_gain_is_the_mean_over_the_seeds_that_both_have():
    comparison = comparison_of(SCORES)
    gain = gains(comparison)["smix"]
    assert gain[:3] == pytest.approx([20, 0, -10])
    assert math.isnan(gain[3])
    assert gains(comparison_of({"vanilla": [None], "smix": [right(1, 2, 3)]})) == {}


def test_each_class_is_a_mark_at_its_share_and_its_gain():
    figure = class_gain(comparison_of(SCORES), SHARES)
    assert_readable(figure)
    (axes,) = figure.axes  # mixup has no masks
    result = np.asarray(axes.collections[0].get_offsets()).tolist()
    assert result == [pytest.approx([90, 20]), pytest.approx([50, 0]), pytest.approx([20, -10])]
    texts = texts_of(figure)
    assert {"cat", "dog $x$", "<b>", "rho = +1.00, 3 classes", "smix (2 of 3)"} <= set(texts)
    assert "none" not in texts


@pytest.mark.slow
def test_a_class_whose_share_is_not_known_is_left_out():
    for shares in ({**SHARES, "cat": math.nan}, {name: value for name, value in SHARES.items() if name != "cat"}):
        figure = class_gain(comparison_of(SCORES), shares)
        assert len(figure.axes[0].collections[0].get_offsets()) == 2
        assert "cat" not in texts_of(figure)


def test_there_is_nothing_to_show_without_masks_vanilla_or_two_classes():
    assert class_gain(comparison_of(SCORES, masked=()), SHARES) is None
    assert class_gain(comparison_of({"smix": [right(1, 2, 3)]}), SHARES) is None
    assert class_gain(comparison_of(SCORES), {"cat": 1.0}) is None
    assert class_gain(comparison_of({"vanilla": [None], "smix": [None]}), SHARES) is None


def test_equal_shares_have_no_rank_correlation():
    figure = class_gain(comparison_of(SCORES), dict.fromkeys(CLASSES, 5.0))
    assert "rho is not defined, 3 classes" in texts_of(figure)
    assert_readable(figure)


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=9))
@settings(deadline=None)
def test_the_rank_correlation_is_the_correlation_of_mean_ranks(pairs):
    x, y = np.array(pairs, float).T
    result, _ = rank_correlation(x, y)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert math.isnan(result)
        return
    ranks = [np.array([(values < one).sum() + (values == one).sum() / 2 for one in values]) for values in (x, y)]
    assert result == pytest.approx(np.corrcoef(*ranks)[0, 1])


@pytest.mark.slow
@pytest.mark.parametrize(("count", "classes"), [(2, 2), (6, 10), (3, 100), (13, 10)])
def test_no_name_hides_another_name_or_a_mark(count, classes):
    comparison = made_comparison(count, 2, classes, 20 * classes, masked=METHODS)
    shares = {f"class {n}": float(value) for n, value in enumerate(np.random.default_rng(0).uniform(20, 95, classes))}
    figure = class_gain(comparison, shares)
    assert_readable(figure)
    assert len(figure.axes) == count - 1
    boxes = np.array([box for text, box in drawn_texts(figure).items() if text.get_text().startswith("class ")])
    named = len(boxes) / (count - 1)
    assert named >= (0.7 * classes if classes <= 10 else 10)
    for axes in figure.axes:
        marks = axes.transData.transform(axes.collections[0].get_offsets())
        for x, y in marks:
            inside = (boxes[:, 0] < x) & (x < boxes[:, 2]) & (boxes[:, 1] < y) & (y < boxes[:, 3])
            assert not inside.any()


def test_the_sign_of_rho():
    figure = class_gain(comparison_of(SCORES), {"cat": 1.0, "dog $x$": 2.0, "<b>": 3.0})
    assert f"rho = {signed(-1.0, 2)}, 3 classes" in texts_of(figure)
