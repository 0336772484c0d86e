"""Load the target of an evaluation, a trained network and test images, and check that they fit each other."""

import dataclasses
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from smix import files
from smix.config import EvaluateConfig, MachineOptions, cores
from smix.data.batches import Batches, Loader, Normalisation
from smix.data.sets import ImageSet, load_data
from smix.data.streaming import ENLARGEMENT, SIDE, MaskLookup, Reader, Streamed, as_evaluated, fits_on_device
from smix.device import find_device
from smix.errors import DataError, OptionError, RunError
from smix.lab.label_map import LabelMap, label_map, map_by_name, read_label_map
from smix.lab.status import describe_unfinished
from smix.models import build_model, head_of
from smix.training.inputs import MAX_WORKERS
from smix.training.own_images import check_not_trained_on, load_own
from smix.training.records import Run, check_unchanged, read_run
from smix.training.weights import load_weights, read_weights


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained network on the CPU, in evaluation mode, and the input that it was trained on."""

    path: Path
    """Path of the run or of the weights file."""
    architecture: str
    """Name for `build_model`."""
    model: nn.Module
    weights: str
    """Sha256 of the weights file."""
    classes: tuple[str, ...]
    """Names of the classes; 0, 1, 2, ... for a weights file."""
    normalise: Normalisation
    size: tuple[int, ...]
    """Spatial size of the input images."""
    resident: bool
    """True if the training images were kept on the device; otherwise they were enlarged and centre-cropped."""

    @property
    def larger(self) -> float:
        """Factor by which images of a different size are enlarged beyond the input size before the centre crop."""
        return 1.0 if self.resident else ENLARGEMENT

    @property
    def provenance(self) -> dict[str, Any]:
        """Settings that the results depend on, apart from weights and images, as JSON values."""
        normalise = {name: list(values) for name, values in dataclasses.asdict(self.normalise).items()}
        return {"model": self.architecture, "size": list(self.size), "larger": self.larger, "normalisation": normalise}


@dataclass(frozen=True, eq=False)
class EvalTarget:
    """A network on a device, and the images that it is evaluated on."""

    run: Run | None
    """None for a weights file."""
    classifier: Classifier
    model: nn.Module
    """The network on the device; classes that the label map groups are one output."""
    device: torch.device
    name: str
    """Name of the data set, as requested."""
    data: ImageSet
    """Images, labelled with the outputs of `model`."""
    resident: bool
    """True if the images are kept on the device, False if they are read each time."""
    own: bool
    """True for the test split of the data that the network was trained on, with its own classes."""
    left_out: int
    """Number of images whose class is not a class of the network."""
    mapping: LabelMap | None
    """None: the classes are those of the network."""
    config: EvaluateConfig
    """Options of the evaluation."""

    @property
    def resized(self) -> bool:
        """True if the image size differs from the input size of the network."""
        return self.data.size != self.classifier.size

    def loader(self, data: ImageSet | None = None, masks: MaskLookup | None = None) -> Loader:
        """Return a loader of the images, or of other images of the split."""
        data, normalise = data or self.data, self.classifier.normalise
        loader: Batches | Streamed
        if self.resident:
            assert masks is None or isinstance(masks, np.ndarray)
            loader = Batches.of(data, normalise, self.device, masks)
        else:
            height, width = self.classifier.size
            reader = Reader(data, (height, width), masks=masks, enlargement=self.classifier.larger)
            loader = Streamed(reader, normalise, self.device, min(cores(), MAX_WORKERS))
        return loader if self.config.batch_size is None else replace(loader, at_once=self.config.batch_size)


def load_target(path: Path, config: EvaluateConfig, options: MachineOptions) -> EvalTarget:
    """Load the network at `path`, a run or a weights file, and the images that `config` requests.

    Raises:
        SmixError: There is no such network, its run is not finished, or the images do not match it.
    """
    run = None
    if path.is_file():
        classifier, images = classifier_of_file(path, config, options)
    else:
        run = finished_run(path, config)
        classifier = classifier_of_run(run)
        images = (
            load_own(run, options.data_root, "test")
            if config.data is None
            else load_data(config.data, options.data_root, "test")
        )
    own = run is not None and images.fingerprint == run.provenance["data"].get("fingerprint_test")
    if config.data is None and not own:
        raise RunError(
            f"{path}: expected the test images of {images.name} that the run was tested on, got different images with this name; "
            "name the data with --data"
        )
    if run is not None and not own:
        note = check_not_trained_on(run, images, options.data_root)
        if note and not options.quiet:
            sys.stderr.write(f"{note}\n")
    own = own and config.label_map is None
    mapping = None if own else _mapping(run, classifier, images, config)
    data = images if mapping is None else mapping.data(images)
    left_out = len(images) - len(data)
    if own:
        assert run is not None
        data = data.take(run.config.test_limit)
    _check_shape(classifier, data)
    device = find_device(options.device)
    # The network's own test images are read as they were during training.
    resident = classifier.resident if own else data.size == classifier.size and fits_on_device(data, None)
    data = data.take(config.limit)
    model = classifier.model.to(device)
    return EvalTarget(
        run,
        classifier,
        model if mapping is None else mapping.model(model),
        device,
        config.data or data.name,
        data.loaded() if resident else data,
        resident,
        own,
        left_out,
        mapping,
        config,
    )


def finished_run(path: Path, config: EvaluateConfig) -> Run:
    """Read a finished run.

    Raises:
        SmixError: There is no run, it is not finished or damaged, or `config` has options of a weights file.
    """
    if not (path / "config.json").is_file():
        raise RunError(f"{path}: expected a run or a weights file, got none; train one with smix train --out {path}")
    for name in ("model", "mean", "std"):
        if getattr(config, name):
            raise OptionError(f"{name}: a run has its own {name}; omit --{name}")
    run = read_run(path)
    if run.result is None:
        raise RunError(describe_unfinished(run))
    return run


def classifier_of_run(run: Run) -> Classifier:
    """Load the network of a finished run. Raises RunError if its weights are damaged or were changed."""
    data, normalise = run.provenance["data"], run.provenance["normalisation"]
    classes, size, resident = tuple(data["classes"]), tuple(data["size"]), data["read"] == "kept on the device"
    normalise = Normalisation(tuple(normalise["mean"]), tuple(normalise["std"]))
    file, name = run.path / "weights.safetensors", run.config.model
    check_unchanged(run, file.name)
    model = _new_model(name, len(classes), len(normalise.mean), size)
    load_weights(model, read_weights(file), str(file))
    return Classifier(run.path, name, model.eval(), files.sha256(file), classes, normalise, size, resident)


def classifier_of_file(path: Path, config: EvaluateConfig, options: MachineOptions) -> tuple[Classifier, ImageSet]:
    """Load the network of a weights file, and the test images of `config.data`, which determine its input and classes.

    Raises:
        OptionError: `config` does not specify the model or the data.
        SmixError: The weights are damaged or do not belong to `config.model`, or the data set cannot be read.
    """
    if config.model is None or config.data is None:
        missing = " and ".join(f"--{name}" for name in ("model", "data") if getattr(config, name) is None)
        raise OptionError(f"{path}: {missing} must be given with a weights file, to specify its model and its data set")
    test = load_data(config.data, options.data_root, "test")
    if config.mean and len(config.mean) != test.channels:
        raise OptionError(
            f"mean, std: expected one number for each of the {test.channels} channels of {config.data}, got {len(config.mean)}"
        )
    state = read_weights(path)
    resident = fits_on_device(test, None)
    size = test.size if resident and test.size is not None else (SIDE, SIDE)
    model = _new_model(config.model, len(test.classes), test.channels, size)
    head = f"{head_of(model)}.weight"
    if head in state and len(state[head]) != len(test.classes):
        model = _new_model(config.model, len(state[head]), test.channels, size)
    load_weights(model, state, str(path))
    if config.mean:
        normalise = Normalisation(config.mean, config.std)
    else:
        train = load_data(config.data, options.data_root, "train")
        normalise = Normalisation.of(train.loaded() if resident else as_evaluated(train, (SIDE, SIDE))[0])
    classes = tuple(map(str, range(len(model.state_dict()[head]))))
    return Classifier(path, config.model, model.eval(), files.sha256(path), classes, normalise, size, resident), test


def check_number_of_classes(classifier: Classifier, images: ImageSet, advice: str = "") -> None:
    """Raise OptionError if the weights of a file belong to another number of classes than the data set has.

    Args:
        classifier: Network of the weights file.
        images: The data set.
        advice: What else to do than to choose other data.
    """
    if len(images.classes) != len(classifier.classes):
        raise OptionError(
            f"{classifier.path}: expected weights for {len(images.classes)} classes, as {images.name} has, got "
            f"{len(classifier.classes)}; choose the --data that they belong to{advice}"
        )


def _new_model(name: str, classes: int, channels: int, size: tuple[int, ...]) -> nn.Module:
    """Return a network whose weights are about to be replaced, without advancing the global random generator."""
    with torch.random.fork_rng(devices=[]):
        return build_model(name, classes, channels, size)


def _mapping(run: Run | None, classifier: Classifier, images: ImageSet, config: EvaluateConfig) -> LabelMap | None:
    if config.label_map is not None:
        return label_map(read_label_map(config.label_map), images.classes, classifier.classes, str(config.label_map))
    if run is not None:
        return map_by_name(images.classes, classifier.classes, images.name)
    check_number_of_classes(classifier, images, ", or map the classes with --label-map")
    return None


def _check_shape(classifier: Classifier, data: ImageSet) -> None:
    channels, size = len(classifier.normalise.mean), classifier.size
    if data.channels != channels:
        raise DataError(
            f"{data.name}: expected images of {channels} channel{'s' if channels > 1 else ''}, as {classifier.path} was trained on, "
            f"got {data.channels}; choose other --data"
        )
    if data.size != size and (len(size) != 2 or len(data.size or size) != 2):
        raise DataError(
            f"{data.name}: expected images of size {' x '.join(map(str, size))}, as {classifier.path} was trained on, got "
            f"{' x '.join(map(str, data.size or ('different',)))}; only those of 2 dimensions can be resized"
        )
