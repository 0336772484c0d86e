from dataclasses import replace

import pytest

from smix.report.accuracy import accuracy_table
from smix.report.comparison import ReportAssets, summarise
from smix.report.verdict import _detectable, conclusion, evidence, headline, highlights, pair_sentences
from tests.report.comparisons import compared, made_summary
from tests.report.runs import made_run, made_runs

CLEAR = {
    "smix": [0.80, 0.82, 0.84, 0.81, 0.83],
    "cutmix": [0.795, 0.825, 0.838, 0.81, 0.83],
    "vanilla": [0.60, 0.63, 0.64, 0.62, 0.63],
}


def test_the_conclusion_names_the_winner_and_significant_differences():
    text = conclusion(made_summary(CLEAR))
    assert text.startswith("smix has the highest mean test accuracy, 82.00 % over 5 seeds; ")
    assert "statistically significant against vanilla (+19.60 points, p < 0.001)" in text
    assert "but not statistically significant against cutmix (+0.04 points, p = " in text
    assert "Holm-corrected over all 3 pairs" in text


def test_differences_are_winner_minus_other():
    for scores in (CLEAR, dict(reversed(CLEAR.items()))):
        assert "vanilla (+19.60 points" in conclusion(made_summary(scores))


def test_no_difference_is_significant():
    text = conclusion(made_summary({"smix": [0.80, 0.82, 0.84], "vanilla": [0.81, 0.80, 0.84]}))
    assert "; the difference is not statistically significant against vanilla" in text
    assert "Holm" not in text  # one pair needs no correction
    assert "3 seeds are few" in text


def test_equal_means_have_no_winner():
    text = conclusion(
        made_summary({"vanilla": [0.31, 0.33, 0.32], "mixup": [0.1, 0.12, 0.1], "smix": [0.33, 0.31, 0.32]})
    )
    assert text == "vanilla and smix have the same highest mean test accuracy, 32.00 % over 3 seeds: none won."


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_name_no_best_method(seeds):
    accuracy = made_summary({"vanilla": [0.5, 0.5001][:seeds], "smix": [0.6, 0.6002][:seeds]})
    assert headline(accuracy).startswith(f"The methods cannot be ranked: {seeds} seed")
    assert not accuracy.best
    for text in (headline(accuracy), conclusion(accuracy), evidence(accuracy)):
        assert "highest" not in text
        assert "significant" not in text
    assert evidence(accuracy) == "Take at least 3 seeds, better 5. Mean test accuracy: vanilla 50.0 %, smix 60.0 %."
    assert conclusion(accuracy).startswith(headline(accuracy).rstrip("."))


def test_cautions_show_no_best_method_anywhere():
    comparison = compared({"vanilla": [0.5, 0.6], "smix": [0.6, 0.7]})
    assert not any(cell.best for row in accuracy_table(comparison.accuracy).rows for cell in row)
    assert [one.label for one in highlights(comparison)] == ["Runs"]


def test_one_method_is_not_compared():
    assert "no other method" in conclusion(made_summary({"smix": [0.9, 0.8, 0.85]}))
    assert headline(made_summary({"smix": [0.9]})).startswith("This is no reliable result: 1 seed")


@pytest.mark.parametrize("absent", ["unfinished", "never started"])
def test_missing_runs_are_named_and_their_method_cannot_win(absent):
    runs = [*made_runs(CLEAR), *made_runs({"mixup": [0.99, 0.99, 0.99, 0.99]})]
    if absent == "unfinished":
        runs.append(made_run("mixup", 4, None))
    text = conclusion(summarise(runs))
    assert text.startswith("smix has the highest")
    assert "Runs are missing of mixup (4 of 5), which are not compared" in text


def test_without_finished_runs_no_method_wins():
    assert conclusion(made_summary({"vanilla": [None]})).startswith("No method has finished all of its runs.")


def test_detectable_differences_are_named_only_for_insignificant_pairs():
    runs = made_runs({"smix": [0.80, 0.82, 0.84], "vanilla": [0.81, 0.80, 0.84], "cutmix": [0.80, 0.81, 0.80]})
    could = [pair.detectable for pair in summarise(runs).pairs if "smix" in (pair.first, pair.second)]
    assert f"3 seeds would find a true difference of {min(could):.1f} to {max(could):.1f} points" in conclusion(
        summarise(runs)
    )
    clear = made_runs({"smix": [0.80, 0.82, 0.84], "vanilla": [0.60, 0.62, 0.6401]})
    assert "would find" not in conclusion(summarise(clear))


def test_pair_sentences_name_the_better_method_first():
    result = [text for _, text in pair_sentences(compared(CLEAR), ReportAssets({})).rows]
    assert len(result) == 3
    assert result[1].startswith("smix is better than vanilla (mean difference +19.60 points")
    assert result[2].startswith("cutmix and smix are not distinguishable with 5 seeds")


def test_differences_above_100_points_are_not_called_detectable():
    pair = replace(summarise(made_runs(CLEAR)).pairs[0], p_corrected=0.5, detectable=150.0)
    assert _detectable([pair], "3 seeds") == " 3 seeds could have found no difference there, however large."


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"vanilla": [0.5, 0.6, 0.55]}, "vanilla has the highest mean test accuracy, 55.00 %."),
        (
            {"vanilla": [0.5, 0.6, 0.55], "mixup": [0.9, None, None]},
            "vanilla has the highest mean test accuracy, 55.00 %.",
        ),
        ({"vanilla": [0.5, 0.6, 0.55], "mixup": [0.4, 0.5, 0.45]}, "55.00 %: no other method is ahead of it."),
        ({"mixup": [0.5, 0.6, 0.55]}, "mixup has the highest mean test accuracy, 55.00 %."),
        ({"vanilla": [0.5] * 3, "mixup": [0.5] * 3}, "none won"),
        (
            {"vanilla": [0.50, 0.52, 0.51], "mixup": [0.70, 0.7201, 0.71]},
            "statistically significant with 3 seeds (p < 0.001).",
        ),
    ],
)
def test_the_headline_names_winner_lead_and_significance(scores, expected):
    assert expected in headline(made_summary(scores))


def test_the_evidence_is_the_conclusion_without_its_beginning():
    result = evidence(made_summary(CLEAR))
    assert result.startswith("The difference is statistically significant against vanilla")
    assert conclusion(made_summary(CLEAR)).endswith(result[1:])
