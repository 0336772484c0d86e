"""Write curves, mixed images and masks of a run for TensorBoard: `tensorboard --logdir runs`."""

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
"""Tags of the fields of an `Epoch`."""


def check_installed() -> None:
    """Raise OptionError if TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise OptionError("tensorboard: TensorBoard is not installed; run pip install 'smix[tensorboard]'")


@contextmanager
def board(out: Path, enabled: bool, epochs_done: int) -> Iterator["Board | None"]:
    """Yield a writer for the folder `tensorboard` of a run, or None if it is not requested.

    Entries after `epochs_done` epochs, which an interrupted run has written, are replaced.
    """
    if not enabled:
        yield None
        return
    from torch.utils.tensorboard import SummaryWriter

    files.check_no_link(out, out / FOLDER)
    with SummaryWriter(str(out / FOLDER), purge_step=epochs_done + 1) as writer:
        yield Board(writer)


class Board:
    """TensorBoard writer of one run."""

    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def show(self, epoch: Epoch, samples: Samples) -> None:
        """Write the metrics of an epoch, and a few images with their mixes and weight maps."""
        for name, tag in CURVES.items():
            self.writer.add_scalar(tag, getattr(epoch, name), epoch.epoch)
        if samples.images.ndim == 4:
            weight = np.rint(255 * np.broadcast_to(samples.weight, samples.images.shape[:-1]))[..., None]
            pictures = {"images": samples.images, "mixed": samples.mixed, "weight": weight}
            if samples.masks is not None:
                pictures["masks"] = np.rint(255 * samples.masks)[..., None]
            for name, images in pictures.items():
                self.writer.add_images(f"mixes/{name}", _colours(images), epoch.epoch, dataformats="NHWC")
        self.writer.flush()


def _colours(images: NDArray[Any]) -> NDArray[np.uint8]:
    """Return images with one or three channels, as TensorBoard requires; of other images, return the first channel."""
    return (images if images.shape[-1] == 3 else images[..., :1]).astype(np.uint8)
