"""Run smix commands as processes on this machine, as SLURM jobs (slurm.py), or as Ray tasks (docs/cluster.md)."""

import logging
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from smix.errors import OptionError
from smix.signals import TASK, interruptible
from smix.untrusted import open_to_append

Engine = Literal["local", "slurm", "ray"]
POLL_SECONDS = 0.25
CLUSTER_POLL_SECONDS = 1.0
GRACE_SECONDS = 120.0
"""Seconds for tasks of a cluster to write checkpoints once they are told to stop."""
SLURM_LINE = "job of SLURM: "
"""Start of the line in the log of a task that says what SLURM printed about it."""
RETRIES = 20
"""Number of times that a task resumes after its time limit or the loss of its node."""
LOST = -int(getattr(signal, "SIGKILL", 9))
"""Exit code of a task that ended without one: it was killed, or lost with its node."""


@dataclass(frozen=True)
class Task:
    """A command line, without `smix` itself, and the file to which its output is appended."""

    words: Sequence[str]
    log: Path

    @property
    def command(self) -> list[str]:
        """Command line, with the interpreter."""
        return [sys.executable, "-m", "smix", *self.words]


def check_jobs(jobs: int | None) -> None:
    """Raise OptionError if the number of concurrent tasks is less than 1."""
    if jobs is not None and jobs < 1:
        raise OptionError(f"jobs: expected 1 or more, got {jobs}")


def launch(tasks: Sequence[Task], engine: Engine, jobs: int, poll: Callable[[], None] = lambda: None) -> list[int]:
    """Run all tasks, at most `jobs` at a time.

    When it is interrupted, or stopped by SIGTERM or SIGUSR1, it sends SIGTERM to the tasks, waits until they have written their
    checkpoints, and raises KeyboardInterrupt.

    Args:
        tasks: Tasks, started in this order.
        engine: Where they run.
        jobs: Number of concurrent tasks.
        poll: Function that is called about once a second or more often, to show progress.

    Returns:
        Exit codes, in the order of the tasks; negative: the signal that ended it.

    Raises:
        OptionError: The engine is not available.
    """
    if engine == "local" or not tasks:
        return run_tasks(tasks, jobs, poll)
    tasks = [replace(task, log=task.log.absolute()) for task in tasks]
    for task in tasks:
        task.log.parent.mkdir(parents=True, exist_ok=True)
    if engine == "ray":
        return _run_on_ray(tasks, jobs, poll)
    from smix.lab.slurm import run_on_slurm

    return run_on_slurm(tasks, jobs, poll)


def run_tasks(tasks: Sequence[Task], jobs: int, poll: Callable[[], None] = lambda: None) -> list[int]:
    """Run all tasks as processes on this machine: see `launch`. They notice if this process is killed (`orphaned`)."""
    codes = [LOST] * len(tasks)
    running: dict[int, subprocess.Popen[bytes]] = {}
    waiting = list(range(len(tasks)))
    with interruptible():
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    number = waiting.pop(0)
                    running[number] = _start(tasks[number])
                for number, process in list(running.items()):
                    if process.poll() is not None:
                        codes[number] = process.returncode
                        del running[number]
                poll()
                if running:
                    time.sleep(POLL_SECONDS)
        finally:
            for process in running.values():
                process.terminate()
            for process in running.values():
                process.wait()
    return codes


def _start(task: Task) -> subprocess.Popen[bytes]:
    task.log.parent.mkdir(parents=True, exist_ok=True)
    with open_to_append(task.log) as log:
        return subprocess.Popen(
            task.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, TASK: str(os.getpid())},
            start_new_session=True,  # Ctrl-C in the terminal reaches this process only, which sends it on once
        )


def append_log(log: Path, text: str) -> None:
    """Append text to the log of a task."""
    with open_to_append(log) as file:
        file.write(text.encode())


def _run_on_ray(tasks: Sequence[Task], jobs: int, poll: Callable[[], None]) -> list[int]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # without it Ray warns of a future change
    try:
        import ray
    except ImportError:
        raise OptionError("engine: Ray is not installed; run pip install 'smix[ray]'") from None
    # Ray of this machine unless RAY_ADDRESS names a cluster, started with room for all jobs.
    address = os.environ.get("RAY_ADDRESS", "local")
    with interruptible():
        try:
            ray.init(
                address=address,
                num_cpus=max(jobs, os.cpu_count() or 1) if address == "local" else None,
                include_dashboard=False if address == "local" else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except ConnectionError:
            raise OptionError(f"engine: no Ray cluster answers at RAY_ADDRESS={address}; check the address") from None
        try:
            with interruptible():  # again: Ray has replaced the handlers
                return _as_ray_tasks(ray, tasks, jobs, poll)
        finally:
            ray.shutdown()


def _as_ray_tasks(ray: Any, tasks: Sequence[Task], jobs: int, poll: Callable[[], None]) -> list[int]:
    concurrent = min(jobs, len(tasks))
    gpus = ray.cluster_resources().get("GPU", 0)
    remote = ray.remote(
        num_cpus=_cpus_per_task([node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]], concurrent),
        num_gpus=1 / math.ceil(concurrent / gpus) if gpus else 0,
        max_retries=RETRIES,
        scheduling_strategy="SPREAD",
    )(run_in_ray_task)
    codes = [LOST] * len(tasks)
    waiting = list(range(len(tasks)))
    running: dict[Any, int] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                number = waiting.pop(0)
                running[remote.remote(tasks[number], Path.cwd())] = number
            for reference in ray.wait(list(running), timeout=CLUSTER_POLL_SECONDS)[0]:
                number = running.pop(reference)
                try:
                    codes[number] = ray.get(reference)
                except ray.exceptions.RayError as error:
                    append_log(tasks[number].log, f"{error}\n")
            poll()
    finally:
        for reference in running:
            ray.cancel(reference)  # KeyboardInterrupt in `run_in_ray_task`, which ends its process
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=GRACE_SECONDS)
    return codes


def _cpus_per_task(cpus: Sequence[float], tasks: int) -> int:
    """Return the largest number of CPUs, at least 1, that each of `tasks` concurrent tasks can have on nodes with `cpus` each."""
    counts = range(1, int(max(cpus, default=0)) + 1)
    return max((count for count in counts if sum(node // count for node in cpus) >= tasks), default=1)


def run_in_ray_task(task: Task, folder: Path | None = None) -> int:
    """Run a task in `folder` on the machine that Ray chose, until it ends or is cancelled. Returns its exit code."""
    if folder is not None:
        os.chdir(folder)
    with interruptible():
        process = _start(task)
        try:
            while process.poll() is None:
                time.sleep(POLL_SECONDS)  # Ray's cancellation reaches Python, not a process that waits in the kernel
            return process.returncode
        finally:
            process.terminate()
            process.wait()
