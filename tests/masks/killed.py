"""Builds a store and dies by SIGKILL at its n-th sync or rename: `python -m tests.masks.killed OUT N`."""

import os
import signal
import sys
from pathlib import Path

from smix.masks import build, build_masks
from tests.conftest import make_set
from tests.masks.stores import Drawn


def main(out: str, moment: str) -> None:
    build.ROWS_PER_SHARD, build.BATCH = 8, 3
    left = int(moment)

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


main(*sys.argv[1:])
