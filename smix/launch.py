"""Tasks are command lines of smix; here they run as processes of this machine, some side by side."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Engine = Literal["local", "slurm", "ray"]
PARENT = "SMIX_PARENT"
POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Task:
    """A command line, without `smix` itself, and the file that its output goes to."""

    words: Sequence[str]
    log: Path


def launch(tasks: Sequence[Task], engine: Engine, jobs: int, poll: Callable[[], None] = lambda: None) -> list[int]:
    """Run all tasks, `jobs` at a time, on this machine, on SLURM or on Ray. Returns their exit codes."""
    assert engine == "local"
    return run_tasks(tasks, jobs, poll)


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
