"""Is one method better than another, or is it noise? Summaries over seeds and paired tests, corrected for their number."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

SIGNIFICANT = 0.05
"""A difference is called more than noise if its corrected p is below this."""


@dataclass(frozen=True)
class Summary:
    """Some values, one a seed."""

    mean: float
    std: float
    """With n - 1; NaN for a single value."""
    count: int
    least: float
    most: float


def summary(values: Sequence[float]) -> Summary:
    """Of one or more values."""
    std = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Summary(float(np.mean(values)), std, len(values), min(values), max(values))


@dataclass(frozen=True)
class Difference:
    """Two methods compared over the seeds that both have."""

    first: str
    second: str
    mean: float
    """Of first - second, seed by seed; NaN without a common seed."""
    low: float
    high: float
    """95 % confidence interval of the mean, not corrected for the number of pairs; NaN below two seeds."""
    count: int
    """Common seeds."""
    p: float
    """Two-sided; NaN below two common seeds: not enough to tell."""
    p_corrected: float
    """By Holm's method over all pairs."""

    @property
    def significant(self) -> bool:
        return self.p_corrected < SIGNIFICANT


def compare_pairs(scores: Mapping[str, Mapping[int, float]]) -> list[Difference]:
    """Every pair of methods, paired over seeds; `scores[method][seed]`.

    All pairs are tested and corrected for, not the winner against the rest: the winner was chosen by looking.
    """
    raw = [_difference(one, other, scores[one], scores[other]) for one, other in combinations(scores, 2)]
    corrected = holm([difference.p for difference in raw])
    return [
        Difference(d.first, d.second, d.mean, d.low, d.high, d.count, d.p, p)
        for d, p in zip(raw, corrected, strict=True)
    ]


def _difference(first: str, second: str, a: Mapping[int, float], b: Mapping[int, float]) -> Difference:
    differences = np.array([a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())])
    mean = float(differences.mean()) if len(differences) else math.nan
    low, high = confidence_interval(differences)
    p = paired_p(differences)
    return Difference(first, second, mean, low, high, len(differences), p, p)


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
    """Of the mean, by Student's t; NaN for fewer than two differences."""
    from scipy import stats

    if len(differences) < 2:
        return math.nan, math.nan
    margin = stats.t.ppf((1 + level) / 2, len(differences) - 1) * differences.std(ddof=1) / math.sqrt(len(differences))
    return float(differences.mean() - margin), float(differences.mean() + margin)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979). NaN stays NaN and is not counted."""
    known = sorted((value, place) for place, value in enumerate(p) if not math.isnan(value))
    corrected, running = [math.nan] * len(p), 0.0
    for rank, (value, place) in enumerate(known):
        running = max(running, min(1.0, (len(known) - rank) * value))
        corrected[place] = running
    return corrected
