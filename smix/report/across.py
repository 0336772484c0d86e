"""Several comparisons beside one another: methods down, data sets across."""

from collections.abc import Sequence

from smix.report.comparison import Comparison
from smix.report.table import UNKNOWN, Cell, Table, over_seeds
from smix.report.tables import best_rows, by_method, rows_of, spread


def across_table(comparisons: Sequence[Comparison], names: Sequence[str]) -> Table:
    """Mean and standard deviation of test accuracy, the best of each data set in bold."""
    columns = [_column(one) for one in comparisons]
    order = by_method([run for one in comparisons for run in one.runs])
    return Table(
        "data-sets",
        "Test accuracy on each data set (%)",
        ("Method", *names),
        tuple((Cell(method), *(column.get(method, Cell(UNKNOWN)) for column in columns)) for method in order),
        f"{spread(row.finished for one in comparisons for row in rows_of(one.runs))} The highest mean in bold, whether or not it is "
        "statistically significant. Of a method that lacks runs (n of N) the mean is that of the others, and never the best.",
    )


def _column(comparison: Comparison) -> dict[str, Cell]:
    """The cell of each method."""
    rows = rows_of(comparison.runs)
    best = best_rows(rows)
    cells = {}
    for place, (row, mine) in enumerate(zip(rows, by_method(comparison.runs).values(), strict=True)):
        cell = over_seeds(
            (run.result.test_accuracy for run in mine if run.result is not None), scale=100, best=place in best
        )
        text = cell.text if row.whole or cell.text == UNKNOWN else f"{cell.text} ({row.runs})"
        cells[row.method] = Cell(text, cell.value, cell.deviation, cell.best)
    return cells
