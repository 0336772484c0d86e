"""Test the tables of corruptions, attacks, objects and other data."""

from statistics import fmean

import pytest

from smix.evaluation.corruptions.suite import CORRUPTIONS, GROUPS, LABEL
from smix.evaluation.records import FOLDER, Evaluation, write_evaluation
from smix.report.comparison import ReportAssets
from smix.report.reading import read_comparison
from smix.report.robustness import ATTACKS, OBJECTS, OTHER_DATA, corruption_tables
from tests.report.evaluations import write_evaluations
from tests.report.runs import write_runs

ASSETS = ReportAssets({})
OVERALL, EACH = corruption_tables(LABEL)
ACCURACY = {"vanilla": (0.5, 0.6), "smix": (0.7, 0.8)}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    folder = write_runs(
        tmp_path_factory.mktemp("runs"), {"vanilla": [1.0, 1.0], "mixup": [1.0, 1.0], "smix": [1.0, 1.0]}
    )
    for method, values in ACCURACY.items():
        for seed, value in enumerate(values):
            write_evaluations(folder / f"{method}-{seed}", value, value / 2)
    write_evaluations(folder / "mixup-0", 0.65)
    return read_comparison(folder)


def row(table, method: str) -> dict[str, float | None]:
    return dict(
        zip(table.head, next([c.value for c in row] for row in table.rows if row[0].text == method), strict=True)
    )


def test_groups_are_all_corruptions_once():
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(CORRUPTIONS)


def test_corruption_accuracy_is_averaged_over_severities_corruptions_and_seeds(comparison):
    table = OVERALL(comparison, ASSETS)
    result = row(table, "smix")
    assert result["Clean (%)"] == pytest.approx(75.0)
    assert result["All (%)"] == pytest.approx(75.0 - 3 - 0.7)  # severities 1 to 5, places 0 to 14
    assert result["Noise (%)"] == pytest.approx(75.0 - 3 - 0.1)
    assert LABEL in table.title


def test_mce_is_relative_to_vanilla_with_the_same_seed(comparison):
    table = OVERALL(comparison, ASSETS)
    assert row(table, "vanilla")["mCE, vanilla = 100"] == pytest.approx(100)
    expected = fmean(
        100 * fmean((5 * (1 - one + 0.001 * n) + 0.15) / (5 * (1 - plain + 0.001 * n) + 0.15) for n in range(15))
        for one, plain in zip(ACCURACY["smix"], ACCURACY["vanilla"], strict=True)
    )
    assert row(table, "smix")["mCE, vanilla = 100"] == pytest.approx(expected)


def test_partially_evaluated_methods_are_labelled(comparison):
    assert [line[0].text for line in OVERALL(comparison, ASSETS).rows] == [
        "vanilla",
        "mixup (1 of 2)",
        "smix",
    ]


def test_each_corruption_has_a_row_and_each_method_a_column(comparison):
    table = EACH(comparison, ASSETS)
    assert [line[0].text for line in table.rows] == list(CORRUPTIONS)
    assert table.head == ("Corruption", "vanilla", "mixup (1 of 2)", "smix")
    assert table.rows[2][3].value == pytest.approx(75.0 - 3 - 0.2)
    assert all(line[3].best for line in table.rows)


def test_attacks_are_in_order_of_strength_and_named_with_their_size(comparison):
    table = ATTACKS(comparison, ASSETS)
    assert table.head == ("Method", "Clean (%)", "FGSM, 8/255 (%)", "PGD-10, 2/255 (%)", "PGD-10, 8/255 (%)")
    assert list(row(table, "smix").values())[1:] == pytest.approx([75, 37.5, 18.75, 9.375])


def test_the_background_table_shows_the_drop_after_the_swap(comparison):
    table = OBJECTS(comparison, ASSETS)
    result = row(table, "vanilla")
    assert result["Unchanged (%)"] == pytest.approx(55)
    assert result["Background swapped (%)"] == pytest.approx(44)
    assert result["Drop after the swap (points)"] == pytest.approx(11)
    assert "same 50 test images" in table.note
    assert "11 more have no usable mask" in table.note


def test_other_data_has_a_column_each_and_only_methods_that_were_evaluated(comparison):
    table = OTHER_DATA(comparison, ASSETS)
    assert table.head == ("Method", "elsewhere (%)")
    assert [line[0].text for line in table.rows] == ["vanilla", "smix"]
    assert row(table, "smix")["elsewhere (%)"] == pytest.approx(37.5)


def evaluated(folder, accuracies: dict[str, list[float]]):
    """Return the comparison of two seeds with evaluations of `accuracies[method][seed]`."""
    write_runs(folder, {method: [1.0, 1.0] for method in accuracies})
    for method, values in accuracies.items():
        for seed, value in enumerate(values):
            write_evaluations(folder / f"{method}-{seed}", value, value / 2)
    return read_comparison(folder)


def bold(table) -> list[str]:
    """Return the row names of the bold cells of a table of methods, or the headings of a table of corruptions."""
    return sorted(
        {
            row[0].text if table.head[0] == "Method" else head
            for row in table.rows
            for head, cell in zip(table.head, row, strict=True)
            if cell.best
        }
    )


@pytest.mark.parametrize(
    ("accuracies", "best"),
    [
        ({"vanilla": [0.5, 0.6], "mixup": [0.9], "smix": [0.7, 0.8]}, ["smix"]),
        ({"vanilla": [0.7, 0.8], "smix": [0.7, 0.8]}, []),
        ({"vanilla": [0.5], "smix": [0.7, 0.8]}, []),
        ({"smix": [0.7, 0.8]}, []),
    ],
    ids=["a method that lacks runs", "a tie", "one that is whole", "one method"],
)
def test_only_a_unique_best_of_complete_methods_is_bold(tmp_path, accuracies, best):
    result = evaluated(tmp_path, accuracies)
    assert bold(OVERALL(result, ASSETS)) == bold(EACH(result, ASSETS)) == best


def test_notes_and_names_are_of_the_runs_that_were_evaluated(tmp_path):
    result = evaluated(tmp_path, {"vanilla": [0.5], "smix": [0.7]})
    for table in (
        OVERALL(result, ASSETS),
        ATTACKS(result, ASSETS),
        OBJECTS(result, ASSETS),
        OTHER_DATA(result, ASSETS),
    ):
        assert "One run of each method" in table.note
        assert [line[0].text for line in table.rows] == ["vanilla (1 of 2)", "smix (1 of 2)"]


def test_other_data_are_named_without_their_folders(tmp_path):
    run = write_runs(tmp_path, {"vanilla": [1.0]}) / "vanilla-0"
    away = Evaluation("npz:/home/someone/birds.npz", "ff" * 32, 30, "00" * 32, {"accuracy": 0.5}, own=False)
    write_evaluation(run / FOLDER / "birds.json", away)
    assert OTHER_DATA(read_comparison(tmp_path), ASSETS).head == ("Method", "birds (%)")


def test_without_evaluations_there_are_no_tables(tmp_path):
    result = read_comparison(write_runs(tmp_path, {"vanilla": [1.0]}))
    assert result.select(metric="images") == []
    assert [make(result, ASSETS) for make in (ATTACKS, OBJECTS, OTHER_DATA)] == [None] * 3
    assert OVERALL(result, ASSETS) is EACH(result, ASSETS) is None


def test_the_suites_are_never_mixed(comparison, tmp_path):
    assert {record.suite for record in comparison.select(metric="images")} == {LABEL, "attacks", "objects"}
    assert [make(comparison, ASSETS) for make in corruption_tables("official CIFAR-C")] == [None, None]
