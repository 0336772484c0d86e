"""Show a run in TensorBoard: `tensorboard --logdir runs`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from smix import files
from smix.training.loop import Epoch
from smix.training.records import Result
from smix.training.samples import Samples
from smix.training.trackers.record import RunRecord, Tracker, metrics_of, pictures, results_of

FOLDER = "tensorboard"


@contextmanager
def start(run: RunRecord, value: str, epochs_done: int) -> Iterator[Tracker]:
    """Yield a writer for the folder `tensorboard` of a run.

    Entries after `epochs_done` epochs, which an interrupted run has written, are replaced.
    """
    from torch.utils.tensorboard import SummaryWriter

    files.check_no_link(run.out, run.out / FOLDER)
    with SummaryWriter(str(run.out / FOLDER), purge_step=epochs_done + 1) as writer:
        if not epochs_done:
            for name, content in (("parameters", run.parameters()), ("paths", run.paths())):
                writer.add_text(name, f"```\n{json.dumps(content, indent=1)}\n```", 0)
        yield _TensorBoard(writer)


class _TensorBoard:
    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def log_epoch(self, epoch: Epoch, samples: Samples) -> None:
        for tag, value in metrics_of(epoch).items():
            self.writer.add_scalar(tag, value, epoch.epoch)
        for name, images in pictures(samples).items():
            self.writer.add_images(f"mixes/{name}", images, epoch.epoch, dataformats="NHWC")
        self.writer.flush()

    def log_result(self, result: Result) -> None:
        for tag, value in results_of(result).items():
            self.writer.add_scalar(tag, value, result.epochs)
