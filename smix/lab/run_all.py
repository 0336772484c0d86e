"""Train the missing runs of a sweep: checked before any starts, side by side here or on a cluster, retried once after a crash.

The folders of the runs are the only state. The same command resumes interrupted runs and trains the missing ones.
"""

import dataclasses
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from smix import files, progress, signals
from smix.config import RunOptions, TrainConfig, arguments, cores
from smix.device import find_device, in_words
from smix.errors import FailedError, OptionError, SmixError
from smix.lab import engines
from smix.lab.cost import Cost, Group, cost_of, group, jobs_that_fit, makespan
from smix.lab.sweep import Sweep, check_name, write_snapshot
from smix.mixing import parse_method
from smix.training.inputs import MAX_WORKERS, RunInputs, prepare
from smix.training.records import Result, Run, check_same, read_result, read_run
from smix.training.runs import train

IMPORT_SECONDS = time.process_time()
"""CPU seconds that this process spent on imports; each run needs about as many."""


@dataclass(frozen=True)
class Resources:
    """Resources of the runs."""

    engine: engines.Engine
    jobs: int
    """Number of concurrent runs."""
    device: torch.device | None
    """Device of this machine; None if only other machines have such a device."""
    threads: int | None
    """CPU threads per run; None: all that a cluster provides."""


@dataclass(frozen=True)
class CostEstimate:
    """Estimated cost of the missing runs; empty if neither a message nor the number of jobs depends on it."""

    costs: Mapping[Group, Cost]
    start: float = 0.0
    """Seconds that a run takes to start."""

    def seconds(self, sweep: Sweep, out: Path) -> list[float]:
        """Return the remaining seconds of each run."""
        return [
            self.start + (config.epochs - epochs_done(out / name)) * self.costs[group(config)].epoch
            for name, config in sweep.items()
        ]


def run_all(
    sweep: Sweep,
    out: Path,
    options: RunOptions,
    engine: engines.Engine = "local",
    jobs: int | None = None,
) -> list[Run]:
    """Train the missing runs of a sweep. A run that crashes is retried once and does not stop the others.

    Args:
        sweep: All runs.
        out: Folder of the runs. No other command may use it meanwhile.
        options: Options of the machine.
        engine: Where the runs are started.
        jobs: Number of concurrent runs. Default: one per core on the CPU, one on a GPU, as many as SLURM allows.

    Returns:
        All runs, finished or not. A failed run has no result, and its folder contains log.txt.

    Raises:
        SmixError: An option, the data or the masks cannot be used, or a folder holds another run. Nothing was started.
    """
    if jobs is not None and jobs < 1:
        raise OptionError(f"jobs: expected 1 or more, got {jobs}")
    check_folders(sweep, out)
    if missing_runs(sweep, out):
        resources = _resources(sweep, out, options, engine, jobs)
        estimate = _check_inputs(sweep, out, options, resources)
        with files.lock(out):
            if missing := missing_runs(sweep, out):  # else another command has finished them meanwhile
                file = write_snapshot(sweep, out)
                _launch(sweep, missing, file, out, options, _fit_memory(resources, estimate, options), estimate)
    return [
        read_run(out / name) if (out / name / "config.json").is_file() else Run(out / name, config, {}, [], None)
        for name, config in sweep.items()
    ]


def run_one(sweep: Sweep, index: int, out: Path, options: RunOptions) -> Result:
    """Train the run with this index, from 0, in this process, which answers the signals of its scheduler.

    Other processes may train other runs of the sweep meanwhile. An error is also written to log.txt in the folder of the run.

    Raises:
        SmixError: There is no such run, or see `train`.
    """
    if not 0 <= index < len(sweep):
        raise OptionError(f"index: expected 0 to {len(sweep) - 1}, got {index}")
    name, config = list(sweep.items())[index]
    check_folders({name: config}, out)
    with nullcontext() if signals.is_task() else files.lock(out, shared=True), signals.interruptible():
        if signals.orphaned():  # the command that started it was killed meanwhile
            raise KeyboardInterrupt
        try:
            return train(config, out / name, options)
        except Exception as error:
            log = out / name / "log.txt"
            if log.parent.is_dir() and not _is_stderr(log):
                text = f"smix: {error}\n" if isinstance(error, SmixError) else traceback.format_exc()
                files.append_text(log, text)
            raise


def check_folders(sweep: Sweep, out: Path) -> None:
    """Check the folders of all runs.

    Raises:
        OptionError: A name is no path of a folder.
        RunError: A folder is a link, or holds a run of another configuration.
    """
    for name, config in sweep.items():
        check_name(name)
        files.check_no_link(out, out / name)
        check_same(out / name, {"config": config.to_json()})


def missing_runs(sweep: Sweep, out: Path) -> dict[str, TrainConfig]:
    """Return the runs without a result."""
    return {name: config for name, config in sweep.items() if read_result(out / name) is None}


def epochs_done(folder: Path) -> int:
    """Return the number of finished epochs of a run."""
    file = folder / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.is_file() else 0


def checked_inputs(sweep: Sweep, out: Path, options: RunOptions) -> Iterator[RunInputs]:
    """Load and check the inputs of the missing runs, and yield those of one run of each kind.

    Raises:
        SmixError: They cannot be used, or finished runs were trained on other inputs.
    """
    groups: dict[Group, dict[str, TrainConfig]] = {}
    for name, config in sweep.items():
        groups.setdefault(group(config), {})[name] = config
    for members in groups.values():
        missing = list(missing_runs(members, out).values())
        # Inputs differ by masks only: one run for each store, or any run if none uses masks.
        for chosen in list({one.masks: one for one in missing if _needs_masks(one)}.values()) or missing[:1]:
            inputs = prepare(chosen, options)
            for name, config in members.items():
                provenance = {**inputs.provenance(), "config": config.to_json()}
                same_masks = _needs_masks(config) and config.masks == chosen.masks
                check_same(out / name, provenance if same_masks else {**provenance, "masks": None})
            yield inputs


def _needs_masks(config: TrainConfig) -> bool:
    return parse_method(config.method).needs_masks


def _is_stderr(log: Path) -> bool:
    """Return whether errors that this process prints are written to this file."""
    try:
        return os.path.samestat(os.fstat(2), log.stat())
    except OSError:
        return False


def _resources(sweep: Sweep, out: Path, options: RunOptions, engine: engines.Engine, jobs: int | None) -> Resources:
    try:
        device = find_device(options.device)
    except OptionError:
        if engine == "local":
            raise
        device = None
    if jobs is None:
        jobs = len(sweep) if engine == "slurm" else 1 if device is not None and device.type != "cpu" else cores()
    jobs = min(jobs, len(sweep))
    # Independent of which runs are missing: another count rounds differently. The first run of the folder fixes it, since --jobs
    # and further seeds would change it.
    threads = options.threads or _threads_of(sweep, out)
    return Resources(engine, jobs, device, threads or (max(1, cores() // jobs) if engine == "local" else None))


def _threads_of(sweep: Sweep, out: Path) -> int | None:
    """Return the number of threads with which existing runs were started, None if there are none."""
    started = [out / name for name in sweep if (out / name / "config.json").is_file()]
    return read_run(started[0]).provenance.get("threads") if started else None


def _check_inputs(sweep: Sweep, out: Path, options: RunOptions, resources: Resources) -> CostEstimate:
    """Check what the runs need before any starts, so that a mistake is one line instead of a failed run each."""
    device = resources.device
    shared = device is not None and device.type == "cuda" and resources.jobs > 1
    costs: dict[Group, Cost] = {}
    before = time.process_time()
    start = 0.0
    for inputs in checked_inputs(sweep, out, options):
        start = start or IMPORT_SECONDS + time.process_time() - before
        kind = group(inputs.config)
        if (shared or not options.quiet) and device is not None and kind not in costs:
            costs[kind] = cost_of(inputs, device, options, resources.threads or torch.get_num_threads())
    return CostEstimate(costs, start)


def _fit_memory(resources: Resources, estimate: CostEstimate, options: RunOptions) -> Resources:
    """Return the resources with fewer jobs if the memory of the GPU is too small for all of them."""
    if resources.engine != "local" or resources.device is None or resources.device.type != "cuda":
        return resources
    each = max((cost.memory for cost in estimate.costs.values()), default=0)
    free = torch.cuda.mem_get_info(resources.device)[0]
    jobs = jobs_that_fit(resources.jobs, each, free)
    if jobs < resources.jobs and not options.quiet:
        sys.stderr.write(
            f"{resources.jobs} runs of {each / 2**30:.1f} GiB do not fit into {free / 2**30:.1f} GiB of GPU memory: {jobs} side by side\n"
        )
    return dataclasses.replace(resources, jobs=jobs)


def _launch(
    sweep: Sweep,
    missing: Sweep,
    file: Path,
    out: Path,
    options: RunOptions,
    resources: Resources,
    estimate: CostEstimate,
) -> None:
    jobs = min(resources.jobs, len(missing))
    known = resources.device is not None and not options.quiet
    seconds = estimate.seconds(missing, out) if known else []
    if not options.quiet:
        finished = len(sweep) - len(missing)
        done = f" ({finished} of {len(sweep)} are done)" if finished else ""
        sys.stderr.write(f"{len(missing)} runs{done}, {_describe(resources, jobs, seconds)}\n")
    workers = options.workers
    if workers is None and resources.engine == "local":
        workers = max(1, min(cores() // jobs, MAX_WORKERS))
    shared = arguments(dataclasses.replace(options, threads=resources.threads, workers=workers, quiet=True))
    words = ["sweep", "run", str(file.absolute()), f"--out={out}", *shared]
    tasks = [
        engines.Task([*words, f"--index={index}"], out / name / "log.txt")
        for index, name in enumerate(sweep)
        if name in missing
    ]
    epochs = sum(config.epochs for config in missing.values())
    expected = makespan(seconds, jobs) if seconds else None
    with progress.bar("epochs of all runs", epochs, "epochs", options.quiet, expected) as update:

        def poll() -> None:
            update(sum(epochs_done(out / name) for name in missing))

        codes = engines.launch(tasks, resources.engine, jobs, poll)
        crashed = [task for task, code in zip(tasks, codes, strict=True) if is_crash(code)]
        if crashed:
            if not options.quiet:
                names = ", ".join(task.log.parent.name for task in crashed)
                sys.stderr.write(f"crashed, started once more: {names}\n")
            engines.launch(crashed, resources.engine, jobs, poll)


def is_crash(code: int) -> bool:
    """Return whether a run with this exit code crashed, or lacked memory that concurrent runs may have freed since."""
    explained = (0, FailedError.exit_code, SmixError.exit_code, signals.INTERRUPTED)
    return code not in explained and -code not in signals.STOP_OR_CTRL_C


def _describe(resources: Resources, jobs: int, seconds: Sequence[float]) -> str:
    """Return a description such as "2 side by side on CPU with 1 thread: about 3 h"."""
    device, engine = resources.device, resources.engine
    here = "" if device is None else in_words(device, resources.threads)
    text = f"{jobs} side by side on {here if engine == 'local' else engine}"
    if device is None:
        return f"{text}; the time is unknown, since there is no such device on this machine"
    text += f": about {progress.duration(makespan(seconds, jobs))}"
    if engine != "local":
        return f"{text} if those machines are as fast as this one, {here}"
    if device.type == "cuda" and jobs > 1:
        return f"{text}, or up to {progress.duration(sum(seconds))} where a single run keeps the GPU busy"
    return text
