"""Handle signals that stop a command, and detect processes that were started by another smix process."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

TASK = "SMIX_TASK"
"""Environment variable of a process that another smix process started: the id of its parent process."""
INTERRUPTED = 130
"""Exit code of a command that a signal has interrupted."""


def _existing(*names: str) -> tuple[signal.Signals, ...]:
    """Return the named signals that exist on this system; Windows has no SIGUSR1."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


STOP = _existing("SIGTERM", "SIGUSR1")
"""Signals that stop a command after it has written a checkpoint."""
STOP_OR_CTRL_C = (*STOP, signal.SIGINT)


@contextmanager
def on_signals(numbers: Sequence[signal.Signals], handler: Callable[[int, object], None]) -> Iterator[None]:
    """Handle these signals inside the block. Outside the main thread, where Python cannot handle signals, do nothing."""
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
    """Raise KeyboardInterrupt on SIGTERM and SIGUSR1 inside the block, as Python does on Ctrl-C."""
    with on_signals(STOP, _interrupt):
        yield


def is_task() -> bool:
    """Return whether this process was started by another smix process, which has locked the folder of the sweep."""
    return TASK in os.environ


def orphaned() -> bool:
    """Return whether the smix process that started this one on this machine has ended."""
    # On Windows the python.exe of a virtual environment starts a second process, whose parent is never the process
    # named in the variable.
    return os.name != "nt" and TASK in os.environ and int(os.environ[TASK]) != os.getppid()


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt
