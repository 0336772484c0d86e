"""What a run folder says: its configuration, its epochs, its result."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from smix import files
from smix.config import TrainConfig
from smix.errors import RunError, SmixError
from smix.paths import same_value
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
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise _broken(path, error) from None


Record = TypeVar("Record", Result, Epoch)


def _numbers(record: Record) -> Record:
    """The same. Raises TypeError where a field holds something else than it should."""
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        fits = isinstance(value, int | float) if field.type is float else isinstance(value, field.type)  # type: ignore[arg-type]
        if isinstance(value, bool) or not fits:
            raise TypeError(f"{field.name}: expected {field.type}, got {value!r}")
    return record


def _typed(config: TrainConfig) -> TrainConfig:
    """The same. Raises TypeError where an option holds something else than it should."""
    for name, kind in get_type_hints(TrainConfig).items():
        value = getattr(config, name)
        if get_origin(kind) is Literal:
            fits = value in get_args(kind)
        elif get_origin(kind) is tuple:
            fits = all(isinstance(one, int) for one in value)
        else:
            fits = isinstance(value, kind)
        if not fits:
            raise TypeError(f"{name}: expected {kind}, got {value!r}")
    return config


def read_run(path: Path) -> Run:
    """Read a run folder, finished or not.

    Raises:
        RunError: its files are broken.
    """
    try:
        made = json.loads((path / "config.json").read_text())
        return Run(path, _typed(TrainConfig.from_json(made["config"])), made, read_metrics(path), read_result(path))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
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
    except (OSError, ValueError, TypeError, RecursionError) as error:
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
    """What all runs of a comparison have in common, as far as it is known of this one; masks only of those that use them.

    Data and weights are what they hold, not where they lie: they are known of runs that have begun.
    """
    config = run.config.to_json()
    found = {name: value for name, value in config.items() if name not in ("method", "seed", "masks", "data", "init")}
    data = run.made.get("data", {})
    found |= {
        name: data[name] for name in ("fingerprint_train", "fingerprint_test", "images", "classes") if name in data
    }
    if "init" in data:
        found["init"] = data["init"]
    elif run.config.init in (None, "pretrained"):
        found["init"] = run.config.init
    if run.made.get("masks"):
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
        others = [
            (f"--{key}" if part == "config" else f"{part} {key}", old[part][key], value)
            for part in ("config", "data", "masks")
            if made.get(part)
            for key, value in made[part].items()
            if not same_value(key if part == "config" else "", old[part][key], value)
        ]
    except KeyError as error:
        raise RunError(
            f"{file}: expected a run of this version of smix, got one without {error}; choose another --out"
        ) from None
    except (ValueError, TypeError):
        raise RunError(
            f"{file}: expected the configuration of a run, got a broken file; choose another --out"
        ) from None
    for key, before, now in others:
        raise RunError(
            f"{out}: expected a new folder or the same run, got one made with {key.replace('_', '-')} {before} "
            f"instead of {now}; choose another --out"
        )
