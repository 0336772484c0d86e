"""Print errors and the summary of a report."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from smix.errors import printable
from smix.report.terminal import show

if TYPE_CHECKING:
    from smix.report.write import Report
    from smix.training.records import Run


def is_main_process() -> bool:
    """Return whether this is the main process (rank 0), the only one that prints."""
    return os.environ.get("RANK", "0") == "0"


def show_error(message: object) -> None:
    """Print one line on standard error."""
    sys.stderr.write(f"smix: {printable(' '.join(str(message).split()))}\n")


def show_report(report: "Report", unfinished: "Sequence[Run]" = ()) -> None:
    """Print the table and the conclusion of each comparison, the report files, and the runs that were left out.

    Args:
        report: The written report.
        unfinished: Runs that the caller reports; they are not listed again.
    """
    from smix.report.accuracy import accuracy_table
    from smix.report.table import terminal
    from smix.report.verdict import conclusion

    for comparison in report.comparisons:
        title = [f"{comparison.name} ({comparison.folder})"] if len(report.comparisons) > 1 else []
        show(
            *title, terminal(accuracy_table(comparison.accuracy, intervals=False)), conclusion(comparison.accuracy), ""
        )
    show(f"Report:   {report.page}", f"Also:     {report.text}, tables and figures in the same folder")
    for problem in report.problems:
        if problem.path not in {run.path for run in unfinished}:
            show_error(f"{problem.path}: {problem.why}")
