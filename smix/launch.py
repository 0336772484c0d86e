"""Tasks are command lines of smix; they run as processes of this machine, as SLURM jobs, or as Ray tasks.

What a cluster needs to know stays with the cluster: sbatch reads SBATCH_PARTITION, SBATCH_TIMELIMIT, SBATCH_GPUS and the like from
the environment, Ray its RAY_ADDRESS. docs/cluster.md shows both.
"""

import dataclasses
import io
import logging
import math
import os
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from smix.errors import OptionError
from smix.untrusted import open_to_append

Engine = Literal["local", "slurm", "ray"]
PARENT = "SMIX_PARENT"


def _signals(*names: str) -> tuple[signal.Signals, ...]:
    """Return those of these signals that this system has: Windows has no SIGUSR1 and no SIGUSR2."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


STOP = _signals("SIGTERM", "SIGUSR1")
"""Signals that stop a command after it has written a checkpoint."""
STOP_OR_CTRL_C = (*STOP, signal.SIGINT)
TIME_LIMIT = _signals("SIGUSR2")
"""Signal by which SLURM announces that the time limit is near."""
INTERRUPTED = 130
POLL_SECONDS = 0.25
CLUSTER_POLL_SECONDS = 1.0
QUEUE_SECONDS = 10.0
"""Seconds between two queries of SLURM's queue, which serves others, too."""
MISSED = 6
"""Number of queries without the job and without a result after which it is lost: a network file system shows a result late."""
GRACE_SECONDS = 120.0
"""Seconds for tasks of a cluster to write checkpoints once they are told to stop."""
WARNING_SECONDS = 120
"""Seconds before its time limit at which SLURM warns a job."""
RETRIES = 20
"""Number of times that a task resumes after its time limit or a lost node. Automatic requeues of SLURM do not count."""


@dataclass(frozen=True)
class Task:
    """A command line, without `smix` itself, and the file that its output goes to."""

    words: Sequence[str]
    log: Path


def launch(tasks: Sequence[Task], engine: Engine, jobs: int, poll: Callable[[], None] = lambda: None) -> list[int]:
    """Run all tasks, `jobs` at a time; calls `poll` a few times a second. Returns their exit codes, in order.

    Interrupted, or stopped by SIGTERM or SIGUSR1, it passes SIGTERM on to the tasks, waits until they have written their
    checkpoints and raises KeyboardInterrupt.

    Raises:
        OptionError: the engine is not here.
    """
    if engine == "local" or not tasks:
        return run_tasks(tasks, jobs, poll)
    tasks = [dataclasses.replace(task, log=task.log.absolute()) for task in tasks]
    for task in tasks:
        task.log.parent.mkdir(parents=True, exist_ok=True)
    return (_on_slurm if engine == "slurm" else _on_ray)(tasks, jobs, poll)


def run_tasks(tasks: Sequence[Task], jobs: int, poll: Callable[[], None] = lambda: None) -> list[int]:
    """Run all tasks, `jobs` at a time, in their order; calls `poll` a few times a second. Returns their exit codes.

    Interrupted, or stopped by SIGTERM or SIGUSR1, it passes SIGTERM on, waits until every task has written its checkpoint and
    raises KeyboardInterrupt. Should it be killed outright, its tasks notice (`orphaned`) and stop as well.
    """
    codes: list[int | None] = [None] * len(tasks)
    running: dict[int, subprocess.Popen[bytes]] = {}
    waiting = list(range(len(tasks)))
    with interruptible():
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    place = waiting.pop(0)
                    running[place] = _start(tasks[place])
                for place, process in list(running.items()):
                    if process.poll() is not None:
                        codes[place] = process.returncode
                        del running[place]
                poll()
                if running:
                    time.sleep(POLL_SECONDS)
        finally:
            for process in running.values():
                process.terminate()
            for process in running.values():
                process.wait()
    return [code if code is not None else 1 for code in codes]


def _on_slurm(tasks: Sequence[Task], jobs: int, poll: Callable[[], None]) -> list[int]:
    try:
        import submitit
    except ImportError:
        raise OptionError("engine: expected the package submitit, got none; install smix[slurm]") from None
    if shutil.which("sbatch") is None:
        raise OptionError("engine: expected SLURM's sbatch on this machine, got none; start this on a login node")
    folder = Path(os.path.commonpath([task.log.parent for task in tasks])) / ".slurm"
    # A job is its Python process and nothing else: SIGTERM and the warning of the time limit reach it on every cluster.
    executor = submitit.SlurmExecutor(folder=folder, python=f"exec {shlex.quote(sys.executable)}")
    executor.update_parameters(
        job_name="smix",
        time=None,  # submitit would ask for 5 minutes: SBATCH_TIMELIMIT, or else the partition's own
        wckey=None,
        array_parallelism=jobs,
        cpus_per_task=os.environ.get("SBATCH_CPUS_PER_TASK"),  # the one that sbatch does not read itself
        use_srun=False,
        stderr_to_stdout=True,
        setup=["export SUBMITIT_LOG_LEVEL=critical"],
        additional_parameters={"requeue": True, "signal": f"B:USR2@{WARNING_SECONDS}"},
    )
    with interruptible():
        try:
            with _outside_of_jobs(), redirect_stderr(io.StringIO()):
                handles = executor.map_array(_be, tasks)
        except submitit.core.utils.FailedJobError as error:
            reason = " ".join(str(error).split()) or "no reason"
            raise OptionError(
                f"engine: expected SLURM to take the jobs, got: {reason}; see SBATCH_PARTITION and the like"
            ) from None
        codes = _wait_for(handles, folder, poll)
    for task, handle, code in zip(tasks, handles, codes, strict=True):
        if code is None:
            _append(task.log, handle.stdout() or f"job {handle.job_id}: cancelled, killed, or lost with its node\n")
    if not any(code != 0 for code in codes):
        shutil.rmtree(folder)
    return [1 if code is None else code for code in codes]


def _wait_for(handles: Sequence[Any], folder: Path, poll: Callable[[], None]) -> list[int | None]:
    """The exit codes of submitit's jobs; None: it ended without one. Asks squeue: not every cluster has sacct."""
    codes: list[int | None] = [None] * len(handles)
    left = list(range(len(handles)))
    missed = [0] * len(handles)
    asked = time.monotonic()
    try:
        while left:
            written = set(folder.iterdir())  # also refreshes what a network file system keeps in its cache
            for place in left:
                if handles[place].paths.result_pickle in written:
                    codes[place] = 1 if handles[place].exception() is not None else handles[place].result()
            if time.monotonic() > asked + QUEUE_SECONDS:
                asked, queue = time.monotonic(), _queue()
                for place in left:
                    missed[place] = 0 if queue is None or handles[place].job_id in queue else missed[place] + 1
            left = [place for place in left if codes[place] is None and missed[place] < MISSED]
            poll()
            if left:
                time.sleep(CLUSTER_POLL_SECONDS)
    except BaseException:
        _cancel([handles[place].job_id for place in left])
        raise
    return codes


def _queue() -> set[str] | None:
    """The jobs of this user that wait or run; None: SLURM does not say."""
    squeue = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
    asked = subprocess.run(squeue, capture_output=True, text=True, check=False)
    return set(asked.stdout.split()) if asked.returncode == 0 else None


def _cancel(ids: Sequence[str]) -> None:
    """Cancel jobs: running ones get SIGTERM, and SIGKILL only if they still exist after `GRACE_SECONDS`."""

    def scancel(*options: str) -> None:
        subprocess.run(["scancel", *options, *ids], capture_output=True, check=False)  # what is over is an error to it

    if not ids:  # without an id its filters would match every job of the user
        return
    try:
        scancel("--state=PENDING")
        scancel("--batch", "--signal=TERM")
        patience = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < patience and ((queue := _queue()) is None or not queue.isdisjoint(ids)):
            time.sleep(CLUSTER_POLL_SECONDS)
    finally:
        scancel()


def _be(task: Task) -> int:
    """Be the task, in a SLURM job. Returns its exit code; told to stop, it ends without one: SLURM knows whether it goes on.

    It starts no process of its own: a job's signals go to its first process on some clusters and to all on others, and a
    command that gets SIGTERM twice ends without a checkpoint.
    """
    warned, code = False, 0

    def warn(signum: int, frame: object) -> None:
        nonlocal warned
        warned = True
        os.kill(os.getpid(), signal.SIGTERM)

    os.environ.pop(PARENT, None)  # a process of another machine
    sys.argv = ["smix", *task.words]
    with open_to_append(task.log) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    with interruptible(), on_signals(TIME_LIMIT, warn):
        try:
            runpy.run_module("smix", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = int(end.code or 0)
        except KeyboardInterrupt:
            code = INTERRUPTED
    if code == INTERRUPTED:
        if warned and int(os.environ.get("SLURM_RESTART_COUNT", 0)) < RETRIES:
            subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=False)
        sys.exit(code)
    return code


@contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """A job that submits jobs would hand its own place in an array, and its restarts, on to them."""
    own = [name for name in os.environ if name.startswith("SLURM_") and "SLURM_JOB_ID" in os.environ]
    kept = {name: os.environ.pop(name) for name in own if name != "SLURM_CONF"}
    try:
        yield
    finally:
        os.environ.update(kept)


def _on_ray(tasks: Sequence[Task], jobs: int, poll: Callable[[], None]) -> list[int]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # without it Ray warns of what will change
    try:
        import ray
    except ImportError:
        raise OptionError("engine: expected the package ray, got none; install smix[ray]") from None
    # Of this machine unless RAY_ADDRESS names a cluster: then with room for all jobs.
    address = os.environ.get("RAY_ADDRESS", "local")
    here = address == "local"
    with interruptible():
        try:
            ray.init(
                address=address,
                num_cpus=max(jobs, os.cpu_count() or 1) if here else None,
                include_dashboard=False if here else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except ConnectionError:
            raise OptionError(f"engine: expected a Ray cluster at RAY_ADDRESS={address}, got no answer") from None
        try:
            with interruptible():  # again: Ray has put handlers of its own in their place
                return _as_ray_tasks(ray, tasks, jobs, poll)
        finally:
            ray.shutdown()


def _as_ray_tasks(ray: Any, tasks: Sequence[Task], jobs: int, poll: Callable[[], None]) -> list[int]:
    at_once = min(jobs, len(tasks))
    gpus = ray.cluster_resources().get("GPU", 0)
    remote = ray.remote(
        num_cpus=_share([node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]], at_once),
        num_gpus=1 / math.ceil(at_once / gpus) if gpus else 0,
        max_retries=RETRIES,
        scheduling_strategy="SPREAD",
    )(run_here)
    codes = [1] * len(tasks)
    waiting = list(range(len(tasks)))
    running: dict[Any, int] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                place = waiting.pop(0)
                running[remote.remote(tasks[place], Path.cwd())] = place
            for one in ray.wait(list(running), timeout=CLUSTER_POLL_SECONDS)[0]:
                place = running.pop(one)
                try:
                    codes[place] = ray.get(one)
                except ray.exceptions.RayError as error:
                    _append(tasks[place].log, f"{error}\n")
            poll()
    finally:
        for one in running:
            ray.cancel(one)  # KeyboardInterrupt in `run_here`, which ends its process
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=GRACE_SECONDS)
    return codes


def _share(cpus: Sequence[float], jobs: int) -> int:
    """The most CPUs that each of `jobs` tasks can have at once on nodes with so many; at least one."""
    counts = range(1, int(max(cpus, default=0)) + 1)
    return max((count for count in counts if sum(node // count for node in cpus) >= jobs), default=1)


def run_here(task: Task, folder: Path | None = None) -> int:
    """Run a task, in this folder, on the machine that Ray chose for it; SIGTERM and Ctrl-C end it. Returns its exit code."""
    if folder is not None:
        os.chdir(folder)
    with interruptible():
        process = _start(task)
        try:
            while process.poll() is None:
                time.sleep(POLL_SECONDS)  # Ray's cancelling reaches Python, not a process that waits in the kernel
            return process.returncode
        finally:
            process.terminate()
            process.wait()


def _append(log: Path, text: str) -> None:
    with open_to_append(log) as file:
        file.write(text.encode())


@contextmanager
def on_signals(numbers: Sequence[signal.Signals], handler: Callable[[int, object], None]) -> Iterator[None]:
    """Handle these signals inside the block. Only the main thread can; elsewhere the block just runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside the block SIGTERM and SIGUSR1 raise KeyboardInterrupt, as Ctrl-C does."""
    with on_signals(STOP, _interrupt):
        yield


def orphaned() -> bool:
    """Return whether this process was started by `run_tasks` in a process that is gone."""
    # On Windows the python.exe of a virtual environment starts another one, whose parent is never the one that is named.
    return os.name != "nt" and PARENT in os.environ and int(os.environ[PARENT]) != os.getppid()


def _start(task: Task) -> subprocess.Popen[bytes]:
    task.log.parent.mkdir(parents=True, exist_ok=True)
    with open_to_append(task.log) as log:
        return subprocess.Popen(
            [sys.executable, "-m", "smix", *task.words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, PARENT: str(os.getpid())},
            start_new_session=True,  # the terminal's Ctrl-C reaches this process, which passes it on once
        )


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt
