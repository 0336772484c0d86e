"""Curves, mixed images and masks of a run for TensorBoard: `tensorboard --logdir runs`."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smix import files
from smix.errors import OptionError
from smix.training.loop import Epoch
from smix.training.samples import Samples

FOLDER = "tensorboard"
CURVES = {
    "lr": "train/lr",
    "train_loss": "train/loss",
    "train_accuracy": "train/weighted_accuracy",
    "fell_back": "train/fell_back",
    "val_loss": "val/loss",
    "val_accuracy": "val/accuracy",
}
"""Fields of an `Epoch`, and what they are called on the board."""


def check_installed() -> None:
    """Raises OptionError if the package is missing."""
    if find_spec("tensorboard") is None:
        raise OptionError("tensorboard: expected its package, got none; install smix[tensorboard]")


@contextmanager
def board(out: Path, wanted: bool, epochs_done: int) -> Iterator["Board | None"]:
    """Inside the block a board writes to the folder `tensorboard` of a run; None if it is not wanted. What was written after
    `epochs_done`, by a run that was cut, is replaced."""
    if not wanted:
        yield None
        return
    from torch.utils.tensorboard import SummaryWriter

    files.check_no_link(out, out / FOLDER)
    with SummaryWriter(str(out / FOLDER), purge_step=epochs_done + 1) as writer:
        yield Board(writer)


class Board:
    """Writes an epoch at a time."""

    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def show(self, epoch: Epoch, samples: Samples) -> None:
        """The epoch's figures, and a few images, their mixes, and the weight of each own image."""
        for name, shown in CURVES.items():
            self.writer.add_scalar(shown, getattr(epoch, name), epoch.epoch)
        if samples.images.ndim == 4:
            whites = np.rint(255 * np.broadcast_to(samples.weight, samples.images.shape[:-1]))[..., None]
            for name, images in (("images", samples.images), ("mixed", samples.mixed), ("weight", whites)):
                self.writer.add_images(f"mixes/{name}", _colours(images), epoch.epoch, dataformats="NHWC")
            if samples.masks is not None:
                shown = np.rint(255 * samples.masks)[..., None]
                self.writer.add_images("mixes/masks", _colours(shown), epoch.epoch, dataformats="NHWC")
        self.writer.flush()


def _colours(images: NDArray[Any]) -> NDArray[np.uint8]:
    """One channel or three, as TensorBoard wants them; of others the first."""
    return (images if images.shape[-1] == 3 else images[..., :1]).astype(np.uint8)
