"""Test the tables of accuracy, pairs of methods, and runs."""

import math

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from smix.report.accuracy import accuracy_table, across_table, pairs
from smix.report.comparison import ReportAssets, summarise
from smix.report.runs import every_run
from smix.report.table import p_value, terminal
from smix.report.tables import spread_note
from tests.report.comparisons import compared, made_summary
from tests.report.runs import made_run, made_runs

SCORES = {"smix": [0.80, 0.82, 0.84], "cutmix": [0.70, 0.71, 0.75], "vanilla": [0.60, 0.65, 0.61]}


ASSETS = ReportAssets({})


def texts(table) -> list[tuple[str, ...]]:
    return [tuple(cell.text for cell in row) for row in table.rows]


def test_a_row_has_mean_std_with_n_minus_1_runs_min_max_and_time():
    table = accuracy_table(made_summary(SCORES))
    assert texts(table)[2] == ("smix", "82.00", "2.00", "3", "80.00", "84.00", "1 min 1 s", "77.0 to 87.0")
    assert table.rows[2][2].value == pytest.approx(100 * np.std(SCORES["smix"], ddof=1))


def test_methods_are_in_order_of_their_papers_followed_by_variants():
    scores = {name: [0.5] for name in ("smix+fmix", "smix(alpha=1)", "fmix", "smix", "vanilla", "mixup")}
    result = [row.method for row in made_summary(scores).methods]
    assert result == ["vanilla", "mixup", "fmix", "smix", "smix(alpha=1)", "smix+fmix"]


@pytest.mark.parametrize("missing", ["unfinished", "never started"])
def test_an_incomplete_method_shows_its_count_and_is_not_compared(missing):
    some = made_runs(SCORES)
    last = next(run for run in some if run.config.method == "smix" and run.config.seed == 2)
    some.remove(last)
    if missing == "unfinished":
        some.append(made_run("smix", 2, None))
    table = accuracy_table(summarise(some))
    assert texts(table)[2][:6] == ("smix", "81.00", "1.41", "2 of 3", "80.00", "82.00")
    assert [row[1].best for row in table.rows] == [False, True, False], "the highest mean lacks a run"
    assert "lack runs" in table.note
    assert {name for pair in summarise(some).pairs for name in (pair.first, pair.second)} == {"cutmix", "vanilla"}


def test_one_run_is_not_enough_for_a_deviation():
    assert texts(accuracy_table(made_summary({"vanilla": [0.5]})))[0][1:6] == (
        *("50.00", "not enough runs", "1", "50.00", "50.00"),
    )


def test_the_interval_is_by_students_t_and_needs_two_runs():
    mean, std = 82.0, np.std(SCORES["smix"], ddof=1) * 100
    low, high = stats.t.interval(0.95, 2, mean, std / math.sqrt(3))
    table = accuracy_table(made_summary(SCORES))
    assert table.head[-1] == "95 % interval (%)"
    assert texts(table)[2][-1] == f"{low:.1f} to {high:.1f}"
    assert texts(accuracy_table(made_summary({"vanilla": [0.5]})))[0][-1] == "not enough runs"


def test_a_terminal_of_80_columns_holds_the_table_without_intervals():
    table = accuracy_table(made_summary(SCORES), intervals=False)
    assert table.head[-1] == "Time per run"
    assert "Interval" not in table.note
    assert all(len(row) == len(table.head) for row in table.rows)
    console = Console(width=300)
    assert (
        console.measure(terminal(table)).maximum
        <= 80
        < console.measure(terminal(accuracy_table(made_summary(SCORES)))).maximum
    )


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ([1, 1, 0], "One run of each method: not enough runs for a deviation."),
        ([], "One run of each method: not enough runs for a deviation."),
        ([3, 2], "Mean ± standard deviation over seeds."),
        ([3, 1], "Mean ± standard deviation over seeds; the value of a single run (not enough runs)."),
    ],
)
def test_the_note_of_a_mean_follows_the_number_of_runs(counts, text):
    assert spread_note(counts) == text


def test_a_method_without_results_has_a_row_without_numbers():
    row = texts(accuracy_table(made_summary({"vanilla": [0.5], "smix": [None]})))[1]
    assert row == ("smix", "-", "-", "0 of 1", "-", "-", "-", "-")


def test_only_the_best_mean_is_bold():
    assert [one.method for one in made_summary(SCORES).best] == ["smix"]
    assert [[cell.best for cell in row].count(True) for row in accuracy_table(made_summary(SCORES)).rows] == [0, 0, 1]


def test_no_best_without_a_mean():
    assert made_summary({"vanilla": [None]}).best == []


def test_differences_are_in_points_and_paired_over_seeds():
    pair = next(pair for pair in made_summary(SCORES).pairs if {pair.first, pair.second} == {"smix", "cutmix"})
    sign = 1 if pair.first == "smix" else -1
    assert sign * pair.mean == pytest.approx(10.0)
    assert pair.p == pytest.approx(stats.ttest_rel(SCORES["smix"], SCORES["cutmix"]).pvalue)


def test_pairs_show_verdict_and_detectable_difference():
    result = texts(pairs(compared(SCORES), ASSETS))
    assert result[0][0] == "vanilla - cutmix"
    assert {row[6] for row in result} <= {"better", "worse", "not distinguishable"}
    assert float(result[0][7]) == pytest.approx(made_summary(SCORES).pairs[0].detectable, abs=0.005)


def test_a_difference_above_100_points_cannot_be_found():
    comparison = compared({"vanilla": [0.1, 0.9], "smix": [0.9, 0.2]})
    assert comparison.accuracy.pairs[0].detectable > 100
    assert texts(pairs(comparison, ASSETS))[0][7] == "none possible"


def test_pairs_of_one_seed_are_not_enough_runs_and_never_0():
    for row in texts(pairs(compared({"vanilla": [0.5], "smix": [0.6]}), ASSETS)):
        assert row == ("vanilla - smix", "-10.00", "-", "1", *["not enough runs"] * 3, "-")


def test_every_run_has_a_row_and_unfinished_ones_no_result():
    result = texts(every_run(compared({"smix(alpha=1,labels=area)": [0.5, None]}), ASSETS))
    assert [row[2] for row in result] == ["0", "1"]
    assert result[0][1] == "smix(alpha=1,labels=area)"
    assert (result[0][3], result[1][3]) == ("50.00", "-")
    assert result[1][6] == "3 of 3"


@pytest.mark.parametrize(("p", "text"), [(math.nan, "-"), (0.0002, "< 0.001"), (0.0344, "0.034"), (1.0, "1.000")])
def test_p_values_are_formatted(p, text):
    assert p_value(p) == text


def test_the_note_describes_the_runs_and_incomplete_methods_are_never_best():
    several = compared({"vanilla": [0.5, 0.6, 0.55], "smix": [0.7, 0.8, 0.75], "fmix": [0.9, None, None]})
    table = across_table([several, compared({"vanilla": [0.5]})], ["one", "other"])
    assert table.note.startswith(
        "Mean ± standard deviation over seeds; the value of a single run (not enough runs). The highest"
    )
    assert [(row[0].text, row[1].text, row[1].best) for row in table.rows] == [
        ("vanilla", "55.00 ± 5.00", False),
        ("fmix", "90.00 (1 of 3)", False),
        ("smix", "75.00 ± 5.00", True),
    ]
    assert across_table([compared({"vanilla": [0.5]})], ["one"]).note.startswith("One run of each method")
