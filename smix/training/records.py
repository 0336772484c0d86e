"""What a run folder says: its configuration, its epochs, its result."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smix import files
from smix.config import TrainConfig
from smix.errors import RunError, SmixError
from smix.training.loop import Epoch


@dataclass(frozen=True)
class Result:
    """The content of result.json. The weights are those of the last epoch."""

    test_accuracy: float
    """In [0, 1]."""
    test_loss: float
    """Cross-entropy, in nats."""
    val_accuracy: float
    epochs: int
    images_seen: int
    """Each cost one forward and one backward pass."""
    seconds: float
    """Of training and validation, summed over the epochs."""
    device: str


@dataclass(frozen=True)
class Run:
    """A run folder, read."""

    path: Path
    config: TrainConfig
    made: dict[str, Any]
    """The whole config.json."""
    metrics: list[Epoch]
    result: Result | None
    """None: not finished."""


def read_result(path: Path) -> Result | None:
    """None: the run is not finished.

    Raises:
        RunError: a broken file.
    """
    file = path / "result.json"
    try:
        return Result(**json.loads(file.read_text())) if file.is_file() else None
    except (OSError, ValueError, TypeError) as error:
        raise _broken(path, error) from None


def read_run(path: Path) -> Run:
    """Read a run folder, finished or not.

    Raises:
        RunError: its files are broken.
    """
    try:
        made = json.loads((path / "config.json").read_text())
        return Run(path, TrainConfig.from_json(made["config"]), made, read_metrics(path), read_result(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, SmixError):
            raise
        raise _broken(path, error) from None


def read_metrics(path: Path) -> list[Epoch]:
    """The finished epochs of a run.

    Raises:
        RunError: a broken file.
    """
    file = path / "metrics.jsonl"
    try:
        lines = file.read_text().splitlines() if file.is_file() else []
        return [Epoch(**json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError) as error:
        raise _broken(path, error) from None


def write_metrics(path: Path, metrics: list[Epoch]) -> None:
    files.write_text(path / "metrics.jsonl", "".join(json.dumps(dataclasses.asdict(epoch)) + "\n" for epoch in metrics))


def runs_in(folder: Path | str) -> list[Run]:
    """All runs of a comparison, or the one run that `folder` is, sorted by folder name.

    Raises:
        RunError: there is none.
    """
    folder = Path(folder)
    found = [path.parent for path in (folder / "config.json", *sorted(folder.glob("*/config.json"))) if path.is_file()]
    if not found:
        raise RunError(
            f"{folder}: expected a folder of runs, got none in it; make one with smix compare --out {folder}"
        )
    return [read_run(path) for path in found]


def check_comparable(runs: Sequence[Run]) -> None:
    """Raises RunError unless the runs differ in method and seed alone: same images, same options, same masks."""
    seen: dict[str, Any] = {}
    pairs: dict[tuple[str, int], Path] = {}
    for run in runs:
        pair = (run.config.method, run.config.seed)
        if pair in pairs:
            raise RunError(
                f"{run.path}: expected one run of each method and seed, got this and {pairs[pair]}; move one away"
            )
        pairs[pair] = run.path
        for what, value in _shared(run).items():
            if seen.setdefault(what, value) != value:
                raise RunError(
                    f"{run.path}: expected runs that differ in method and seed alone, got one with {what.replace('_', '-')} "
                    f"{value} instead of {seen[what]}; report them apart"
                )


def _shared(run: Run) -> dict[str, Any]:
    """What all runs of a comparison have in common; masks only of those that use them."""
    config = run.config.to_json()
    found = {name: value for name, value in config.items() if name not in ("method", "seed", "masks")}
    if run.made:
        found |= {name: run.made["data"].get(name) for name in ("fingerprint_train", "fingerprint_test", "init")}
        if run.made["masks"]:
            found["masks"] = run.made["masks"]["fingerprint"]
    return found


def _broken(path: Path, error: Exception) -> RunError:
    return RunError(
        f"{path}: expected a run of this version of smix, got {type(error).__name__} in its files; move the folder away"
    )


def check_same(out: Path, made: dict[str, Any]) -> None:
    """Raises RunError if `out` holds a run that was made of something else."""
    file = out / "config.json"
    if not file.is_file():
        return
    try:
        old = json.loads(file.read_text())
        pairs = [
            (f"--{key}" if part == "config" else f"{part} {key}", old[part][key], value)
            for part in ("config", "data", "masks")
            if made.get(part)
            for key, value in made[part].items()
        ]
    except KeyError as error:
        raise RunError(
            f"{file}: expected a run of this version of smix, got one without {error}; choose another --out"
        ) from None
    except (ValueError, TypeError):
        raise RunError(
            f"{file}: expected the configuration of a run, got a broken file; choose another --out"
        ) from None
    for key, before, now in pairs:
        if before != json.loads(json.dumps(now)):
            raise RunError(
                f"{out}: expected a new folder or the same run, got one made with {key.replace('_', '-')} {before} "
                f"instead of {now}; choose another --out"
            )
