"""Kill a build with SIGKILL. Only for separate processes, because it patches `os` and `Path`."""

import os
import signal
from pathlib import Path

from smix.masks import build, build_masks
from tests.conftest import make_set
from tests.masks.stores import BrightnessSource


def build_until_killed(out: Path, left: int) -> None:
    """Build a store, and kill this process after `left` calls of fsync and rename."""
    build.ROWS_PER_SHARD, build.BATCH = 8, 3

    def count() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sync, rename = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        count()
        sync(handle)

    def replace(path: Path, target: Path) -> Path:
        count()
        return rename(path, target)

    os.fsync, Path.replace = fsync, replace
    build_masks(make_set(), BrightnessSource(), out)
