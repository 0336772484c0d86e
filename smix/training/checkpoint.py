"""Checkpoints: everything that resuming needs, in one file that is either whole or absent."""

import dataclasses
import io
import zipfile
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from smix import files
from smix.errors import RunError
from smix.training.loop import Progress


def save_checkpoint(
    path: Path, model: nn.Module, optimizer: Optimizer, schedule: LRScheduler, progress: Progress, fingerprint: str
) -> None:
    """`fingerprint`: of the run's configuration."""
    content = {
        "fingerprint": fingerprint,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "progress": dataclasses.asdict(progress),
    }
    buffer = io.BytesIO()  # torch would hide a full disk in an error of its own
    torch.save(content, buffer)
    files.write_bytes(path, buffer.getvalue())


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: Optimizer, schedule: LRScheduler, fingerprint: str
) -> Progress:
    """Put the file's state into model, optimizer and schedule; returns how far the training was. Runs no code of the file.

    Raises:
        RunError: a broken file, or one of another configuration.
    """
    device = next(model.parameters()).device
    try:
        with zipfile.ZipFile(path) as file:  # torch.load compares no checksums
            if broken := file.testzip():
                raise zipfile.BadZipFile(f"a wrong checksum of {broken}")
        content = torch.load(path, map_location=device, weights_only=True)
        found = content["fingerprint"]
        if found == fingerprint:
            model.load_state_dict(content["model"])
            optimizer.load_state_dict(content["optimizer"])
            schedule.load_state_dict(content["schedule"])
            return Progress(**content["progress"])
    except Exception as error:  # a broken file fails in a dozen ways
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise RunError(
            f"{path}: expected a whole checkpoint, got {reason}; delete it to train from the start"
        ) from None
    raise RunError(f"{path}: expected the checkpoint of configuration {fingerprint}, got {found}; choose another --out")
