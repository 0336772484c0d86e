"""Sentences on which method won, by how much, and whether the difference is statistically significant."""

import math
from collections.abc import Sequence

from smix.evaluation.statistics import NOT_ENOUGH, Difference, sentence
from smix.report.tables import PLAIN, best_rows, differences, p_value, rows_of
from smix.training.records import Run

POINTS = 100.0
"""No two accuracies differ by more."""


def conclusion(runs: Sequence[Run]) -> str:
    """Return the winner by mean test accuracy, the methods that it is significantly better than, and what is missing."""
    won, rest = _parts(runs)
    if not rest:
        return f"{won}."
    return f"{won}; {rest}" if won else rest


def evidence(runs: Sequence[Run]) -> str:
    """Return the evidence for `headline`: the conclusion without its beginning."""
    rest = _parts(runs)[1]
    return rest[:1].upper() + rest[1:]


def _parts(runs: Sequence[Run]) -> tuple[str, str]:
    """Who won, if one did; and all else."""
    rows = rows_of(runs)
    unfinished = [f"{row.method} ({row.runs})" for row in rows if not row.whole]
    missing = (
        f" Runs are missing of {', '.join(unfinished)}, which are not compared; start the same smix compare again."
        if unfinished
        else ""
    )
    places = best_rows(rows)
    if not places:
        return "", f"No method has finished all of its runs.{missing}"
    best = rows[places[0]].method
    summary = rows[places[0]].accuracy
    assert summary is not None
    seeds = f"{summary.count} seed{'s' if summary.count > 1 else ''}"
    if len(places) > 1:
        names = [rows[place].method for place in places]
        equal = f"{', '.join(names[:-1])} and {names[-1]}"
        return (
            "",
            f"{equal} have the same highest mean test accuracy, {summary.mean:.2f} % over {seeds}: none won.{missing}",
        )
    won = f"{best} has the highest mean test accuracy, {summary.mean:.2f} % over {seeds}"
    pairs = differences(runs)
    against = [pair if pair.first == best else pair.swapped() for pair in pairs if best in (pair.first, pair.second)]
    if not against:
        other = "no other method has all of its runs" if unfinished else "there is no other method to compare it with"
        return won, f"{other}.{missing}"
    if summary.count < 2:
        return won, f"{NOT_ENOUGH} to tell whether that is statistically significant: take at least 5 seeds.{missing}"
    clear = [pair for pair in against if pair.significant]
    noise = [pair for pair in against if not pair.significant]
    verdict = []
    if clear:
        verdict.append(f"the difference is statistically significant against {_list(clear)}")
    if noise:
        verdict.append(
            f"{'but' if clear else 'the difference is'} not statistically significant against {_list(noise)}"
        )
    test = (
        f"paired t-tests over seeds, Holm-corrected over all {len(pairs)} pairs" if len(pairs) > 1 else "paired t-test"
    )
    few = f" {seeds} are few, both to find a difference and to trust one: take at least 5." if summary.count < 5 else ""
    return won, f"{', '.join(verdict)} ({test}).{_blind(noise, seeds)}{few}{missing}"


def headline(runs: Sequence[Run]) -> str:
    """The answer alone: which method wins, by how much over vanilla, how sure."""
    rows = rows_of(runs)
    places = best_rows(rows)
    if len(places) != 1:
        return conclusion(runs)
    row = rows[places[0]]
    assert row.accuracy is not None
    won = f"{row.method} has the highest mean test accuracy, {row.accuracy.mean:.2f} %"
    if row.method == PLAIN:
        others = any(one.whole for one in rows if one is not row)
        return f"{won}: no other method is ahead of it." if others else f"{won}."
    pair = next((one for one in differences(runs) if {one.first, one.second} == {PLAIN, row.method}), None)
    if pair is None:
        return f"{won}."
    pair = pair if pair.first == row.method else pair.swapped()
    lead = f"{won}, {pair.mean:+.2f} points over {PLAIN}"
    if math.isnan(pair.p):
        return f"{lead}; {NOT_ENOUGH} to tell whether that is statistically significant."
    p = f"p {value}" if (value := p_value(pair.p_corrected)).startswith("<") else f"p = {value}"
    return f"{lead}: {'' if pair.significant else 'not '}statistically significant with {pair.count} seeds ({p})."


def sentences(pairs: Sequence[Difference]) -> list[str]:
    """Each pair in plain words, the better method first where one is."""
    return [sentence(pair.swapped() if pair.significant and pair.mean < 0 else pair) for pair in pairs]


def _blind(noise: Sequence[Difference], seeds: str) -> str:
    """Return the differences that this number of seeds would have found, for the pairs that were not told apart."""
    could = [pair.detectable for pair in noise if math.isfinite(pair.detectable)]
    if not could:
        return ""
    if min(could) > POINTS:
        return f" {seeds[0].upper()}{seeds[1:]} could have found no difference there, however large."
    least, most = f"{min(could):.1f}", f"{max(could):.1f}" if max(could) <= POINTS else "more than 100"
    span = least if least == most else f"{least} to {most}"
    return f" Four times in five, {seeds} would find a true difference of {span} points there, smaller ones less often."


def _list(pairs: Sequence[Difference]) -> str:
    closest_first = sorted(pairs, key=lambda pair: pair.mean)
    texts = [
        f"{pair.second} ({pair.mean:+.2f} points, p = {p_value(pair.p_corrected)})".replace("p = <", "p <")
        for pair in closest_first
        if not math.isnan(pair.mean)
    ]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
