import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection, PathCollection

from smix.evaluation.calibration import Bin
from smix.evaluation.confidence import Level, RiskCoverage
from smix.evaluation.scores import Scores
from smix.plots.layout import signed
from smix.plots.style import styles
from smix.report.comparison import Comparison, ReportAssets
from smix.report.predictions import (
    overconfidence,
    pooled_curve,
    reliability,
    risk_coverage,
    wrong_by_confidence,
)
from tests.report.comparisons import METHODS, compared, made_comparison, made_scores, place
from tests.report.pictures import assert_readable, texts_of

STYLES = styles(METHODS)
ASSETS = ReportAssets(STYLES)
ALL = (reliability, wrong_by_confidence, risk_coverage, overconfidence)


def comparison_of(scores: dict[str, list[Scores | None]]) -> Comparison:
    """Return the comparison with `scores[method][seed]`."""
    predictions = {
        place(method, seed): one for method, mine in scores.items() for seed, one in enumerate(mine) if one is not None
    }
    usual = {path: replace(one, levels=made_scores().levels) for path, one in predictions.items()}  # as records expect
    comparison = compared({m: [0.5] * len(mine) for m, mine in scores.items()}, ["a", "b", "c", "d"], usual)
    by_method = {m: {seed: one for seed, one in enumerate(mine) if one is not None} for m, mine in scores.items()}
    return replace(comparison, scores={method: each for method, each in by_method.items() if each})


def line_of(axes, method):
    return next(line for line in axes.lines if line.get_label() == method)


@pytest.mark.slow
@pytest.mark.parametrize("draw", ALL)
@pytest.mark.parametrize(("count", "seeds", "classes"), [(1, 1, 2), (2, 2, 10), (6, 1, 4), (13, 2, 100)])
def test_texts_do_not_overlap(draw, count, seeds, classes):
    assert_readable(draw(made_comparison(count, seeds, classes), ASSETS))


@pytest.mark.parametrize("draw", ALL)
def test_methods_without_predictions_are_left_out_and_those_that_lack_some_say_so(draw):
    comparison = comparison_of({"vanilla": [made_scores(1), None], "mixup": [None, None]})
    texts = texts_of(draw(comparison, ASSETS))
    assert "vanilla (1 of 2)" in texts
    assert not [text for text in texts if "mixup" in text]
    assert draw(comparison_of({"vanilla": [None]}), ASSETS) is None


@pytest.mark.parametrize("draw", ALL)
def test_names_are_shown_verbatim(draw):
    hostile = "mixup$x_1$<b>\x1b[2J"
    assert "mixup$x_1$<b>\ufffd[2J" in texts_of(
        draw(comparison_of({hostile: [made_scores()]}), ReportAssets(styles([hostile])))
    )


def test_curves_are_pooled_by_their_samples():
    first = (Bin(0.0, 0.5, 0, math.nan, math.nan), Bin(0.5, 0.8, 30, 0.6, 0.5), Bin(0.8, 1.0, 10, 0.9, 1.0))
    second = (Bin(0.0, 0.5, 0, math.nan, math.nan), Bin(0.5, 0.8, 10, 0.7, 0.9), Bin(0.8, 1.0, 0, math.nan, math.nan))
    confidence, accuracy, share = pooled_curve([first, second])
    assert confidence == pytest.approx([100 * (30 * 0.6 + 10 * 0.7) / 40, 90])
    assert accuracy == pytest.approx([100 * (30 * 0.5 + 10 * 0.9) / 40, 100])
    assert share == pytest.approx([0.8, 0.2])


def test_a_reliability_diagram_has_the_pooled_curve_its_gaps_and_the_mean_ece():
    one, other = made_scores(1), made_scores(2)
    figure = reliability(comparison_of({"vanilla": [one, other], "smix": [one, None]}), ASSETS)
    axes = figure.axes[0]
    confidence, accuracy, share = pooled_curve([one.calibration.curve, other.calibration.curve])
    marks = next(result for result in axes.collections if isinstance(result, PathCollection))
    assert np.asarray(marks.get_offsets()) == pytest.approx(np.stack([confidence, accuracy], 1))
    assert marks.get_sizes() == pytest.approx(8 + 90 * share)
    gaps = next(result for result in axes.collections if isinstance(result, LineCollection)).get_segments()
    assert [gap.tolist() for gap in gaps] == [
        [[pytest.approx(c), pytest.approx(c)], [pytest.approx(c), pytest.approx(a)]]
        for c, a in zip(confidence, accuracy, strict=True)
    ]
    texts = texts_of(figure)
    assert f"ECE {50 * (one.calibration.ece + other.calibration.ece):.1f} %" in texts
    assert f"ECE {100 * one.calibration.ece:.1f} %" in texts


def levels(*pairs: tuple[int, int]) -> tuple[Level, ...]:
    """Return three levels of confidence with these numbers of predictions and errors."""
    samples = sum(count for count, _ in pairs)
    bounds = ((0.0, 0.5), (0.5, 0.9), (0.9, 1.0))
    return tuple(Level(*bound, count, wrong, samples) for bound, (count, wrong) in zip(bounds, pairs, strict=True))


def test_wrong_predictions_of_each_level_and_above_it_are_of_all_seeds_together():
    first = replace(made_scores(), levels=levels((10, 5), (0, 0), (30, 3)))
    second = replace(made_scores(), levels=levels((30, 9), (0, 0), (10, 1)))
    figure = wrong_by_confidence(comparison_of({"vanilla": [first, second]}), ASSETS)
    above, below = figure.axes
    rates = line_of(above, "vanilla").get_ydata()
    assert rates[[0, 2]] == pytest.approx([100 * 14 / 40, 100 * 4 / 40])
    assert math.isnan(rates[1]), "no prediction of this level, so no share of them"
    assert line_of(below, "vanilla").get_ydata() == pytest.approx([100 * 18 / 80, 100 * 4 / 80, 100 * 4 / 80])
    # A calibrated model is wrong in 50 to 100, 10 to 50, and 0 to 10 %.
    assert [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in above.patches] == [
        *(pytest.approx((50, 100)), pytest.approx((10, 50)), pytest.approx((0, 10))),
    ]
    assert {"0\N{EN DASH}50", "90\N{EN DASH}100", "> 90", "all"} <= set(texts_of(figure))


@pytest.mark.slow
def test_a_network_without_errors_is_drawn():
    perfect = made_scores(skill=1000.0)
    for draw in ALL:
        assert_readable(draw(comparison_of({"vanilla": [perfect]}), ASSETS))


def test_the_last_level_may_have_no_predictions():
    unsure = replace(made_scores(), levels=levels((10, 5), (10, 2), (0, 0)))
    figure = wrong_by_confidence(comparison_of({"vanilla": [unsure]}), ASSETS)
    assert "vanilla" in texts_of(figure)


def test_risk_is_the_mean_over_seeds_at_each_coverage():
    coverage = torch.arange(1, 201, dtype=torch.float64) / 200
    first, second = (replace(made_scores(), risk=RiskCoverage(coverage, slope * coverage)) for slope in (0.2, 0.4))
    figure = risk_coverage(comparison_of({"vanilla": [first, second]}), ASSETS)
    line = line_of(figure.axes[0], "vanilla")
    assert line.get_xdata() == pytest.approx(np.arange(1, 101))
    assert line.get_ydata() == pytest.approx(0.3 * np.arange(1, 101))


def test_overconfidence_is_confidence_minus_accuracy():
    sure, unsure = made_scores(1), made_scores(2)
    sure = replace(sure, calibration=replace(sure.calibration, confidence=0.9, accuracy=0.7))
    unsure = replace(unsure, calibration=replace(unsure.calibration, confidence=0.5, accuracy=0.6))
    figure = overconfidence(comparison_of({"vanilla": [sure, unsure], "smix": [unsure, unsure]}), ASSETS)
    marks = [one for one in figure.axes[0].collections if isinstance(one, PathCollection)]
    assert [one.get_offsets()[:, 0].tolist() for one in marks] == [
        pytest.approx([20, -10]),
        pytest.approx([-10, -10]),
    ]
    assert len(set(marks[1].get_offsets()[:, 1].tolist())) == 2
    assert {"+5.00 ± 21.21", f"{signed(-10.0, 2)} ± 0.00"} <= set(texts_of(figure))
