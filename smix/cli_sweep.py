"""`smix sweep write`, `run`, `status` and `sbatch`: typed functions, thin over the library, as in cli.py."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from smix.config import RunOptions, SharedConfig
from smix.errors import OptionError
from smix.report.terminal import show, table

sweep_app = App(name="sweep", help="Many runs from one file: a line a run, a folder a result.")

Options = Annotated[RunOptions, Parameter(name="*")]


@sweep_app.command
def write(
    file: Path,
    /,
    *,
    config: Annotated[SharedConfig, Parameter(name="*")] = SharedConfig(),  # noqa: B008
    recipe: str | None = None,
    methods: str | None = None,
    seeds: int = 5,
    grid: tuple[str, ...] = (),
    append: bool = False,
) -> None:
    """Write the file of a sweep: methods x seeds x grid. Trains nothing; look at it, edit it, then run it.

    Parameters
    ----------
    file
        The file, JSON Lines: {"name": ..., "config": {...}}.
    recipe
        report, report-augmented, openmixup or modern: options that are not given come from it, and the methods.
    methods
        Comma-separated and quoted, such as "vanilla,smix(alpha=0.7),smix+fmix,mixup|cutmix"; names: docs/methods.md. None
        given: those of the recipe, or vanilla,mixup,cutmix,fmix,smix,smix+fmix.
    seeds
        How many seeds, counted from 0.
    grid
        Other options with several values, such as --grid lr=0.1,0.05 model=resnet8,resnet18: all combinations.
    append
        Add to the runs of a file that is there.
    """
    from smix.lab.sweep import cross, parse_grid, write_sweep
    from smix.mixing import split_methods
    from smix.training.recipes import methods_of

    chosen = split_methods(methods) if methods is not None else methods_of(recipe or "modern", config.data)
    cells = parse_grid(grid)
    if recipe is not None and (both := {"data", "epochs"} & cells.keys()):
        raise OptionError(
            f"grid: expected no {' and '.join(sorted(both))} beside --recipe, whose other options depend on it; write a value at a time, "
            "with --append"
        )
    made = cross(config, chosen, range(seeds), cells)
    whole = write_sweep(file, made, append)
    added = f" ({len(made)} of them new)" if len(made) < len(whole) else ""
    show(f"{file}: {len(whole)} runs{added}, such as {next(iter(made))}", f"Next: smix sweep run {file} --out DIR")


@sweep_app.command
def run(
    file: Path,
    /,
    *,
    options: Options = RunOptions(),  # noqa: B008
    engine: Literal["local", "slurm", "ray"] = "local",
    jobs: int | None = None,
    index: int | None = None,
    out: Path,
) -> int:
    """Train what is missing of a sweep. Started again, it goes on; a run that crashes is tried once more.

    Parameters
    ----------
    file
        The file of the sweep.
    engine
        Where the runs run: as processes here, on SLURM, or on Ray; see docs/cluster.md.
    jobs
        Runs side by side; none given: one a core on the CPU, one on a GPU, all that SLURM lets.
    index
        Only the run of this index, from 0, here: for the array jobs of any scheduler.
    out
        Folder of the sweep.
    """
    from smix.lab.run_all import run_all, run_one
    from smix.lab.status import what_is_missing
    from smix.lab.sweep import read_sweep

    plan = {out / name: one for name, one in read_sweep(file).items()}
    if index is not None:
        if jobs is not None or engine != "local":
            raise OptionError(f"index: expected no --jobs and no --engine with --index {index}, which is one run, here")
        result = run_one(plan, index, out, options)
        show(f"{list(plan)[index]}: test accuracy {100 * result.test_accuracy:.2f} % at the last epoch")
        return 0
    runs = run_all(plan, out, options, engine, jobs)
    missing = [run for run in runs if run.result is None]
    show(f"{out}: {len(runs) - len(missing)} of {len(runs)} runs are done")
    for one in missing:
        sys.stderr.write(f"smix: {what_is_missing(one)}\n")
    if not missing:
        folders = sorted({str(folder.parent) for folder in plan})
        show("Next: " + " or ".join(f"smix report {folder}" for folder in folders[:3]))
    return 1 if missing else 0


@sweep_app.command
def status(file: Path, /, *, out: Path) -> None:
    """Say how far the runs of a sweep are, from their folders alone: on any machine that sees them.

    Parameters
    ----------
    file
        The file of the sweep.
    out
        Folder of the sweep.
    """
    from smix.lab.status import status as look
    from smix.lab.sweep import read_sweep
    from smix.progress import duration

    found = look({out / name: one for name, one in read_sweep(file).items()})
    rows = [
        (
            str(folder.relative_to(out)),
            one.state,
            f"{one.epochs} of {one.of}",
            "" if one.state in ("done", "failed") else "?" if one.seconds is None else duration(one.seconds),
            "" if one.accuracy is None else f"{100 * one.accuracy:.2f}",
        )
        for folder, one in found.items()
    ]
    states = [one.state for one in found.values()]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    left = [one.seconds for one in found.values() if one.state != "failed"]
    time = "of unknown time" if None in left else duration(sum(filter(None, left)))
    show(
        table(["Run", "State", "Epochs", "Time left", "Validation (%)"], rows),
        *(f"{folder.relative_to(out)}: {one.why}" for folder, one in found.items() if one.why),
        f"{len(rows)} runs: {counts}"
        + (
            ""
            if not left or not any(one is None or one > 0 for one in left)
            else f"; left, one after the other: {time}"
        ),
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
    """Print a script for SLURM's sbatch, a task for each missing run: redirect it to a file, and edit that.

    Parameters
    ----------
    file
        The file of the sweep.
    jobs
        Tasks at a time; none given: as many as SLURM lets.
    out
        Folder of the sweep.
    """
    from smix.lab.sbatch import sbatch_script
    from smix.lab.sweep import read_sweep

    sys.stdout.write(sbatch_script(read_sweep(file), file, out, options, jobs))
