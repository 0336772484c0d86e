"""Load the target of an evaluation, a trained network and images, and check them against each other."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from smix.config import EvaluateConfig, MachineOptions, cores
from smix.data.batches import Batches, Loader
from smix.data.sets import ImageSet, load_data
from smix.data.streaming import MaskLookup, Reader, Streamed, fits_on_device
from smix.device import find_device
from smix.errors import DataError, OptionError, RunError
from smix.lab.classifier import Classifier, of_file, of_run
from smix.lab.label_map import LabelMap, by_name, made, read_label_map
from smix.lab.status import what_is_missing
from smix.training.material import MOST_WORKERS
from smix.training.records import Run, read_run


@dataclass(frozen=True, eq=False)
class EvalTarget:
    """A network and images for it."""

    run: Run | None
    """None: the network is of a file of weights."""
    classifier: Classifier
    model: nn.Module
    """The same network on the device, with classes that count as one as one output."""
    device: torch.device
    named: str
    """The data set, as it was asked for."""
    data: ImageSet
    """The images that are shown, labelled with the network's outputs."""
    resident: bool
    """They are kept on the device; else they are read anew each time."""
    own: bool
    """They are of the test split that the network was tested on when it was trained, with its own classes."""
    left_out: int
    """Images whose class is none of the network's."""
    mapped: LabelMap | None
    """None: the classes are the network's."""
    batch_size: int | None = None
    """Images that the network is shown at once; None: as many as a loader takes."""

    @property
    def resized(self) -> bool:
        """True if the images have another size than the input of the network."""
        return self.data.size != self.classifier.size

    def loader(self, data: ImageSet | None = None, masks: MaskLookup | None = None) -> Loader:
        """Return a loader of the images, or of others of the split."""
        loader = self._loader(self.data if data is None else data, masks)
        return loader if self.batch_size is None else replace(loader, at_once=self.batch_size)

    def _loader(self, data: ImageSet, masks: MaskLookup | None) -> Batches | Streamed:
        normalise = self.classifier.normalise
        if self.resident:
            assert masks is None or isinstance(masks, np.ndarray)
            return Batches.of(data, normalise, self.device, masks)
        height, width = self.classifier.size
        reader = Reader(data, (height, width), masks=masks, enlargement=self.classifier.larger)
        return Streamed(reader, normalise, self.device, min(cores(), MOST_WORKERS))


def subject_of(path: Path, config: EvaluateConfig, options: MachineOptions) -> EvalTarget:
    """The network at `path`, a run or a file of weights, and the images that `config` asks for.

    Raises:
        SmixError: there is no such network, it is not finished, or the images do not fit it.
    """
    run = None
    if path.is_file():
        if config.model is None or config.data is None:
            missing = " and ".join(f"--{name}" for name in ("model", "data") if getattr(config, name) is None)
            raise OptionError(
                f"{path}: expected {missing} beside a file of weights, got none; say what it is and what to show"
            )
        whole = load_data(config.data, options.data_root, "test")
        classifier = of_file(path, whole, config, options)
    else:
        run = _finished(path, config)
        classifier = of_run(run)
        whole = load_data(config.data or run.config.data, options.data_root, "test")
    own = run is not None and whole.fingerprint == run.provenance["data"].get("fingerprint_test")
    if config.data is None and not own:
        raise RunError(
            f"{path}: expected the images of {whole.name} test that the run was tested on, got others under this name; "
            "say with --data which to take"
        )
    own = own and config.label_map is None
    mapped = None if own else _mapped(run, classifier, whole, config)
    data = whole if mapped is None else mapped.data(whole)
    left_out = len(whole) - len(data)
    if own:
        assert run is not None
        data = data.take(run.config.test_limit)
    _check_shape(classifier, data)
    device = find_device(options.device)
    # The network's own images are read as they were when it was trained.
    resident = classifier.resident if own else data.size == classifier.size and fits_on_device(data, None)
    shown = data.take(config.limit)
    model = classifier.model.to(device)
    if mapped is not None:
        model = mapped.model(model)
    return EvalTarget(
        run,
        classifier,
        model,
        device,
        config.data or data.name,
        shown.loaded() if resident else shown,
        resident,
        own,
        left_out,
        mapped,
        config.batch_size,
    )


def _finished(path: Path, config: EvaluateConfig) -> Run:
    if not (path / "config.json").is_file():
        raise RunError(f"{path}: expected a run or a file of weights, got none; train one with smix train --out {path}")
    for name in ("model", "mean", "std"):
        if getattr(config, name):
            raise OptionError(f"{name}: expected no --{name} with a run, which knows its own; leave it out")
    run = read_run(path)
    if run.result is None:
        raise RunError(what_is_missing(run))
    return run


def _mapped(run: Run | None, classifier: Classifier, whole: ImageSet, config: EvaluateConfig) -> LabelMap | None:
    if config.label_map is not None:
        return made(read_label_map(config.label_map), whole.classes, classifier.classes, str(config.label_map))
    if run is not None:
        return by_name(whole.classes, classifier.classes, whole.name)
    if len(whole.classes) != len(classifier.classes):
        raise OptionError(
            f"{classifier.path}: expected weights of {len(whole.classes)} classes, as {whole.name} has, got "
            f"{len(classifier.classes)}; choose the --data that they are of, or say with --label-map which class is which"
        )
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
