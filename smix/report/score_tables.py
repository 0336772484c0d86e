"""Tables of what predictions say beyond accuracy: calibration, and confidence in mistakes. Rows are methods."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean

from smix.evaluation.bootstrap import bootstrap_over_images
from smix.evaluation.confidence import LEVELS, SURE
from smix.evaluation.scores import Scores
from smix.evaluation.statistics import Difference, compare_pairs
from smix.report.comparison import Comparison
from smix.report.table import UNKNOWN, Cell, Table, number, over_seeds
from smix.report.tables import PLAIN, spread

Figure = Callable[[Scores], float]


def _numbers(name: str) -> Figure:
    return lambda scores: scores.numbers().get(name, math.nan)


CALIBRATION: dict[str, tuple[Figure, float, int]] = {
    "ECE (%)": (_numbers("ece"), 100, 2),
    "ECE, equal mass (%)": (_numbers("ece_mass"), 100, 2),
    "ECE, class-wise (%)": (_numbers("class_wise"), 100, 2),
    "Max error (%)": (_numbers("mce"), 100, 1),
    "Brier score": (_numbers("brier"), 1, 3),
    "NLL (nats)": (_numbers("nll"), 1, 3),
    "Overconfidence (points)": (_numbers("overconfidence"), 100, 2),
    "Temperature": (_numbers("temperature"), 1, 2),
    "ECE, scaled (%)": (_numbers("ece_scaled"), 100, 2),
    "NLL, scaled (nats)": (_numbers("nll_scaled"), 1, 3),
}
"""Column -> figure, its unit over 1, decimals. The least is the best, of overconfidence the nearest to 0; a temperature is neither."""


def calibration_table(comparison: Comparison) -> Table | None:
    """None: no predictions."""
    return _table(
        comparison,
        "calibration",
        "Calibration",
        CALIBRATION,
        f"{_spread(comparison)} ECE: expected calibration error, 15 bins (of equal width, of equal mass, of each class). "
        "Overconfidence: mean confidence minus accuracy; above 0 the network is too sure. Scaled: after its logits are divided by the "
        "temperature that fits the validation images. The least in bold, untested; of overconfidence the nearest to 0.",
    )


def confidence_table(comparison: Comparison) -> Table | None:
    """Return a table of errors by confidence. None: no predictions."""
    columns: dict[str, tuple[Figure, float, int]] = {"Wrong (%)": (lambda s: 1 - s.calibration.accuracy, 100, 2)}
    if len(comparison.classes) > 5:
        columns["Not among the five likeliest (%)"] = (lambda s: 1 - s.top5, 100, 2)
    for threshold in SURE:
        columns[f"Wrong, more than {threshold:g} sure (%)"] = (_numbers(f"errors_above_{threshold:g}"), 100, 2)
    columns[f"Of what is more than {SURE[0]:g} sure, wrong (%)"] = (lambda s: s.sure[0].error_rate, 100, 2)
    columns["AURC (%)"] = (lambda s: s.risk.aurc, 100, 2)
    for coverage in (0.8, 0.5):
        columns[f"Wrong of the surest {100 * coverage:.0f} % (%)"] = (_risk_at(coverage), 100, 2)
    return _table(
        comparison,
        "confidence",
        "Mistakes and confidence",
        columns,
        f"In percent of all test images unless said otherwise. {_spread(comparison)} AURC: area under the risk-coverage "
        "curve, the mean error over all coverages. The least in bold, untested.",
    )


def levels_table(comparison: Comparison) -> Table | None:
    """Share of wrong predictions at each level of confidence. None: no predictions."""
    columns = {f"{low:g} to {high:g}": (_level(n), 100.0, 1) for n, (low, high) in enumerate(pairwise(LEVELS))}
    return _table(
        comparison,
        "levels",
        "Wrong predictions at each level of confidence (%)",
        columns,
        f"Of the predictions whose confidence lies above the first number, up to the second. {_spread(comparison)}",
        best=False,
    )


def images_table(comparison: Comparison) -> Table | None:
    """Return a table of how far the test images alone determine the lead over vanilla. None: no pair of them."""
    plain = comparison.scores_of(PLAIN) if PLAIN in comparison.methods else {}
    rows = []
    for method in comparison.methods:
        mine = comparison.scores_of(method)
        if method == PLAIN or not (seeds := sorted(mine.keys() & plain.keys())):
            continue
        seed = seeds[0]
        found = bootstrap_over_images(mine[seed].correct, plain[seed].correct)
        span = f"{100 * found.low:+.2f} to {100 * found.high:+.2f}" if math.isfinite(found.low) else UNKNOWN
        name = comparison.named(method, len(seeds))
        rows.append((Cell(name), Cell(str(seed), seed), number(found.mean, 2, 100, sign=True), Cell(span)))
    if not rows:
        return None
    return Table(
        "test-images",
        f"Over test images alone: difference from {PLAIN} of one pair of networks",
        ("Method", "Seed", "Difference (points)", "95 % interval over test images"),
        tuple(rows),
        "Bootstrap over test images: how much other test images would change the difference of these two networks. Another seed gives "
        "other networks, so this is no evidence for a method.",
    )


def _spread(comparison: Comparison) -> str:
    return spread(len(comparison.scores_of(method)) for method in comparison.methods)


def _risk_at(coverage: float) -> Figure:
    return lambda scores: 1 - scores.risk.accuracy_at(coverage)


def _level(place: int) -> Figure:
    return lambda scores: scores.levels[place].error_rate


def _table(
    comparison: Comparison,
    name: str,
    title: str,
    columns: Mapping[str, tuple[Figure, float, int]],
    note: str,
    best: bool = True,
) -> Table | None:
    scores = {method: list(comparison.scores_of(method).values()) for method in comparison.methods}
    scores = {method: mine for method, mine in scores.items() if mine}
    if not scores:
        return None
    values = {
        column: [[figure(one) for one in mine] for mine in scores.values()] for column, (figure, *_) in columns.items()
    }
    whole = [comparison.named(method, len(mine)) == method for method, mine in scores.items()]
    least = {
        column: _least(mine, whole) if best and column != "Temperature" else None for column, mine in values.items()
    }
    rows = tuple(
        (
            Cell(comparison.named(method, len(mine))),
            *(
                over_seeds(values[column][place], decimals, unit, best=place == least[column])
                for column, (_, unit, decimals) in columns.items()
            ),
        )
        for place, (method, mine) in enumerate(scores.items())
    )
    return Table(name, title, ("Method", *columns), rows, note)


def _least(values: Sequence[Sequence[float]], whole: Sequence[bool]) -> int | None:
    """The place of the mean nearest to 0, of those that have all of their runs; None if it is not one alone."""
    means = [
        abs(fmean(mine)) if all(map(math.isfinite, mine)) and every else math.inf
        for mine, every in zip(values, whole, strict=True)
    ]
    least = min(means)
    return means.index(least) if math.isfinite(least) and means.count(least) == 1 and len(means) > 1 else None


def change(comparison: Comparison, figure: Figure) -> list[Difference]:
    """Each method less vanilla over the seeds that both have: an estimate with its interval. Nothing here is called better."""
    values = {
        method: {seed: figure(one) for seed, one in comparison.scores_of(method).items()}
        for method in comparison.methods
    }
    values = {method: {seed: v for seed, v in mine.items() if math.isfinite(v)} for method, mine in values.items()}
    pairs = compare_pairs({method: mine for method, mine in values.items() if mine})
    return [pair.swapped() if pair.first == PLAIN else pair for pair in pairs if PLAIN in (pair.first, pair.second)]
