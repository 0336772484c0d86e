import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.optimize import minimize

from smix.plots.layout import (
    EDGE,
    WIDTH,
    Heading,
    axes_at,
    dodged,
    sanitised,
    sheet,
    shortened,
    signed,
    text_width,
    wrapped,
    write,
)
from smix.plots.style import FONT, LARGE, SMALL, looks
from tests.report.pictures import assert_readable, drawn_texts

HOSTILE = "a$b$\n\x1b[2J<b>\ud800\u2028"


def test_names_have_no_lines_nor_control_characters_and_keep_the_rest():
    assert sanitised(HOSTILE) == "a$b$\ufffd\ufffd[2J<b>\ufffd\ufffd"
    assert sanitised("Käse 猫 1/2") == "Käse 猫 1/2"


@pytest.mark.parametrize(
    ("text", "size", "bold"), [("smix+fmix", 10, False), ("WWW...", 9, True), ("_$^{2}$", 9, False)]
)
def test_the_width_of_a_text_is_that_which_is_drawn(text, size, bold):
    figure = Figure(dpi=300)  # at which hinting changes little
    drawn = figure.text(0, 0, text, fontsize=size, weight="bold" if bold else "normal", family=FONT, parse_math=False)
    width = drawn.get_window_extent(FigureCanvasAgg(figure).get_renderer()).width / 300
    assert text_width(text, size, bold) == pytest.approx(width, rel=0.06)


def test_measuring_missing_glyphs_raises_no_warning():
    assert text_width("猫犬") > 0


@pytest.mark.slow
@given(st.text(max_size=60), st.floats(0.5, 3))
@settings(deadline=None, max_examples=80)
def test_wrapped_lines_fit_and_lose_only_spaces(text, width):
    lines = wrapped(text, width, SMALL)
    assert "".join("".join(lines).split()) == "".join(sanitised(text).split())
    assert all(text_width(line, SMALL) <= width for line in lines)


def test_lines_break_after_commas_and_signs():
    assert wrapped("smix(alpha=0.7,labels=coverage)+fmix", 1.75, SMALL) == ["smix(alpha=0.7,", "labels=coverage)+fmix"]
    assert wrapped("what is used (one.name)", 1.1, SMALL) == ["what is used", "(one.name)"]
    assert wrapped("two words", 0.5, SMALL) == ["two", "words"]
    assert wrapped("", 1) == [""]
    assert wrapped("one line", 5) == ["one line"]


@given(st.text(max_size=30), st.floats(0.3, 3))
@settings(deadline=None, max_examples=60)
def test_a_shortened_name_fits_and_begins_like_the_name(text, width):
    result = shortened(text, width)
    assert text_width(result, SMALL) <= width
    if result != sanitised(text):
        assert result.endswith("…")
        assert sanitised(text).startswith(result[:-1])


def test_numbers_with_signs():
    assert [signed(value, 1) for value in (1.25, -3, 0, -0.04, 0.04)] == [
        "+1.2",
        "\N{MINUS SIGN}3.0",
        "0.0",
        "0.0",
        "0.0",
    ]
    assert signed(-2.5) == "\N{MINUS SIGN}2"


labels = st.lists(st.tuples(st.floats(-2, 6), st.floats(0.1, 0.6)), min_size=1, max_size=6)


@given(labels, st.floats(0, 4))
@settings(deadline=None)
def test_labels_do_not_overlap_and_stay_within_bounds(places, extra):
    wanted, heights = [place for place, _ in places], [height for _, height in places]
    low, high = 0.0, sum(heights) + extra
    result = dodged(wanted, heights, low, high)
    order = np.argsort(wanted, kind="stable")
    for one, other in itertools.pairwise(order):
        assert result[other] - result[one] >= (heights[one] + heights[other]) / 2 - 1e-9
    assert result[order[0]] - heights[order[0]] / 2 >= low - 1e-9
    assert result[order[-1]] + heights[order[-1]] / 2 <= high + 1e-9


@given(labels, st.floats(0.1, 4))
@settings(deadline=None, max_examples=25)
def test_label_positions_are_optimal(places, extra):
    wanted, heights = np.array([place for place, _ in places]), [height for _, height in places]
    assume(len(set(wanted)) == len(wanted))
    high = sum(heights) + extra
    order = np.argsort(wanted)
    gaps = [(heights[a] + heights[b]) / 2 for a, b in itertools.pairwise(order)]
    rules = [
        {"type": "ineq", "fun": lambda y, a=a, b=b, gap=gap: y[b] - y[a] - gap}
        for (a, b), gap in zip(itertools.pairwise(order), gaps, strict=True)
    ]
    ends = [(height / 2, high - height / 2) for height in heights]
    start = np.empty(len(wanted))
    start[order] = np.cumsum([heights[n] for n in order]) - np.array([heights[n] / 2 for n in order])
    best = minimize(lambda y: ((y - wanted) ** 2).sum(), start, bounds=ends, constraints=rules, method="SLSQP")
    result = np.array(dodged(wanted, heights, 0.0, high))
    assert ((result - wanted) ** 2).sum() <= best.fun + 1e-4


def test_labels_by_hand():
    assert dodged([], [], 0, 1) == []
    assert dodged([0.5], [0.2], 0, 1) == [0.5]
    assert dodged([0.5, 0.5], [0.2, 0.2], 0, 1) == pytest.approx([0.4, 0.6])
    assert dodged([0.9, 0.1, 0.15], [0.2, 0.2, 0.2], 0, 1) == pytest.approx([0.9, 0.1, 0.3])  # 0.025 would stand out
    assert dodged([0.0, 0.0], [1, 1], 0, 1) == pytest.approx([0.5, 1.5])  # no room: the last stands out


@looks
def titled(title: str, note: str) -> Figure:
    figure, top = sheet(Heading(title, note), 1)
    write(figure, EDGE, top + 0.1, "below", SMALL)
    return figure


@pytest.mark.slow
def test_a_heading_has_lines_that_fit_and_room_for_them():
    short, long = titled("a", "b"), titled("many words " * 20, "and more of them " * 20)
    assert_readable(long)
    assert long.get_figheight() > short.get_figheight() + 0.5
    assert {text.get_fontsize() for text in drawn_texts(long)} == {LARGE, SMALL}
    assert sheet(Heading("a"), 1)[1] < sheet(Heading("a", "b"), 1)[1]


def test_positions_are_inches_from_the_top_left():
    figure = titled("a", "b")
    height = figure.get_figheight()
    box = axes_at(figure, 1, 0.5, 2, 0.25).get_position()
    assert np.array([box.x0, box.width]) * WIDTH == pytest.approx([1, 2])
    assert np.array([1 - box.y1, box.height]) * height == pytest.approx([0.5, 0.25])
    below = {text.get_text(): box for text, box in drawn_texts(figure).items()}["below"]
    assert below[0] / figure.dpi == pytest.approx(EDGE, abs=0.02)
    assert (below[1] + below[3]) / 2 / figure.dpi == pytest.approx(1 - 0.1, abs=0.03)
