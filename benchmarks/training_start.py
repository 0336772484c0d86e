"""From the command to the first training step: `measure_start` runs the command line, and this module watches it."""

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


def measure_start(data: Path, model: str, tries: int) -> dict[str, float]:
    """Seconds from the command to the end of the first step, and what they are made of: medians."""
    runs: list[dict[str, float]] = []
    for _ in range(tries):
        with tempfile.TemporaryDirectory() as folder:
            words = ["train", "--data", f"npz:{data}", "--model", model, "--method", "mixup", "--out", f"{folder}/run"]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.training_start", *words], capture_output=True, text=True, check=True
            )
            whole, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        parts = json.loads(done.stdout.splitlines()[-1])
        used = sum(getattr(after, name) - getattr(before, name) for name in ("ru_utime", "ru_stime"))
        parts = {"whole": whole, "processor time": used, **parts}
        runs.append({**parts, "everything else": whole - sum(list(parts.values())[2:])})
    with np.load(data) as file:
        images = file["x_train"]
    start = time.perf_counter()
    hashlib.sha256(images.data).hexdigest()
    middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    return {**middle, "of reading: sha256 of the training images": time.perf_counter() - start}


def _watched() -> None:
    """The command line, which ends after the first step and says how long its parts took."""
    start = time.perf_counter()
    from smix import cli
    from smix.data.batches import Normalisation
    from smix.training import material, runs  # noqa: F401
    from smix.training.learner import Learner

    spent = {"imports": time.perf_counter() - start}

    def timed(title: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*values, **named)
            finally:
                spent[title] = spent.get(title, 0.0) + time.perf_counter() - start

        return call

    def last(self: Learner, lr: float) -> None:
        update(self, lr)
        sys.stdout.write(json.dumps(spent) + "\n")
        sys.stdout.flush()
        os._exit(0)

    material.load_data = timed("reading and fingerprints", material.load_data)
    Normalisation.of = timed("mean and standard deviation", Normalisation.of)
    material.build_model = timed("network", material.build_model)
    update, Learner.update = Learner.update, last
    cli.main()


if __name__ == "__main__":
    _watched()
