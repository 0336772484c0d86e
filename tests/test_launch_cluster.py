"""Tasks on a real SLURM (scripts/slurm-single-node.sh) and a real Ray of this machine: `pytest -m cluster`."""

import importlib.util
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from smix import build_masks, load_data
from smix.launch import Task, launch
from smix.masks import load_source
from tests.conftest import make_set, write_npz
from tests.masks.stores import content

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("default")]


def answers() -> bool:
    return (
        shutil.which("sinfo") is not None
        and subprocess.run(["sinfo"], capture_output=True, timeout=30, check=False).returncode == 0
    )


ENGINES = [
    pytest.param("slurm", marks=pytest.mark.skipif(not answers(), reason="no SLURM: scripts/slurm-single-node.sh")),
    pytest.param("ray", marks=pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="no Ray")),
]
engines = pytest.mark.parametrize("engine", ENGINES)


@engines
def test_exit_codes_and_logs_come_back_in_order(engine, tmp_path):
    polls = []
    tasks = [
        Task(["data", "digits-on-photos"], tmp_path / "logs" / "one.txt"),
        Task(["data", "nothing"], tmp_path / "logs" / "two's log.txt"),
        Task(["--version"], tmp_path / "logs" / "three.txt"),
    ]
    assert launch(tasks, engine, 2, lambda: polls.append(1)) == [0, 2, 0]
    assert "digits-on-photos" in tasks[0].log.read_text()
    assert "expected a known name" in tasks[1].log.read_text()
    assert polls


def mask_words(tmp_path: Path, count: int) -> tuple[list[str], str]:
    data = f"npz:{write_npz(tmp_path / 'made.npz', make_set(count), make_set(8, split='test'))}"
    return ["masks", "build", "--data", data, "--source", "carried", "--refine", "published"], data


@engines
def test_masks_built_on_a_cluster_are_those_of_one_process(engine, tmp_path):
    words, data = mask_words(tmp_path, 2500)
    done = subprocess.run(
        [sys.executable, "-m", "smix", *words, "--engine", engine, "--jobs", "2", "--out", str(tmp_path / "store")],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "2,500 masks" in done.stdout
    one = build_masks(load_data(data), load_source("carried"), tmp_path / "one", refine="published")
    assert one is not None
    assert content(tmp_path / "store") == content(one.path)


@engines
def test_ctrl_c_ends_the_jobs_and_the_same_command_goes_on(engine, tmp_path):
    words, _ = mask_words(tmp_path, 30_000)
    out = tmp_path / "store"
    command = [sys.executable, "-m", "smix", *words, "--engine", engine, "--jobs", "2", "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(out.glob("building/[0-9]*.json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    time.sleep(8)  # SLURM kills what has not ended after KillWait, 5 s there
    finished = len(list(out.glob("building/[0-9]*.json")))
    assert 0 < finished < 30
    time.sleep(3)
    assert len(list(out.glob("building/[0-9]*.json"))) == finished, "jobs go on after Ctrl-C"
    again = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert again.returncode == 0, again.stderr
    assert "30,000 masks" in again.stdout
    assert (out / "manifest.json").is_file()
