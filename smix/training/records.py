"""Read and write the records of a run (provenance, epochs, result), and check them against each other."""

import dataclasses
import json
import math
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from smix import files
from smix.config import TrainConfig
from smix.errors import DivergedError, RunError, SmixError
from smix.paths import same_value
from smix.reprs import short_repr
from smix.training.loop import Epoch
from smix.training.provenance import Fraction, Name, Provenance
from smix.training.stopping import is_finished, result_epoch
from smix.untrusted import (
    UnreadableError,
    is_file,
    one_line,
    parse_json,
    read_checked,
    read_text,
    to_record,
    typed,
    with_checksum,
)

FORMAT = 3
"""Version of config.json and result.json."""
LARGEST = 1 << 33
"""Maximum size of a file of a run, in bytes."""
SPLIT = "split.csv"
"""File of a run with the path, label and split of each image, if smix has drawn the test images."""
CHECKSUMMED = (
    "config.json",
    "metrics.jsonl",
    "samples.npz",
    "weights.safetensors",
    "predictions.npz",
    "validation.npz",
)
"""Files whose sha256 is recorded in result.json."""


@dataclass(frozen=True)
class Result:
    """Content of result.json. The results are those of the weights after the last epoch, or with early stopping the best one."""

    test_accuracy: Fraction
    """Accuracy on the test images in [0, 1]."""
    test_loss: Annotated[float, Meta(ge=0)]
    """Cross-entropy, in nats."""
    val_accuracy: Fraction
    epochs: Annotated[int, Meta(ge=1, le=1 << 40)]
    images_seen: Annotated[int, Meta(ge=1, le=1 << 60)]
    """Number of training images, each of which took one forward and one backward pass."""
    seconds: Annotated[float, Meta(gt=0, le=1e12)]
    """Seconds of training and validation, summed over the epochs."""
    device: Name


@dataclass(frozen=True)
class Run:
    """Records in a run folder."""

    path: Path
    config: TrainConfig
    provenance: dict[str, Any]
    """Content of config.json."""
    metrics: list[Epoch]
    result: Result | None
    """None if the run is not finished."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Sha256 of the files of a finished run, by name."""
    __repr__ = short_repr(
        "smix.load_run(run.path) to use the network, smix.evaluate(run.path), smix.write_report(runs)"
    )


def read_result(path: Path) -> Result | None:
    """Return the result of a run, or None if it is not finished.

    Raises:
        DivergedError: Training diverged, so there is no result.
        RunError: The file is damaged or modified.
    """
    return _read_result(path)[0]


def _read_result(path: Path) -> tuple[Result | None, dict[str, str]]:
    file = path / "result.json"
    if not file.is_file() and not file.is_symlink():
        return None, {}
    try:
        values = read_checked(file, FORMAT)
        if isinstance(values.get("diverged"), str):
            raise DivergedError(f"{path}: {values['diverged']}")
        sums: dict[str, str] = typed(values.pop("files", None), dict[str, str], "files")
        values.pop("format", None)
        return to_record(values, Result), sums
    except UnreadableError as error:
        raise _broken(file, error) from None


def write_result(path: Path, result: Result) -> None:
    """Write result.json, the last file of a run, which contains the sha256 of the others."""
    sums = {name: files.sha256(path / name, follow_links=False) for name in CHECKSUMMED if (path / name).is_file()}
    values = {"format": FORMAT, **dataclasses.asdict(result), "files": sums}
    files.write_bytes(path / "result.json", with_checksum(values))


def write_diverged(path: Path, reason: str) -> None:
    """Write a result.json that records that training diverged. Reading it raises DivergedError."""
    files.write_bytes(path / "result.json", with_checksum({"format": FORMAT, "diverged": reason}))


def write_provenance(path: Path, provenance: Mapping[str, Any]) -> None:
    """Write config.json.

    Raises:
        RunError: A name or a value could not be read back.
    """
    try:
        content = with_checksum({"format": FORMAT, **provenance})
        typed(parse_json(content), Provenance)
    except UnreadableError as error:
        raise RunError(
            f"{path}: expected names and values that config.json can hold, got {error}; rename or correct them"
        ) from None
    files.write_bytes(path / "config.json", content)


def read_run(path: Path) -> Run:
    """Return the records of a run folder, whether the run is finished or not.

    Raises:
        DivergedError: The training diverged, so there is no result.
        RunError: Files of the run are damaged, or contradict each other.
    """
    file = path / "config.json"
    try:
        provenance = read_checked(file, FORMAT)
        checked: Provenance = typed(provenance, Provenance)
        config = TrainConfig.from_json(checked.config)
    except UnreadableError as error:
        raise _broken(file, error) from None
    except SmixError as error:
        raise RunError(f"{file}: {error}") from None
    result, sums = _read_result(path)
    run = Run(path, config, provenance, read_metrics(path), result, sums)
    if wrong := _contradiction(run):
        raise RunError(f"{path}: expected {wrong}; train it again in a new folder")
    for name in ("config.json", "metrics.jsonl") if result is not None else ():
        check_unchanged(run, name)
    return run


def check_unchanged(run: Run, name: str) -> None:
    """Raise RunError unless a file of a finished run has the sha256 recorded in result.json."""
    try:
        if (got := files.sha256(run.path / name, False, LARGEST)) == run.files.get(name):
            return
        reason = f"sha256 {got[:8]}"
    except UnreadableError as error:
        reason = str(error)
    raise RunError(
        f"{run.path / name}: expected the file listed in result.json (sha256 {run.files.get(name, 'none')[:8]}), got {reason}; "
        "restore the original file or train again"
    )


def _contradiction(run: Run) -> str:
    """Return "X, got Y" for the first contradiction between the epochs and the result, else an empty string."""
    epochs, result = run.metrics, run.result
    if [epoch.epoch for epoch in epochs] != list(range(1, len(epochs) + 1)):
        return "epochs numbered 1, 2, 3, ... in metrics.jsonl, got other numbers"
    channels = [len(run.provenance["normalisation"][name]) for name in ("mean", "std")]
    if channels[0] != channels[1]:
        return f"one mean and one standard deviation per channel in config.json, got {channels[0]} and {channels[1]}"
    if result is None:
        return ""
    if len(epochs) != result.epochs or not is_finished(run.config, epochs) or is_finished(run.config, epochs[:-1]):
        at_most = "" if run.config.patience is None else f" at most, with patience {run.config.patience},"
        return (
            f"{run.config.epochs} epochs{at_most or ','} as config.json says, got {result.epochs} in result.json and {len(epochs)} in "
            "metrics.jsonl"
        )
    last, name = result_epoch(run.config, epochs), "last" if run.config.patience is None else "best"
    if result.val_accuracy != last.val_accuracy:
        return f"val_accuracy {last.val_accuracy} in result.json, as in the {name} epoch of metrics.jsonl, got {result.val_accuracy}"
    seconds = math.fsum(epoch.seconds for epoch in epochs)
    if not math.isclose(result.seconds, seconds, rel_tol=1e-6):
        return (
            f"{seconds:.1f} seconds in result.json, the sum over all epochs of metrics.jsonl, got {result.seconds:.1f}"
        )
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
        return [to_record(parse_json(line), Epoch) for line in read_text(file, follow_links=False).splitlines()]
    except UnreadableError as error:
        raise _broken(file, error) from None


def write_metrics(path: Path, metrics: list[Epoch]) -> None:
    """Write metrics.jsonl, with one line per finished epoch."""
    files.write_text(path / "metrics.jsonl", "".join(json.dumps(dataclasses.asdict(epoch)) + "\n" for epoch in metrics))


def folders_in(folder: Path | str) -> list[Path]:
    """Return the folders of all runs of a comparison, sorted by name. If `folder` itself is a run, return only it.

    Raises:
        RunError: There is no run, or the folder cannot be read.
    """
    folder = Path(folder)
    if is_file(folder / "config.json"):
        return [folder]
    if runs := subfolders_of_runs(folder):
        return runs
    raise RunError(f"{folder}: expected a folder of runs, got none; create one with smix compare --out {folder}")


def subfolders_of_runs(folder: Path) -> list[Path]:
    """Return the folders of runs directly inside a folder, sorted by name.

    A folder that cannot be read is included, since it may be a run; reading it raises an error that says what is wrong.

    Raises:
        RunError: The folder itself cannot be read.
    """
    try:
        inner = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.exists() else []
    except OSError as error:
        raise RunError(f"{folder}: expected a folder of runs, got {error.strerror}; check its permissions") from None
    return [path for path in inner if _may_be_run(path)]


def _may_be_run(folder: Path) -> bool:
    try:
        return stat.S_ISREG((folder / "config.json").stat().st_mode)
    except OSError as error:
        return isinstance(error, PermissionError)


def held_out(run: Run) -> bool:
    """Return True if the validation images of a run were not trained on."""
    where = run.provenance.get("data", {}).get("validated_on")
    return run.config.val_fraction > 0 if where is None else bool(where == "validation images")


def shared_by(run: Run) -> dict[str, Any]:
    """Return the settings that all runs of a comparison must share, as far as they are known for this run.

    Data and initial weights are compared by content, which is known once a run has started; masks only if the run uses them.
    """
    config = run.config.to_json()
    shared = {
        name: value for name, value in config.items() if name not in ("method", "seed", "masks", "data", "init_weights")
    }
    data = run.provenance.get("data", {})
    shared |= {
        name: data[name] for name in ("fingerprint_train", "fingerprint_test", "images", "classes") if name in data
    }
    if "init_weights" in data:
        shared["init_weights"] = data["init_weights"]
    elif run.config.init_weights in (None, "pretrained"):
        shared["init_weights"] = run.config.init_weights
    if run.provenance.get("masks"):
        shared["masks"] = run.provenance["masks"]["fingerprint"]
    return shared


def _broken(file: Path, error: Exception) -> RunError:
    return RunError(
        f"{file}: expected a run file written by this version of smix, got {one_line(error)}; move the run folder away or train again"
    )


def check_same(out: Path, provenance: dict[str, Any]) -> None:
    """Raise RunError if `out` holds a run with another provenance."""
    file = out / "config.json"
    if not file.is_file() and not file.is_symlink():
        return
    try:
        old = read_checked(file, FORMAT)
        differing = [
            (f"--{key}" if part == "config" else f"{part} {key}", old[part][key], value)
            for part in ("config", "data", "masks")
            if provenance.get(part)
            for key, value in provenance[part].items()
            if not same_value(key if part == "config" else "", old[part][key], value)
        ]
    except (UnreadableError, KeyError, TypeError) as error:
        reason = f"one without {error}" if isinstance(error, KeyError) else one_line(error)
        raise RunError(f"{file}: expected a run of this version of smix, got {reason}; choose another --out") from None
    for key, before, now in differing:
        raise RunError(
            f"{out}: this run was started with {key.replace('_', '-')} {before} instead of {now}; choose another --out"
        )
