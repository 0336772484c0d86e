"""Made-up runs: what a comparison leaves behind, without training."""

from pathlib import Path

from smix.config import TrainConfig
from smix.training.loop import Epoch
from smix.training.records import Result, Run


def made_run(method: str, seed: int, accuracy: float | None, path: Path = Path("runs"), seconds: float = 61.0) -> Run:
    """A run of three epochs with this test accuracy in [0, 1]; None: not finished."""
    config = TrainConfig(method=method, seed=seed, epochs=3)
    metrics = [Epoch(n, 0.1, 2.0 / n, 0.5, 0.0, 2.0 / n, 0.2 * n + 0.01 * seed, seconds / 3) for n in (1, 2, 3)]
    result = None if accuracy is None else Result(accuracy, 1.0, 0.6, 3, 300, seconds, "CPU with 1 thread")
    made = {
        "config": config.to_json(),
        "versions": {"smix": "0.1.0"},
        "data": {"images": {"training": 90, "validation": 10, "test": 20}, "classes": ["a", "b"]},
        "masks": None,
    }
    return Run(path / f"{method}-{seed}", config, made, metrics, result)


def made_runs(scores: dict[str, list[float | None]], path: Path = Path("runs")) -> list[Run]:
    """`scores[method][seed]`."""
    return [made_run(method, seed, one, path) for method, all_of in scores.items() for seed, one in enumerate(all_of)]
