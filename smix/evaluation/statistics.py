"""Compare methods: summaries over seeds, and paired tests corrected for multiple comparisons."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import Final, Literal

import numpy as np
from jaxtyping import Float

from smix.errors import DataError, OptionError

SIGNIFICANT = 0.05
"""A difference is called statistically significant if its corrected p-value is below this."""

POWER = 0.8
"""Statistical power at which `detectable` is computed: the probability that a true difference of that size is significant."""

NOT_ENOUGH: Final = "not enough runs"
"""Verdict on a comparison with fewer than two runs."""

ROUNDING = 1e-12
"""Differences that vary by no more than this are treated as equal: rounding explains them."""

EXACT_PAIRS = 8
"""Maximum number of pairs for which all permutations are counted (8! = 40,320)."""


@dataclass(frozen=True)
class Summary:
    """Summary of some values, one per seed, in their unit. All numbers are NaN if there is no value."""

    mean: float
    std: float
    """Sample standard deviation (n - 1); NaN for a single value."""
    count: int
    minimum: float
    maximum: float


def summary(values: Sequence[float]) -> Summary:
    """Return mean, standard deviation, number and range of some values.

    Args:
        values: One number per seed, in any unit.

    >>> smix.evaluation.summary([90.0, 91.0, 92.0])
    Summary(mean=91.0, std=1.0, count=3, minimum=90.0, maximum=92.0)
    """
    if not len(values):
        return Summary(math.nan, math.nan, 0, math.nan, math.nan)
    std = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Summary(float(np.mean(values)), std, len(values), float(min(values)), float(max(values)))


def interval(summary: Summary, level: float = 0.95) -> tuple[float, float]:
    """Return the confidence interval of the mean over seeds by Student's t.

    It is mean ± t std / sqrt(n), where t is the quantile of n - 1 degrees of freedom.

    Args:
        summary: Result of `summary`.
        level: Confidence level in (0, 1).

    Returns:
        Lower and upper bound, in the unit of the values; NaN for fewer than two values.

    Raises:
        OptionError: The level is out of its range.

    >>> low, high = smix.evaluation.interval(smix.evaluation.summary([90.0, 91.0, 92.0]))
    >>> round(low, 2), round(high, 2)
    (88.52, 93.48)
    """
    from scipy import stats

    if not 0 < level < 1:
        raise OptionError(f"level: expected a number between 0 and 1, got {level}; level=0.95 is typical")
    if summary.count < 2:
        return math.nan, math.nan
    margin = float(stats.t.ppf((1 + level) / 2, summary.count - 1)) * summary.std / math.sqrt(summary.count)
    return summary.mean - margin, summary.mean + margin


@dataclass(frozen=True)
class Difference:
    """Two methods compared over the seeds that both have."""

    first: str
    second: str
    mean: float
    """Mean over the common seeds of first minus second; NaN if there are none."""
    low: float
    """Lower bound of the 95 % confidence interval of the mean, not corrected for the number of pairs; NaN below two seeds."""
    high: float
    """Upper bound of the same interval."""
    count: int
    """Number of common seeds."""
    p: float
    """Two-sided p-value of `paired_p`; NaN below two common seeds."""
    p_corrected: float
    """p-value corrected by Holm's method over all pairs."""
    detectable: float = math.nan
    """Smallest true difference that this number of seeds would probably have shown: see `detectable_difference`, at the level of Holm's
    first step, `SIGNIFICANT` / number of tested pairs. NaN below two common seeds, or if all differences are equal."""

    @property
    def significant(self) -> bool:
        """True if the corrected p-value is below `SIGNIFICANT`."""
        return self.p_corrected < SIGNIFICANT

    def swapped(self) -> "Difference":
        """Return the same comparison as second minus first."""
        return replace(self, first=self.second, second=self.first, mean=-self.mean, low=-self.high, high=-self.low)


def compare_pairs(scores: Mapping[str, Mapping[int, float]]) -> list[Difference]:
    """Compare every pair of methods by a paired t-test over seeds, corrected by Holm's method.

    All pairs are tested and corrected for, rather than the best method against the others, because the best method is only known from
    the results.

    Args:
        scores: Score of each method and seed: `scores[method][seed]`.

    Returns:
        One difference per pair, in the order of the methods.

    Raises:
        DataError: A score is NaN or infinite.

    >>> scores = {"cutmix": {0: 91.0, 1: 92.0, 2: 91.5}, "vanilla": {0: 90.0, 1: 90.8, 2: 90.6}}
    >>> (pair,) = smix.evaluation.compare_pairs(scores)
    >>> round(pair.mean, 3), round(pair.p, 3), pair.significant
    (1.033, 0.007, True)
    """
    for method, values in scores.items():
        for seed, value in values.items():
            if not math.isfinite(value):
                raise DataError(
                    f"scores: expected finite numbers, got {value} for {method}, seed {seed}; exclude runs that failed"
                )
    differences = {
        (first, second): [
            scores[first][seed] - scores[second][seed] for seed in sorted(scores[first].keys() & scores[second].keys())
        ]
        for first, second in combinations(scores, 2)
    }
    p_values = [paired_p(by_seed) for by_seed in differences.values()]
    level = SIGNIFICANT / max(1, sum(not math.isnan(p) for p in p_values))
    pairs = []
    for (names, by_seed), p, corrected in zip(differences.items(), p_values, holm(p_values), strict=True):
        over_seeds = summary(by_seed)
        std = math.nan if _are_equal(by_seed) else over_seeds.std
        detectable = detectable_difference(std, len(by_seed), level)
        pairs.append(Difference(*names, over_seeds.mean, *interval(over_seeds), len(by_seed), p, corrected, detectable))
    return pairs


Verdict = Literal["better", "worse", "not distinguishable", "not enough runs"]


def verdict(pair: Difference, more_is_better: bool = True) -> Verdict:
    """Return the verdict on the first method of a pair, compared with the second.

    "not distinguishable" does not mean equal: see `Difference.detectable`.

    Args:
        pair: Two methods and their difference.
        more_is_better: False for errors and losses.

    >>> pairs = smix.evaluation.compare_pairs({"mixup": {0: 90.0, 1: 91.0}, "vanilla": {0: 90.5, 1: 90.0}})
    >>> smix.evaluation.verdict(pairs[0])
    'not distinguishable'
    """
    if math.isnan(pair.p_corrected):
        return NOT_ENOUGH
    if not pair.significant:
        return "not distinguishable"
    return "better" if (pair.mean > 0) == more_is_better else "worse"


def sentence(pair: Difference, more_is_better: bool = True, unit: str = "points", decimals: int = 2) -> str:
    """Return a sentence about the comparison of a pair, with the smallest difference that its number of seeds would probably have shown.

    Args:
        pair: Two methods and their difference.
        more_is_better: False for errors and losses.
        unit: Unit of the difference.
        decimals: Digits after the decimal point.
    """
    outcome = verdict(pair, more_is_better)
    if outcome == NOT_ENOUGH:
        return f"{pair.first} and {pair.second}: {NOT_ENOUGH}; at least 2 seeds in common are needed, got {pair.count}."
    p = "p < 0.001" if pair.p_corrected < 0.001 else f"p = {pair.p_corrected:.3f}"
    facts = (
        f"mean difference {pair.mean:+.{decimals}f} {unit}, 95 % interval of this pair alone {pair.low:+.{decimals}f} to "
        f"{pair.high:+.{decimals}f}, corrected {p}"
    )
    if outcome != "not distinguishable":
        return f"{pair.first} is {outcome} than {pair.second} ({facts}, {pair.count} seeds)."
    could = (
        "the differences of all seeds are equal, so the detectable difference is unknown"
        if math.isnan(pair.detectable)
        else f"this number of seeds detects a true difference of {pair.detectable:.{decimals}f} {unit} with probability {POWER}"
    )
    return f"{pair.first} and {pair.second} are not distinguishable with {pair.count} seeds ({facts}); {could}."


def detectable_difference(std: float, count: int, level: float = SIGNIFICANT, power: float = POWER) -> float:
    """Return the smallest true mean difference that a two-sided paired t-test on `count` seeds finds with probability `power`.

    It is d = delta std / sqrt(n), where delta solves P(|T| > t) = power: T is noncentral t of n - 1 degrees of freedom and
    noncentrality delta, t the 1 - level / 2 quantile of the central one (Cohen, "Statistical power analysis", 1988, chapter
    2). For many seeds that is near (1.96 + 0.84) std / sqrt(n) at level 0.05.

    Args:
        std: Observed standard deviation (n - 1) of the differences; with few seeds it is itself a rough estimate.
        count: Number of seeds n.
        level: Significance level in (0, power).
        power: Probability in (level, 1).

    Returns:
        The difference, in the unit of `std`. NaN below two seeds, or if `std` is 0 or NaN, since variation that was not observed may
        still exist.

    Raises:
        OptionError: The level or the power is out of its range.

    >>> round(smix.evaluation.detectable_difference(std=0.5, count=5), 2)
    0.84
    """
    if not 0 < level < power < 1:
        raise OptionError(
            f"power: expected 0 < level < power < 1, got level {level} and power {power}; level=0.05 and power=0.8 are typical"
        )
    if count < 2 or not std > 0:
        return math.nan
    return _noncentrality(count, level, power) * std / math.sqrt(count)


@lru_cache(maxsize=1024)
def _noncentrality(count: int, level: float, power: float) -> float:
    """Return the delta of `detectable_difference`.

    With T = (Z + delta) / sqrt(V / f), Z normal and V chi-squared of f degrees of freedom, P(|T| > t) is the mean over Z of
    P(V < f (Z + delta)^2 / t^2), which is smooth in Z. (scipy.stats.nct returns NaN for many of these t and delta.)
    """
    from scipy import optimize, stats

    freedom = count - 1
    t = stats.t.isf(level / 2, freedom)
    z = np.linspace(-9, 9, 2001)
    weights = stats.norm.pdf(z) * (z[1] - z[0])

    def excess(delta: float) -> float:
        return float(weights @ stats.chi2.cdf(freedom * ((z + delta) / t) ** 2, freedom)) - power

    upper = t + 10.0
    while excess(upper) < 0:
        upper *= 2
    return float(optimize.brentq(excess, 0.0, upper, xtol=1e-10))


def paired_p(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of a paired t-test; NaN for fewer than two differences.

    Equal differences have no variance, so that t would be infinite for any number of them. For them the exact sign-flip test is used:
    p is 2^(1-n), or 1 if all are 0.
    """
    from scipy import stats

    if len(differences) < 2:
        return math.nan
    if _are_equal(differences):
        return 1.0 if abs(differences[0]) <= ROUNDING else 2.0 ** (1 - len(differences))
    return float(stats.ttest_1samp(differences, 0).pvalue)


def _are_equal(values: Sequence[float]) -> bool:
    return len(values) < 2 or float(np.ptp(values)) <= ROUNDING


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values corrected by Holm's step-down method; NaN stays NaN and is not counted.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.

    Args:
        p: Uncorrected p-values, in [0, 1] or NaN.

    Returns:
        The corrected p-values, in the order of `p`.

    >>> smix.evaluation.holm([0.01, 0.04, 0.02])
    [0.03, 0.04, 0.04]
    """
    known = sorted((value, place) for place, value in enumerate(p) if not math.isnan(value))
    corrected, running = [math.nan] * len(p), 0.0
    for rank, (value, place) in enumerate(known):
        running = max(running, min(1.0, (len(known) - rank) * value))
        corrected[place] = running
    return corrected


def rank_correlation(x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"]) -> tuple[float, float]:
    """Return Spearman's rho, in [-1, 1], and its two-sided p-value.

    For at most `EXACT_PAIRS` pairs the p-value is exact, computed over all permutations: four pairs in perfect order have 2/24. For more
    pairs it is that of Student's t, which would be 0 for few pairs in perfect order.

    Args:
        x: One number per sample.
        y: One number per sample.

    Returns:
        rho and p; NaN if all numbers of one are equal, or for fewer than two pairs.

    >>> rho, p = smix.evaluation.rank_correlation(np.arange(4.0), np.arange(4.0) ** 3)
    >>> round(rho, 3), round(p, 3)
    (1.0, 0.083)
    """
    from scipy import stats

    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan, math.nan
    exact = stats.PermutationMethod(n_resamples=np.inf) if len(x) <= EXACT_PAIRS else None
    correlation = stats.pearsonr(stats.rankdata(x), stats.rankdata(y), method=exact)
    return float(correlation.statistic), float(correlation.pvalue)
