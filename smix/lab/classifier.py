"""A trained network, of a run or of a file of weights, and how images must be given to it."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from smix import files
from smix.config import EvaluateConfig, MachineOptions
from smix.data.batches import Normalisation
from smix.data.sets import ImageSet, load_data
from smix.data.streaming import ENLARGEMENT, SIDE, as_evaluated, fits_on_device
from smix.errors import OptionError
from smix.models import build_model, head_of
from smix.training.records import Run, check_unchanged
from smix.training.weights import put, read_weights


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained network with its weights, on the CPU."""

    path: Path
    """Path of the run or of the file of weights."""
    architecture: str
    """A name that `build_model` knows."""
    model: nn.Module
    """Network in evaluation mode and float32."""
    weights: str
    """Sha256 of their file."""
    classes: tuple[str, ...]
    """Names of the classes; 0, 1, 2, ... for a file of weights, which names none."""
    normalise: Normalisation
    size: tuple[int, ...]
    """Spatial size of the input images."""
    resident: bool
    """It was trained on images that are kept on the device as a whole; others are enlarged, and their centre is cut out."""

    @property
    def larger(self) -> float:
        """Factor by which images of another size exceed the input before the centre is cut out: about as in its training."""
        return 1.0 if self.resident else ENLARGEMENT

    @property
    def provenance(self) -> dict[str, Any]:
        """Settings that the numbers depend on, apart from weights and images, as JSON values."""
        normalise = {name: list(each) for name, each in dataclasses.asdict(self.normalise).items()}
        return {"model": self.architecture, "size": list(self.size), "larger": self.larger, "normalisation": normalise}


def of_run(run: Run) -> Classifier:
    """The network of a finished run.

    Raises:
        RunError: its files are broken.
    """
    data, normalise = run.provenance["data"], run.provenance["normalisation"]
    classes, size, whole = tuple(data["classes"]), tuple(data["size"]), data["read"] == "kept on the device"
    normalise = Normalisation(tuple(normalise["mean"]), tuple(normalise["std"]))
    file, name = run.path / "weights.safetensors", run.config.model
    check_unchanged(run, file.name)
    model = _fresh(name, len(classes), len(normalise.mean), size)
    put(model, read_weights(file), str(file))
    return Classifier(run.path, name, model.eval(), files.sha256(file), classes, normalise, size, whole)


def of_file(path: Path, test: ImageSet, config: EvaluateConfig, options: MachineOptions) -> Classifier:
    """The network in a file of weights, for images such as those of `test`, which is of config.data.

    Raises:
        SmixError: it is no file of weights, or of another network than config.model, or config.mean is of other channels.
    """
    assert config.model is not None
    assert config.data is not None
    if config.mean and len(config.mean) != test.channels:
        raise OptionError(
            f"mean, std: expected one number a channel of {config.data}, which has {test.channels}, got {len(config.mean)}"
        )
    state = read_weights(path)
    resident = fits_on_device(test, None)
    size = test.size if resident and test.size is not None else (SIDE, SIDE)
    model = _fresh(config.model, len(test.classes), test.channels, size)
    last = f"{head_of(model)}.weight"
    if last in state and len(state[last]) != len(test.classes):
        model = _fresh(config.model, len(state[last]), test.channels, size)
    put(model, state, str(path))
    if config.mean:
        normalise = Normalisation(config.mean, config.std)
    else:
        train = load_data(config.data, options.data_root, "train")
        normalise = Normalisation.of(train.loaded() if resident else as_evaluated(train, (SIDE, SIDE))[0])
    classes = tuple(map(str, range(len(model.state_dict()[last]))))
    return Classifier(path, config.model, model.eval(), files.sha256(path), classes, normalise, size, resident)


def _fresh(name: str, classes: int, channels: int, size: tuple[int, ...]) -> nn.Module:
    """A network whose weights are about to be replaced. Its draws leave no trace."""
    with torch.random.fork_rng(devices=[]):
        return build_model(name, classes, channels, size)
