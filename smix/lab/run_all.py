"""Runs, each in its own folder: checked before any begins, trained side by side here or on a cluster, tried again if they crash.

The folders are the only state. Started again, it trains what is missing and goes on with what was cut.
"""

import dataclasses
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from smix import files, launch, progress
from smix.config import RunOptions, TrainConfig, arguments, cores
from smix.device import find_device, in_words
from smix.errors import OptionError, SmixError
from smix.lab.cost import Cost, cost_of, jobs_that_fit, makespan
from smix.mixing import parse_method
from smix.training.material import MOST_WORKERS, RunInputs, prepare, provenance_of
from smix.training.memory import OUT_OF_MEMORY
from smix.training.records import Result, Run, check_same, read_result, read_run
from smix.training.runs import train
from smix.untrusted import read_end

IMPORT_SECONDS = time.process_time()
"""CPU seconds that this process spent on imports; each run needs about as many."""
RunSpecs = Mapping[Path, TrainConfig]
"""The configuration of each folder."""
Group = tuple[tuple[str, str], ...]

NO_MATTER = (
    *("method", "masks", "seed", "epochs", "mix_off_epochs", "lr", "schedule", "warmup_epochs", "milestones"),
    *("momentum", "nesterov", "weight_decay", "decay_norm_and_bias", "label_smoothing"),
)
"""Options that may differ between runs of a group. Masks are checked one by one."""
EXPECTED = (0, 2, launch.INTERRUPTED, *(-number for number in launch.STOP))
"""Exit codes after which nothing is tried again: done, the user's mistake, told to stop."""


@dataclass(frozen=True)
class Resources:
    """Who does the work."""

    engine: launch.Engine
    jobs: int
    """Runs side by side."""
    device: torch.device | None
    """None: of other machines alone."""
    threads: int | None
    """CPU threads of each run; None: all that a cluster gives it."""


def run_all(
    plan: RunSpecs, out: Path, options: RunOptions, engine: launch.Engine = "local", jobs: int | None = None
) -> list[Run]:
    """Train what is missing of these runs. One that crashes is tried once more, and does not stop the others.

    Args:
        out: The folder that they lie in; no other command may use it meanwhile.
        jobs: Runs side by side; None: one a core on the CPU, one on a GPU, all that SLURM lets.

    Returns:
        All runs, finished or not: a failed one has no result, and its folder holds log.txt.

    Raises:
        SmixError: an option, the data or the masks cannot be used, or a folder holds another run. Nothing has begun then.
    """
    if jobs is not None and jobs < 1:
        raise OptionError(f"jobs: expected 1 or more, got {jobs}")
    for folder in plan:
        files.check_no_link(out, folder)
    check_folders(plan)
    if _missing(plan):
        crew = _crew(plan, options, engine, jobs)
        costs, start = _check_all(plan, options, crew)
        with files.lock(out):
            if missing := _missing(plan):  # else another command has finished them since
                _train(missing, len(plan) - len(missing), _that_fits(crew, costs, options), costs, start, options)
    return [
        read_run(folder) if (folder / "config.json").is_file() else Run(folder, one, {}, [], None)
        for folder, one in plan.items()
    ]


def run_one(specs: RunSpecs, index: int, out: Path, options: RunOptions) -> Result:
    """Train the run with this index, from 0, in this process: its signals are those of whoever scheduled it.

    Other processes may train other runs meanwhile. An error is also written to log.txt in the run's folder.

    Raises:
        SmixError: there is no such run, or whatever `train` raises.
    """
    if not 0 <= index < len(specs):
        raise OptionError(f"index: expected 0 to {len(specs) - 1}, got {index}")
    folder, one = list(specs.items())[index]
    files.check_no_link(out, folder)
    check_folders({folder: one})
    with files.lock(out, shared=True), launch.interruptible():
        try:
            return train(one, folder, options)
        except Exception as error:
            said = f"smix: {error}\n" if isinstance(error, SmixError) else traceback.format_exc()
            if folder.is_dir():
                files.append_text(folder / "log.txt", said)
            raise


def check_folders(plan: RunSpecs) -> None:
    """Raises RunError if a folder holds a run of another configuration."""
    for folder, one in plan.items():
        check_same(folder, {"config": one.to_json()})


def group(config: TrainConfig) -> Group:
    """Equal for runs whose steps cost the same: of the same images, network and batch size."""
    return tuple((name, str(value)) for name, value in config.to_json().items() if name not in NO_MATTER)


def epochs_done(folder: Path) -> int:
    """The finished epochs of a run."""
    file = folder / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.is_file() else 0


def _missing(plan: RunSpecs) -> dict[Path, TrainConfig]:
    return {folder: one for folder, one in plan.items() if read_result(folder) is None}


def _needs_masks(config: TrainConfig) -> bool:
    return parse_method(config.method).needs_masks


def _crew(plan: RunSpecs, options: RunOptions, engine: launch.Engine, jobs: int | None) -> Resources:
    try:
        device = find_device(options.device)
    except OptionError:
        if engine == "local":
            raise
        device = None
    if jobs is None:
        jobs = len(plan) if engine == "slurm" else 1 if device is not None and device.type != "cpu" else cores()
    jobs = min(jobs, len(plan))
    # Not by what is missing: runs that were cut go on with as many threads, and to the same bits.
    # The first run fixed it for the folder: other counts give other numbers, and --jobs or more seeds would change it.
    threads = options.threads or _threads_of(plan)
    return Resources(engine, jobs, device, threads or (max(1, cores() // jobs) if engine == "local" else None))


def _threads_of(plan: RunSpecs) -> int | None:
    """Return the threads that existing runs were begun with, None if there are none."""
    begun = [folder for folder in plan if (folder / "config.json").is_file()]
    return read_run(begun[0]).provenance.get("threads") if begun else None


def _check_all(plan: RunSpecs, options: RunOptions, crew: Resources) -> tuple[dict[Group, Cost], float]:
    """Check what the runs need before any begins: one line for the user instead of a failed run each.

    Returns what those cost that are missing, by group, and the seconds a run takes to start; nothing if nobody asks.
    """
    shared = crew.device is not None and crew.device.type == "cuda" and crew.jobs > 1
    asked = shared or not options.quiet
    costs: dict[Group, Cost] = {}
    begun = time.process_time()
    start = 0.0
    for one, material in materials(plan, options):
        start = start or IMPORT_SECONDS + time.process_time() - begun
        if asked and crew.device is not None and group(one) not in costs:
            costs[group(one)] = cost_of(one, material, crew.device, options, crew.threads or torch.get_num_threads())
    return costs, start


def materials(plan: RunSpecs, options: RunOptions) -> Iterator[tuple[TrainConfig, RunInputs]]:
    """Yield the checked inputs of the missing runs, one after the other: a run of each kind with its material.

    Raises:
        SmixError: it cannot be used; or finished runs were made of something else.
    """
    groups: dict[Group, dict[Path, TrainConfig]] = {}
    for folder, one in plan.items():
        groups.setdefault(group(one), {})[folder] = one
    for members in groups.values():
        missing = list(_missing(members).values())
        # Only masks set them apart: of each, one that uses them; or any run if none does.
        for chosen in list({one.masks: one for one in missing if _needs_masks(one)}.values()) or missing[:1]:
            material = prepare(chosen, options)
            for folder, one in members.items():
                provenance = provenance_of(one, material)
                same_masks = _needs_masks(one) and one.masks == chosen.masks
                check_same(folder, provenance if same_masks else {**provenance, "masks": None})
            yield chosen, material


def _that_fits(crew: Resources, costs: Mapping[Group, Cost], options: RunOptions) -> Resources:
    """Return the same, with fewer jobs if the memory of the GPU is too small for all of them."""
    if crew.engine != "local" or crew.device is None or crew.device.type != "cuda":
        return crew
    each, free = max((cost.memory for cost in costs.values()), default=0), torch.cuda.mem_get_info(crew.device)[0]
    jobs = jobs_that_fit(crew.jobs, each, free)
    if jobs < crew.jobs and not options.quiet:
        sys.stderr.write(
            f"{crew.jobs} runs of {each / 2**30:.1f} GiB do not fit into {free / 2**30:.1f} GiB of GPU memory: {jobs} side by side\n"
        )
    return dataclasses.replace(crew, jobs=jobs)


def _train(
    missing: RunSpecs, finished: int, crew: Resources, costs: Mapping[Group, Cost], start: float, options: RunOptions
) -> None:
    crew = dataclasses.replace(crew, jobs=min(crew.jobs, len(missing)))
    each = [] if crew.device is None or options.quiet else seconds_of_each(missing, costs, start)
    expected = makespan(each, crew.jobs) if each else None
    if not options.quiet:
        known = f" ({finished} of {finished + len(missing)} are done)" if finished else ""
        sys.stderr.write(f"{len(missing)} runs{known}, {_in_words(crew, each)}\n")
    workers = options.workers
    if workers is None and crew.engine == "local":
        workers = max(1, min(cores() // crew.jobs, MOST_WORKERS))
    of_each = dataclasses.replace(options, threads=crew.threads, workers=workers, quiet=True)
    tasks = {
        folder: launch.Task(["train", *arguments(one), *arguments(of_each), "--out", str(folder)], folder / "log.txt")
        for folder, one in missing.items()
    }
    sizes = {folder: task.log.stat().st_size if task.log.is_file() else 0 for folder, task in tasks.items()}
    with progress.bar(
        "epochs of all runs", sum(one.epochs for one in missing.values()), "epochs", options.quiet, expected
    ) as done:

        def poll() -> None:
            done(sum(map(epochs_done, missing)))

        codes = launch.launch(list(tasks.values()), crew.engine, crew.jobs, poll)
        crashed = [
            folder
            for folder, code in zip(tasks, codes, strict=True)
            if code not in EXPECTED and _is_crash(explained(tasks[folder].log, sizes[folder]))
        ]
        if crashed:
            if not options.quiet:
                sys.stderr.write(f"crashed, and tried once more: {', '.join(folder.name for folder in crashed)}\n")
            launch.launch([tasks[folder] for folder in crashed], crew.engine, crew.jobs, poll)


def seconds_of_each(missing: RunSpecs, costs: Mapping[Group, Cost], start: float) -> list[float]:
    """Seconds that each run will take: its start, and the epochs that are left."""
    return [start + (one.epochs - epochs_done(folder)) * costs[group(one)].epoch for folder, one in missing.items()]


def _in_words(crew: Resources, seconds: Sequence[float]) -> str:
    """Such as: 2 side by side on CPU with 1 thread: about 3 h."""
    here = "" if crew.device is None else in_words(crew.device, crew.threads)
    said = f"{crew.jobs} side by side on {here if crew.engine == 'local' else crew.engine}"
    if crew.device is None:
        return f"{said}: how long is not known, for want of such a device here"
    said += f": about {progress.duration(makespan(seconds, crew.jobs))}"
    if crew.engine != "local":
        return f"{said} if their machines are as fast as this one, {here}"
    if crew.device.type == "cuda" and crew.jobs > 1:
        return f"{said}, or up to {progress.duration(sum(seconds))} where one run alone keeps the GPU busy"
    return said


def _is_crash(said: str) -> bool:
    """Did a run end without a word of its own, or for want of memory, which others had that are through by then?"""
    return not said or said.startswith(f"smix: {OUT_OF_MEMORY}:")


def explained(log: Path, since: int = 0) -> str:
    """The last line that smix itself wrote into a log from byte `since` on; empty: it died without a word of its own."""
    lines = read_end(log, since).splitlines()
    return next((line for line in reversed(lines) if line.startswith("smix: ")), "")
