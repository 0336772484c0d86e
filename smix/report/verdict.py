"""The answer of a report in sentences: which method won, by how much, and whether the difference is statistically significant."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from smix.evaluation.statistics import NOT_ENOUGH, Difference, compare_pairs, interval, sentence
from smix.report.comparison import AccuracySummary, Comparison, ReportAssets, difference_from, percentages
from smix.report.page import Facts, Highlight
from smix.report.records import PLAIN
from smix.report.table import p_value

POINTS = 100.0
"""Maximum possible difference of two accuracies."""


def conclusion(accuracy: AccuracySummary) -> str:
    """Return the winner by mean test accuracy, the methods that it is significantly better than, and what is missing."""
    winner, rest = _parts(accuracy)
    return "; ".join(filter(None, (winner, rest)))


def evidence(accuracy: AccuracySummary) -> str:
    """Return the evidence for `headline`: the conclusion without its beginning."""
    rest = _parts(accuracy)[1]
    return rest[:1].upper() + rest[1:]


def _parts(accuracy: AccuracySummary) -> tuple[str, str]:
    """Return the first part of the conclusion, with the name of the winner if there is one, and the rest of it.

    With cautions, the first part states these, and the rest the mean accuracies without an order.
    """
    unfinished = ", ".join(f"{one.method} ({one.count})" for one in accuracy.methods if not one.complete)
    missing = f" Runs are missing of {unfinished}, which are not compared; start the same smix compare again."
    missing = missing if unfinished else ""
    if accuracy.cautions:
        complete = [one for one in accuracy.methods if one.finished and one.complete]
        means = ", ".join(f"{one.method} {one.accuracy.mean:.1f} %" for one in complete)
        advice = ", ".join(dict.fromkeys(one.advice for one in accuracy.cautions))
        return _too_small(accuracy), f"{advice}. Mean test accuracy: {means}.{missing}"
    best = accuracy.best
    if not best:
        return "", f"No method has finished all of its runs.{missing}"
    method, mean, count = best[0].method, best[0].accuracy.mean, best[0].accuracy.count
    seeds = f"{count} seed{'s' if count > 1 else ''}"
    if len(best) > 1:
        equal = f"{_enumeration([one.method for one in best])} have the same highest mean test accuracy"
        return "", f"{equal}, {mean:.2f} % over {seeds}: none won.{missing}"
    winner = f"{method} has the highest mean test accuracy, {mean:.2f} % over {seeds}"
    leads = [pair.swapped() for pair in difference_from(method, accuracy.pairs)]
    if not leads:
        reason = "no other method has all of its runs" if unfinished else "there is no other method to compare it with"
        return winner, f"{reason}.{missing}"
    if count < 2:
        unknown = f"{NOT_ENOUGH} to tell whether that is statistically significant: take at least 5 seeds."
        return winner, f"{unknown}{missing}"
    clear, unclear = ([pair for pair in leads if pair.significant == value] for value in (True, False))
    clauses = [f"the difference is statistically significant against {_against(clear)}"] if clear else []
    if unclear:
        start = "but" if clear else "the difference is"
        clauses.append(f"{start} not statistically significant against {_against(unclear)}")
    test = "paired t-test"
    if len(accuracy.pairs) > 1:
        test = f"paired t-tests over seeds, Holm-corrected over all {len(accuracy.pairs)} pairs"
    few = f" {seeds} are few, both to find a difference and to trust one: take at least 5."
    few = few if count < 5 else ""
    return winner, f"{', '.join(clauses)} ({test}).{_detectable(unclear, seeds)}{few}{missing}"


def headline(accuracy: AccuracySummary) -> str:
    """Return the answer alone: which method wins, its lead over vanilla, and whether that is statistically significant."""
    best = accuracy.best
    if accuracy.cautions:
        return f"{_too_small(accuracy)}."
    if len(best) != 1:
        return conclusion(accuracy)
    winner = f"{best[0].method} has the highest mean test accuracy, {best[0].accuracy.mean:.2f} %"
    if best[0].method == PLAIN and any(one.complete for one in accuracy.methods if one is not best[0]):
        return f"{winner}: no other method is ahead of it."
    pair = _lead(best[0].method, accuracy.pairs)
    if pair is None:
        return f"{winner}."
    lead = f"{winner}, {pair.mean:+.2f} points over {PLAIN}"
    if math.isnan(pair.p):
        return f"{lead}; {NOT_ENOUGH} to tell whether that is statistically significant."
    significance = f"{'' if pair.significant else 'not '}statistically significant"
    return f"{lead}: {significance} with {pair.count} seeds ({_p(pair)})."


def _too_small(accuracy: AccuracySummary) -> str:
    """Return the beginning of the conclusion about a comparison that cannot name a best method."""
    subject = "The methods cannot be ranked" if len(accuracy.methods) > 1 else "This is no reliable result"
    return f"{subject}: {'; '.join(one.text for one in accuracy.cautions)}"


def _lead(method: str, pairs: Sequence[Difference]) -> Difference | None:
    """Return the difference between this method and vanilla, if both are complete."""
    return next((pair for pair in difference_from(PLAIN, pairs) if pair.first == method), None)


def pair_sentences(comparison: Comparison, assets: ReportAssets) -> Facts | None:
    """Return each pair of methods in a sentence, the better method first."""
    pairs = [(f"{pair.first}, {pair.second}", pair) for pair in comparison.accuracy.pairs]
    better = [(names, pair.swapped() if pair.significant and pair.mean < 0 else pair) for names, pair in pairs]
    return Facts(tuple((names, sentence(pair)) for names, pair in better), "In words") if pairs else None


def _detectable(pairs: Sequence[Difference], seeds: str) -> str:
    """Return the differences that this number of seeds would have detected, for the pairs without a significant difference."""
    sizes = sorted(pair.detectable for pair in pairs if math.isfinite(pair.detectable))
    if not sizes:
        return ""
    if sizes[0] > POINTS:
        return f" {seeds[0].upper()}{seeds[1:]} could have found no difference there, however large."
    ends = dict.fromkeys(f"{size:.1f}" if size <= POINTS else "more than 100" for size in (sizes[0], sizes[-1]))
    sentence = f" Four times in five, {seeds} would find a true difference of {' to '.join(ends)} points there"
    return f"{sentence}, smaller ones less often."


def _against(pairs: Sequence[Difference]) -> str:
    closest_first = sorted((pair for pair in pairs if not math.isnan(pair.mean)), key=lambda pair: pair.mean)
    return _enumeration([f"{pair.second} ({pair.mean:+.2f} points, {_p(pair)})" for pair in closest_first])


def _p(pair: Difference) -> str:
    return f"p = {p_value(pair.p_corrected)}".replace("= <", "<")


def _enumeration(texts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))


def highlights(comparison: Comparison) -> list[Highlight]:
    """Return at most five key numbers: accuracy, lead, number of runs, calibration and confident errors."""
    accuracy, figures = comparison.accuracy, []
    finished, planned = (sum(getattr(one, name) for one in accuracy.methods) for name in ("finished", "planned"))
    for best in accuracy.best[:1]:
        low, high = interval(best.accuracy)
        detail = NOT_ENOUGH if math.isnan(low) else f"{low:.1f} to {high:.1f} % (95 % interval of its mean)"
        figures.append(Highlight("Highest mean accuracy", f"{best.accuracy.mean:.2f} %", f"{best.method}; {detail}"))
        if pair := _lead(best.method, accuracy.pairs):
            p = NOT_ENOUGH if math.isnan(pair.p) else f"corrected p: {p_value(pair.p_corrected)}"
            figures.append(Highlight(f"Ahead of {PLAIN} by", f"{pair.mean:+.2f} points", p))
    size = f"{len(accuracy.methods)} methods, {comparison.planned} seed{'s' if comparison.planned > 1 else ''}"
    figures.append(Highlight("Runs", str(finished) if finished == planned else f"{finished} of {planned}", size))
    figures += _nearest_to_zero(comparison, "Best calibrated on average", "overconfidence", "points", "+")
    figures += _nearest_to_zero(comparison, "Errors best ranked by confidence", "aurc", "% AURC", "")
    return figures


def _nearest_to_zero(comparison: Comparison, label: str, metric: str, unit: str, sign: str) -> list[Highlight]:
    """Return the method whose mean is nearest to 0, compared with that of vanilla."""
    values = comparison.values(metric)
    means = {m: 100 * fmean(seeds.values()) for m, seeds in values.items() if len(seeds) == comparison.planned}
    if len(means) < 2 or comparison.accuracy.cautions:
        return []
    best = min(means, key=lambda method: abs(means[method]))
    plain = f"; {PLAIN} {means[PLAIN]:{sign}.1f}" if PLAIN in means and best != PLAIN else ""
    return [Highlight(label, f"{means[best]:{sign}.1f} {unit}", f"{best}{plain}")]


def overconfidence(comparison: Comparison, assets: ReportAssets) -> str:
    """Return whether each method is overconfident, by how much, and how that differs from vanilla."""
    values = comparison.values("overconfidence")
    means, labels, clauses = percentages(values), comparison.labels(values), []
    for method, mean in means.items():
        direction = "over" if mean > 0 else "under"
        clauses.append(f"{labels[method]} is {direction}confident by {abs(mean):.1f} points")
        if PLAIN in means and method != PLAIN:
            better = "better" if abs(mean) < abs(means[PLAIN]) else "not better"
            clauses[-1] += f", {better} calibrated on average than {PLAIN}"
    changes = []
    for pair in changes_from_plain(values):
        ends = "" if math.isnan(pair.low) else f" ({100 * pair.low:+.1f} to {100 * pair.high:+.1f})"
        changes.append(f"{pair.first} {100 * pair.mean:+.1f}{ends}")
    against = f" Difference from {PLAIN} over the shared seeds, estimates with 95 % intervals: {'; '.join(changes)}."
    return f"{'; '.join(clauses)}.{against if changes else ''}"


def changes_from_plain(values: Mapping[str, Mapping[int, float]]) -> list[Difference]:
    """Return the difference of each method from vanilla over their shared seeds, with its interval: an estimate, not a test."""
    return difference_from(PLAIN, compare_pairs(values))
