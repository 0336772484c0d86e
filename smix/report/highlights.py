"""The figures that a reader takes along: accuracy, lead, runs, overconfidence, confident mistakes."""

import math
from collections.abc import Callable
from statistics import fmean

from smix.evaluation.scores import Scores
from smix.evaluation.statistics import NOT_ENOUGH, interval
from smix.report.comparison import Comparison
from smix.report.page import Highlight
from smix.report.tables import PLAIN, best_rows, differences, p_value, rows_of


def highlights(comparison: Comparison) -> list[Highlight]:
    """At most five; those of predictions only where there are some."""
    runs = comparison.runs
    rows = rows_of(runs)
    done, planned = sum(row.finished for row in rows), sum(row.planned for row in rows)
    found = []
    for row in [rows[place] for place in best_rows(rows)][:1]:
        assert row.accuracy is not None
        low, high = interval(row.accuracy)
        sure = NOT_ENOUGH if math.isnan(low) else f"{low:.1f} to {high:.1f} % (95 % interval of its mean)"
        found.append(Highlight("Highest mean accuracy", f"{row.accuracy.mean:.2f} %", f"{row.method}; {sure}"))
        pair = next((one for one in differences(runs) if {one.first, one.second} == {PLAIN, row.method}), None)
        if pair is not None:
            lead = pair if pair.first == row.method else pair.swapped()
            how = NOT_ENOUGH if math.isnan(lead.p) else f"corrected p: {p_value(lead.p_corrected)}"
            found.append(Highlight(f"Ahead of {PLAIN} by", f"{lead.mean:+.2f} points", how))
    whose = f"{len(rows)} methods, {rows[0].planned} seed{'s' if rows[0].planned > 1 else ''}"
    found.append(Highlight("Runs", str(done) if done == planned else f"{done} of {planned}", whose))
    found += _least(comparison, "Confidence nearest to accuracy", lambda one: one.calibration.overconfidence, "points")
    found += _least(comparison, "Mistakes best told by confidence", lambda one: one.risk.aurc, "% AURC")
    return found


def _least(comparison: Comparison, label: str, figure: Callable[[Scores], float], unit: str) -> list[Highlight]:
    """The method whose figure is nearest to 0, beside that of vanilla."""
    means = {
        method: 100 * fmean(figure(one) for one in scores.values())
        for method in comparison.methods
        if (scores := comparison.scores_of(method)) and comparison.named(method, len(scores)) == method
    }
    if len(means) < 2:
        return []
    sign = "+" if unit == "points" else ""
    best = min(means, key=lambda method: abs(means[method]))
    beside = f"; {PLAIN} {means[PLAIN]:{sign}.1f}" if PLAIN in means and best != PLAIN else ""
    return [Highlight(label, f"{means[best]:{sign}.1f} {unit}", f"{best}{beside}")]
