"""The files of a run folder that say what it is: its configuration, its epochs, its result, each checked against the others."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from smix import files
from smix.config import TrainConfig
from smix.errors import DivergedError, RunError, SmixError
from smix.paths import same_value
from smix.training.loop import Epoch
from smix.untrusted import UnreadableError, convert, one_line, parse_json, read_signed, read_text, signed, typed

FORMAT = 2
"""Version of config.json and result.json."""
VOUCHED = (
    "config.json",
    "metrics.jsonl",
    "samples.npz",
    "weights.safetensors",
    "predictions.npz",
    "validation.npz",
)
"""Files whose sha256 result.json holds."""

Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
Name = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]


@dataclass(frozen=True)
class Result:
    """The content of result.json. The weights are those of the last epoch."""

    test_accuracy: Share
    """In [0, 1]."""
    test_loss: Annotated[float, Meta(ge=0)]
    """Cross-entropy, in nats."""
    val_accuracy: Share
    epochs: Annotated[int, Meta(ge=1)]
    images_seen: Annotated[int, Meta(ge=1)]
    """Each cost one forward and one backward pass."""
    seconds: Annotated[float, Meta(gt=0)]
    """Of training and validation, summed over the epochs."""
    device: Name


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
    files: Mapping[str, str] = field(default_factory=dict)
    """Sha256 of the files of a finished run, by name."""


class Images(msgspec.Struct):
    """Numbers of images."""

    training: Count
    validation: Count
    test: Count


class Data(msgspec.Struct):
    """The part "data" of config.json."""

    fingerprint_train: str
    fingerprint_test: str
    images: Images
    size: Annotated[list[Annotated[int, Meta(ge=1)]], Meta(min_length=1, max_length=3)]
    classes: Annotated[list[Name], Meta(min_length=1)]
    read: Literal["kept on the device", "read in each epoch"]
    validated_on: Literal["validation images", "training images"]
    init: str = ""


class Named(msgspec.Struct):
    """What has a name, and settings that depend on it."""

    name: Name
    input_size: str | list[int] = "own"


class Masks(msgspec.Struct):
    """The part "masks" of config.json."""

    fingerprint: str
    source: Named
    refine: Named | None
    empty: Share


class Normalised(msgspec.Struct):
    """The part "normalisation" of config.json: one number a channel."""

    mean: Annotated[list[float], Meta(min_length=1)]
    std: Annotated[list[Annotated[float, Meta(gt=0)]], Meta(min_length=1)]


class Made(msgspec.Struct):
    """What config.json holds at least."""

    config: dict[str, Any]
    versions: dict[str, Name]
    data: Data
    masks: Masks | None
    normalisation: Normalised
    threads: Annotated[int, Meta(ge=1)] | None = None
    processes: Annotated[int, Meta(ge=1)] = 1
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    device: Name = ""


def read_result(path: Path) -> Result | None:
    """Return the result of a run, None if it is not finished.

    Raises:
        DivergedError: The training ended without a result that is finite.
        RunError: The file is damaged, or was changed since it was written.
    """
    return _read_result(path)[0]


def _read_result(path: Path) -> tuple[Result | None, dict[str, str]]:
    file = path / "result.json"
    if not file.is_file() and not file.is_symlink():
        return None, {}
    try:
        values = read_signed(file, FORMAT)
        if isinstance(values.get("diverged"), str):
            raise DivergedError(f"{path}: {values['diverged']}")
        sums: dict[str, str] = typed(values.pop("files", None), dict[str, str], "files")
        values.pop("format", None)
        return convert(values, Result), sums
    except UnreadableError as error:
        raise _broken(file, error) from None


def write_result(path: Path, result: Result) -> None:
    """Write result.json: the last file of a run, which holds the sha256 of the others."""
    sums = {name: files.sha256(path / name, links=False) for name in VOUCHED if (path / name).is_file()}
    values = {"format": FORMAT, **dataclasses.asdict(result), "files": sums}
    files.write_bytes(path / "result.json", signed(values))


def write_diverged(path: Path, why: str) -> None:
    """Write a result.json that says that the training has no result. Reading it raises DivergedError."""
    files.write_bytes(path / "result.json", signed({"format": FORMAT, "diverged": why}))


def write_made(path: Path, made: Mapping[str, Any]) -> None:
    """Write config.json."""
    files.write_bytes(path / "config.json", signed({"format": FORMAT, **made}))


def read_run(path: Path) -> Run:
    """Read a run folder, finished or not.

    Raises:
        DivergedError: The training ended without a result.
        RunError: Its files are damaged, or contradict each other.
    """
    file = path / "config.json"
    try:
        made = read_signed(file, FORMAT)
        checked: Made = typed(made, Made)
        config = TrainConfig.from_json(checked.config)
    except UnreadableError as error:
        raise _broken(file, error) from None
    except SmixError as error:
        raise RunError(f"{file}: {error}") from None
    result, sums = _read_result(path)
    run = Run(path, config, made, read_metrics(path), result, sums)
    if wrong := _contradiction(run):
        raise RunError(f"{path}: expected {wrong}; train it again in a new folder")
    for name in ("config.json", "metrics.jsonl") if result is not None else ():
        check_unchanged(run, name)
    return run


def check_unchanged(run: Run, name: str) -> None:
    """Raise RunError unless a file of a finished run is as result.json says."""
    try:
        if (got := files.sha256(run.path / name, links=False)) == run.files.get(name):
            return
        reason = f"another ({got[:8]})"
    except UnreadableError as error:
        reason = str(error)
    raise RunError(
        f"{run.path / name}: expected the file that the run wrote ({run.files.get(name, 'none')[:8]}), got {reason}; copy the run again"
    )


def _contradiction(run: Run) -> str:
    """Return what the epochs and the result were expected to be, empty if they fit each other."""
    epochs, result = run.metrics, run.result
    if [epoch.epoch for epoch in epochs] != list(range(1, len(epochs) + 1)):
        return "the epochs 1, 2 and so on in metrics.jsonl, got others"
    if result is None:
        return ""
    if not len(epochs) == result.epochs == run.config.epochs:
        return f"{run.config.epochs} epochs, as config.json says, got {result.epochs} in result.json and {len(epochs)} in metrics.jsonl"
    if result.val_accuracy != epochs[-1].val_accuracy:
        return f"the validation accuracy of the last epoch in result.json, {epochs[-1].val_accuracy}, got {result.val_accuracy}"
    seconds = math.fsum(epoch.seconds for epoch in epochs)
    if not math.isclose(result.seconds, seconds, rel_tol=1e-6):
        return f"the seconds of all epochs in result.json, {seconds:.1f}, got {result.seconds:.1f}"
    return ""


def read_metrics(path: Path) -> list[Epoch]:
    """Return the finished epochs of a run.

    Raises:
        RunError: The file is damaged.
    """
    file = path / "metrics.jsonl"
    if not file.is_file() and not file.is_symlink():
        return []
    try:
        return [convert(parse_json(line), Epoch) for line in read_text(file, links=False).splitlines()]
    except UnreadableError as error:
        raise _broken(file, error) from None


def write_metrics(path: Path, metrics: list[Epoch]) -> None:
    files.write_text(path / "metrics.jsonl", "".join(json.dumps(dataclasses.asdict(epoch)) + "\n" for epoch in metrics))


def folders_in(folder: Path | str) -> list[Path]:
    """Return the folders of all runs of a comparison, or the one run that `folder` is, sorted by name.

    Raises:
        RunError: There is none, or one cannot be read.
    """
    folder = Path(folder)
    if (folder / "config.json").is_file():
        return [folder]
    if found := subfolders_of_runs(folder):
        return found
    raise RunError(f"{folder}: expected a folder of runs, got none in it; make one with smix compare --out {folder}")


def subfolders_of_runs(folder: Path) -> list[Path]:
    """Return the folders of runs directly inside a folder, sorted by name.

    Raises:
        RunError: A folder is another user's, who keeps it closed: it could hold a run that would be missed.
    """
    try:
        inner = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    except OSError as error:
        raise RunError(f"{folder}: expected a folder of runs, got {error.strerror}; make it readable") from None
    if closed := [path for path in inner if not os.access(path, os.R_OK | os.X_OK)]:
        raise RunError(
            f"{closed[0]}: expected a folder that can be read, got Permission denied; make it readable, or move it away"
        )
    return [path for path in inner if (path / "config.json").is_file()]


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


def _broken(file: Path, error: Exception) -> RunError:
    return RunError(
        f"{file}: expected a file of a run, as this version of smix writes it, got {one_line(error)}; move the folder away"
    )


def check_same(out: Path, made: dict[str, Any]) -> None:
    """Raises RunError if `out` holds a run that was made of something else."""
    file = out / "config.json"
    if not file.is_file() and not file.is_symlink():
        return
    try:
        old = read_signed(file, FORMAT)
        others = [
            (f"--{key}" if part == "config" else f"{part} {key}", old[part][key], value)
            for part in ("config", "data", "masks")
            if made.get(part)
            for key, value in made[part].items()
            if not same_value(key if part == "config" else "", old[part][key], value)
        ]
    except (UnreadableError, KeyError, TypeError) as error:
        reason = f"one without {error}" if isinstance(error, KeyError) else one_line(error)
        raise RunError(f"{file}: expected a run of this version of smix, got {reason}; choose another --out") from None
    for key, before, now in others:
        raise RunError(
            f"{out}: expected a new folder or the same run, got one made with {key.replace('_', '-')} {before} "
            f"instead of {now}; choose another --out"
        )
