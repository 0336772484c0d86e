"""Test that commands which only answer a question, or refuse a mistake, do not import torch, which takes seconds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import smix
from smix.masks.names import REPORT_NETWORK, REPORT_WEIGHTS, downloaded_weights

COMMANDS = {
    "data": 0,
    "doctor": 0,
    "train --lrr 0.1 --out run": 2,
    "train --data cifar11 --out run": 2,
    "compare --data nosuch:x --out runs": 2,
    "mix --data cifar11": 2,
    "evaluate run --data cifar11": 2,
    "masks build --data cifar11 --source carried --out masks": 2,
    "masks build --data cifar10 --source torchvison:x --out masks": 2,
    "masks build --data cifar10 --source masks --out masks": 2,
}
CODE = """
import sys
from smix import cli
try:
    cli.main()
except SystemExit as stop:
    print(*sorted({"torch", "torchvision", "matplotlib", "sklearn"} & set(sys.modules)), file=sys.stderr)
    raise
"""


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_that_computes_nothing_imports_no_torch(words, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(smix.__file__).parents[1])}
    command = [sys.executable, "-c", CODE, *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    lines = done.stderr.splitlines()
    assert done.returncode == COMMANDS[words], done.stderr
    assert lines[-1] == "", "these were imported"
    assert len(lines) == (2 if COMMANDS[words] else 1)
    assert list(tmp_path.iterdir()) == []


def test_the_weights_of_the_report_are_those_of_torchvision():
    import torchvision

    assert torchvision.models.get_model_weights(REPORT_NETWORK).DEFAULT.url == REPORT_WEIGHTS


@pytest.mark.parametrize("variable", ["TORCH_HOME", "XDG_CACHE_HOME", None])
def test_weights_are_looked_for_where_torch_keeps_them(variable, tmp_path, monkeypatch):
    from smix.masks.sources.torchvision import weights_file

    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path))
    assert downloaded_weights(REPORT_WEIGHTS) == weights_file(REPORT_WEIGHTS)


def test_doctor_names_the_device_that_is_chosen():
    from smix.config import cores
    from smix.device import find_device, in_words
    from smix.lab.doctor import _device, _torch_build

    device = find_device()
    assert _device(_torch_build()) == in_words(device, cores() if device.type == "cpu" else None)


class Driver:
    """The calls of CUDA's driver that doctor makes, for a GPU and a version of CUDA."""

    def __init__(self, version: int, failing: str = "") -> None:
        self.version, self.failing = version, failing

    def __getattr__(self, name: str):
        def call(*values):
            if name == self.failing:
                return 100
            if name == "cuDriverGetVersion":
                values[0]._obj.value = self.version
            if name == "cuDeviceGetName":
                values[0].value = b"NVIDIA H200"
            return 0

        return call


@pytest.mark.parametrize(
    ("driver", "name"),
    [
        (Driver(13000), "NVIDIA H200"),
        (Driver(12080), None),  # older than the CUDA that torch was built with
        (Driver(13000, failing="cuInit"), None),
        (Driver(13000, failing="cuDeviceGet"), None),
    ],
)
def test_doctor_asks_the_driver_of_nvidia(driver, name, monkeypatch):
    from smix.lab import doctor

    monkeypatch.setattr(doctor.ctypes, "CDLL", lambda library: driver)
    assert doctor._nvidia_gpu(13) == name
