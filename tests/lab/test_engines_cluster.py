"""Test tasks on a real SLURM (scripts/slurm-single-node.sh) and a real Ray on this machine: `pytest -m cluster`."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from smix import build_masks, load_data
from smix.errors import OptionError
from smix.lab.engines import LOST, Task, launch
from smix.masks import load_source
from tests.conftest import make_set, write_npz
from tests.masks.stores import content

pytestmark = pytest.mark.cluster


def slurm_is_up() -> bool:
    if shutil.which("sinfo") is None:
        return False
    try:
        return subprocess.run(["sinfo"], capture_output=True, timeout=10, check=False).returncode == 0
    except subprocess.TimeoutExpired:  # called at each collection of tests, with or without tests of a cluster
        return False


needs_slurm = pytest.mark.skipif(not slurm_is_up(), reason="no SLURM: scripts/slurm-single-node.sh")
ENGINES = [
    pytest.param("slurm", marks=needs_slurm),
    pytest.param("ray", marks=pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="no Ray")),
]
engines = pytest.mark.parametrize("engine", ENGINES)


@engines
def test_exit_codes_and_logs_are_in_order(engine, tmp_path):
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
def test_masks_built_on_a_cluster_equal_those_of_one_process(engine, tmp_path):
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
def test_ctrl_c_ends_the_jobs_and_the_same_command_resumes(engine, tmp_path):
    words, _ = mask_words(tmp_path, 100_000)
    out = tmp_path / "store"
    command = [sys.executable, "-m", "smix", *words, "--engine", engine, "--jobs", "2", "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(out.glob("building/[0-9]*.json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    time.sleep(8)  # SLURM kills processes that have not ended after KillWait, 5 s in this configuration
    finished = len(list(out.glob("building/[0-9]*.json")))
    assert 0 < finished < 98
    time.sleep(3)
    assert len(list(out.glob("building/[0-9]*.json"))) == finished, "jobs go on after Ctrl-C"
    again = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert again.returncode == 0, again.stderr
    assert "100,000 masks" in again.stdout
    assert (out / "manifest.json").is_file()


def training(folder: Path, epochs: int) -> Task:
    words = ["train", "--data", "digits-on-photos", "--model", "resnet8", "--train-limit", "200", "--quiet"]
    return Task([*words, "--epochs", str(epochs), "--out", str(folder / "run")], folder / "log.txt")


def when(condition: Callable[[], bool], act: Callable[[], object]) -> None:
    """Call `act` in a thread as soon as a condition is true."""

    def wait() -> None:
        deadline = time.monotonic() + 120
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.1)
        act()

    threading.Thread(target=wait, daemon=True).start()


def epochs_done(folder: Path) -> int:
    metrics = folder / "run" / "metrics.jsonl"
    return len(metrics.read_text().splitlines()) if metrics.is_file() else 0


def own_job(folder: Path) -> str:
    """Return the id of the only job whose script is in this folder: others use the same SLURM."""
    queue = ["squeue", "--noheader", "--format=%A %o"]
    lines = subprocess.run(queue, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()
    [job] = {line.split()[0] for line in lines if f"{folder}/.slurm-" in line}
    return job


def run_command(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)


@engines
def test_an_interrupted_run_writes_its_checkpoint(engine, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    when(lambda: epochs_done(tmp_path) >= 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(KeyboardInterrupt):
        launch([training(tmp_path, 2000)], engine, 1)
    finished = epochs_done(tmp_path)
    assert (tmp_path / "log.txt").read_text() == "smix: interrupted; run the same command again to resume\n"
    assert (tmp_path / "run" / "checkpoint.pt").is_file()
    time.sleep(3)
    assert epochs_done(tmp_path) == finished, "it goes on"
    assert signal.getsignal(signal.SIGTERM) is before


@needs_slurm
@pytest.mark.parametrize("options", [(), ("--signal=KILL", "--batch")], ids=["cancelled", "killed"])
def test_a_job_that_was_cancelled_has_failed_and_its_log_says_so(tmp_path, monkeypatch, options):
    monkeypatch.setattr("smix.lab.slurm.QUEUE_SECONDS", 1.0)
    when(lambda: epochs_done(tmp_path) >= 1, lambda: run_command("scancel", *options, own_job(tmp_path)))
    [code] = launch([training(tmp_path, 2000)], "slurm", 1)
    last = (tmp_path / "log.txt").read_text().splitlines()[-1]
    assert (code, last.split(":")[0]) in [(130, "smix"), (LOST, "job of SLURM")]


@needs_slurm
def test_a_job_at_its_time_limit_is_requeued_and_resumes(tmp_path):
    """The signal before the time limit is sent by the test: the shortest limit is a minute, and a requeued job waits two."""

    def warn() -> None:
        run_command("scancel", "--signal=USR1", "--batch", job := own_job(tmp_path))
        deadline = time.monotonic() + 60
        state = ["squeue", "--noheader", "--format=%T", f"--jobs={job}"]
        while subprocess.run(state, capture_output=True, text=True, check=True).stdout != "PENDING\n":
            assert time.monotonic() < deadline, "not requeued"
            time.sleep(0.5)
        run_command("scontrol", "update", f"JobId={job}", "StartTime=now")

    when(lambda: epochs_done(tmp_path) >= 2, warn)
    assert launch([training(tmp_path, 12)], "slurm", 1) == [0]
    assert (tmp_path / "log.txt").read_text().count("smix: interrupted") == 1
    assert json.loads((tmp_path / "run" / "result.json").read_text())["epochs"] == epochs_done(tmp_path) == 12
    assert not list(tmp_path.glob(".slurm-*"))


@needs_slurm
def test_an_unknown_partition_is_a_one_line_error(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("SBATCH_PARTITION", "nowhere")
    with pytest.raises(
        OptionError, match=r"rejected the job \(.*invalid partition.*nowhere.*\); check SBATCH_PARTITION"
    ):
        launch([Task(["--version"], tmp_path / "log.txt")], "slurm", 1)
    assert capfd.readouterr() == ("", "")


@needs_slurm
def test_sbatch_takes_its_size_from_the_environment(tmp_path, monkeypatch):
    """A job may submit jobs: this one has the environment of an array job."""
    requested = {"SBATCH_CPUS_PER_TASK": "2", "SBATCH_TIMELIMIT": "1:00:00", "SBATCH_MEM_PER_NODE": "300"}
    inside = {"SLURM_JOB_ID": "1", "SLURM_ARRAY_JOB_ID": "1", "SLURM_ARRAY_TASK_ID": "7"}
    for name, value in (requested | inside).items():
        monkeypatch.setenv(name, value)
    shown: list[str] = []

    def read_job() -> None:
        if not shown and list(tmp_path.glob(".slurm-*/script.sh")):
            show = ["scontrol", "show", "job", own_job(tmp_path)]
            shown.append(subprocess.run(show, capture_output=True, text=True, check=True).stdout)

    assert launch([Task(["--version"], tmp_path / "log.txt")], "slurm", 1, read_job) == [0]
    for text in ("NumCPUs=2", "TimeLimit=01:00:00", "mem=300M", "Requeue=1"):
        assert text in shown[0]
