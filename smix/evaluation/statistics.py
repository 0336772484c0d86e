"""Compare methods: summaries over seeds and paired tests, corrected for their number."""

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
"""A difference is called statistically significant if its corrected p is below this."""

POWER = 0.8
"""Power: probability of finding a difference that a comparison "could have shown"."""

NOT_ENOUGH: Final = "not enough runs"
"""Said of what needs two runs or more and has fewer."""


@dataclass(frozen=True)
class Summary:
    """Some values, one a seed."""

    mean: float
    std: float
    """Sample standard deviation (n - 1); NaN for a single value."""
    count: int
    least: float
    most: float


def summary(values: Sequence[float]) -> Summary:
    """Return the summary of one or more values."""
    std = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Summary(float(np.mean(values)), std, len(values), min(values), max(values))


def interval(values: Summary, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of the mean over seeds: mean -+ t * std / sqrt(n), t of n - 1 degrees of freedom.

    In the unit of the values. NaN for fewer than two. OptionError: the level is out of (0, 1).
    """
    from scipy import stats

    if not 0 < level < 1:
        raise OptionError(f"level: expected a number between 0 and 1, got {level}; 0.95 is usual")
    if values.count < 2:
        return math.nan, math.nan
    margin = float(stats.t.ppf((1 + level) / 2, values.count - 1)) * values.std / math.sqrt(values.count)
    return values.mean - margin, values.mean + margin


@dataclass(frozen=True)
class Difference:
    """Two methods compared over the seeds that both have."""

    first: str
    second: str
    mean: float
    """Mean of first - second, seed by seed; NaN without a common seed."""
    low: float
    high: float
    """95 % confidence interval of the mean, not corrected for the number of pairs; NaN below two seeds."""
    count: int
    """Common seeds."""
    p: float
    """Two-sided; NaN below two common seeds: not enough to tell."""
    p_corrected: float
    """p-value corrected by Holm's method over all pairs."""
    detectable: float = math.nan
    """The smallest true difference that so many seeds could have shown: see `detectable_difference`, at the level of Holm's
    first step, `SIGNIFICANT` / number of tested pairs. NaN below two common seeds, or if all differences are equal."""

    @property
    def significant(self) -> bool:
        return self.p_corrected < SIGNIFICANT

    def turned(self) -> "Difference":
        """The same of second - first."""
        return replace(self, first=self.second, second=self.first, mean=-self.mean, low=-self.high, high=-self.low)


def compare_pairs(scores: Mapping[str, Mapping[int, float]]) -> list[Difference]:
    """Every pair of methods, paired over seeds; `scores[method][seed]`.

    All pairs are tested and corrected for, not the winner against the rest: the winner was chosen by looking.
    DataError: a score is NaN or infinite.
    """
    for method, values in scores.items():
        for seed, value in values.items():
            if not math.isfinite(value):
                raise DataError(
                    f"scores: expected finite numbers, got {value} for {method}, seed {seed}; leave out runs that failed"
                )
    raw = [_difference(one, other, scores[one], scores[other]) for one, other in combinations(scores, 2)]
    corrected = holm([difference.p for difference in raw])
    level = SIGNIFICANT / max(1, sum(not math.isnan(difference.p) for difference in raw))
    return [
        Difference(
            d.first,
            d.second,
            d.mean,
            d.low,
            d.high,
            d.count,
            d.p,
            p,
            detectable_difference(_std(scores, d), d.count, level),
        )
        for d, p in zip(raw, corrected, strict=True)
    ]


def _difference(first: str, second: str, a: Mapping[int, float], b: Mapping[int, float]) -> Difference:
    differences = _paired(a, b)
    mean = float(differences.mean()) if len(differences) else math.nan
    low, high = confidence_interval(differences)
    p = paired_p(differences)
    return Difference(first, second, mean, low, high, len(differences), p, p)


def _paired(a: Mapping[int, float], b: Mapping[int, float]) -> Float[np.ndarray, "n"]:
    return np.array([a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())], dtype=float)


def _std(scores: Mapping[str, Mapping[int, float]], pair: Difference) -> float:
    """Return the sample standard deviation (n - 1) of differences; NaN below two, or if they are equal but for rounding."""
    differences = _paired(scores[pair.first], scores[pair.second])
    return float(differences.std(ddof=1)) if pair.count > 1 and np.ptp(differences) > 1e-12 else math.nan


Verdict = Literal["better", "worse", "not distinguishable", "not enough runs"]


def verdict(pair: Difference, more_is_better: bool = True) -> Verdict:
    """Return what the first method is compared with the second. Not distinguishable does not mean equal: see `Difference.detectable`."""
    if math.isnan(pair.p_corrected):
        return NOT_ENOUGH
    if not pair.significant:
        return "not distinguishable"
    return "better" if (pair.mean > 0) == more_is_better else "worse"


def sentence(pair: Difference, more_is_better: bool = True, unit: str = "points", decimals: int = 2) -> str:
    """The pair in plain words: better, worse, or not distinguishable and what so many seeds could have shown."""
    found = verdict(pair, more_is_better)
    if found == NOT_ENOUGH:
        return f"{pair.first} and {pair.second}: {NOT_ENOUGH}, {pair.count} of the same seed where 2 are the least."
    p = "p < 0.001" if pair.p_corrected < 0.001 else f"p = {pair.p_corrected:.3f}"
    facts = (
        f"mean difference {pair.mean:+.{decimals}f} {unit}, 95 % interval of this pair alone {pair.low:+.{decimals}f} to "
        f"{pair.high:+.{decimals}f}, corrected {p}"
    )
    if found != "not distinguishable":
        return f"{pair.first} is {found} than {pair.second} ({facts}, {pair.count} seeds)."
    could = (
        "the differences of all seeds are equal, so what could have been shown is not known"
        if math.isnan(pair.detectable)
        else f"so many would find a true difference of {pair.detectable:.{decimals}f} {unit} or more four times in five"
    )
    return f"{pair.first} and {pair.second} are not distinguishable with {pair.count} seeds ({facts}); {could}."


def detectable_difference(std: float, count: int, level: float = SIGNIFICANT, power: float = POWER) -> float:
    """The smallest true mean difference that a two-sided paired t-test on `count` seeds finds with probability `power`.

    It is d = delta * std / sqrt(n), where delta solves P(|T| > t) = power: T is noncentral t of n - 1 degrees of freedom and
    noncentrality delta, t the 1 - level / 2 quantile of the central one (Cohen, "Statistical power analysis", 1988, chapter
    2). For many seeds that is near (1.96 + 0.84) * std / sqrt(n) at level 0.05. `std` is the standard deviation of the
    differences, with n - 1, as observed: with few seeds it is itself rough.

    NaN below two seeds, or if `std` is 0 or NaN: no spread was seen, which is not the same as that there is none.
    OptionError: level or power out of (0, 1), or power not above level.
    """
    if not 0 < level < power < 1:
        raise OptionError(
            f"power: expected 0 < level < power < 1, got level {level} and power {power}; 0.05 and 0.8 are usual"
        )
    if count < 2 or not std > 0:
        return math.nan
    return _noncentrality(count, level, power) * std / math.sqrt(count)


@lru_cache(maxsize=1024)
def _noncentrality(count: int, level: float, power: float) -> float:
    """The delta of `detectable_difference`.

    With T = (Z + delta) / sqrt(V / f), Z normal and V chi-squared of f degrees of freedom, P(|T| > t) is the mean over Z of
    P(V < f (Z + delta)^2 / t^2): smooth in Z, whatever t, where the density of a noncentral t of one degree of freedom is not.
    """
    from scipy import optimize, stats

    freedom = count - 1
    t = stats.t.isf(level / 2, freedom)
    z = np.linspace(-9, 9, 2001)
    weights = stats.norm.pdf(z) * (z[1] - z[0])

    def excess(delta: float) -> float:
        return float(weights @ stats.chi2.cdf(freedom * ((z + delta) / t) ** 2, freedom)) - power

    most = t + 10.0
    while excess(most) < 0:
        most *= 2
    return float(optimize.brentq(excess, 0.0, most, xtol=1e-10))


def paired_p(differences: np.ndarray) -> float:
    """Two-sided p of a paired t-test; NaN for fewer than two differences.

    Equal differences have no variance, and t would be infinite however few they are. There the exact sign-flip test is
    used: 2^(1-n); and 1 if all are 0.
    """
    from scipy import stats

    if len(differences) < 2:
        return math.nan
    if np.ptp(differences) <= 1e-12:
        return 1.0 if abs(differences[0]) <= 1e-12 else 2.0 ** (1 - len(differences))
    return float(stats.ttest_1samp(differences, 0).pvalue)


def confidence_interval(differences: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of the mean by Student's t; NaN for fewer than two differences."""
    return interval(summary(differences.tolist()), level) if len(differences) else (math.nan, math.nan)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979). NaN stays NaN and is not counted."""
    known = sorted((value, place) for place, value in enumerate(p) if not math.isnan(value))
    corrected, running = [math.nan] * len(p), 0.0
    for rank, (value, place) in enumerate(known):
        running = max(running, min(1.0, (len(known) - rank) * value))
        corrected[place] = running
    return corrected
