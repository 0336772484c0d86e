"""Export a finished run to a format of other libraries: `smix export`.

An export is compared with the run on real images before it is saved.
"""

import math
import os
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from smix import files, rng
from smix.config import EvaluateConfig, MachineOptions
from smix.data.sets import is_local
from smix.errors import FailedError, OptionError, RunError, SmixError, TemporaryError, unknown
from smix.lab.export_formats import FORMATS, check_format
from smix.lab.model_card import Check, model_card
from smix.lab.trained_model import TrainedModel, load_trained
from smix.training.own_images import load_own
from smix.untrusted import one_line

IMAGES = 64
"""Number of images on which the export is compared with the run."""
TOLERANCE = 1e-4
"""Largest permitted difference of a probability."""


@dataclass(frozen=True)
class Export:
    """Result of an export."""

    out: Path
    check: Check


def export(run: Path | str, to: str, out: Path | str, data_root: Path = MachineOptions.data_root) -> Export:
    """Export a finished run, with its labels, its preprocessing and a model card.

    Args:
        run: Folder of the run.
        to: "onnx" or "torch-export", a graph from uint8 images to calibrated probabilities; "timm" or "hf", a folder that
            timm or transformers loads, with logits divided by the temperature (only for timm models).
        out: New or empty folder.
        data_root: Root folder of the data sets, for the check; random images are used if the data set of the run is missing.

    Returns:
        The folder, and the largest difference from the run.

    Raises:
        SmixError: The run is not finished, the format does not support its model, a package is missing, or `out` is in use.
        FailedError: The model cannot be exported, or differs from the run. Nothing is written.
    """
    run, out = Path(run), Path(out)
    if to not in FORMATS:
        raise unknown("to", to, FORMATS)
    _check_out(out)
    out = out.resolve()  # "." has no name
    if run.is_file():
        raise RunError(f"{run}: expected the folder of a finished run, got a file; name the folder")
    model = load_trained(run, EvaluateConfig(), MachineOptions(device="cpu", data_root=data_root))
    check_format(to, model)
    images, where = _images(model, data_root)
    # A folder that exists may be the current one or a mounted disk, which can be filled but not replaced.
    inside = out.is_dir()
    staged = Path(tempfile.mkdtemp(dir=out if inside else _existing(out), prefix=f".{out.name}.", suffix=".tmp"))
    try:
        difference = _write(to, model, staged, images)
        check = Check(difference, len(images), where)
        files.write_text(staged / "README.md", model_card(model, to, check))
        if inside:
            for file in sorted(
                staged.iterdir(), key=lambda file: file.name == "README.md"
            ):  # the model card at the end
                file.rename(out / file.name)
            staged.rmdir()
        else:
            staged.chmod(0o755)
            out.parent.mkdir(parents=True, exist_ok=True)
            os.replace(staged, out)  # noqa: PTH105
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    return Export(out, check)


def _check_out(out: Path) -> None:
    if out.is_symlink() or (out.exists() and not out.is_dir()) or (out.is_dir() and any(out.iterdir())):
        raise OptionError(f"{out}: expected a new folder, got one that exists; remove it, or choose another --out")
    if not _existing(out).is_dir():
        raise OptionError(f"{_existing(out)}: expected a folder, got a file; choose another --out")


def _existing(out: Path) -> Path:
    """Return the nearest folder above `out` that exists."""
    return next(folder for folder in out.absolute().parents if folder.exists())


def _write(to: str, model: TrainedModel, folder: Path, images: UInt8[Tensor, "n *S C"]) -> float:
    """Write the export into a folder, read it back, and return its largest difference of a probability from the run."""
    expected = model.probabilities(images)
    try:
        # The libraries draw initial weights before they load those of the run.
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")  # exporters warn about tracing, which the check below makes up for
            got = FORMATS[to](model, folder, images.movedim(-1, 1).contiguous())
    except SmixError:
        raise
    except MemoryError:
        raise TemporaryError(f"{to}: out of memory; close other programs") from None
    except Exception as error:  # every exporter has its own classes of errors
        raise FailedError(
            f"{model.classifier.path}: {model.classifier.architecture} cannot be exported to {to} ({one_line(error)}); choose "
            "another --to"
        ) from None
    difference = float(np.abs(got - expected).max()) if got.shape == expected.shape else math.inf
    if not difference <= TOLERANCE:
        raise FailedError(
            f"{model.classifier.path}: expected an export to {to} whose probabilities differ by at most {TOLERANCE:g} from those of the "
            f"run, got {difference:.2g}; nothing was written, choose another --to"
        )
    return difference


def _images(model: TrainedModel, data_root: Path) -> tuple[UInt8[Tensor, "n *S C"], str]:
    """Return images as the network reads them, and their description: test images, or random ones if these are not available."""
    assert model.run is not None
    config, data = model.run.config, model.run.provenance["data"]
    reason = f"{config.data} is not on this machine"
    if is_local(config.data, data_root):
        try:
            test = load_own(model.run, data_root, "test")
            if test.fingerprint == data["fingerprint_test"]:
                test = test.take(config.test_limit)
                test = test.take(min(IMAGES, len(test)))
                return torch.stack([model.read(np.array(image)) for image in test.images]), "images of the test split"
            reason = f"{config.data} has different test images now"
        except SmixError as error:
            reason = str(error)
    shape = (IMAGES, *model.classifier.size, len(model.classifier.normalise.mean))
    noise = torch.randint(256, shape, dtype=torch.uint8, generator=rng.generator(0, "export", 0))
    return noise, f"random images, since the test split could not be read ({reason})"
