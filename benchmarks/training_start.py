"""Measure the time from the command to the first training step.

`measure_start` runs this module as a script, which runs the command line and times its parts.
"""

import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import seconds


def measure_start(data: Path, model: str, tries: int) -> dict[str, float]:
    """Return the median seconds from the command to the end of the first step, and of its parts."""
    runs: list[dict[str, float]] = []
    for _ in range(tries):
        with tempfile.TemporaryDirectory() as folder:
            words = ["train", "--data", f"npz:{data}", "--model", model, "--method", "mixup", "--out", f"{folder}/run"]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.training_start", *words], capture_output=True, text=True, check=True
            )
            total, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        parts = json.loads(done.stdout.splitlines()[-1])
        used = sum(getattr(after, name) - getattr(before, name) for name in ("ru_utime", "ru_stime"))
        parts = {"total": total, "processor time": used, **parts}
        runs.append({**parts, "everything else": total - sum(list(parts.values())[2:])})
    with np.load(data) as file:
        images = file["x_train"]
    medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    return {**medians, "of reading: sha256 of the training images": seconds(lambda: hashlib.sha256(images.data))}


def _run_timed() -> None:
    """Run the command line until the end of the first training step, and print the seconds of its parts as JSON."""
    start = time.perf_counter()
    from smix import cli
    from smix.data.batches import Normalisation
    from smix.training import inputs, runs  # noqa: F401
    from smix.training.learner import Learner

    spent = {"imports": time.perf_counter() - start}

    def time_calls(owner: object, name: str, title: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        def timed(*values: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*values, **options)
            finally:
                spent[title] = spent.get(title, 0.0) + time.perf_counter() - start

        setattr(owner, name, timed)

    update = Learner.update

    def update_and_exit(self: Learner, lr: float) -> None:
        update(self, lr)
        sys.stdout.write(json.dumps(spent) + "\n")
        sys.stdout.flush()
        os._exit(0)

    time_calls(inputs, "load_data", "reading and fingerprints")
    time_calls(Normalisation, "of", "mean and standard deviation")
    time_calls(inputs, "build_model", "network")
    setattr(Learner, "update", update_and_exit)  # noqa: B010 (mypy refuses an assignment to a method)
    cli.main()


if __name__ == "__main__":
    _run_timed()
