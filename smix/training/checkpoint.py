"""Save and load checkpoints, which contain everything needed to resume a run in one file that is written atomically."""

import dataclasses
import hashlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from smix import files
from smix.arrays import check_stored
from smix.config import TrainConfig
from smix.errors import RunError
from smix.paths import same_value
from smix.training.learner import Learner
from smix.training.loop import Epoch, Progress
from smix.untrusted import UnreadableError, one_line, open_file

MAX_VALUES = 1_000_000
"""Maximum number of tensors, numbers and strings in a checkpoint: a structure that contains itself would never end."""


def save_checkpoint(
    path: Path, learner: Learner, progress: Progress, config: TrainConfig, metrics: Sequence[Epoch] = ()
) -> None:
    """Save the configuration, the state of the learner, the progress, and a digest of the finished epochs.

    Args:
        path: File to write.
        learner: Network and optimizer.
        progress: Progress of the training.
        config: Options of the run.
        metrics: Finished epochs.
    """
    content = {
        "config": config.to_json(),
        **learner.state(),
        "progress": dataclasses.asdict(progress),
        "metrics": _digest_of(metrics),
    }
    content["sha256"] = _digest(content)
    buffer = io.BytesIO()  # torch would hide a full disk in an error of its own
    torch.save(_interned(content), buffer)
    files.write_bytes(path, buffer.getvalue())


def load_checkpoint(path: Path, learner: Learner, config: TrainConfig, metrics: Sequence[Epoch] = ()) -> Progress:
    """Load the state in a file into the learner, and return the progress of the training. No code in the file is run.

    Args:
        path: Checkpoint file.
        learner: Network and optimizer, changed in place.
        config: Options of the run.
        metrics: Epochs in metrics.jsonl, at least those that were finished when the checkpoint was written.

    Raises:
        RunError: The file is damaged, or belongs to another configuration or other epochs.
    """
    try:
        with open_file(path, follow_links=False) as file:
            check_stored(file)
            content = torch.load(file, map_location="cpu", weights_only=True)
        if content.pop("sha256") != _digest(content):  # torch compares no checksums
            raise UnreadableError("a wrong checksum")
        saved, current = content["config"], config.to_json()
        differing = [name for name in {**current, **saved} if not same_value(name, saved.get(name), current.get(name))]
        if not differing:
            progress = Progress(**content["progress"])
            if content["metrics"] != _digest_of(metrics[: progress.epoch]):
                raise UnreadableError(f"a checkpoint after epoch {progress.epoch} that does not match metrics.jsonl")
            learner.load(content)
            return progress
    except Exception as error:  # a damaged file raises many kinds of exceptions
        raise RunError(
            f"{path}: expected an intact checkpoint, got {one_line(error)}; delete it to train from scratch"
        ) from None
    name = differing[0]
    raise RunError(
        f"{path}: expected a checkpoint with {name.replace('_', '-')} {current.get(name)}, got {saved.get(name)}; choose another --out"
    )


def _interned(content: Any) -> Any:
    """Return nested dictionaries and lists with one object for equal names: pickle writes a name once if it is the same object.

    Names that were read from a checkpoint are other objects, and equal states shall give equal files.
    """
    if isinstance(content, dict):
        return {sys.intern(key) if type(key) is str else key: _interned(value) for key, value in content.items()}
    return [_interned(value) for value in content] if type(content) is list else content


def _digest_of(metrics: Sequence[Epoch]) -> str:
    """Return the sha256 of epochs without their seconds, which differ between runs of the same configuration."""
    return _digest([{**dataclasses.asdict(epoch), "seconds": None} for epoch in metrics])


def _digest(content: Any) -> str:
    """Return the sha256 of nested dictionaries and lists of tensors and numbers."""
    digest, left = hashlib.sha256(), MAX_VALUES

    def add(value: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise UnreadableError(f"more than {MAX_VALUES:,} values")
        if isinstance(value, dict):
            for key, inner in value.items():
                digest.update(f"{key!r}:".encode())
                add(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                add(inner)
        elif isinstance(value, torch.Tensor):
            if value.numel() * value.element_size() > value.untyped_storage().nbytes():
                raise UnreadableError("a tensor that is larger than its memory")
            digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        else:
            digest.update(f"{value!r},".encode())

    add(content)
    return digest.hexdigest()
