"""Report the progress of the runs of a sweep, read from their folders alone, on any machine that sees them."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from smix import files
from smix.errors import RunError, printable
from smix.lab.run_all import Group, RunSpecs, check_folders, group
from smix.training.records import Run, read_run
from smix.untrusted import read_end

State = Literal["done", "running", "cut", "failed", "waiting"]


@dataclass(frozen=True)
class Status:
    """Status of one run."""

    state: State
    """running: a process holds its folder. cut: it was stopped or killed, and goes on when started again. failed: its log ends
    with an error. waiting: not begun."""
    epochs: int
    """Finished ones."""
    of: int
    seconds: float | None
    """Expected seconds of training left, by its finished epochs or those of similar runs; None: unknown."""
    accuracy: float | None
    """On the validation images, in [0, 1]: what choices are made by; None: not done."""
    why: str
    """The error."""


def status(plan: RunSpecs) -> dict[Path, Status]:
    """The status of each run.

    Raises:
        RunError: a folder holds another run.
    """
    check_folders(plan)
    runs, broken = {}, {}
    for folder, one in plan.items():
        try:
            begun = (folder / "config.json").is_file()
            runs[folder] = read_run(folder) if begun else Run(folder, one, {}, [], None)
        except RunError as error:
            runs[folder], broken[folder] = Run(folder, one, {}, [], None), str(error)
    pace = _pace(runs)
    return {folder: _of(run, pace, broken.get(folder, "")) for folder, run in runs.items()}


def last_error(log: Path) -> str:
    """Return the last message of a run, without the prefix; empty if there is none or it was told to stop."""
    lines = read_end(log).splitlines()
    # A warning of a library is no error: only what smix says of itself, or the end of a traceback.
    own = [line for line in lines if line.startswith("smix: ")]
    crash = [line for line in lines if line.strip()] if any(line.startswith("Traceback") for line in lines) else []
    last = printable((own or crash or [""])[-1].removeprefix("smix: "))
    return "" if last.startswith("interrupted") else last


def what_is_missing(run: Run) -> str:
    """One line for a run without a result: how far it came, why it ended, and what to do."""
    log = run.path / "log.txt"
    cause = f"{why} ({log})" if (why := last_error(log)) else "start the same command again to go on"
    return f"{run.path}: expected a finished run, got {len(run.metrics)} of {run.config.epochs} epochs; {cause}"


def _of(run: Run, pace: Mapping[Group, float], broken: str) -> Status:
    state: State
    if broken:
        state, why = "failed", broken
    elif run.result is not None:
        state, why = "done", ""
    elif files.in_use(run.path):
        state, why = "running", ""
    else:
        why = last_error(run.path / "log.txt")
        state = "failed" if why else "cut" if run.provenance or run.metrics else "waiting"
    left = run.config.epochs - len(run.metrics)
    own = _mean_seconds(run) or pace.get(group(run.config))
    return Status(
        state,
        len(run.metrics),
        run.config.epochs,
        0.0 if state == "done" else None if own is None else left * own,
        None if run.result is None else run.result.val_accuracy,
        why,
    )


def _pace(runs: Mapping[Path, Run]) -> dict[Group, float]:
    """Seconds an epoch, the mean of the runs of each group that have had one."""
    found: dict[Group, list[float]] = {}
    for run in runs.values():
        if (own := _mean_seconds(run)) is not None:
            found.setdefault(group(run.config), []).append(own)
    return {one: statistics.mean(seconds) for one, seconds in found.items()}


def _mean_seconds(run: Run) -> float | None:
    return statistics.mean(epoch.seconds for epoch in run.metrics) if run.metrics else None
