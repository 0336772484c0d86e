"""`smix sweep write`, `run`, `status` and `sbatch`: train many runs from one file."""

import sys
from pathlib import Path

from cyclopts import App

from smix.cli.options import Launch, Options, RunSelection, Shared
from smix.cli.output import show_error
from smix.config import RunOptions, SharedConfig
from smix.errors import OptionError
from smix.report.terminal import show, table

sweep_app = App(name="sweep", help="Train many runs from one file with one line per run.")


@sweep_app.command
def write(
    file: Path,
    /,
    *,
    config: Shared = SharedConfig(),  # noqa: B008
    selection: RunSelection = RunSelection(),  # noqa: B008
    grid: tuple[str, ...] = (),
    append: bool = False,
) -> None:
    """Write a sweep file with one run per combination of method, seed and grid values.

    Nothing is trained; the file can be edited before it is run.

    Parameters
    ----------
    file
        File to write, JSON Lines: {"name": ..., "config": {...}}.
    grid
        Values for further options, such as --grid lr=0.1,0.05 model=resnet8,resnet18; all combinations are written.
    append
        Append the runs to an existing file.
    """
    from smix.lab.sweep import cross, parse_grid, write_sweep

    cells = parse_grid(grid)
    if selection.recipe is not None and (both := {"data", "epochs"} & cells.keys()):
        raise OptionError(
            f"grid: other options of --recipe depend on {' and '.join(sorted(both))}; write one value at a time, with --append"
        )
    new = cross(config, selection.method_names(config.data), range(selection.seeds), cells)
    runs = write_sweep(file, new, append)
    added = f" ({len(new)} of them new)" if len(new) < len(runs) else ""
    show(f"{file}: {len(runs)} runs{added}, such as {next(iter(new))}", f"Next: smix sweep run {file} --out DIR")


@sweep_app.command
def run(
    file: Path,
    /,
    *,
    options: Options = RunOptions(),  # noqa: B008
    launch: Launch = Launch(),  # noqa: B008
    index: int | None = None,
    out: Path,
) -> int:
    """Train the missing runs of a sweep. Run the command again to resume. A run that crashes is retried once.

    Parameters
    ----------
    file
        Sweep file.
    index
        Train only the run with this index (from 0), in this process; for array jobs of any scheduler.
    out
        Folder for the runs of the sweep.
    """
    from smix.lab.run_all import run_all, run_one
    from smix.lab.status import describe_unfinished
    from smix.lab.sweep import read_sweep

    sweep = read_sweep(file)
    if index is not None:
        if launch != Launch():
            raise OptionError(f"index: --index {index} is one run in this process; omit --jobs and --engine")
        result = run_one(sweep, index, out, options)
        epoch = "last" if list(sweep.values())[index].patience is None else "best"
        show(f"{out / list(sweep)[index]}: test accuracy {100 * result.test_accuracy:.2f} % at the {epoch} epoch")
        return 0
    runs = run_all(sweep, out, options, launch.engine, launch.jobs)
    missing = [run for run in runs if run.result is None]
    show(f"{out}: {len(runs) - len(missing)} of {len(runs)} runs are done")
    for unfinished in missing:
        show_error(describe_unfinished(unfinished))
    if not missing:
        folders = sorted({str((out / name).parent) for name in sweep})
        show("Next: " + " or ".join(f"smix report {folder}" for folder in folders[:3]))
    return 1 if missing else 0


@sweep_app.command
def status(file: Path, /, *, out: Path) -> None:
    """Show the progress of each run in a sweep.

    Only the run folders are read, so this works on any machine that has access to them.

    Parameters
    ----------
    file
        Sweep file.
    out
        Folder for the runs of the sweep.
    """
    from smix.lab.status import status as status_of
    from smix.lab.sweep import read_sweep
    from smix.progress import duration

    runs = status_of(read_sweep(file), out)
    rows = [
        (
            name,
            run.state,
            f"{run.epochs} of {run.total}",
            "" if run.state in ("done", "failed") else "?" if run.seconds is None else duration(run.seconds),
            "" if run.accuracy is None else f"{100 * run.accuracy:.2f}",
        )
        for name, run in runs.items()
    ]
    states = [run.state for run in runs.values()]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    seconds = [run.seconds for run in runs.values() if run.state != "failed"]
    summary = f"{len(rows)} runs: {counts}"
    if any(left is None or left > 0 for left in seconds):
        total = "unknown" if None in seconds else duration(sum(filter(None, seconds)))
        summary += f"; time left if run one after the other: {total}"
    show(
        table(["Run", "State", "Epochs", "Time left", "Validation (%)"], rows),
        *(f"{name}: {run.error}" for name, run in runs.items() if run.error),
        summary,
    )


@sweep_app.command
def sbatch(
    file: Path,
    /,
    *,
    options: Options = RunOptions(),  # noqa: B008
    jobs: int | None = None,
    out: Path,
) -> None:
    """Print a script for SLURM's sbatch with one task per missing run; redirect it to a file and edit it.

    Parameters
    ----------
    file
        Sweep file.
    jobs
        Number of concurrent tasks. Default: as many as SLURM allows.
    out
        Folder for the runs of the sweep.
    """
    from smix.lab.run_all import sbatch_script
    from smix.lab.sweep import read_sweep

    sys.stdout.write(sbatch_script(read_sweep(file), file, out, options, jobs))
