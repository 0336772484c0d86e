"""Which method won, and is that more than noise? In one sentence."""

import math
from collections.abc import Sequence

from smix.evaluation.statistics import Difference
from smix.report.tables import best_rows, differences, p_value, rows_of
from smix.training.records import Run


def conclusion(runs: Sequence[Run]) -> str:
    """The winner by mean test accuracy, against whom it is ahead by more than noise, and what is missing."""
    rows = rows_of(runs)
    unfinished = [row.method for row in rows if row.finished < row.planned]
    missing = (
        f" Runs are missing of {', '.join(unfinished)}: no mean before all are finished; start the same smix compare again."
        if unfinished
        else ""
    )
    places = best_rows(rows)
    if not places:
        return f"No method has finished all of its runs.{missing}"
    best = rows[places[0]].method
    summary = rows[places[0]].accuracy
    assert summary is not None
    seeds = f"{summary.count} seed{'s' if summary.count > 1 else ''}"
    if len(places) > 1:
        names = [rows[place].method for place in places]
        equal = f"{', '.join(names[:-1])} and {names[-1]}"
        return (
            f"{equal} have the same highest mean test accuracy, {summary.mean:.2f} % over {seeds}: none won.{missing}"
        )
    won = f"{best} has the highest mean test accuracy, {summary.mean:.2f} % over {seeds}"
    pairs = differences(runs)
    against = [_from_winner(pair, best) for pair in pairs if best in (pair.first, pair.second)]
    if not against:
        return f"{won}.{missing}" if unfinished else f"{won}; there is no other method to compare it with."
    if summary.count < 2:
        return f"{won}; one seed cannot tell whether that is more than noise: take at least 5.{missing}"
    clear = [pair for pair in against if pair.significant]
    noise = [pair for pair in against if not pair.significant]
    verdict = []
    if clear:
        verdict.append(f"that is more than noise against {_list(clear)}")
    if noise:
        verdict.append(f"{'but' if clear else 'that is'} not more than noise against {_list(noise)}")
    test = (
        f"paired t-tests over seeds, Holm-corrected over all {len(pairs)} pairs" if len(pairs) > 1 else "paired t-test"
    )
    few = f" {seeds} are few, both to find a difference and to trust one: take at least 5." if summary.count < 5 else ""
    return f"{won}; {', '.join(verdict)} ({test}).{few}{missing}"


def _from_winner(pair: Difference, best: str) -> Difference:
    """The pair as winner minus the other."""
    if pair.first == best:
        return pair
    return Difference(best, pair.first, -pair.mean, -pair.high, -pair.low, pair.count, pair.p, pair.p_corrected)


def _list(pairs: Sequence[Difference]) -> str:
    closest_first = sorted(pairs, key=lambda pair: pair.mean)
    texts = [
        f"{pair.second} ({pair.mean:+.2f} points, p = {p_value(pair.p_corrected)})".replace("p = <", "p <")
        for pair in closest_first
        if not math.isnan(pair.mean)
    ]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
