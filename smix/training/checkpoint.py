"""Checkpoints: everything that resuming needs, in one file that is either whole or absent."""

import dataclasses
import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from smix import files
from smix.config import TrainConfig
from smix.errors import RunError
from smix.paths import same_value
from smix.training.learner import Learner
from smix.training.loop import Progress


def save_checkpoint(path: Path, learner: Learner, progress: Progress, config: TrainConfig) -> None:
    content = {"config": config.to_json(), **learner.state(), "progress": dataclasses.asdict(progress)}
    content["sha256"] = _digest(content)
    buffer = io.BytesIO()  # torch would hide a full disk in an error of its own
    torch.save(content, buffer)
    files.write_bytes(path, buffer.getvalue())


def load_checkpoint(path: Path, learner: Learner, config: TrainConfig) -> Progress:
    """Put the file's state into the learner; returns how far the training was. Runs no code of the file.

    Raises:
        RunError: a broken file, or one of another configuration.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content.pop("sha256") != _digest(content):  # torch compares no checksums
            raise ValueError("a wrong checksum")
        found, wanted = content["config"], config.to_json()
        others = [name for name in {**wanted, **found} if not same_value(name, found.get(name), wanted.get(name))]
        if not others:
            learner.load(content)
            return Progress(**content["progress"])
    except Exception as error:  # a broken file fails in a dozen ways
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise RunError(
            f"{path}: expected a whole checkpoint, got {reason}; delete it to train from the start"
        ) from None
    name = others[0]
    raise RunError(
        f"{path}: expected a checkpoint with {name.replace('_', '-')} {wanted.get(name)}, got {found.get(name)}; choose another --out"
    )


def _digest(content: Any) -> str:
    """Sha256 of everything in nested dictionaries and lists of tensors and numbers."""
    digest = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                digest.update(f"{key!r}:".encode())
                add(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                add(inner)
        elif isinstance(value, torch.Tensor):
            digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        else:
            digest.update(f"{value!r},".encode())

    add(content)
    return digest.hexdigest()
