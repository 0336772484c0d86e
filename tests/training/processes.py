"""Processes that train together, as torchrun starts them, but forked from this one: that takes no second."""

import os
import pickle
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 60


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    value: Any
    out: str
    err: str


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def in_processes(count: int, folder: Path, act: Callable[[int], Any]) -> list[Ended]:
    """What `act(rank)` returns or prints, and the exit code, of each of `count` processes."""
    folder.mkdir(parents=True, exist_ok=True)
    port, pids = free_port(), []
    for rank in range(count):
        pid = os.fork()
        if pid == 0:
            _be(rank, count, port, folder, act)
        pids.append(pid)
    codes, end = {}, time.monotonic() + SECONDS
    while len(codes) < count:
        for pid in pids:
            if pid not in codes and (status := os.waitpid(pid, os.WNOHANG))[0]:
                codes[pid] = os.waitstatus_to_exitcode(status[1])
        if time.monotonic() > end:
            for pid in set(pids) - codes.keys():
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            raise TimeoutError(f"{count - len(codes)} of {count} processes did not end")
        time.sleep(0.01)
    return [_read(codes[pid], folder / str(rank)) for rank, pid in enumerate(pids)]


def _be(rank: int, count: int, port: int, folder: Path, act: Callable[[int], Any]) -> None:
    code = 1
    try:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count))
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        sys.stdout, sys.stderr = ((folder / f"{rank}.{name}").open("w") for name in ("out", "err"))
        value = act(rank)
        (folder / f"{rank}.value").write_bytes(pickle.dumps(value))
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _read(code: int, path: Path) -> Ended:
    value = path.with_suffix(".value")
    return Ended(
        code,
        pickle.loads(value.read_bytes()) if value.is_file() else None,
        path.with_suffix(".out").read_text(),
        path.with_suffix(".err").read_text(),
    )
