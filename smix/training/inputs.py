"""Load the inputs of a run, and check them before anything is written."""

import dataclasses
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from jaxtyping import Float
from torch import Tensor, nn

from smix import files, rng
from smix.config import RunOptions, TrainConfig, cores
from smix.data.augment import Augmentation
from smix.data.batches import Batches, Loader, Normalisation
from smix.data.drawn_split import SplitPart
from smix.data.sets import ImageSet, balanced_order, load_data, load_validation
from smix.data.streaming import SIDE, Reader, Streamed, as_evaluated, fits_on_device
from smix.errors import DataError, OptionError
from smix.masks.lookup import ObjectMasks, masks_of
from smix.mixing import Method, parse_method
from smix.models import build_model
from smix.reprs import short_repr
from smix.training.freeze import freeze
from smix.training.samples import SAMPLES, Samples, draw_samples
from smix.training.weights import describe_pretrained, load_init
from smix.version import __version__

PROBE = 1000
"""Number of training images that are evaluated instead if no images are held out for validation."""
MAX_WORKERS = 8


@dataclass(frozen=True, eq=False)
class RunInputs:
    """Loaded and checked inputs of a run: method, network, and the images of each split."""

    config: TrainConfig
    method: Method
    model: nn.Module
    """Network with its initial weights, on the CPU."""
    training: ImageSet
    validation: ImageSet
    """Validation images of the data set, or images held out from training; with `val_fraction` 0, a subset of the training images."""
    test: ImageSet
    normalise: Normalisation
    masks: ObjectMasks | None
    """Masks of the training images; None if the method uses none."""
    size: tuple[int, ...]
    """Spatial size of the input images."""
    resident: bool
    """True if the images are kept on the device, False if they are read from files in each epoch."""
    held_out: bool
    """True if the validation images are not trained on."""
    drawn: Mapping[str, SplitPart] | None = None
    """All images by split, if smix has drawn the test images because the data set defines none."""
    notes: tuple[str, ...] = ()
    """Notes on the data to show to the user once."""
    loaded: str = ""
    """Which initial weights were loaded; empty if all are random."""
    __repr__ = short_repr()

    def describe(self) -> str:
        """Return a description of the number and size of the images and of how they are read."""
        size = " x ".join(map(str, self.size))
        place = "kept on the device" if self.resident else "read in each epoch"
        return f"{len(self.training):,} training images of {size}, {place}"

    def loader(self, data: ImageSet, device: torch.device, options: RunOptions) -> Loader:
        """Return a loader for evaluation."""
        if self.resident:
            return Batches.of(data, self.normalise, device)
        return Streamed(Reader(data, self._plane), self.normalise, device, _workers(options))

    def training_loader(self, device: torch.device, options: RunOptions) -> Loader:
        """Return a loader of the training images with crops, flips and masks."""
        masks, valid = (None, None) if self.masks is None else (self.masks.masks, self.masks.valid)
        config, fill = self.config, tuple(round(255 * mean) for mean in self.normalise.mean)
        augmentation = Augmentation(config.augment, config.random_erasing, fill)
        crops = config.crop_padding, config.hflip
        if self.resident:
            assert masks is None or isinstance(masks, np.ndarray)
            return Batches.of(
                self.training,
                self.normalise,
                device,
                masks,
                valid,
                *crops,
                config.drop_last,
                augmentation,
                config.balanced_sampling,
            )
        reader = Reader(self.training, self._plane, *crops, masks, augmentation=augmentation)
        flags = None if valid is None else torch.from_numpy(valid)
        return Streamed(
            reader,
            self.normalise,
            device,
            _workers(options),
            flags,
            config.drop_last,
            balanced=config.balanced_sampling,
        )

    def class_weight(self, device: torch.device) -> Float[Tensor, "K"] | None:
        """Return the weight of each class in the loss, or None. The mean over the training images is 1."""
        if self.config.class_weights == "none":
            return None
        counts = np.bincount(self.training.labels, minlength=len(self.training.classes))
        weights = np.divide(
            len(self.training), np.count_nonzero(counts) * counts, where=counts > 0, out=np.zeros(len(counts))
        )
        return torch.from_numpy(weights).float().to(device)

    def samples(self, seed: int) -> Samples:
        """Return a few mixed training images with their plans."""
        rows = balanced_order(self.training.labels, self.training.fingerprint)[:SAMPLES]
        masks = None if self.masks is None else self.masks.masks
        if self.resident:
            images, masks = self.training.rows(rows), None if masks is None else masks[rows]
        else:
            images, masks = as_evaluated(self.training, self._plane, rows, masks)
        valid = None if self.masks is None or self.masks.valid is None else self.masks.valid[rows]
        return draw_samples(self.method, images, seed, masks, valid)

    def provenance(self) -> dict[str, Any]:
        """Return the content of config.json apart from the machine, which is everything that determines the run."""
        splits = {"training": self.training, "validation": self.validation, "test": self.test}
        data: dict[str, Any] = {
            "fingerprint_train": self.training.fingerprint,
            "fingerprint_test": self.test.fingerprint,
            "images": {name: len(split) for name, split in splits.items()},
            "size": list(self.size),
            "classes": list(self.training.classes),
            "read": "kept on the device" if self.resident else "read in each epoch",
            "validated_on": "validation images" if self.held_out else "training images",
        }
        if self.config.init_weights is not None and Path(self.config.init_weights).is_file():
            data["init_weights"] = files.sha256(Path(self.config.init_weights))
        return {
            "config": self.config.to_json(),
            "versions": versions(),
            "data": data,
            "masks": None if self.masks is None else self.masks.provenance,
            "normalisation": dataclasses.asdict(self.normalise),
            "stored_size": None if self.test.size is None else list(self.test.size),
        }

    @property
    def _plane(self) -> tuple[int, int]:
        height, width = self.size
        return height, width


def prepare(config: TrainConfig, options: RunOptions, drawn_before: Sequence[ImageSet] = ()) -> RunInputs:
    """Load and check everything that a run needs, before anything is written.

    Args:
        config: Options that define the run.
        options: Machine options.
        drawn_before: Training and test images of a run that has started, if smix has drawn its test images.

    Raises:
        SmixError: The data, the masks, the network or an option cannot be used.
    """
    method = parse_method(config.method)
    if config.data == "speech-commands" and config.hflip:
        raise OptionError("hflip: flipped spectrograms are sounds played backwards; add --no-hflip")
    if drawn_before:
        (train, test), validation = drawn_before, None
    else:
        train, test = (load_data(config.data, options.data_root, part) for part in ("train", "test"))
        validation = load_validation(config.data, options.data_root)
    drawn = None
    if train.files is not None and train.files.drawn:
        drawn = {"train": SplitPart.of(train), "test": SplitPart.of(test)}
    test = test.take(config.test_limit)
    resident = fits_on_device(train, config.image_size)
    if resident:
        train, test = train.loaded(), test.loaded()
        validation = None if validation is None else validation.loaded()
        size = train.array.shape[1:-1]
        for other in (test, validation):
            if other is not None and other.array.shape[1:] != train.array.shape[1:]:
                raise DataError(
                    f"{config.data}: expected {'test' if other is test else 'validation'} images of shape {train.array.shape[1:]} as in "
                    f"train, got {other.array.shape[1:]}; resize them"
                )
    else:
        size = (config.image_size or (SIDE if train.size is None else min(train.size)),) * 2
        if train.size is not None and len(train.size) != 2:
            raise DataError(
                f"{config.data}: only images with 2 spatial dimensions can be resized, got size {train.size}; omit --image-size"
            )
    _check_augmentation(config, method, train.channels, size)
    training, held_out = train.take(config.train_limit), validation is not None or config.val_fraction > 0
    if validation is None:
        training, validation = split(training, config.val_fraction)
    masks = masks_of(training, config.masks) if method.needs_masks else None
    pretrained = config.init_weights == "pretrained"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.key(config.seed, "init"))
        model = build_model(config.model, len(train.classes), train.channels, size, pretrained)
    loaded = ""
    if config.init_weights is not None:
        loaded = (
            describe_pretrained(config.model, model) if pretrained else load_init(model, config.init_weights).describe()
        )
    freeze(model, config)
    normalise = Normalisation.of(train if resident else as_evaluated(train, (size[0], size[1]))[0])
    notes = () if train.files is None else train.files.notes
    return RunInputs(
        config,
        method,
        model,
        training,
        validation,
        test,
        normalise,
        masks,
        size,
        resident,
        held_out,
        drawn,
        notes,
        loaded,
    )


def _check_augmentation(config: TrainConfig, method: Method, channels: int, size: tuple[int, ...]) -> None:
    if config.augment == "none" and not config.random_erasing:
        return
    name = "random_erasing" if config.augment == "none" else "augment"
    if len(size) != 2 or (name == "augment" and channels not in (1, 3)):
        shown = f"{' x '.join(map(str, size))} with {channels} channels"
        needs = "images with 2 spatial dimensions" + (" and 1 or 3 channels" if name == "augment" else "")
        raise OptionError(f"{name}: expected {needs}, got {shown}; omit --{name.replace('_', '-')}")
    if config.augment == "augmix" and method.needs_masks:
        raise OptionError(
            f"augment: augmix blends several moved copies of an image, so {config.method} has no mask for it; "
            "choose trivialaugment or randaugment, or a method without masks"
        )


def training_images(config: TrainConfig, train: ImageSet, data_root: Path) -> ImageSet:
    """Return the images of the train split that a run trains on."""
    train = train.take(config.train_limit)
    return train if load_validation(config.data, data_root) is not None else split(train, config.val_fraction)[0]


def split(data: ImageSet, val_fraction: float) -> tuple[ImageSet, ImageSet]:
    """Return training and validation images, class-balanced and the same for all seeds and methods.

    Args:
        data: Images of the train split.
        val_fraction: Fraction to hold out for validation, in [0, 1). With 0, all images are used for training, and `PROBE` of
            them are returned as validation images.

    Raises:
        DataError: There are too few images.
    """
    if val_fraction == 0:
        return data, data.take(min(PROBE, len(data)))
    order = balanced_order(data.labels, f"validation/{data.fingerprint}")
    count = round(val_fraction * len(data))
    if not 0 < count < len(data) - 1:
        raise DataError(
            f"{data.name}: expected images for training and validation, got {len(data)} with val_fraction {val_fraction}; "
            "use more images or another fraction"
        )
    return data.rows(np.sort(order[count:])), data.rows(np.sort(order[:count]))


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect the results."""
    return {
        "smix": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": np.__version__,
    }


def _workers(options: RunOptions) -> int:
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # processes of this run on this machine, set by torchrun
    return max(1, min(cores() // processes, MAX_WORKERS)) if options.workers is None else options.workers
