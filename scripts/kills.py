"""Kill commands at random moments, run them again, and compare the result with that of an uninterrupted run.

    python -m scripts.kills [KIND] [TIMES] [SEED]

KIND is build, train, compare, evaluate, report or all. Ten kills of each take ten minutes.
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
SMIX = "from smix.training import runs; runs.CHECKPOINT_SECONDS = 0.0; from smix.cli import main; main()"
"""Program that runs the command line and writes a checkpoint after each step."""
TRAINING = ["--model", "wrn-10-1-drop0.3", "--train-limit", "400", "--test-limit", "50", "--epochs", "4"]
TRAINING += ["--batch-size", "32", "--ema-decay", "0.9", "--grad-accum-steps", "2", "--schedule", "cosine"]
TRAINING += ["--device", "cpu", "--threads", "1", "--quiet"]
VARYING = ("seconds", "sha256", "files", "training_seconds")
"""Keys of JSON files that differ between equal results: times, and checksums of files that contain times."""


@dataclass(frozen=True)
class Kind:
    """A command to kill."""

    arguments: Callable[[Path], list[str]]
    """Function that returns the arguments of smix for an output folder."""
    prepare: Callable[[Path], None] = lambda folder: None
    """Function that creates the inputs of the command in the parent of its output folder."""


def write_discs(folder: Path) -> None:
    """Write a data set of images with masks of random discs."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE]
    centres, radii = rng.uniform(0, SIZE, (2, COUNT, 1, 1)), rng.uniform(3, 12, (COUNT, 1, 1))
    masks = (y - centres[0]) ** 2 + (x - centres[1]) ** 2 < radii**2
    images, labels = (masks[..., None] * np.uint8(200)).repeat(3, -1), np.arange(COUNT) % 10
    train = {"x_train": images, "y_train": labels, "mask_train": masks}
    np.savez(folder / "discs.npz", **train, x_test=images[:10], y_test=labels[:10], mask_test=masks[:10])


def build_arguments(out: Path) -> list[str]:
    """Return the arguments to refine and store the masks of the discs."""
    arguments = ["masks", "build", "--data", f"npz:{out.parent / 'discs.npz'}", "--source", "carried"]
    return [*arguments, "--refine", "published", "--out", str(out), "--quiet"]


def compare_arguments(out: Path, methods: str, seeds: int) -> list[str]:
    options = ["--methods", methods, "--seeds", str(seeds), *TRAINING, "--out", str(out), "--jobs", "1"]
    return ["compare", *options]


def write_runs(folder: Path) -> None:
    """Train the runs that are evaluated and reported."""
    arguments = compare_arguments(folder / "runs", "vanilla,cutmix", 2)
    subprocess.run([sys.executable, "-m", "smix", *arguments], check=True, stdout=subprocess.DEVNULL)


def evaluate_arguments(out: Path) -> list[str]:
    """Return the arguments to evaluate a run into another folder than its own."""
    arguments = ["evaluate", str(out.parent / "runs" / "cutmix-0"), "--out", str(out), "--attacks", "--corruptions"]
    return [*arguments, "--masks", "carried", "--limit", "30", "--device", "cpu", "--threads", "1", "--quiet"]


KINDS = {
    "build": Kind(build_arguments, write_discs),
    "train": Kind(lambda out: ["train", "--method", "smix+fmix", *TRAINING, "--out", str(out)]),
    "compare": Kind(lambda out: compare_arguments(out, "vanilla,smix", 1)),
    "evaluate": Kind(evaluate_arguments, write_runs),
    "report": Kind(lambda out: ["report", str(out.parent / "runs"), "--out", str(out), "--quiet"], write_runs),
}


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    """Start smix in its own process group."""
    return subprocess.Popen(
        [sys.executable, "-c", SMIX, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finish(arguments: list[str]) -> int:
    """Run a command and return its exit code. Retry while processes of the killed command still hold the folder."""
    for _ in range(10):
        process = start(arguments)
        errors = process.communicate()[1].decode()
        if "in use" not in errors:
            break
        time.sleep(2)
    if process.returncode:
        print(errors.strip()[-300:])
    return process.returncode


def content(folder: Path) -> dict[str, object]:
    """Return the contents of all files of a folder, without locks, logs and times."""
    return {
        str(path.relative_to(folder)): read_without_times(path)
        for path in folder.rglob("*")
        if path.is_file()
        and not path.name.endswith(".lock")
        and path.name not in ("cost.jsonl", "log.txt")
        and folder / "report" not in path.parents  # the report of a comparison shows training times
    }


def read_without_times(path: Path) -> object:
    """Return the bytes of a file, or the values of a JSON file without the keys that vary."""
    if path.suffix not in (".json", ".jsonl"):
        return path.read_bytes()
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    values = [json.loads(line) for line in lines]
    return [
        {key: item for key, item in value.items() if key not in VARYING} if isinstance(value, dict) else value
        for value in values
    ]


def kill(name: str, times: int, seed: int = 0) -> int:
    """Kill and rerun a command `times` times, and return how many results differ from that of an uninterrupted run."""
    kind, moments = KINDS[name], random.Random(seed)
    killed = unequal = unfinished = 0
    with tempfile.TemporaryDirectory(prefix="smix-kills-") as temporary:
        folder = Path(temporary)
        kind.prepare(folder)
        out = folder / "out"
        began = time.monotonic()
        if start(kind.arguments(out)).wait():
            raise SystemExit(f"{name}: the command fails without being killed")
        seconds = time.monotonic() - began
        expected = content(out)
        out.rename(folder / "uninterrupted")  # each trial uses the same path, because reports and logs contain it
        for trial in range(times):
            process = start(kind.arguments(out))
            moment = moments.uniform(seconds / 8, seconds)
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                killed += process.wait() == -signal.SIGKILL
            unfinished += out.is_dir() and any(out.rglob(".*.tmp"))
            code = finish(kind.arguments(out))
            actual = content(out)
            differ = sorted(file for file in expected.keys() | actual.keys() if expected.get(file) != actual.get(file))
            if code or differ:
                unequal += 1
                outcome = f"exit code {code}, differ: {', '.join(differ[:5])}"
                print(f"{name}, seed {seed}, trial {trial}, killed after {moment:.2f} s: {outcome}", flush=True)
            shutil.rmtree(out)
    equal = f"{times - unequal} gave the result of an uninterrupted run"
    print(f"{name}: {killed} of {times} killed, {unfinished} while writing a file; {equal}", flush=True)
    return unequal


def main(kind: str = "all", times: int = 20, seed: int = 0) -> int:
    return sum(kill(name, times, seed) for name in (KINDS if kind == "all" else [kind]))


if __name__ == "__main__":
    sys.exit(1 if main(*sys.argv[1:2], *map(int, sys.argv[2:])) else 0)
