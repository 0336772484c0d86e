"""Test paired tests over seeds against scipy, against Holm's procedure by definition, and on pure noise."""

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from smix.errors import DataError, OptionError
from smix.evaluation.statistics import (
    NOT_ENOUGH,
    SIGNIFICANT,
    Difference,
    compare_pairs,
    detectable_difference,
    holm,
    interval,
    paired_p,
    rank_correlation,
    sentence,
    summary,
    verdict,
)


def scores(count: int, methods: int = 3, seed: int = 0) -> dict[str, dict[int, float]]:
    """Return the scores of methods that differ a little, on seeds that differ a lot."""
    generator = np.random.default_rng(seed)
    of_seed = generator.normal(0.8, 0.1, count)
    return {
        f"method {place}": dict(enumerate((of_seed + 0.02 * place + generator.normal(0, 0.01, count)).tolist()))
        for place in range(methods)
    }


# Summaries


def test_a_summary_equals_numpy_with_n_minus_one():
    values = [0.5, 0.75, 0.625, 0.9]
    found = summary(values)
    assert found.mean == pytest.approx(np.mean(values), rel=1e-12)
    assert found.std == pytest.approx(np.std(values, ddof=1), rel=1e-12)
    assert (found.count, found.minimum, found.maximum) == (4, 0.5, 0.9)


def test_a_single_value_has_no_standard_deviation():
    found = summary([0.25])
    assert (found.mean, found.count, found.minimum, found.maximum) == (0.25, 1, 0.25, 0.25)
    assert math.isnan(found.std)


# Against scipy


@pytest.mark.parametrize("count", [2, 3, 5, 30])
def test_p_and_interval_equal_scipy(count):
    for seed in range(20):
        data = scores(count, methods=2, seed=seed)
        first, second = ([*values.values()] for values in data.values())
        [found] = compare_pairs(data)
        told = stats.ttest_rel(first, second)
        differences = np.subtract(first, second)
        low, high = stats.t.interval(0.95, count - 1, loc=differences.mean(), scale=stats.sem(differences))
        assert found.p == pytest.approx(told.pvalue, rel=1e-9)
        assert found.p_corrected == found.p
        assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
        assert found.mean == pytest.approx(differences.mean(), rel=1e-9)
        assert found.count == count
        assert (found.low > 0 or found.high < 0) == (found.p < 0.05)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_an_interval_of_another_level_equals_scipy(level):
    differences = np.array([0.1, 0.3, -0.2, 0.25])
    expected = stats.t.interval(level, 3, loc=differences.mean(), scale=stats.sem(differences))
    assert interval(summary(differences.tolist()), level) == pytest.approx(expected, rel=1e-9)


def test_paired_tests_find_differences_that_unpaired_ones_cannot():
    first = [0.6, 0.7, 0.8, 0.9, 0.75]
    second = [0.62, 0.725, 0.818, 0.922, 0.77]
    [found] = compare_pairs({"a": dict(enumerate(first)), "b": dict(enumerate(second))})
    assert found.p < 0.001
    assert found.significant
    assert stats.ttest_ind(first, second).pvalue > 0.5


def test_the_order_of_the_seeds_does_not_matter():
    data = scores(5, methods=2)
    turned = {name: dict(reversed(values.items())) for name, values in data.items()}
    turned["method 0"] = dict(sorted(turned["method 0"].items()))
    assert compare_pairs(turned) == compare_pairs(data)


def test_a_difference_is_first_minus_second():
    [found] = compare_pairs({"a": {0: 0.5, 1: 0.75}, "b": {0: 0.25, 1: 0.25}})
    assert (found.first, found.second, found.mean) == ("a", "b", 0.375)
    assert found.low < found.mean < found.high


# Pairs


def test_all_pairs_are_tested_and_counted_in_the_correction():
    data = scores(5, methods=4)
    found = compare_pairs(data)
    assert [(d.first, d.second) for d in found] == list(combinations(data, 2))
    assert [d.p_corrected for d in found] == holm([d.p for d in found])
    assert all(d.p_corrected >= d.p for d in found)
    assert max(d.p_corrected / d.p for d in found) == pytest.approx(6)


def test_only_common_seeds_are_compared():
    data = {
        "a": {0: 0.5, 1: 0.6, 2: 0.8, 9: -1e6},
        "b": {2: 0.7, 1: 0.4, 0: 0.2, 5: 1e6},
        "c": {1: 0.5, 2: 0.5, 5: 0.1},
    }
    ab, ac, bc = compare_pairs(data)
    assert (ab.count, ac.count, bc.count) == (3, 2, 3)
    assert ab.p == pytest.approx(stats.ttest_rel([0.5, 0.6, 0.8], [0.2, 0.4, 0.7]).pvalue, rel=1e-9)
    assert bc.p == pytest.approx(stats.ttest_rel([0.4, 0.7, 1e6], [0.5, 0.5, 0.1]).pvalue, rel=1e-9)
    assert ac.mean == pytest.approx(0.2)


@pytest.mark.parametrize("methods", [0, 1])
def test_fewer_than_two_methods_have_no_differences(methods):
    assert compare_pairs(scores(5, methods)) == []


# Too few seeds


def test_one_common_seed_is_never_significant():
    [found] = compare_pairs({"a": {0: 0.9, 1: 0.9}, "b": {1: 0.1, 2: 0.1}})
    assert (found.count, found.mean) == (1, pytest.approx(0.8))
    assert all(map(math.isnan, (found.p, found.p_corrected, found.low, found.high)))
    assert not found.significant


def test_without_common_seeds_there_is_no_difference():
    [found] = compare_pairs({"a": {0: 0.9}, "b": {1: 0.1}})
    assert found.count == 0
    assert all(map(math.isnan, (found.mean, found.p, found.p_corrected, found.low, found.high)))
    assert not found.significant


def test_a_pair_that_cannot_be_tested_does_not_count_in_the_correction():
    data = {**scores(5, methods=2), "once": {0: 0.1}}
    tested, *others = compare_pairs(data)
    assert tested.p_corrected == tested.p
    assert all(math.isnan(other.p_corrected) for other in others)


@pytest.mark.parametrize("count", [2, 3, 5, 6, 10])
@pytest.mark.parametrize("shift", [0.02, -0.02])
def test_equal_differences_have_the_p_of_the_sign_flip_test(count, shift):
    """The sign-flip p-value is the fraction of the 2^n sign choices whose mean is at least as far from 0."""
    differences = np.full(count, shift)
    flips = [abs(np.dot(signs, differences)) for signs in product((-1, 1), repeat=count)]
    expected = np.mean(np.array(flips) >= abs(differences.sum()) - 1e-12)
    assert paired_p(differences.tolist()) == expected
    assert (paired_p(differences.tolist()) < SIGNIFICANT) == (count >= 6)


def test_differences_that_are_equal_except_for_rounding_count_as_equal():
    first, second = np.array([0.1, 0.7, 0.3, 0.9, 0.5]) + 0.2, np.array([0.1, 0.7, 0.3, 0.9, 0.5])
    assert np.ptp(first - second) > 0
    assert paired_p((first - second).tolist()) == 2.0**-4


@pytest.mark.parametrize("count", [2, 5, 50])
def test_zero_differences_are_never_significant(count):
    same = dict.fromkeys(range(count), 0.75)
    [found] = compare_pairs({"a": same, "b": dict(same)})
    assert (found.mean, found.low, found.high, found.p, found.p_corrected) == (0.0, 0.0, 0.0, 1.0, 1.0)
    assert not found.significant


# Holm


def holm_rejects(p: list[float], level: float) -> list[bool]:
    """Apply Holm's procedure by definition: compare p, smallest first, with level / (hypotheses left), and stop at the first failure."""
    answer, left = [False] * len(p), len(p)
    for place in sorted(range(len(p)), key=p.__getitem__):
        if p[place] > level / left:
            break
        answer[place], left = True, left - 1
    return answer


@settings(deadline=None)
@given(st.lists(st.integers(0, 1000), max_size=8))
def test_corrected_p_agrees_with_holms_procedure_at_every_level(thousandths):
    p = [value / 1000 for value in thousandths]
    corrected = holm(p)
    for step in range(0, 1000, 7):
        level = (step + 0.5) / 1000  # not a multiple of any p, because rounding would decide such a case
        assert [value <= level for value in corrected] == holm_rejects(p, level)
    assert all(1 >= after >= before for before, after in zip(p, corrected, strict=True))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.02, 0.02]) == pytest.approx([0.04, 0.04])
    assert holm([]) == []


def test_holm_skips_pairs_that_were_not_tested():
    found = holm([math.nan, 0.01, math.nan, 0.04])
    assert [math.isnan(value) for value in found] == [True, False, True, False]
    assert found[1] == pytest.approx(0.02)
    assert found[3] == pytest.approx(0.04)


# Rank correlation


@pytest.mark.parametrize(("n", "p"), [(2, 1.0), (4, 2 / 24), (7, 2 / 5040), (8, 2 / 40320)])
def test_p_of_few_classes_in_perfect_order_is_that_of_all_orders(n, p):
    found = rank_correlation(np.arange(float(n)), np.arange(float(n))[::-1] ** 3)
    assert found == pytest.approx((-1.0, p))


def test_p_of_equal_ranks_counts_every_order_and_above_8_equals_scipy():
    x, y = np.array([1.0, 2, 2, 3, 5]), np.array([2.0, 1, 4, 4, 5])
    exact = stats.permutation_test(
        (x,), lambda one: stats.spearmanr(one, y).statistic, permutation_type="pairings", n_resamples=np.inf
    )
    assert rank_correlation(x, y) == pytest.approx((exact.statistic, exact.pvalue))
    x, y = np.random.default_rng(0).normal(size=(2, 9))
    assert rank_correlation(x, y) == pytest.approx(tuple(stats.spearmanr(x, y)))


# Pure noise


@pytest.mark.slow
def test_noise_is_significant_in_five_percent_of_the_cases():
    generator = np.random.default_rng(0)
    found = np.array([paired_p(generator.normal(0, 1, 5).tolist()) for _ in range(2000)])
    spread = math.sqrt(0.05 * 0.95 / 2000)
    assert abs((found < 0.05).mean() - 0.05) < 3 * spread
    assert stats.kstest(found, "uniform").pvalue > 0.01


@pytest.mark.slow
def test_an_interval_contains_the_true_mean_in_95_percent_of_the_cases():
    generator = np.random.default_rng(1)
    intervals = [interval(summary(generator.normal(0.25, 1, 4).tolist())) for _ in range(2000)]
    covered = np.mean([low <= 0.25 <= high for low, high in intervals])
    assert abs(covered - 0.95) < 3 * math.sqrt(0.05 * 0.95 / 2000)


@pytest.mark.slow
def test_significance_is_rare_among_six_equal_methods():
    """Without correction about one comparison of 15 pairs in three would find a significant difference."""
    generator, with_any, without = np.random.default_rng(2), 0, 0
    for _ in range(150):
        values = generator.normal(0.8, 0.01, (6, 5))
        found = compare_pairs({str(place): dict(enumerate(row.tolist())) for place, row in enumerate(values)})
        with_any += any(d.significant for d in found)
        without += any(d.p < SIGNIFICANT for d in found)
    assert with_any / 150 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)
    assert without / 150 > 0.2


def any_significant(values: np.ndarray) -> np.ndarray:
    """Return for each comparison whether it says "better" or "worse" of any pair. values: (comparisons, methods, seeds).

    Holm's procedure rejects anything if and only if it rejects the smallest p, at SIGNIFICANT / pairs.
    """
    _, methods, seeds = values.shape
    first, second = np.array(list(combinations(range(methods), 2))).T
    differences = values[:, first] - values[:, second]
    mean, std = differences.mean(-1), differences.std(-1, ddof=1)
    equal = np.ptp(differences, axis=-1) <= 1e-12
    p = 2 * stats.t.sf(np.abs(mean) / np.where(equal, 1, std / math.sqrt(seeds)), seeds - 1)
    p = np.where(equal, np.where(np.abs(mean) <= 1e-12, 1, 2.0 ** (1 - seeds)), p)
    return p.min(1) < SIGNIFICANT / len(first)


@pytest.mark.slow
@pytest.mark.parametrize(("methods", "seeds"), [(2, 2), (2, 5), (3, 3), (6, 5), (12, 3)])
@pytest.mark.parametrize("images", [None, 10_000, 500])
def test_under_the_null_at_most_five_percent_of_comparisons_say_better_or_worse(methods, seeds, images):
    """Accuracies are normal noise, as they are and rounded to fractions of a number of test images, so that differences are often equal.

    The expected rate is 5 % for one pair and slightly below for several, so twice the standard error is allowed: 0.3 points.
    """
    generator, count = np.random.default_rng(3), 20_000
    values = generator.normal(0.8, 0.01, (count, methods, seeds))
    values = values if images is None else np.round(values * images) / images
    said = any_significant(values)
    assert said.mean() <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / count)
    few = [*range(10), *np.flatnonzero(said)[:10]]
    for one in values[few]:
        pairs = compare_pairs({str(place): dict(enumerate(row.tolist())) for place, row in enumerate(one)})
        assert any(verdict(pair) in ("better", "worse") for pair in pairs) == any_significant(one[None])[0]


# Intervals of a mean


@pytest.mark.parametrize("count", [2, 3, 10])
def test_the_interval_of_a_mean_equals_scipy(count):
    values = np.random.default_rng(count).normal(90, 2, count)
    expected = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=stats.sem(values))
    assert interval(summary(values.tolist())) == pytest.approx(expected, rel=1e-9)


def test_a_single_value_has_no_interval():
    assert all(map(math.isnan, interval(summary([0.5]))))
    with pytest.raises(OptionError, match=r"^level: expected a number between 0 and 1, got 95; level=0.95 is typical$"):
        interval(summary([0.5, 0.6]), 95)


# Detectable differences


@pytest.mark.parametrize("count", [2, 3, 5, 10, 100])
@pytest.mark.parametrize("level", [0.05, 0.05 / 15])
def test_the_power_at_the_detectable_difference_is_the_requested_one(count, level):
    """The power is computed with scipy's noncentral t distribution."""
    delta = detectable_difference(2.0, count, level) * math.sqrt(count) / 2.0
    t = stats.t.isf(level / 2, count - 1)
    power = stats.nct.sf(t, count - 1, delta) + stats.nct.cdf(-t, count - 1, delta)
    assert power == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize(("count", "level", "power"), [(3, 0.05, 0.8), (5, 0.05 / 3, 0.8), (10, 0.01, 0.9)])
def test_the_detectable_difference_equals_statsmodels(count, level, power):
    told = pytest.importorskip("statsmodels.stats.power").TTestPower().solve_power(nobs=count, alpha=level, power=power)
    assert detectable_difference(1.0, count, level, power) == pytest.approx(told, rel=1e-5)


def test_a_simulation_finds_the_detectable_difference_with_that_power():
    generator, size = np.random.default_rng(4), detectable_difference(1.0, 5, 0.01)
    found = stats.ttest_1samp(generator.normal(size, 1, (20_000, 5)), 0, axis=1).pvalue < 0.01
    assert found.mean() == pytest.approx(0.8, abs=0.01)


def test_many_seeds_approach_the_textbook_formula():
    assert detectable_difference(3.0, 10_000) == pytest.approx((1.959964 + 0.841621) * 3.0 / 100, rel=1e-3)


@pytest.mark.parametrize(("std", "count"), [(1.0, 1), (1.0, 0), (0.0, 5), (math.nan, 5)])
def test_an_unknown_detectable_difference_is_nan_and_never_0(std, count):
    assert math.isnan(detectable_difference(std, count))


@pytest.mark.parametrize(("level", "power"), [(0.0, 0.8), (0.05, 1.0), (0.5, 0.4)])
def test_power_must_be_above_the_level(level, power):
    with pytest.raises(OptionError, match=r"^power: expected 0 < level < power < 1, got level"):
        detectable_difference(1.0, 5, level, power)


def test_power_is_computed_at_the_level_of_holms_first_step():
    data = {**scores(5, methods=4), "once": {0: 0.1}}
    for pair in compare_pairs(data):
        if pair.count < 2:
            assert math.isnan(pair.detectable)
            continue
        differences = [data[pair.first][seed] - data[pair.second][seed] for seed in range(5)]
        assert pair.detectable == pytest.approx(detectable_difference(np.std(differences, ddof=1), 5, 0.05 / 6))


# Sentences


def test_sentences_about_differences():
    pair = Difference("smix", "mixup", 1.25, 0.5, 2.0, 5, 0.004, 0.012, 1.5)
    assert sentence(pair) == (
        "smix is better than mixup (mean difference +1.25 points, 95 % interval of this pair alone +0.50 to +2.00, "
        "corrected p = 0.012, 5 seeds)."
    )
    assert verdict(pair, more_is_better=False) == "worse"
    assert sentence(Difference("a", "b", -0.02, -0.03, -0.01, 3, 1e-5, 1e-4), False, "nats", 3) == (
        "a is better than b (mean difference -0.020 nats, 95 % interval of this pair alone -0.030 to -0.010, "
        "corrected p < 0.001, 3 seeds)."
    )
    assert sentence(Difference("a", "b", 0.2, -0.5, 0.9, 3, 0.3, 0.6, 1.875)) == (
        "a and b are not distinguishable with 3 seeds (mean difference +0.20 points, 95 % interval of this pair alone "
        "-0.50 to +0.90, corrected p = 0.600); this number of seeds detects a true difference of 1.88 points "
        "with probability 0.8."
    )


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_common_seeds_are_reported_as_too_few_runs(count):
    [pair] = compare_pairs({"a": dict.fromkeys(range(count), 0.9), "b": dict.fromkeys(range(5), 0.1)})
    assert verdict(pair) == NOT_ENOUGH
    assert sentence(pair) == f"a and b: not enough runs; at least 2 seeds in common are needed, got {count}."


def test_the_detectable_difference_of_equal_differences_is_unknown():
    [pair] = compare_pairs({"a": {0: 0.5, 1: 0.6}, "b": {0: 0.4, 1: 0.5}})
    assert sentence(pair).endswith("the differences of all seeds are equal, so the detectable difference is unknown.")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_scores_that_are_not_finite_are_refused_in_one_line(value):
    with pytest.raises(DataError, match=rf"^scores: expected finite numbers, got {value} for a, seed 1; [^\n]*$"):
        compare_pairs({"a": {0: 0.5, 1: value}, "b": {0: 0.4, 1: 0.5}})
