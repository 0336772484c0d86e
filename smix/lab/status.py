"""Report the state of the runs of a sweep from their folders alone, on any machine that has access to them."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from smix import files
from smix.errors import RunError, printable
from smix.lab.cost import Group, group
from smix.lab.engines import SLURM_LINE
from smix.lab.run_all import check_folders, existing_run
from smix.lab.sweep import Sweep
from smix.training.records import Run
from smix.untrusted import read_end

State = Literal["done", "running", "interrupted", "failed", "waiting"]


@dataclass(frozen=True)
class Status:
    """Status of one run."""

    state: State
    """State. "running": a process has locked its folder; "interrupted": stopped or killed, resumes when started again;
    "failed": its log ends with an error; "waiting": not started; "done": finished."""
    epochs: int
    """Number of finished epochs."""
    total: int
    """Total number of epochs."""
    seconds: float | None
    """Expected remaining seconds of training, from the finished epochs of this or similar runs; None: unknown."""
    accuracy: float | None
    """Accuracy on the validation images in [0, 1]; None: not finished."""
    error: str
    """Last error message."""


def status(sweep: Sweep, out: Path) -> dict[str, Status]:
    """Return the status of each run by name.

    Raises:
        RunError: A folder holds another run.
    """
    check_folders(sweep, out)
    runs, damaged = {}, {}
    for name, config in sweep.items():
        folder = out / name
        try:
            runs[name] = existing_run(folder, config)
        except RunError as error:
            runs[name], damaged[name] = Run(folder, config, {}, [], None), str(error)
    pace = _seconds_per_epoch(runs)
    return {name: _status(run, pace, damaged.get(name, "")) for name, run in runs.items()}


def last_error(log: Path) -> str:
    """Return the last error message in the log of a run, without the prefix; empty if there is none or the run was stopped."""
    error = ""
    crashed = False
    # Warnings of libraries are no errors: only messages of smix, or the end of a traceback.
    for line in filter(str.strip, read_end(log).splitlines()):
        crashed = line.startswith("Traceback") or (crashed and not line.startswith(("smix: ", SLURM_LINE)))
        if crashed or line.startswith("smix: "):
            error = printable(line.removeprefix("smix: "))
    return "" if error.startswith("interrupted") else error


def describe_unfinished(run: Run) -> str:
    """Return one line about a run without a result: its progress, why it ended, and what to do."""
    log = run.path / "log.txt"
    cause = f"{error} ({log})" if (error := last_error(log)) else "run the same command again to resume"
    return f"{run.path}: expected a finished run, got {len(run.metrics)} of {run.config.epochs} epochs; {cause}"


def _status(run: Run, pace: Mapping[Group, float], damage: str) -> Status:
    state: State
    error = damage
    if damage:
        state = "failed"
    elif run.result is not None:
        state = "done"
    elif files.in_use(run.path):
        state = "running"
    elif error := last_error(run.path / "log.txt"):
        state = "failed"
    else:
        state = "interrupted" if run.provenance or run.metrics else "waiting"
    seconds = _mean_seconds(run) or pace.get(group(run.config))
    remaining = run.config.epochs - len(run.metrics)
    return Status(
        state,
        len(run.metrics),
        run.config.epochs,
        0.0 if state == "done" else None if seconds is None else remaining * seconds,
        None if run.result is None else run.result.val_accuracy,
        error,
    )


def _seconds_per_epoch(runs: Mapping[str, Run]) -> dict[Group, float]:
    """Return the mean seconds per epoch of the runs of each group that have finished one."""
    seconds: dict[Group, list[float]] = {}
    for run in runs.values():
        if (mean := _mean_seconds(run)) is not None:
            seconds.setdefault(group(run.config), []).append(mean)
    return {kind: statistics.mean(means) for kind, means in seconds.items()}


def _mean_seconds(run: Run) -> float | None:
    return statistics.mean(epoch.seconds for epoch in run.metrics) if run.metrics else None
