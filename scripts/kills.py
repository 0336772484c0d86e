"""Kill commands at random moments, run them again, and compare the result with that of an uninterrupted run.

python -m scripts.kills [KIND] [TIMES] [SEED]     KIND is build, train, compare, evaluate, report or all; ten kills of each take ten minutes
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

COUNT, SIZE = 20_000, 32
AT_EACH_STEP = "from smix.training import runs; runs.CHECKPOINT_SECONDS = 0.0; from smix.cli import main; main()"
"""The command line, with a checkpoint at each step."""
TRAINING = [
    "--model",
    "wrn-10-1-drop0.3",
    "--train-limit",
    "400",
    "--test-limit",
    "50",
    "--epochs",
    "4",
    "--batch-size",
    "32",
]
TRAINING += [
    "--ema-decay",
    "0.9",
    "--grad-accum-steps",
    "2",
    "--schedule",
    "cosine",
    "--device",
    "cpu",
    "--threads",
    "1",
    "--quiet",
]
VARYING = ("seconds", "sha256", "files", "training_seconds")
"""Keys of JSON files in which two equal results differ: times, and checksums of files with times."""


@dataclass(frozen=True)
class Kind:
    """A command that is killed."""

    words: Callable[[Path], list[str]]
    """Its command line, to write into a folder."""
    prepare: Callable[[Path], None] = lambda folder: None
    """Create the inputs of the command once, in the parent of its output folder."""


def discs(folder: Path) -> None:
    """Write images with masks: random discs."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE]
    centres, radii = rng.uniform(0, SIZE, (2, COUNT, 1, 1)), rng.uniform(3, 12, (COUNT, 1, 1))
    masks = (y - centres[0]) ** 2 + (x - centres[1]) ** 2 < radii**2
    images, labels = (masks[..., None] * np.uint8(200)).repeat(3, -1), np.arange(COUNT) % 10
    train = {"x_train": images, "y_train": labels, "mask_train": masks}
    np.savez(folder / "made.npz", **train, x_test=images[:10], y_test=labels[:10], mask_test=masks[:10])


def building(out: Path) -> list[str]:
    """Refine and store the masks of the discs."""
    words = ["masks", "build", "--data", f"npz:{out.parent / 'made.npz'}", "--source", "carried"]
    return [*words, "--refine", "published", "--out", str(out), "--quiet"]


def trained(folder: Path) -> None:
    words = [
        "compare",
        "--methods",
        "vanilla,cutmix",
        "--seeds",
        "2",
        *TRAINING,
        "--out",
        str(folder / "runs"),
        "--jobs",
        "1",
    ]
    subprocess.run([sys.executable, "-m", "smix", *words], check=True, stdout=subprocess.DEVNULL)


def evaluation(out: Path) -> list[str]:
    """Evaluate into another folder than the run's own."""
    words = ["evaluate", str(out.parent / "runs" / "cutmix-0"), "--out", str(out), "--attacks", "--corruptions"]
    return [*words, "--masks", "carried", "--limit", "30", "--device", "cpu", "--threads", "1", "--quiet"]


KINDS = {
    "build": Kind(building, discs),
    "train": Kind(lambda out: ["train", "--method", "smix+fmix", *TRAINING, "--out", str(out)]),
    "compare": Kind(
        lambda out: [
            "compare",
            "--methods",
            "vanilla,smix",
            "--seeds",
            "1",
            *TRAINING,
            "--out",
            str(out),
            "--jobs",
            "1",
        ]
    ),
    "evaluate": Kind(evaluation, trained),
    "report": Kind(lambda out: ["report", str(out.parent / "runs"), "--out", str(out), "--quiet"], trained),
}


def start(words: list[str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", AT_EACH_STEP, *words],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finish(words: list[str]) -> int:
    """Run a command and return its exit code. Retries while processes of the killed command still hold the folder."""
    for _ in range(10):
        process = start(words)
        said = process.communicate()[1].decode()
        if "got one in use; wait for the other command" not in said:
            break
        time.sleep(2)
    if process.returncode:
        print(said.strip()[-300:])
    return process.returncode


def content(folder: Path) -> dict[str, object]:
    """Return every file of a folder but locks, logs and times."""
    return {
        str(path.relative_to(folder)): told(path)
        for path in folder.rglob("*")
        if path.is_file()
        and not path.name.endswith(".lock")
        and path.name not in ("cost.jsonl", "log.txt")
        and folder / "report" not in path.parents  # that of a comparison shows how long the runs took
    }


def told(path: Path) -> object:
    if path.suffix not in (".json", ".jsonl"):
        return path.read_bytes()
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    values = [json.loads(line) for line in lines]
    return [
        {name: one for name, one in value.items() if name not in VARYING} if isinstance(value, dict) else value
        for value in values
    ]


def kill(name: str, times: int, seed: int = 0) -> int:
    """Kill and rerun a command `times` times, each in a new folder. Return how many results differ from an uninterrupted run."""
    kind, moments = KINDS[name], random.Random(seed)
    killed = unequal = halves = 0
    with tempfile.TemporaryDirectory(prefix="smix-kills-") as made:
        folder = Path(made)
        kind.prepare(folder)
        began = time.monotonic()
        if start(kind.words(folder / "whole")).wait():
            raise SystemExit(f"{name}: the command fails without being killed")
        seconds = time.monotonic() - began
        whole = content(folder / "whole")
        # Reuse the same path, because reports and logs may contain it.
        (folder / "whole").rename(folder / "kept")
        for trial in range(times):
            out = folder / "whole"
            process = start(kind.words(out))
            moment = moments.uniform(seconds / 8, seconds)
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                killed += process.wait() == -signal.SIGKILL
            halves += bool(list(out.rglob(".*.tmp"))) if out.is_dir() else 0
            code = finish(kind.words(out))
            found = content(out)
            differ = sorted(file for file in whole.keys() | found.keys() if whole.get(file) != found.get(file))
            if code or differ:
                unequal += 1
                print(
                    f"{name}, seed {seed}, trial {trial}, after {moment:.2f} s: exit code {code}, differ: {', '.join(differ[:5])}",
                    flush=True,
                )
            shutil.rmtree(out)
    print(
        f"{name}: {killed} of {times} killed, {halves} while writing a file; {times - unequal} gave the result of an uninterrupted run",
        flush=True,
    )
    return unequal


def main(kind: str = "all", times: int = 20, seed: int = 0) -> int:
    return sum(kill(name, times, seed) for name in (KINDS if kind == "all" else [kind]))


if __name__ == "__main__":
    sys.exit(1 if main(*sys.argv[1:2], *map(int, sys.argv[2:])) else 0)
