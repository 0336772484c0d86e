"""Synthetic runs and run folders, without training."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smix.config import TrainConfig
from smix.lab.sweep import slug
from smix.training.loop import Epoch
from smix.training.records import Result, Run, write_metrics, write_provenance, write_result


def made_run(method: str, seed: int, accuracy: float | None, path: Path = Path("runs"), seconds: float = 61.0) -> Run:
    """Return a run of three epochs with this test accuracy in [0, 1]; None: not finished."""
    config = TrainConfig(method=method, seed=seed, epochs=3)
    metrics = [Epoch(n, 0.1, 2.0 / n**2, 0.5, 0.0, 2.0 / n, 0.2 * n + 0.01 * seed, seconds / 3) for n in (1, 2, 3)]
    result = None if accuracy is None else Result(accuracy, 1.0, 0.6, 3, 300, seconds, "CPU with 1 thread")
    made = {
        "config": config.to_json(),
        "versions": {"smix": "0.1.0"},
        "data": {"images": {"training": 90, "validation": 10, "test": 200}, "classes": list("abcdefghij")},
        "masks": None,
    }
    return Run(path / f"{method}-{seed}", config, made, metrics, result)


def made_runs(scores: dict[str, list[float | None]], path: Path = Path("runs")) -> list[Run]:
    """Return a run for each of `scores[method][seed]`."""
    return [made_run(method, seed, one, path) for method, all_of in scores.items() for seed, one in enumerate(all_of)]


CLASSES = ("cat", "dog", "deer", "a <b>bold</b> & $wild$ class")
TESTED, KEPT = 61, 23


def predictions(strength: float, seed: int, count: int = TESTED) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return logits and labels of a network that is right more often the larger `strength`."""
    draws = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    logits = draws.normal(size=(count, len(CLASSES)))
    logits[np.arange(count), labels] += strength
    return logits.astype(np.float32), labels


def write_run(
    folder: Path, method: str, seed: int, strength: float | None = 1.0, validation: bool = True, **changes: Any
) -> Path:
    """Write a run folder with everything but weights; strength None: not finished."""
    path = folder / f"{slug(method)}-{seed}"
    run = made_run(method, seed, None, folder, 61.0 + seed)
    config = dataclasses.replace(run.config, **changes)
    made = {
        "config": config.to_json(),
        "versions": {"smix": "0.1.0", "torch": "2.15.0"},
        "data": {
            "fingerprint_train": "aa" * 32,
            "fingerprint_test": "bb" * 32,
            "images": {"training": 90, "validation": KEPT, "test": TESTED},
            "size": [32, 40],
            "classes": list(CLASSES),
            "read": "kept on the device",
            "validated_on": "validation images" if config.val_fraction else "training images",
        },
        "masks": {"fingerprint": "cc" * 32, "source": {"name": "carried"}, "refine": None, "empty": 0.25}
        if "smix" in method
        else None,
        "normalisation": {"mean": [0.5] * 3, "std": [0.25] * 3},
    }
    write_provenance(path, made)
    write_metrics(path, run.metrics)
    if strength is not None:
        logits, labels = predictions(strength, 100 + seed)
        np.savez(path / "predictions.npz", logits=logits, labels=labels)
        if validation:
            logits_kept, labels_kept = predictions(strength, 200 + seed, KEPT)
            np.savez(path / "validation.npz", logits=logits_kept, labels=labels_kept)
        correct = float((logits.argmax(1) == labels).mean())
        seconds = sum(epoch.seconds for epoch in run.metrics)
        result = Result(correct, 1.0, run.metrics[-1].val_accuracy, 3, 300, seconds, "CPU with 1 thread")
        write_result(path, result)
    return path


def write_runs(folder: Path, strengths: dict[str, list[float | None]], **changes: Any) -> Path:
    """Write a run folder for each of `strengths[method][seed]`."""
    for method, all_of in strengths.items():
        for seed, strength in enumerate(all_of):
            write_run(folder, method, seed, strength, **changes)
    return folder


def made_samples(seed: int = 0, channels: int = 3, count: int = 3) -> dict[str, np.ndarray]:
    """Return the arrays of samples.npz: images that are mixed with themselves."""
    images = np.random.default_rng(seed).integers(0, 255, (count, 5, 7, channels)).astype(np.uint8)
    weight, share = np.ones((count, 5, 7), np.float32), np.ones(count, np.float32)
    rows = np.arange(count)
    return {"images": images, "mixed": images, "labels": rows, "partner": rows, "weight": weight, "share": share} | {
        "fell_back": rows > 5
    }
