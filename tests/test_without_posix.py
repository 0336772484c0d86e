"""Test smix without fcntl, fork and POSIX signals, as on Windows. This is simulated on the present system."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

WITHOUT_POSIX = Path(__file__).parent / "without_posix"
"""Folder whose sitecustomize.py hides POSIX features from a process and its children."""


@pytest.fixture
def run(tmp_path):
    """Run a program in `tmp_path` without POSIX features and return its output."""

    def run(*words: str) -> str:
        path = os.pathsep.join([str(WITHOUT_POSIX), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, "-c", *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


HIDDEN = """
import os, signal
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise AssertionError(name)
shown = {name for name in ("SIGUSR1", "SIGUSR2", "SIGKILL", "SIGHUP") if hasattr(signal, name)}
shown |= {name for name in ("fork", "register_at_fork", "sched_getaffinity", "geteuid") if hasattr(os, name)}
assert not shown, shown
"""


def test_every_module_can_be_imported_and_every_method_mixes(run):
    code = """
import importlib, pkgutil
import torch
import smix

names = [module.name for module in pkgutil.walk_packages(smix.__path__, "smix.") if module.name != "smix.__main__"]
for name in names:
    importlib.import_module(name)
assert len(names) > 100

x, y = torch.rand(8, 3, 9, 7), torch.arange(8)
masks = torch.zeros(8, 9, 7, dtype=torch.bool)
masks[:, 2:6, 1:5] = True
for name in smix.METHODS:
    mixed, target = smix.parse_method(name)(x, y, masks=masks)
    assert mixed.shape == x.shape and target.share.shape == (8,), name
"""
    run(HIDDEN + code)


def test_the_command_line_builds_a_store_and_compares(run, npz, tmp_path):
    code = """
import json, sys
from smix import cli

for words in json.loads(sys.argv[1]):
    sys.argv = ["smix", *words]
    try:
        cli.main()
    except SystemExit as end:
        assert not end.code, words
"""
    options = ["--model", "resnet8", "--epochs", "1", "--batch-size", "16", "--threads", "1", "--device", "cpu"]
    methods = ["--masks", "store", "--methods", "smix", "--seeds", "1"]
    commands = [
        ["--help"],
        ["masks", "build", "--data", npz, "--source", "carried", "--out", "store", "--quiet"],
        ["masks", "check", "store", "--verify"],
        ["compare", "--data", npz, *methods, *options, "--quiet", "--out", "runs"],  # the run is a separate process
    ]
    output = run(HIDDEN + code, json.dumps(commands))
    assert "Train every method with every seed" in output
    assert "Report:" in output
    assert (tmp_path / "store" / "manifest.json").is_file()
    assert (tmp_path / "runs" / "smix-0" / "result.json").is_file()
