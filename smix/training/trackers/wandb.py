"""Show a run in Weights & Biases, offline unless WANDB_MODE says otherwise: `wandb sync RUN/wandb/offline-run-*`."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from smix import files
from smix.training.loop import Epoch
from smix.training.records import Result
from smix.training.samples import Samples
from smix.training.trackers.record import RunRecord, Tracker, figure, metrics_of, results_of

FOLDER = "wandb"
PROJECT = "smix"


@contextmanager
def start(run: RunRecord, value: str, epochs_done: int) -> Iterator[Tracker]:
    """Yield a tracker that writes to the folder `wandb` of a run.

    The parts of an interrupted and resumed run have one identifier, by which `wandb sync --append` joins them.
    """
    import wandb

    files.check_no_link(run.out, run.out / FOLDER)
    identifier = hashlib.sha256(f"{run.out.resolve()}/{run.config.fingerprint()}".encode()).hexdigest()[:16]
    session = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        group=run.group,
        name=run.name,
        id=identifier,
        resume="allow",
        dir=str(run.out),
        mode=os.environ.get("WANDB_MODE", "offline"),
        config={**run.parameters(), "paths": run.paths()},
        settings=wandb.Settings(silent=True, console="off"),
    )
    code = 1
    try:
        yield _Wandb(session, wandb.Image)
        code = 0
    finally:
        with suppress(Exception):  # the run is done, with or without its server
            session.finish(exit_code=code)


class _Wandb:
    def __init__(self, session: Any, image: Any) -> None:
        self.session = session
        self.image = image

    def log_epoch(self, epoch: Epoch, samples: Samples) -> None:
        values: dict[str, Any] = {**metrics_of(epoch), "epoch": epoch.epoch}
        if (picture := figure(samples)) is not None:
            values["mixes"] = self.image(picture)
        self.session.log(values, step=epoch.epoch)

    def log_result(self, result: Result) -> None:
        self.session.summary.update(results_of(result))
