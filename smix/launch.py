"""Tasks are command lines of smix; they run as processes of this machine, as SLURM jobs, or as Ray tasks.

What a cluster needs to know stays with the cluster: sbatch reads SBATCH_PARTITION, SBATCH_TIMELIMIT, SBATCH_GPUS and the like from
the environment, Ray its RAY_ADDRESS. docs/cluster.md shows both.
"""

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from smix.errors import OptionError

Engine = Literal["local", "slurm", "ray"]
PARENT = "SMIX_PARENT"
POLL_SECONDS = 0.25
CLUSTER_POLL_SECONDS = 2.0
SLURM_MINUTES = 24 * 60
"""Asked for unless SBATCH_TIMELIMIT says otherwise."""
RETRIES = 10
"""How often a task whose node died is started again: it goes on where it stopped. SLURM requeues by itself."""


@dataclass(frozen=True)
class Task:
    """A command line, without `smix` itself, and the file that its output goes to."""

    words: Sequence[str]
    log: Path


def launch(tasks: Sequence[Task], engine: Engine, jobs: int, poll: Callable[[], None] = lambda: None) -> list[int]:
    """Run all tasks, `jobs` at a time; calls `poll` a few times a second. Returns their exit codes, in order.

    Interrupted, or stopped by SIGTERM or SIGUSR1, it passes SIGTERM on to the tasks and raises KeyboardInterrupt.

    Raises:
        OptionError: the engine is not here.
    """
    for task in tasks:
        task.log.parent.mkdir(parents=True, exist_ok=True)
    if engine == "local":
        return run_tasks(tasks, jobs, poll)
    return (_on_slurm if engine == "slurm" else _on_ray)(tasks, jobs, poll)


def run_tasks(tasks: Sequence[Task], jobs: int, poll: Callable[[], None] = lambda: None) -> list[int]:
    """Run all tasks, `jobs` at a time, in their order; calls `poll` a few times a second. Returns their exit codes.

    Interrupted, or stopped by SIGTERM or SIGUSR1, it passes SIGTERM on, waits until every task has written its checkpoint and
    raises KeyboardInterrupt. Should it be killed outright, its tasks notice (`orphaned`) and stop as well.
    """
    codes: list[int | None] = [None] * len(tasks)
    running: dict[int, subprocess.Popen[bytes]] = {}
    waiting = list(range(len(tasks)))
    with on_signals((signal.SIGTERM, signal.SIGUSR1), _interrupt):
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
    # Where a cluster keeps no accounts it asks `squeue` instead of sacct, and says so each time.
    logging.getLogger("submitit").setLevel(logging.ERROR)
    folder = tasks[0].log.parent / ".slurm"
    executor = submitit.SlurmExecutor(folder=folder)
    # submitit asks for 5 minutes unless told; sbatch puts SBATCH_TIMELIMIT over what it is told here.
    executor.update_parameters(job_name="smix", time=SLURM_MINUTES, array_parallelism=jobs, use_srun=False)
    with on_signals((signal.SIGTERM, signal.SIGUSR1), _interrupt):
        try:
            handles = executor.map_array(run_here, list(tasks))
        except submitit.core.utils.FailedJobError as error:
            reason = " ".join(str(error).split()) or "no reason"
            raise OptionError(
                f"engine: expected SLURM to take the jobs, got: {reason}; see SBATCH_PARTITION and the like"
            ) from None
        try:
            while not all(handle.done() for handle in handles):
                poll()
                time.sleep(CLUSTER_POLL_SECONDS)
        except BaseException:
            for handle in handles:
                handle.cancel()  # SLURM sends SIGTERM, and SIGKILL after its KillWait
            raise
    # Without a result the job was cancelled, or died with its node.
    codes = [1 if handle.exception() is not None else int(handle.result()) for handle in handles]
    if not any(codes):
        shutil.rmtree(folder)
    return codes


def _on_ray(tasks: Sequence[Task], jobs: int, poll: Callable[[], None]) -> list[int]:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # keep CUDA_VISIBLE_DEVICES as it is
    try:
        import ray
    except ImportError:
        raise OptionError("engine: expected the package ray, got none; install smix[ray]") from None
    # Of this machine unless RAY_ADDRESS names a cluster: then with room for as many tasks as there are jobs.
    here = "RAY_ADDRESS" not in os.environ
    ray.init(
        num_cpus=jobs if here else None,
        include_dashboard=False if here else None,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    remote = ray.remote(num_cpus=1, max_retries=RETRIES)(run_here)
    codes: dict[Any, int] = {}
    running: list[Any] = []
    waiting = list(tasks)
    order: list[Any] = []
    with on_signals((signal.SIGTERM, signal.SIGUSR1), _interrupt):
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    running.append(remote.remote(waiting.pop(0)))
                    order.append(running[-1])
                done, running = ray.wait(running, timeout=CLUSTER_POLL_SECONDS)
                for one in done:
                    try:
                        codes[one] = ray.get(one)
                    except ray.exceptions.RayError:
                        codes[one] = 1
                poll()
        except BaseException:
            for one in running:
                ray.cancel(one)  # KeyboardInterrupt in `run_here`, which ends its process
            ray.wait(running, num_returns=len(running), timeout=30)
            raise
        finally:
            ray.shutdown()
    return [codes[one] for one in order]


def run_here(task: Task) -> int:
    """Run a task on the machine that a cluster chose for it; SIGTERM and Ctrl-C end it. Returns its exit code."""
    with on_signals((signal.SIGTERM, signal.SIGUSR1), _interrupt):
        process = _start(task)
        try:
            while process.poll() is None:
                time.sleep(POLL_SECONDS)  # Ray's cancelling reaches Python, not a process that waits in the kernel
            return process.returncode
        finally:
            process.terminate()
            process.wait()


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


def orphaned() -> bool:
    """Was this process started by `run_tasks`, and is the process that did it gone?"""
    return PARENT in os.environ and int(os.environ[PARENT]) != os.getppid()


def _start(task: Task) -> subprocess.Popen[bytes]:
    task.log.parent.mkdir(parents=True, exist_ok=True)
    with task.log.open("ab") as log:
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
