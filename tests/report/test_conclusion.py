import pytest

from smix.report.conclusion import conclusion, sentences
from smix.report.tables import differences
from tests.report.runs import made_run, made_runs

CLEAR = {
    "smix": [0.80, 0.82, 0.84, 0.81, 0.83],
    "cutmix": [0.795, 0.825, 0.838, 0.81, 0.83],
    "vanilla": [0.60, 0.63, 0.64, 0.62, 0.63],
}


def test_names_the_winner_and_against_whom_it_is_more_than_noise():
    text = conclusion(made_runs(CLEAR))
    assert text.startswith("smix has the highest mean test accuracy, 82.00 % over 5 seeds; ")
    assert "more than noise against vanilla (+19.60 points, p < 0.001)" in text
    assert "but not more than noise against cutmix (+0.04 points, p = " in text
    assert "Holm-corrected over all 3 pairs" in text


def test_the_sign_is_the_winners_whichever_stands_first():
    for scores in (CLEAR, dict(reversed(CLEAR.items()))):
        assert "vanilla (+19.60 points" in conclusion(made_runs(scores))


def test_all_noise():
    text = conclusion(made_runs({"smix": [0.80, 0.82, 0.84], "vanilla": [0.81, 0.80, 0.84]}))
    assert "; that is not more than noise against vanilla" in text
    assert "Holm" not in text  # one pair needs no correction
    assert "3 seeds are few" in text


def test_equal_means_have_no_winner():
    text = conclusion(made_runs({"vanilla": [0.1, 0.3], "mixup": [0.0, 0.1], "smix": [0.3, 0.1]}))
    assert text == "vanilla and smix have the same highest mean test accuracy, 20.00 % over 2 seeds: none won."


def test_two_seeds_are_few_also_where_they_agree():
    text = conclusion(made_runs({"vanilla": [0.5, 0.5001], "smix": [0.6, 0.6002]}))
    assert "more than noise against vanilla" in text
    assert "2 seeds are few" in text


def test_one_seed_cannot_tell():
    text = conclusion(made_runs({"smix": [0.9], "vanilla": [0.1]}))
    assert "not enough runs to tell" in text
    assert "noise against" not in text


def test_one_method_has_nothing_to_be_compared_with():
    assert "no other method" in conclusion(made_runs({"smix": [0.9, 0.8]}))


@pytest.mark.parametrize("absent", ["unfinished", "never started"])
def test_missing_runs_are_said_and_their_method_cannot_win(absent):
    runs = [*made_runs(CLEAR), *made_runs({"mixup": [0.99, 0.99, 0.99, 0.99]})]
    if absent == "unfinished":
        runs.append(made_run("mixup", 4, None))
    text = conclusion(runs)
    assert text.startswith("smix has the highest")
    assert "Runs are missing of mixup (4 of 5), which are not compared" in text


def test_nothing_finished():
    assert conclusion(made_runs({"vanilla": [None]})).startswith("No method has finished all of its runs.")


def test_what_so_many_seeds_could_have_shown_is_said_of_noise_alone():
    runs = made_runs({"smix": [0.80, 0.82, 0.84], "vanilla": [0.81, 0.80, 0.84], "cutmix": [0.80, 0.81, 0.80]})
    could = [pair.detectable for pair in differences(runs) if "smix" in (pair.first, pair.second)]
    assert f"3 seeds could have shown differences of {min(could):.1f} to {max(could):.1f} points there" in conclusion(
        runs
    )
    clear = made_runs({"smix": [0.80, 0.82, 0.84], "vanilla": [0.60, 0.62, 0.6401]})
    assert "could have shown" not in conclusion(clear)


def test_each_pair_in_plain_words_names_the_better_method_first():
    found = sentences(differences(made_runs(CLEAR)))
    assert len(found) == 3
    assert found[1].startswith("smix is better than vanilla (mean difference +19.60 points")
    assert found[2].startswith("cutmix and smix are not distinguishable with 5 seeds")
