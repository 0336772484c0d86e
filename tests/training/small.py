"""Define small training runs for the tests of this folder and of comparisons."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smix import progress, signals
from smix.config import RunOptions, TrainConfig
from tests.conftest import make_set, write_npz

OPTIONS = RunOptions(device="cpu", quiet=True)
STEPS = 5
"""Steps per epoch of `small_config` on the data of `write_data`: 72 images in batches of 16, the last of 8."""
EPOCHS = 3
FILES = {
    "config.json",
    "metrics.jsonl",
    "checkpoint.pt",
    "weights.safetensors",
    "samples.npz",
    "predictions.npz",
    "validation.npz",
    "result.json",
}
"""Files of a finished run, as listed in docs/training.md."""


def write_data(folder: Path) -> str:
    """Write a data set and return its name: 80 training and 24 test images of 10 x 14 pixels, 4 classes, with masks."""
    return f"npz:{write_npz(folder / 'made.npz', make_set(80), make_set(24, seed=1, split='test'))}"


def small_config(data: str, /, **changes: Any) -> TrainConfig:
    """Return the configuration of a small run, with the given changes."""
    return TrainConfig(
        **{"data": data, "model": "resnet8", "method": "smix+fmix", "epochs": EPOCHS, "batch_size": 16, **changes}
    )


def train_command(data: str, method: str = "vanilla", epochs: int = 2, batch_size: int = 16) -> list[str]:
    """Return the command of a small run on the CPU, without --out."""
    options = f"--model resnet8 --method {method} --epochs {epochs} --batch-size {batch_size} --quiet --device cpu"
    return ["train", "--data", data, *options.split()]


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make training receive a request to stop after this number of steps."""
    asked = 0

    def orphaned() -> bool:
        nonlocal asked
        asked += 1
        return asked > steps

    monkeypatch.setattr(signals, "orphaned", orphaned)


def at_step(steps: int, act: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the progress of training call `act` once, after this number of steps."""
    calls = 0

    @contextmanager
    def bar(*args: object, **options: object) -> Iterator[Callable[..., None]]:
        def done(count: int, said: str = "") -> None:
            nonlocal calls
            calls += 1
            if calls == steps + 1:
                act()

        yield done

    monkeypatch.setattr(progress, "bar", bar)


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder except the lock."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def metrics(folder: Path) -> list[dict[str, float]]:
    """Return all lines of metrics.jsonl, without the seconds, which differ between runs."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def result(folder: Path) -> dict[str, Any]:
    """Return the values of result.json, without seconds and the values that depend on them."""
    content = json.loads((folder / "result.json").read_text())
    del content["seconds"], content["sha256"], content["files"]["metrics.jsonl"]
    return content


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def assert_equal_runs(one: Path, other: Path) -> None:
    """Check that two runs are equal to the last bit, except for seconds."""
    mine, theirs = contents(one), contents(other)
    assert mine.keys() == theirs.keys() == FILES
    for name in FILES - {"metrics.jsonl", "result.json"}:
        assert mine[name] == theirs[name], f"{name} differs"
    assert metrics(one) == metrics(other)
    assert result(one) == result(other)
