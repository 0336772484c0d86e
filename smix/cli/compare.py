"""`smix compare`: train every method with every seed, and report the results."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smix.cli.options import Launch, Options, RunSelection, Shared
from smix.cli.output import show_error, show_report
from smix.config import RunOptions, SharedConfig
from smix.report.terminal import show

if TYPE_CHECKING:
    from smix.training.records import Run


def compare(
    *,
    config: Shared = SharedConfig(),  # noqa: B008
    options: Options = RunOptions(),  # noqa: B008
    selection: RunSelection = RunSelection(),  # noqa: B008
    launch: Launch = Launch(),  # noqa: B008
    out: Path,
) -> int:
    """Train every method with every seed and report which method is better. Run the command again to train only the missing runs.

    Parameters
    ----------
    out
        Folder for the runs; the report is written to its subfolder `report`.
    """
    from smix.lab.run_all import compare as train_all

    methods = selection.method_names(config.data)
    runs = train_all(config, methods, selection.seeds, out, options, launch.jobs, launch.engine)
    code = report_runs(runs, out / "report", options)
    requested = {run.path for run in runs}
    others = sorted(path.parent.name for path in out.glob("*/config.json") if path.parent not in requested)
    if others:
        show(f"Other runs in this folder, not in the report: {', '.join(others)}. To include them: smix report {out}")
    return code


def report_runs(runs: "Sequence[Run]", out: Path, options: RunOptions) -> int:
    """Write and print the report of a comparison, and return the exit code: 1 if a run has no result, otherwise 0."""
    from smix.lab.status import describe_unfinished
    from smix.report.comparison import summarise
    from smix.report.verdict import conclusion
    from smix.report.write import write_report

    unfinished = [run for run in runs if run.result is None]
    if len(unfinished) < len(runs):
        show_report(write_report(runs, out, options.data_root, options.quiet), unfinished)
    else:
        show(conclusion(summarise(runs)))
    for run in unfinished:
        show_error(describe_unfinished(run))
    return 1 if unfinished else 0
