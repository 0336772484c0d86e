"""Show a run in MLflow: `mlflow ui --backend-store-uri sqlite:///mlruns.db`."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from filelock import FileLock

from smix import files
from smix.training.loop import Epoch
from smix.training.records import Result
from smix.training.samples import Samples
from smix.training.trackers.record import RunRecord, Tracker, figure, metrics_of, results_of

DEFAULT = "sqlite:///mlruns.db"
"""Where runs are written without mlflow:URI: a file in the current folder."""
RUN_ID = "mlflow.txt"
"""File of a run folder that holds the identifier in MLflow, so that a resumed run continues there."""
LONGEST = 500
"""Maximum length of a parameter in MLflow's older servers."""
SERVER = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
"""Limits for servers that do not answer, unless the environment has others: MLflow's own are minutes."""


@contextmanager
def start(run: RunRecord, value: str, epochs_done: int) -> Iterator[Tracker]:
    """Yield a tracker that writes to the MLflow server or database `value`. A resumed run continues its run in MLflow."""
    for name, limit in SERVER.items():
        os.environ.setdefault(name, limit)
    from mlflow.tracking import MlflowClient

    for library in ("mlflow", "alembic"):  # they report each table that they create
        logging.getLogger(library).setLevel(logging.WARNING)
    uri = value or DEFAULT
    database = uri.removeprefix("sqlite:///") if uri.startswith("sqlite:///") else None
    # Runs that start together would create the tables of the database at the same time.
    with FileLock(f"{database}.lock") if database else nullcontext():
        client = MlflowClient(tracking_uri=uri)
        identifier = _run_id(client, run)
    if not epochs_done:
        for name, parameter in run.parameters().items():
            client.log_param(identifier, name, str(parameter)[:LONGEST])
    for name, path in run.paths().items():
        client.set_tag(identifier, f"smix.{name}", path)
    status = "FAILED"
    try:
        yield _MLflow(client, identifier)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        with suppress(Exception):  # the run is done, with or without its server
            client.set_terminated(identifier, status)


def _run_id(client: Any, run: RunRecord) -> str:
    """Return the identifier of the run, which is created if it does not exist in this database."""
    file = run.out / RUN_ID
    if file.is_file() and not file.is_symlink():
        identifier = file.read_text().strip()
        try:
            client.update_run(identifier, status="RUNNING")
        except Exception:  # another database, or the run was deleted there
            pass
        else:
            return identifier
    experiment = client.get_experiment_by_name(run.group)
    folder = None if experiment else client.create_experiment(run.group, artifact_location=_artifacts(client, run))
    created = client.create_run(folder or experiment.experiment_id, run_name=run.name)
    files.write_text(file, f"{created.info.run_id}\n")
    return str(created.info.run_id)


def _artifacts(client: Any, run: RunRecord) -> str | None:
    """Return the folder of MLflow's pictures next to the runs if the database is a local file; a server has its own."""
    return (run.out.resolve().parent / "mlflow").as_uri() if client.tracking_uri.startswith("sqlite:") else None


class _MLflow:
    def __init__(self, client: Any, identifier: str) -> None:
        self.client = client
        self.identifier = identifier

    def log_epoch(self, epoch: Epoch, samples: Samples) -> None:
        for name, value in metrics_of(epoch).items():
            self.client.log_metric(self.identifier, name, value, step=epoch.epoch)
        if (picture := figure(samples)) is not None:
            self.client.log_image(self.identifier, picture, f"mixes/epoch{epoch.epoch:04d}.png")

    def log_result(self, result: Result) -> None:
        for name, value in results_of(result).items():
            self.client.log_metric(self.identifier, name, value, step=result.epochs)
