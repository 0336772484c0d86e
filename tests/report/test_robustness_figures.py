import math
from dataclasses import replace

import numpy as np
import pytest

from smix.evaluation.records import Attacked, Corrupted, Evaluation, ObjectAccuracies
from smix.plots.style import styles
from smix.report.comparison import Comparison, ReportAssets
from smix.report.robustness import attacks, corruptions, objects
from tests.report.comparisons import METHODS, compared, made_comparison, made_evaluation, place
from tests.report.pictures import assert_readable, texts_of

STYLES = styles(METHODS)
ASSETS = ReportAssets(STYLES)
ALL = (corruptions, attacks, objects)


def evaluated(result: dict[str, list[Evaluation | None]]) -> Comparison:
    """Return the comparison with evaluations `result[method][seed]`."""
    evaluations = {
        place(method, seed): [] if one is None else [one]
        for method, mine in result.items()
        for seed, one in enumerate(mine)
    }
    return compared({method: [0.5] * len(mine) for method, mine in result.items()}, evaluations=evaluations)


def only(**parts: object) -> Evaluation:
    empty = Evaluation("made", "0", 100, "0", {"accuracy": 0.8})
    return replace(empty, **parts)


def line_of(axes, method):
    return next(line for line in axes.lines if line.get_label() == method)


def marks(axes, method) -> dict[float, float]:
    """Return the value of each mark of a method by its height in the axes."""
    style = STYLES[method]
    result = [line for line in axes.lines if (line.get_color(), line.get_marker()) == (style.colour, style.marker)]
    return {float(line.get_ydata()[0]): float(line.get_xdata()[0]) for line in result}


@pytest.mark.slow
@pytest.mark.parametrize("draw", ALL)
@pytest.mark.parametrize(("count", "seeds"), [(1, 1), (2, 2), (6, 1), (13, 2)])
def test_texts_do_not_overlap(draw, count, seeds):
    assert_readable(draw(made_comparison(count, seeds), ASSETS))


@pytest.mark.parametrize("draw", ALL)
def test_unevaluated_methods_are_omitted_and_partial_ones_are_labelled(draw):
    comparison = evaluated({"vanilla": [made_evaluation(), None], "mixup": [None, None], "smix": [only(), only()]})
    texts = texts_of(draw(comparison, ASSETS))
    assert "vanilla (1 of 2)" in texts
    assert not [text for text in texts if "mixup" in text or "smix" in text]
    assert draw(evaluated({"vanilla": [only()]}), ASSETS) is None
    assert draw(evaluated({"vanilla": [None]}), ASSETS) is None


@pytest.mark.slow
@pytest.mark.parametrize("draw", ALL)
def test_names_are_shown_verbatim(draw):
    hostile = "mixup$x_1$<b>\x1b[2J"
    figure = draw(evaluated({hostile: [made_evaluation()]}), ReportAssets(styles([hostile])))
    assert_readable(figure)
    assert "mixup$x_1$<b>\ufffd[2J" in texts_of(figure)


@pytest.mark.parametrize("draw", ALL)
def test_other_data_sets_are_not_drawn_as_the_test_split(draw):
    assert draw(evaluated({"vanilla": [replace(made_evaluation(), own=False, data="elsewhere")]}), ASSETS) is None


NOISY = {"fog": (0.7, 0.5), "gaussian_noise": (0.6, 0.2), "my $own$ one": (0.4, 0.3)}


def test_corruptions_by_severity_and_by_kind_are_means_over_seeds():
    first = only(corruptions=(Corrupted("mine", 100, 0.9, NOISY),))
    second = only(
        corruptions=(Corrupted("mine", 100, 0.8, {name: (a - 0.1, b - 0.1) for name, (a, b) in NOISY.items()}),)
    )
    figure = corruptions(evaluated({"vanilla": [first, second], "mixup": [first, first]}), ASSETS, suite="mine")
    assert_readable(figure)
    by_severity, by_kind = figure.axes
    line = line_of(by_severity, "vanilla")
    assert line.get_xdata() == pytest.approx([0, 1, 2])
    assert line.get_ydata() == pytest.approx([85, 100 * (1.7 / 3 - 0.05), 100 * (1.0 / 3 - 0.05)])
    # Rows: no corruption; Noise, gaussian noise; Weather, fog; Other, my own one.
    result = marks(by_kind, "mixup")
    assert [result[y] for y in sorted(result)] == pytest.approx([90, 40, 60, 35])
    result = marks(by_kind, "vanilla")
    assert [result[y] for y in sorted(result)] == pytest.approx([85, 35, 55, 30])
    texts = texts_of(figure)
    order = ["No corruption", "Noise", "gaussian noise", "Weather", "fog", "Other", "my $own$ one"]
    assert [text for text in texts if text in order] == order
    assert "In percent, on mine; mean over seeds." in texts


def test_each_suite_has_its_own_figure():
    one, other = Corrupted("own", 100, 0.9, {"fog": (0.5,)}), Corrupted("official", 100, 0.9, {"fog": (0.4,)})
    comparison = evaluated({"vanilla": [only(corruptions=(one, other))], "mixup": [only(corruptions=(other,))]})
    figure = corruptions(comparison, ASSETS, suite="own")
    assert line_of(figure.axes[0], "vanilla").get_ydata() == pytest.approx([90, 50])
    assert "mixup" not in texts_of(figure)
    assert line_of(corruptions(comparison, ASSETS, suite="official").axes[0], "mixup").get_ydata() == pytest.approx(
        [90, 40]
    )
    assert corruptions(comparison, ASSETS, suite="unknown") is None


def test_a_missing_corruption_has_no_mark():
    complete = only(corruptions=(Corrupted("own", 100, 0.9, {"fog": (0.5,), "snow": (0.6,)}),))
    part = only(corruptions=(Corrupted("own", 100, 0.9, {"fog": (0.4,)}),))
    rows = corruptions(evaluated({"vanilla": [complete], "mixup": [part]}), ASSETS, suite="own").axes[1]
    assert sorted(marks(rows, "vanilla").values()) == pytest.approx([50, 60, 90])
    assert sorted(marks(rows, "mixup").values()) == pytest.approx([40, 90])


def attacked(name: str, eps: float, accuracy: float, steps: int = 1, clean: float = 0.9) -> Attacked:
    return Attacked(name, eps / 255, 1 / 255, steps, 100, clean, accuracy)


def test_attacks_are_curves_from_the_clean_accuracy_on_a_chart_for_each_attack():
    first = only(attacks=(attacked("pgd", 8, 0.1, 10), attacked("pgd", 2, 0.5, 10), attacked("fgsm", 8, 0.4)))
    second = only(attacks=(attacked("pgd", 8, 0.3, 10, 0.8), attacked("pgd", 2, 0.6, 10, 0.8)))
    figure = attacks(evaluated({"vanilla": [first, second], "mixup": [first, None]}), ASSETS)
    assert_readable(figure)
    fgsm, pgd = figure.axes
    assert line_of(pgd, "vanilla").get_xdata() == pytest.approx([0, 2, 8])
    assert line_of(pgd, "vanilla").get_ydata() == pytest.approx([85, 55, 20])
    assert line_of(pgd, "mixup").get_ydata() == pytest.approx([90, 50, 10])
    assert line_of(fgsm, "vanilla").get_ydata() == pytest.approx([90, 40])
    assert {"FGSM", "PGD, 10 steps", "mixup (1 of 2)"} <= set(texts_of(figure))


def test_a_missing_attack_has_no_curve():
    one, other = only(attacks=(attacked("pgd", 8, 0.1, 10),)), only(attacks=(attacked("fgsm", 8, 0.4),))
    fgsm, pgd = attacks(evaluated({"vanilla": [one], "mixup": [other]}), ASSETS).axes
    assert [line.get_label() for line in fgsm.lines] == ["mixup"]
    assert [line.get_label() for line in pgd.lines] == ["vanilla"]


def test_object_charts_show_means_and_ranges_on_one_scale():
    first, second = (
        only(objects=ObjectAccuracies("u2net", 4321, 10, *values))
        for values in ((0.9, 0.6, 0.3, 0.8), (0.7, 0.5, 0.2, 0.8))
    )
    figure = objects(evaluated({"vanilla": [first, second], "smix": [first, first]}), ASSETS)
    assert_readable(figure)
    assert [sorted(marks(axes, "vanilla").values()) for axes in figure.axes] == [
        [pytest.approx(value)] for value in (80, 55, 25, 80)
    ]
    assert [sorted(marks(axes, "smix").values()) for axes in figure.axes] == [
        [pytest.approx(value)] for value in (90, 60, 30, 80)
    ]
    ranges = [[one.get_segments()[0][:, 0].tolist() for one in axes.collections] for axes in figure.axes]
    assert ranges[0] == [pytest.approx([70, 90]), pytest.approx([90, 90])]
    assert ranges[1] == [pytest.approx([50, 60]), pytest.approx([60, 60])]
    spans = [np.ptp(axes.get_xlim()) for axes in figure.axes]
    assert spans == pytest.approx([1.12 * 20] * 4)
    texts = texts_of(figure)
    assert {"80.0", "55.0", "25.0", "Unchanged", "Object hidden", "Background hidden"} <= set(texts)
    assert "4,321 images" in " ".join(texts)


def test_small_differences_are_not_magnified():
    same = only(objects=ObjectAccuracies("u2net", 10, 0, 0.5, 0.501, 0.5, 0.5))
    figure = objects(evaluated({"vanilla": [same]}), ASSETS)
    assert all(math.isclose(np.ptp(axes.get_xlim()), 5.0) for axes in figure.axes)
