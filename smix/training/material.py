"""Load the inputs of a run, and check them before anything is written."""

import dataclasses
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import nn

from smix import files, rng
from smix.config import RunOptions, TrainConfig, cores
from smix.data.batches import Batches, Loader, Normalisation
from smix.data.sets import ImageSet, balanced_order, load_data
from smix.data.streaming import SIDE, Reader, Streamed, as_evaluated, fits_on_device
from smix.errors import DataError, OptionError
from smix.masks.lookup import ObjectMasks, masks_of
from smix.mixing import Method, parse_method
from smix.models import build_model
from smix.training.samples import SAMPLES, Samples, draw_samples
from smix.training.weights import load_init
from smix.version import __version__

PROBE = 1000
"""Training images whose accuracy is shown where none are kept for validation."""
MOST_WORKERS = 8


@dataclass(frozen=True, eq=False)
class RunInputs:
    """A method, a network, and the images of each split."""

    method: Method
    model: nn.Module
    """Network with its initial weights, on the CPU."""
    training: ImageSet
    validation: ImageSet
    """Kept from the training images; with val_fraction 0, a part of them that is trained on as well."""
    test: ImageSet
    normalise: Normalisation
    masks: ObjectMasks | None
    """Masks of the training images; None: the method uses none."""
    size: tuple[int, ...]
    """Spatial size of the input images."""
    resident: bool
    """The images are kept on the device; else they are read anew in each epoch."""

    def said(self) -> str:
        """Describe how the images are read."""
        shown = " x ".join(map(str, self.size))
        how = "kept on the device" if self.resident else "read anew in each epoch"
        return f"{len(self.training):,} training images of {shown}, {how}"

    def loader(self, data: ImageSet, device: torch.device, options: RunOptions) -> Loader:
        """Return a loader that reads a split as evaluation does."""
        if self.resident:
            return Batches.of(data, self.normalise, device)
        return Streamed(Reader(data, _plane(self.size)), self.normalise, device, _workers(options))

    def training_loader(self, config: TrainConfig, device: torch.device, options: RunOptions) -> Loader:
        """Return a loader of the training images, with crops, flips and masks."""
        masks = None if self.masks is None else self.masks.masks
        valid = None if self.masks is None else self.masks.valid
        if self.resident:
            assert masks is None or isinstance(masks, np.ndarray)
            return Batches.of(self.training, self.normalise, device, masks, valid, config.crop_padding, config.hflip)
        reader = Reader(self.training, _plane(self.size), config.crop_padding, config.hflip, masks)
        kept = None if valid is None else torch.from_numpy(valid)
        return Streamed(reader, self.normalise, device, _workers(options), kept)

    def samples(self, seed: int) -> Samples:
        """A few mixes of training images."""
        rows = balanced_order(self.training.labels, self.training.fingerprint)[:SAMPLES]
        if self.resident:
            shown = self.training.rows(rows)
            masks = None if self.masks is None else self.masks.masks[rows]
        else:
            shown, masks = as_evaluated(
                self.training, _plane(self.size), rows, None if self.masks is None else self.masks.masks
            )
        valid = None if self.masks is None or self.masks.valid is None else self.masks.valid[rows]
        return draw_samples(self.method, shown, seed, masks, valid)


def prepare(config: TrainConfig, options: RunOptions) -> RunInputs:
    """Load and check everything that a run needs, before anything is written.

    Raises:
        SmixError: the data, the masks, the network or an option cannot be used.
    """
    method = parse_method(config.method)
    if config.data == "speech-commands" and config.hflip:
        raise OptionError("hflip: expected none of spectrograms, which it plays backwards, got --hflip; add --no-hflip")
    whole = load_data(config.data, options.data_root, "train")
    test = load_data(config.data, options.data_root, "test").take(config.test_limit)
    resident = fits_on_device(whole, config.image_size)
    if resident:
        whole, test = whole.loaded(), test.loaded()
        size = whole.array.shape[1:-1]
        if test.array.shape[1:] != whole.array.shape[1:]:
            raise DataError(
                f"{config.data}: expected test images of shape {whole.array.shape[1:]} as in train, got {test.array.shape[1:]}"
            )
    else:
        size = (config.image_size or (SIDE if whole.size is None else min(whole.size)),) * 2
        if whole.size is not None and len(whole.size) != 2:
            raise DataError(
                f"{config.data}: expected images with 2 spatial dimensions to resize, got size {whole.size}"
            )
    training, validation = split(whole.take(config.train_limit), config.val_fraction)
    masks = masks_of(training, config.masks) if method.needs_masks else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.key(config.seed, "init"))
        pretrained = config.init_weights == "pretrained"
        model = build_model(config.model, len(whole.classes), whole.channels, size, pretrained)
    if config.init_weights is not None and not pretrained:
        load_init(model, config.init_weights)
    normalise = Normalisation.of(whole if resident else as_evaluated(whole, _plane(size))[0])
    return RunInputs(method, model, training, validation, test, normalise, masks, size, resident)


def split(data: ImageSet, val_fraction: float) -> tuple[ImageSet, ImageSet]:
    """Training and validation images: class-balanced, and the same for all seeds and methods. With `val_fraction` 0 all are
    for training, and `PROBE` of them stand in for validation."""
    if val_fraction == 0:
        return data, data.take(min(PROBE, len(data)))
    order = balanced_order(data.labels, f"validation/{data.fingerprint}")
    count = round(val_fraction * len(data))
    if not 0 < count < len(data) - 1:
        raise DataError(
            f"{data.name}: expected images for training and validation, got {len(data)} with val_fraction {val_fraction}; "
            "take more"
        )
    return data.rows(np.sort(order[count:])), data.rows(np.sort(order[:count]))


def provenance_of(config: TrainConfig, material: RunInputs) -> dict[str, Any]:
    """The content of config.json: all that makes a run."""
    sets = (material.training, material.validation, material.test)
    provenance: dict[str, Any] = {
        "config": config.to_json(),
        "versions": versions(),
        "data": {
            "fingerprint_train": material.training.fingerprint,
            "fingerprint_test": material.test.fingerprint,
            "images": dict(zip(("training", "validation", "test"), map(len, sets), strict=True)),
            "size": list(material.size),
            "classes": list(material.training.classes),
            "read": "kept on the device" if material.resident else "read in each epoch",
            "validated_on": "validation images" if config.val_fraction else "training images",
        },
        "masks": None if material.masks is None else material.masks.provenance,
        "normalisation": dataclasses.asdict(material.normalise),
    }
    if config.init_weights is not None and Path(config.init_weights).is_file():
        provenance["data"]["init_weights"] = files.sha256(Path(config.init_weights))
    return provenance


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that compute."""
    return {
        "smix": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": np.__version__,
    }


def _plane(size: tuple[int, ...]) -> tuple[int, int]:
    height, width = size
    return height, width


def _workers(options: RunOptions) -> int:
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # processes of this training on this machine, as torchrun says
    return max(1, min(cores() // here, MOST_WORKERS)) if options.workers is None else options.workers
