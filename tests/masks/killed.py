"""A build that dies by SIGKILL. For processes of their own alone: it changes `os` and `Path`."""

import os
import signal
from pathlib import Path

from smix.masks import build, build_masks
from tests.conftest import make_set
from tests.masks.stores import Drawn


def build_until_killed(out: Path, left: int) -> None:
    """Build a store and die after so many syncs and renames."""
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
    build_masks(make_set(), Drawn(), out)
