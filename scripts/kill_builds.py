"""Kill `smix masks build` at random moments, finish it, and compare with a build that nothing disturbed, byte for byte.

python scripts/kill_builds.py [TIMES] [SEED]     20 times: about six minutes on two cores
"""

import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

COUNT, SIZE = 20_000, 32


def made(path: Path) -> Path:
    """Images with masks: random discs."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE]
    centres, radii = rng.uniform(0, SIZE, (2, COUNT, 1, 1)), rng.uniform(3, 12, (COUNT, 1, 1))
    masks = (y - centres[0]) ** 2 + (x - centres[1]) ** 2 < radii**2
    images = (masks[..., None] * np.uint8(200)).repeat(3, -1)
    labels = np.arange(COUNT) % 10
    np.savez(
        path,
        x_train=images,
        y_train=labels,
        mask_train=masks,
        x_test=images[:10],
        y_test=labels[:10],
        mask_test=masks[:10],
    )
    return path


def build(data: Path, out: Path) -> subprocess.Popen[bytes]:
    words = [
        "masks",
        "build",
        "--data",
        f"npz:{data}",
        "--source",
        "carried",
        "--refine",
        "published",
        "--out",
        str(out),
    ]
    return subprocess.Popen([sys.executable, "-m", "smix", *words, "--quiet"], stdout=subprocess.DEVNULL)


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".lock") and path.name != "cost.jsonl"
    }


def main(times: int = 20, seed: int = 0) -> None:
    folder = Path(tempfile.mkdtemp())
    moments = random.Random(seed)
    try:
        data = made(folder / "made.npz")
        start = time.monotonic()
        assert build(data, folder / "whole").wait() == 0
        seconds = time.monotonic() - start
        whole = content(folder / "whole")
        killed = 0
        for trial in range(times):
            out = folder / "killed"
            process = build(data, out)
            moment = moments.uniform(0, seconds)
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                killed += process.wait() == -signal.SIGKILL
            finished = len(list(out.glob("building/[0-9]*.json"))) if out.is_dir() else 0
            assert build(data, out).wait() == 0
            equal = content(out) == whole
            print(f"{trial + 1}: killed after {moment:.2f} s with {finished} shards, then finished: equal {equal}")
            assert equal
            shutil.rmtree(out)
        print(f"{killed} of {times} builds were killed; all ended with the bytes of a build that nothing disturbed")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
