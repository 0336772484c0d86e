"""Compare methods, and train the missing runs of a sweep, in parallel on this machine or on a cluster.

A comparison is a sweep in one folder: each method is trained with the same seeds under the same configuration. All inputs are
checked before any run starts. The folders of the runs are the only state: the same command resumes interrupted runs and trains
the missing ones.
"""

import dataclasses
import os
import shlex
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from smix import files, progress, signals
from smix.config import RunOptions, SharedConfig, TrainConfig, arguments, cores
from smix.data.outputs import check_outside
from smix.device import find_device, in_words
from smix.errors import FailedError, OptionError, SmixError
from smix.lab import engines
from smix.lab.cost import Cost, Group, cost_of, group, jobs_that_fit, makespan
from smix.lab.slurm import REQUESTS, array_script
from smix.lab.sweep import Sweep, check_name, cross, write_snapshot
from smix.mixing import parse_method
from smix.training.inputs import MAX_WORKERS, RunInputs, prepare
from smix.training.records import Result, Run, check_same, read_result, read_run
from smix.training.runs import train

IMPORT_SECONDS = time.process_time()
"""CPU seconds that this process spent on imports; each run needs about the same."""


@dataclass(frozen=True)
class Resources:
    """Resources of the runs, and what the runs cost."""

    engine: engines.Engine
    jobs: int
    """Number of concurrent runs."""
    device: torch.device | None
    """Device of this machine; None if only other machines have such a device."""
    threads: int | None
    """CPU threads per run; None: all that a cluster provides."""
    costs: Mapping[Group, Cost]
    """Estimated cost of the missing runs; empty if neither a message nor the number of jobs depends on it."""
    start: float = 0.0
    """Seconds that a run takes to start."""


def compare(
    config: SharedConfig,
    methods: Sequence[str],
    seeds: int | Sequence[int],
    out: Path | str,
    options: RunOptions | None = None,
    jobs: int | None = None,
    engine: engines.Engine = "local",
) -> list[Run]:
    """Train every method with every seed; everything else is the same.

    Runs that exist in `out` are not trained again; interrupted ones are resumed.

    Args:
        config: Options that all runs share. The method and the seed of a `TrainConfig` are ignored.
        methods: Methods as strings that `parse_method` accepts.
        seeds: Number of seeds, starting from 0, or the seeds themselves.
        out: Folder of the runs.
        options: Machine options. Default: `RunOptions()`.
        jobs: Number of concurrent runs. Default: one per core on the CPU, one on a GPU, as many as SLURM allows.
        engine: Where the runs are started.

    Returns:
        All requested runs, seeds outermost, finished or not. A failed run has no result, and its folder contains log.txt.

    Raises:
        SmixError: An option, the data or the masks cannot be used, or `out` holds other runs. Nothing was started.

    >>> import smix, tempfile
    >>> config = smix.SharedConfig(data="digits-on-photos", train_limit=60, test_limit=20, model="resnet8", epochs=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     runs = smix.compare(config, ["vanilla", "smix"], 1, folder, smix.RunOptions(device="cpu", quiet=True))
    >>> [run.config.method for run in runs]
    ['vanilla', 'smix']
    """
    sweep = cross(config, methods, range(seeds) if isinstance(seeds, int) else seeds)
    return run_all(sweep, Path(out), options or RunOptions(), engine, jobs)


def run_all(
    sweep: Sweep, out: Path, options: RunOptions, engine: engines.Engine = "local", jobs: int | None = None
) -> list[Run]:
    """Train the missing runs of a sweep. A run that crashes is retried once and does not stop the others.

    Args:
        sweep: All runs.
        out: Folder of the runs. No other command may use it meanwhile.
        options: Machine options.
        engine: Where the runs are started.
        jobs: Number of concurrent runs. Default: one per core on the CPU, one on a GPU, as many as SLURM allows.

    Returns:
        All runs, finished or not. A failed run has no result, and its folder contains log.txt.

    Raises:
        SmixError: An option, the data or the masks cannot be used, or a folder holds another run. Nothing was started.
    """
    engines.check_jobs(jobs)
    check_folders(sweep, out)
    if missing_runs(sweep, out):
        resources = _fit_memory(_prepare(sweep, out, options, engine, jobs), options)
        with files.lock(out):
            if missing := missing_runs(sweep, out):  # else another command has finished them meanwhile
                _launch(sweep, missing, out, options, resources)
    return [existing_run(out / name, config) for name, config in sweep.items()]


def sbatch_script(sweep: Sweep, file: Path, out: Path, options: RunOptions, jobs: int | None = None) -> str:
    """Return the script of an array job with one task per missing run of a sweep. Creates `out`, where SLURM writes the output.

    Args:
        sweep: All runs.
        file: Sweep file that contains them.
        out: Folder of the runs.
        options: Machine options.
        jobs: Number of concurrent tasks. Default: as many as SLURM allows.

    Raises:
        SmixError: An option, the data or the masks cannot be used, `out` holds other runs or cannot be written, or no run is
            missing.
    """
    engines.check_jobs(jobs)
    for path in (out, file, Path.cwd()):  # a line break would end the comment that SLURM reads, and start a command
        files.check_name(path)
    check_folders(sweep, out)
    for _ in checked_inputs(sweep, out, options):  # a mistake is one line here, and not one in each task's output
        pass
    missing = missing_runs(sweep, out)
    if not missing:
        raise OptionError(f"{out}: all {len(sweep)} runs are done; there is nothing to submit")
    with files.lock(out, shared=True):
        out = out.resolve()
    command = shlex.join([sys.executable, "-m", "smix", *_words(file.resolve(), out, options)])
    return array_script(
        "One task per missing run. Add what your cluster needs (##SBATCH is a comment), then: sbatch THIS_FILE",
        [index for index, name in enumerate(sweep) if name in missing],
        f'{command} --index="$SLURM_ARRAY_TASK_ID"',
        f"{str(out).replace('%', '%%')}/slurm-%a.txt",
        jobs,
        requests=REQUESTS,
    )


def run_one(sweep: Sweep, index: int, out: Path, options: RunOptions) -> Result:
    """Train the run with this index, from 0, in this process, and handle the signals of the scheduler.

    Other processes may train other runs of the sweep meanwhile. An error is also written to log.txt in the folder of the run.

    Raises:
        SmixError: There is no such run; for other reasons see `train`.
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
        OptionError: A name is not a valid folder path.
        RunError: A folder is a link, lies in the folder of the images, or holds a run of another configuration.
    """
    for name, config in sweep.items():
        check_name(name)
        files.check_no_link(out, out / name)
        check_outside(out / name, config.data)
        check_same(out / name, {"config": config.to_json()})


def existing_run(folder: Path, config: TrainConfig) -> Run:
    """Return the run in a folder, or an empty one with this configuration if it has not started.

    Raises:
        RunError: The run is damaged.
    """
    return read_run(folder) if (folder / "config.json").is_file() else Run(folder, config, {}, [], None)


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
        by_store = {config.masks: config for config in missing if _needs_masks(config)}
        for chosen in list(by_store.values()) or missing[:1]:
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


def _prepare(sweep: Sweep, out: Path, options: RunOptions, engine: engines.Engine, jobs: int | None) -> Resources:
    """Check what the runs need before any starts, so that a mistake is one line instead of a failed run each."""
    try:
        device = find_device(options.device)
    except OptionError:
        if engine == "local":
            raise
        device = None
    if jobs is None:
        jobs = len(sweep) if engine == "slurm" else 1 if device is not None and device.type != "cpu" else cores()
    jobs = min(jobs, len(sweep))
    # Another count rounds differently, so it must not depend on which runs are missing. The first run of the folder fixes it, since
    # --jobs and further seeds would change it.
    started = next((out / name for name in sweep if (out / name / "config.json").is_file()), None)
    threads = options.threads or (read_run(started).provenance.get("threads") if started else None)
    if threads is None and engine == "local":
        threads = max(1, cores() // jobs)
    shared = device is not None and device.type == "cuda" and jobs > 1
    costs: dict[Group, Cost] = {}
    began = time.process_time()
    start, told = 0.0, set[str]()
    for inputs in checked_inputs(sweep, out, options):
        start = start or IMPORT_SECONDS + time.process_time() - began
        if not options.quiet:
            for line in filter(lambda line: line not in told, inputs.notes):
                sys.stderr.write(f"{line}\n")
            told.update(inputs.notes)
        kind = group(inputs.config)
        if (shared or not options.quiet) and device is not None and kind not in costs:
            costs[kind] = cost_of(inputs, device, options, threads or torch.get_num_threads())
    return Resources(engine, jobs, device, threads, costs, start)


def _fit_memory(resources: Resources, options: RunOptions) -> Resources:
    """Return the resources with fewer jobs if the memory of the GPU is too small for all of them."""
    if resources.engine != "local" or resources.device is None or resources.device.type != "cuda":
        return resources
    memory = max((cost.memory for cost in resources.costs.values()), default=0)
    free = torch.cuda.mem_get_info(resources.device)[0]
    jobs = jobs_that_fit(resources.jobs, memory, free)
    if jobs < resources.jobs and not options.quiet:
        sys.stderr.write(
            f"{resources.jobs} runs of {memory / 2**30:.1f} GiB do not fit into {free / 2**30:.1f} GiB of GPU memory: {jobs} in parallel\n"
        )
    return dataclasses.replace(resources, jobs=jobs)


def _launch(sweep: Sweep, missing: Sweep, out: Path, options: RunOptions, resources: Resources) -> None:
    jobs = min(resources.jobs, len(missing))
    seconds: list[float] = []
    """Estimated remaining seconds of each missing run."""
    if not options.quiet:
        if resources.device is not None:
            for name, config in missing.items():
                epochs = config.epochs - epochs_done(out / name)
                seconds.append(resources.start + epochs * resources.costs[group(config)].epoch)
        finished = len(sweep) - len(missing)
        done = f" ({finished} of {len(sweep)} are done)" if finished else ""
        sys.stderr.write(f"{len(missing)} runs{done}, {_describe(resources, jobs, seconds)}\n")
    workers = options.workers
    if workers is None and resources.engine == "local":
        workers = max(1, min(cores() // jobs, MAX_WORKERS))
    words = _words(
        write_snapshot(sweep, out), out, dataclasses.replace(options, threads=resources.threads, workers=workers)
    )
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
                sys.stderr.write(f"crashed, retrying once: {names}\n")
            engines.launch(crashed, resources.engine, jobs, poll)


def _words(file: Path, out: Path, options: RunOptions) -> list[str]:
    """Return the arguments of smix, without --index, that train a run of a sweep file."""
    quiet = dataclasses.replace(options, quiet=True)
    return ["sweep", "run", str(file.absolute()), f"--out={out}", *arguments(quiet)]


def is_crash(code: int) -> bool:
    """Return whether a run with this exit code crashed, or lacked memory that concurrent runs may have freed since."""
    explained = (0, FailedError.exit_code, SmixError.exit_code, signals.INTERRUPTED)
    return code not in explained and -code not in signals.STOP_OR_CTRL_C


def _describe(resources: Resources, jobs: int, seconds: Sequence[float]) -> str:
    """Return a description such as "2 in parallel on CPU with 1 thread: about 3 h"."""
    device, engine = resources.device, resources.engine
    machine = "" if device is None else in_words(device, resources.threads)
    text = f"{jobs} in parallel on {machine if engine == 'local' else engine}"
    if device is None:
        return f"{text}; the time is unknown, since there is no such device on this machine"
    text += f": about {progress.duration(makespan(seconds, jobs))}"
    if engine != "local":
        return f"{text} if those machines are as fast as this one, {machine}"
    if device.type == "cuda" and jobs > 1:
        return f"{text}, or up to {progress.duration(sum(seconds))} where a single run keeps the GPU busy"
    return text
