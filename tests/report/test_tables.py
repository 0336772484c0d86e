import csv
import io
import math

import numpy as np
import pytest
from scipy import stats

from smix.report.tables import (
    best_rows,
    csv_runs,
    csv_table,
    differences,
    markdown_differences,
    markdown_table,
    p_value,
    rows_of,
    terminal_table,
)
from tests.report.runs import made_run, made_runs

SCORES = {"smix": [0.80, 0.82, 0.84], "cutmix": [0.70, 0.71, 0.75], "vanilla": [0.60, 0.65, 0.61]}


def test_a_row_has_mean_std_with_n_minus_1_runs_min_max_and_time():
    row = rows_of(made_runs(SCORES))[2]
    assert row.cells() == ("smix", "82.00", "2.00", "3", "80.00", "84.00", "1 min 1 s")
    assert row.accuracy is not None
    assert row.accuracy.std == pytest.approx(100 * np.std(SCORES["smix"], ddof=1))


def test_methods_stand_in_the_order_of_the_papers_and_variants_behind_them():
    scores = {name: [0.5] for name in ("smix+fmix", "smix(alpha=1)", "fmix", "smix", "vanilla", "mixup")}
    found = [row.method for row in rows_of(made_runs(scores))]
    assert found == ["vanilla", "mixup", "fmix", "smix", "smix(alpha=1)", "smix+fmix"]


@pytest.mark.parametrize("missing", ["unfinished", "never started"])
def test_a_method_that_lacks_runs_has_no_mean(missing):
    runs = made_runs(SCORES)
    last = next(run for run in runs if run.config.method == "smix" and run.config.seed == 2)
    runs.remove(last)
    if missing == "unfinished":
        runs.append(made_run("smix", 2, None))
    rows = {row.method: row for row in rows_of(runs)}
    assert rows["smix"].cells()[:6] == ("smix", "-", "-", "2 of 3", "-", "-")
    assert rows["cutmix"].accuracy is not None
    assert {name for pair in differences(runs) for name in (pair.first, pair.second)} == {"cutmix", "vanilla"}


def test_one_run_has_no_deviation():
    assert rows_of(made_runs({"vanilla": [0.5]}))[0].cells()[1:6] == ("50.00", "-", "1", "50.00", "50.00")


def test_the_best_mean_is_bold_and_only_that():
    rows = rows_of(made_runs(SCORES))
    assert best_rows(rows) == [2]
    lines = markdown_table(rows).splitlines()
    assert [line.count("**") for line in lines] == [0, 0, 0, 0, 2]
    assert "| smix | **82.00** |" in lines[-1]
    assert len({line.count("|") for line in lines}) == 1


def test_no_best_without_a_mean():
    assert best_rows(rows_of(made_runs({"vanilla": [None]}))) == []


def test_differences_are_in_points_and_paired_over_seeds():
    pair = next(pair for pair in differences(made_runs(SCORES)) if {pair.first, pair.second} == {"smix", "cutmix"})
    sign = 1 if pair.first == "smix" else -1
    assert sign * pair.mean == pytest.approx(10.0)
    assert pair.p == pytest.approx(stats.ttest_rel(SCORES["smix"], SCORES["cutmix"]).pvalue)


def test_markdown_of_differences_says_what_cannot_be_told():
    text = markdown_differences(differences(made_runs({"vanilla": [0.5], "smix": [0.6]})))
    assert "cannot tell" in text
    assert "nan" not in text


def test_csv_of_methods_has_full_precision_and_nothing_where_nothing_is_known():
    runs = [*made_runs(SCORES), *made_runs({"mixup": [0.5, None, 0.5]})]
    rows = {row["method"]: row for row in csv.DictReader(io.StringIO(csv_table(rows_of(runs))))}
    assert float(rows["cutmix"]["mean"]) == pytest.approx(100 * np.mean(SCORES["cutmix"]), abs=1e-12)
    assert rows["mixup"]["mean"] == ""
    assert (rows["mixup"]["runs"], rows["mixup"]["planned"]) == ("2", "3")


def test_csv_of_runs_has_a_line_a_run():
    rows = list(csv.DictReader(io.StringIO(csv_runs(made_runs({"smix(alpha=1,labels=area)": [0.5, None]})))))
    assert [row["seed"] for row in rows] == ["0", "1"]
    assert rows[0]["method"] == "smix(alpha=1,labels=area)"
    assert float(rows[0]["test_accuracy"]) == 0.5
    assert rows[1]["test_accuracy"] == ""


@pytest.mark.parametrize(("p", "text"), [(math.nan, "-"), (0.0002, "< 0.001"), (0.0344, "0.034"), (1.0, "1.000")])
def test_p_values_as_people_write_them(p, text):
    assert p_value(p) == text


def test_terminal_table_shows_what_markdown_shows():
    table = terminal_table(rows_of(made_runs(SCORES)))
    cells = [list(column.cells) for column in table.columns]
    assert [column[2] for column in cells] == ["smix", "82.00", "2.00", "3", "80.00", "84.00", "1 min 1 s"]
