"""Check which features and data sets are available on this machine, with advice about missing ones."""

import ctypes
import importlib.util
import platform
import runpy
import shutil
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from smix.config import cores
from smix.data.sets import SETS, ImageSet, is_here
from smix.masks.names import REPORT_NETWORK, REPORT_WEIGHTS, downloaded_weights
from smix.version import __version__

GIB = 2**30
MIN_FREE_GIB = 1.0
"""Free disk space in GiB; with less, a comparison may not fit."""


@dataclass(frozen=True)
class Finding:
    """Result of one check."""

    name: str
    ready: bool
    state: str
    advice: str = ""
    """Advice if it is not ready."""


def check_machine() -> list[Finding]:
    """Check software, device, disk, and the sources of masks."""
    torch, free = _torch_build(), shutil.disk_usage(Path.cwd()).free / GIB
    onnx = importlib.util.find_spec("onnxruntime") is not None
    weights = downloaded_weights(REPORT_WEIGHTS)
    return [
        Finding("smix", True, f"{__version__}, Python {platform.python_version()}"),
        Finding("torch", True, f"{torch['__version__']}, torchvision {version('torchvision')}"),
        Finding("device", True, _device(torch)),
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
            f"downloaded on first use; or download {REPORT_WEIGHTS} elsewhere, and save it as {weights} or pass it with --weights",
        ),
    ]


def _torch_build() -> dict[str, Any]:
    """Return the version of torch, and the GPU libraries that it was built with, without importing it."""
    spec = importlib.util.find_spec("torch")
    assert spec is not None, "smix requires torch"
    return runpy.run_path(str(Path(str(spec.origin)).with_name("version.py")))


def _device(torch: dict[str, Any]) -> str:
    """Return a description of the device that is chosen automatically.

    torch, whose import takes seconds, is asked only where it may use an Apple or an AMD GPU.
    """
    if torch.get("hip") or (platform.system(), platform.machine()) == ("Darwin", "arm64"):
        from smix.device import find_device, in_words

        device = find_device()
        return in_words(device, cores() if device.type == "cpu" else None)
    if torch["cuda"] is not None and (name := _nvidia_gpu(int(torch["cuda"].partition(".")[0]))) is not None:
        return f"GPU {name}"
    return f"CPU with {cores()} thread{'s' if cores() > 1 else ''}"


def _nvidia_gpu(version: int) -> str | None:
    """Return the name of the first GPU of NVIDIA; None if there is none, or its driver is older than this major version of CUDA."""
    driver = None
    for library in ("libcuda.so.1", "nvcuda.dll"):
        with suppress(OSError):
            driver = ctypes.CDLL(library)
    if driver is None or driver.cuInit(0):
        return None
    supported, device, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(256)
    if driver.cuDriverGetVersion(ctypes.byref(supported)) or supported.value < 1000 * version:
        return None
    if driver.cuDeviceGet(ctypes.byref(device), 0) or driver.cuDeviceGetName(name, len(name), device):
        return None
    return name.value.decode(errors="replace")


def check_data(data_root: Path) -> list[Finding]:
    """Check which data sets are available in a folder."""
    findings = []
    for name, named in SETS.items():
        ready = is_here(name, data_root)
        state = "built in" if not named.place else f"in {data_root}" if ready else f"not in {data_root}"
        findings.append(Finding(name, ready, state, named.get))
    return findings


def scaling(data: ImageSet) -> str:
    """Return how images that are not uint8 were scaled; empty if they are uint8."""
    if data.value_range is None:
        return ""
    minimum, maximum = data.value_range
    return f"Values: {minimum:g} became 0 and {maximum:g} became 255, as in the train split"


OWN_DATA = {
    "npz:FILE": "arrays x_train, y_train, x_test, y_test; optionally mask_train, mask_test, classes",
    "folder:DIR": "DIR/train/CLASS/*.jpg and DIR/test/CLASS/*.jpg (or .png, .tif, ...), optionally DIR/val; or DIR/CLASS/*.jpg",
    "csv:FILE": "columns path, label, split and optionally mask",
    "hf:NAME_OR_DIR": "splits train and test (or validation) with an image column and a class label column",
}
"""Names and contents of your own data sets."""
