"""Run processes that train together, like torchrun, but from a fork server, which starts them in milliseconds.

The server is a separate Python process that has imported the package and computed nothing. A process that has used autograd must not
be forked, because torch refuses to compute in the child.
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
    ["smix.cli", "smix.lab.run_all", "smix.masks", "torch.distributed", "torchvision", "pytest"]
)


@dataclass(frozen=True)
class FinishedProcess:
    """Exit code, return value and output of a finished process."""

    code: int
    value: Any
    out: str
    err: str


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def in_processes(count: int, folder: Path, act: Callable[[int], Any]) -> list[FinishedProcess]:
    """Call `act(rank)` in each of `count` processes; return return value, output and exit code of each.

    `act` may be a closure. Patches in the process of the test do not apply there.
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
        # Start processes that read images as in production, and let them notice when this process, their parent, has ended.
        multiprocessing.set_start_method(start_method, force=True)
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count))
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        sys.stdout, sys.stderr = ((folder / f"{rank}.{name}").open("w") for name in ("out", "err"))
        os.dup2(sys.stdout.fileno(), 1)  # also captures output that is not written by Python
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


def _read(code: int | None, path: Path) -> FinishedProcess:
    assert code is not None
    value = path.with_suffix(".value")
    return FinishedProcess(
        code,
        pickle.loads(value.read_bytes()) if value.is_file() else None,
        path.with_suffix(".out").read_text(),
        path.with_suffix(".err").read_text(),
    )
