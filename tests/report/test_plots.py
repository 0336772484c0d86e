import numpy as np
import pytest

from smix.plots.charts import Chart, Curve, Estimate, Row, interval_rows, line_charts, panels
from smix.plots.layout import LABEL, WIDTH, Heading, text_width
from smix.plots.style import SMALL, looks, styles
from tests.report.comparisons import METHODS, compared
from tests.report.pictures import assert_readable, drawn_texts, texts_of

HEADING = Heading("Title", "note")


def test_labels_show_the_number_of_runs_of_incomplete_methods():
    comparison = compared({"vanilla": [0.5, 0.6, 0.7], "smix": [0.9, None, None]})
    assert comparison.labels(comparison.values("test_accuracy")) == {"vanilla": "vanilla", "smix": "smix (1 of 3)"}


def ends_at(values: dict[str, float]) -> tuple:
    curves = {method: Curve(np.array([0.0, 10.0]), np.array([value, value])) for method, value in values.items()}
    charts = [Chart(curves, "Axis", settings={"xlim": (0, 10), "ylim": (0, 1)})]
    figure = looks(line_charts)(HEADING, charts, {method: method for method in values}, styles(list(values)))
    return figure, figure.axes[0]


def test_curve_names_are_at_their_ends_without_overlap():
    figure, axes = ends_at({"a": 0.2, "b": 0.5, "c": 0.8})
    boxes = {text.get_text(): box for text, box in drawn_texts(figure).items()}
    for name, value in (("a", 0.2), ("b", 0.5), ("c", 0.8)):
        left, bottom, _, top = boxes[name]
        x, y = axes.transData.transform((10, value))
        assert (bottom + top) / 2 == pytest.approx(y, abs=3)
        assert 0 < left - x < 40


@pytest.mark.parametrize("count", [2, 13])
@pytest.mark.parametrize("value", [-3.0, 0.0, 0.5, 1.0, 7.0])
def test_names_of_curves_with_equal_or_outside_ends_do_not_overlap(count, value):
    figure, axes = ends_at({method: value + 0.001 * n for n, method in enumerate(METHODS[:count])})
    assert_readable(figure)
    assert len(figure.lines) + len(figure.artists) >= 2 * count  # a leader and a marker for each
    box = axes.get_position()
    names = [box for text, box in drawn_texts(figure).items() if text in figure.texts[2:]]
    height = figure.get_figheight() * figure.dpi
    assert all(bottom >= box.y0 * height - 15 and top <= box.y1 * height + 15 for _, bottom, _, top in names)


def test_a_line_without_an_end_has_no_name():
    figure, _ = ends_at({"a": 0.2, "b": float("nan")})
    assert "a" in texts_of(figure)
    assert "b" not in texts_of(figure)


def test_a_row_for_each_method_with_its_name_and_its_text():
    looked, actual = styles(METHODS), {method: f"{n}.25 ± 0.5" for n, method in enumerate(METHODS)}
    rows = [
        Row(method, [Estimate(looked[method], n, n - 1, n + 1)], actual[method]) for n, method in enumerate(METHODS)
    ]
    figure = looks(interval_rows)(HEADING, {"": rows}, "Axis")
    assert_readable(figure)
    (axes,) = figure.axes
    boxes = {text.get_text(): box for text, box in drawn_texts(figure).items()}
    for method, line in zip(METHODS, axes.lines, strict=True):
        y = axes.transData.transform((0, line.get_ydata()[0]))[1]
        _, bottom, right, top = boxes[actual[method]]
        assert (bottom + top) / 2 == pytest.approx(y, abs=3)
        assert right == pytest.approx(100 * WIDTH - 8, abs=3)
    assert {"mixup", "Axis", "smix(alpha=0.7,", "labels=coverage)+fmix", *actual.values()} <= boxes.keys()
    assert all(text_width(text.get_text(), SMALL) <= LABEL for text in drawn_texts(figure) if text.get_ha() == "right")


@pytest.mark.slow
@pytest.mark.parametrize("columns", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 4, 13])
def test_panels_have_equal_size_in_a_grid(columns, count):
    titles = {method: method for method in METHODS[:count]}
    notes = dict.fromkeys(titles, "and so on " * 9)
    figure, result = looks(panels)(HEADING, titles, styles(METHODS), notes, columns, height=1.0)
    assert list(result) == list(titles)
    boxes = np.array([axes.get_position().extents for axes in result.values()]) * np.tile(figure.get_size_inches(), 2)
    sizes = boxes[:, 2:] - boxes[:, :2]
    assert sizes == pytest.approx(np.tile(sizes[0], (count, 1)))
    assert sizes[0, 1] == pytest.approx(1)
    assert len(set(boxes[:, 0].round(6))) == min(columns, count)
    assert len(set(boxes[:, 1].round(6))) == -(-count // columns)
    assert boxes[:, 2].max() <= WIDTH
    for n, axes in enumerate(result.values()):
        axes.set(xlim=(0, 100), ylim=(0, 100))
        axes.tick_params(labelleft=n % columns == 0)
    assert_readable(figure)
