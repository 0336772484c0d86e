"""What a run folder says: its configuration, its epochs, its result."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

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
        return _numbers(Result(**json.loads(file.read_text()))) if file.is_file() else None
    except (OSError, ValueError, TypeError) as error:
        raise _broken(path, error) from None


Record = TypeVar("Record", Result, Epoch)


def _numbers(record: Record) -> Record:
    """The same. Raises TypeError where a field that is a number holds something else."""
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if field.type is not str and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise TypeError(f"{field.name}: expected a number, got {value!r}")
    return record


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
        return [_numbers(Epoch(**json.loads(line))) for line in lines]
    except (OSError, ValueError, TypeError) as error:
        raise _broken(path, error) from None


def write_metrics(path: Path, metrics: list[Epoch]) -> None:
    files.write_text(path / "metrics.jsonl", "".join(json.dumps(dataclasses.asdict(epoch)) + "\n" for epoch in metrics))


def folders_in(folder: Path | str) -> list[Path]:
    """The folders of all runs of a comparison, or the one run that `folder` is, sorted by name.

    Raises:
        RunError: there is none.
    """
    folder = Path(folder)
    found = [path.parent for path in (folder / "config.json", *sorted(folder.glob("*/config.json"))) if path.is_file()]
    if not found:
        raise RunError(
            f"{folder}: expected a folder of runs, got none in it; make one with smix compare --out {folder}"
        )
    return found


def runs_in(folder: Path | str) -> list[Run]:
    """All runs of a comparison. Raises RunError: as `folders_in` and `read_run`."""
    return [read_run(path) for path in folders_in(folder)]


def shared_by(run: Run) -> dict[str, Any]:
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
