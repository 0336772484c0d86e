"""Processes that train together, as torchrun starts them, but from a fork server: each is ready in milliseconds.

The server is a Python of its own that has imported the package and never computed. A process that has used autograd must not
be forked: torch refuses to compute in the child.
"""

import multiprocessing
import os
import pickle
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle

SECONDS = 120
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["smix.cli", "smix.lab.compare", "smix.masks", "torch.distributed", "torchvision", "pytest"]
)


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
    """Call `act(rank)` in each of `count` processes; return what each returned and printed, and its exit code.

    `act` may be a closure. What the test has patched in its own process is not patched there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, content = free_port(), cloudpickle.dumps(act)
    processes = [
        CONTEXT.Process(target=_run, args=(rank, count, port, folder, multiprocessing.get_start_method(), content))
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(SECONDS)
    late = [process for process in processes if process.is_alive()]
    for process in late:
        process.kill()
        process.join()
    if late:
        raise TimeoutError(f"{len(late)} of {count} processes did not end within {SECONDS} s")
    return [_read(process.exitcode, folder / str(rank)) for rank, process in enumerate(processes)]


def _run(rank: int, count: int, port: int, folder: Path, start_method: str, content: bytes) -> None:
    code = 1
    try:
        # Processes that read images shall start as they do for a user, and notice when this one, their parent, is gone.
        multiprocessing.set_start_method(start_method, force=True)
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count))
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        sys.stdout, sys.stderr = ((folder / f"{rank}.{name}").open("w") for name in ("out", "err"))
        os.dup2(sys.stdout.fileno(), 1)  # for what is not written by Python
        os.dup2(sys.stderr.fileno(), 2)
        import torch

        torch.set_num_threads(1)
        value = pickle.loads(content)(rank)
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


def _read(code: int | None, path: Path) -> Ended:
    assert code is not None
    value = path.with_suffix(".value")
    return Ended(
        code,
        pickle.loads(value.read_bytes()) if value.is_file() else None,
        path.with_suffix(".out").read_text(),
        path.with_suffix(".err").read_text(),
    )
