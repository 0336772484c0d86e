"""Record of a run that experiment trackers show, and the interface that they share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from smix.config import TrainConfig
from smix.training.loop import Epoch
from smix.training.records import Result
from smix.training.samples import Samples

METRICS = {
    "lr": "train/lr",
    "train_loss": "train/loss",
    "train_accuracy": "train/weighted_accuracy",
    "fell_back": "train/fell_back",
    "val_loss": "val/loss",
    "val_accuracy": "val/accuracy",
}
"""Names of the fields of an `Epoch` in trackers."""
RESULTS = {"test_accuracy": "test/accuracy", "test_loss": "test/loss", "val_accuracy": "result/val_accuracy"}
"""Names of fields of a `Result` in trackers."""


@dataclass(frozen=True)
class RunRecord:
    """A run, as trackers show it."""

    out: Path
    """Folder of the run."""
    config: TrainConfig
    provenance: dict[str, Any]
    """Content of config.json."""

    @property
    def name(self) -> str:
        """Name of the run: its folder."""
        return self.out.resolve().name

    @property
    def group(self) -> str:
        """Name of the comparison: the folder above."""
        return self.out.resolve().parent.name

    def parameters(self) -> dict[str, Any]:
        """Return the options, the fingerprints of data and masks, versions and machine."""
        masks = self.provenance["masks"]
        return {
            **self.config.to_json(),
            "fingerprint": self.config.fingerprint(),
            "data_fingerprint": self.provenance["data"]["fingerprint_train"],
            "masks_fingerprint": None if masks is None else masks["fingerprint"],
            "images": self.provenance["data"]["images"],
            "versions": self.provenance["versions"],
            **{name: self.provenance.get(name) for name in ("device", "precision", "threads", "processes")},
        }

    def paths(self) -> dict[str, str]:
        """Return the absolute paths of checkpoint, weights and report, whether they exist yet or not."""
        out = self.out.resolve()
        return {
            "run": str(out),
            "checkpoint": str(out / "checkpoint.pt"),
            "weights": str(out / "weights.safetensors"),
            "report": str(out.parent / "report" / "report.html"),
        }


@runtime_checkable
class Tracker(Protocol):
    """A tracker of one run."""

    def log_epoch(self, epoch: Epoch, samples: Samples) -> None:
        """Show the metrics of an epoch, and a few mixed images."""

    def log_result(self, result: Result) -> None:
        """Show the result of the run."""


def metrics_of(epoch: Epoch) -> dict[str, float]:
    """Return the metrics of an epoch by their names in trackers."""
    return {name: getattr(epoch, field) for field, name in METRICS.items()}


def results_of(result: Result) -> dict[str, float]:
    """Return the result of a run by the names in trackers."""
    return {name: getattr(result, field) for field, name in RESULTS.items()}


def pictures(samples: Samples) -> dict[str, NDArray[np.uint8]]:
    """Return images, mixes, weight maps and masks (n, H, W, 1 or 3); nothing for signals and volumes."""
    if samples.images.ndim != 4:
        return {}
    weight = np.rint(255 * np.broadcast_to(samples.weight, samples.images.shape[:-1]))[..., None]
    shown = {"images": samples.images, "mixed": samples.mixed, "weight": weight}
    if samples.masks is not None:
        shown["masks"] = np.rint(255 * samples.masks)[..., None]
    return {name: _colours(images) for name, images in shown.items()}


def figure(samples: Samples) -> UInt8[np.ndarray, "H W 3"] | None:
    """Return one picture of the samples: a column for each, with rows of images, masks, weight maps and mixes."""
    shown = pictures(samples)
    if not shown:
        return None
    rows = [shown[name] for name in ("images", "masks", "weight", "mixed") if name in shown]
    wide = [np.concatenate(list(np.broadcast_to(row, (*row.shape[:-1], 3))), axis=1) for row in rows]
    return np.ascontiguousarray(np.concatenate(wide, axis=0))


def _colours(images: NDArray[Any]) -> NDArray[np.uint8]:
    """Return images with one or three channels, as trackers require; of other images, return the first channel."""
    return (images if images.shape[-1] == 3 else images[..., :1]).astype(np.uint8)
