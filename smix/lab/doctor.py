"""Check what this machine and its data sets are ready for, with advice about what is missing."""

import importlib.util
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision

from smix.config import cores
from smix.data.sets import SETS, ImageSet, is_here
from smix.device import find_device, in_words
from smix.masks.sources.torchvision import weights_file
from smix.version import __version__

REPORT_NETWORK = "deeplabv3_mobilenet_v3_large"
GIB = 2**30
MIN_FREE_GIB = 1.0
"""Free disk space in GiB; with less, a comparison may not fit."""


@dataclass(frozen=True)
class Finding:
    """One thing that was checked."""

    name: str
    ready: bool
    state: str
    advice: str = ""
    """Advice if it is not ready."""


def check_machine() -> list[Finding]:
    """Check software, device, disk, and the sources of masks."""
    device = find_device()
    free = shutil.disk_usage(Path.cwd()).free / GIB
    onnx = importlib.util.find_spec("onnxruntime") is not None
    url = torchvision.models.get_model_weights(REPORT_NETWORK).DEFAULT.url
    weights = weights_file(url)
    return [
        Finding("smix", True, f"{__version__}, Python {platform.python_version()}"),
        Finding("torch", True, f"{torch.__version__}, torchvision {torchvision.__version__}"),
        Finding("device", True, in_words(device, cores() if device.type == "cpu" else None)),
        Finding(
            "disk",
            free > MIN_FREE_GIB,
            f"{free:.1f} GiB free here",
            "free some space: stores, runs and reports are written to this folder",
        ),
        Finding("masks: onnx", onnx, "onnxruntime" if onnx else "no onnxruntime", 'pip install "smix[onnx]"'),
        Finding(
            "masks: torchvision",
            weights.is_file(),
            f"{weights.name}" if weights.is_file() else f"no weights of {REPORT_NETWORK}",
            f"downloaded on first use; or download {url} elsewhere, and save it as {weights} or name it with --weights",
        ),
    ]


def check_data(data_root: Path) -> list[Finding]:
    """Check which data sets are available in a folder."""
    findings = []
    for name, named in SETS.items():
        ready = is_here(name, data_root)
        state = "built in" if not named.place else f"in {data_root}" if ready else f"not in {data_root}"
        findings.append(Finding(name, ready, state, named.get))
    return findings


def scaling(data: ImageSet) -> str:
    """Return how values other than 0..255 were scaled; empty if there are none."""
    if data.value_range is None:
        return ""
    minimum, maximum = data.value_range
    return f"Values: {minimum:g} became 0 and {maximum:g} became 255, as in the train split"


OWN_DATA = {
    "npz:FILE": "arrays x_train, y_train, x_test, y_test; perhaps mask_train, mask_test, classes",
    "folder:DIR": "DIR/train/CLASS/*.jpg and DIR/test/CLASS/*.jpg (or .png, .tif, ...), perhaps DIR/val; or DIR/CLASS/*.jpg",
    "csv:FILE": "columns path, label, split and perhaps mask",
    "hf:NAME_OR_DIR": "splits train and test (or validation) with a column of images and one of class labels",
}
"""Names and contents of your own data sets."""
