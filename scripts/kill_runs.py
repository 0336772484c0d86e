"""Kill `smix train` at random moments, a checkpoint at each step, finish it, and compare with a run that nothing disturbed.

python scripts/kill_runs.py [TIMES] [SEED]     20 times: about five minutes on two cores
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
from pathlib import Path

CODE = "from smix.training import runs; runs.CHECKPOINT_SECONDS = 0.0; from smix.cli import main; main()"
WORDS = ["--model", "wrn-10-1-drop0.3", "--method", "smix+fmix", "--train-limit", "400", "--test-limit", "50"]
WORDS += ["--epochs", "6", "--batch-size", "32", "--ema", "0.9", "--accumulate", "2", "--schedule", "cosine"]
WORDS += ["--device", "cpu", "--threads", "1", "--quiet"]
SAME = ("config.json", "checkpoint.pt", "samples.npz", "weights.safetensors", "predictions.npz", "validation.npz")


def start(out: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", CODE, "train", *WORDS, "--out", str(out)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})


def content(out: Path) -> dict[str, object]:
    """Everything but the seconds, which no two runs share."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    lines.append(json.loads((out / "result.json").read_text()))
    told = [{name: value for name, value in line.items() if name != "seconds"} for line in lines]
    return {"told": told, **{name: (out / name).read_bytes() for name in SAME}}


def main(times: int = 20, seed: int = 0) -> None:
    folder = Path(tempfile.mkdtemp())
    moments = random.Random(seed)
    try:
        began = time.monotonic()
        assert start(folder / "whole").wait() == 0
        seconds = time.monotonic() - began
        whole = content(folder / "whole")
        killed = within = 0
        for trial in range(times):
            out = folder / "killed"
            process = start(out)
            moment = moments.uniform(seconds / 4, seconds)
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                killed += process.wait() == -signal.SIGKILL
            halves = len(list(out.glob(".*.tmp"))) if out.is_dir() else 0
            within += halves > 0
            assert start(out).wait() == 0
            equal = content(out) == whole
            print(f"{trial + 1}: killed after {moment:.2f} s with {halves} half files, then finished: equal {equal}")
            assert equal
            shutil.rmtree(out)
        print(
            f"{killed} of {times} runs were killed, {within} while a file was written; all ended as one that nothing disturbed"
        )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
