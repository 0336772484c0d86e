"""Test sweeps on a real SLURM (scripts/slurm-single-node.sh) and a real Ray on this machine: `pytest -m cluster`."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from smix.lab.sweep import read_sweep
from smix.training.records import read_result
from tests.conftest import make_set, write_npz
from tests.lab.test_engines_cluster import engines, needs_slurm, run_command

pytestmark = pytest.mark.cluster


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "smix", "sweep", *map(str, words)]


def write_sweep(folder: Path, epochs: int) -> Path:
    """Write a sweep of four runs in a folder with a space in its name."""
    data = f"npz:{write_npz(folder / 'made.npz', make_set(80), make_set(24, seed=1, split='test'))}"
    words = ["--data", data, "--model", "resnet8", "--batch-size", 16, "--methods", "vanilla,smix", "--seeds", 1]
    file = folder / "sweep.jsonl"
    grid = ["--grid", "lr=0.1,0.05"]
    subprocess.run(command("write", file, *words, "--epochs", epochs, *grid), check=True, timeout=60)
    return file


def wait_for(true: Callable[[], bool], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.5)


def states_in_queue(job: str) -> list[str]:
    """Return the states of the tasks of this job that SLURM lists as pending or running."""
    squeue = ["squeue", "--noheader", "--array", "--format=%T", f"--jobs={job}", "--states=PENDING,RUNNING,COMPLETING"]
    return subprocess.run(squeue, capture_output=True, text=True, check=False, timeout=30).stdout.split()


@engines
def test_a_sweep_on_a_cluster_from_write_to_status(engine, tmp_path):
    file, out = write_sweep(tmp_path, 2), tmp_path / "the runs"
    words = command("run", file, "--out", out, "--engine", engine, "--jobs", 2, "--device", "cpu")
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert f"4 runs, 2 in parallel on {engine}: about " in done.stderr
    assert "4 of 4 runs are done" in done.stdout
    assert not list(out.rglob(".slurm-*"))
    printed = subprocess.run(
        command("status", file, "--out", out), capture_output=True, text=True, timeout=60, check=True
    )
    assert "4 runs: 4 done" in printed.stdout


def submit(file: Path, out: Path, tasks: str, *words: object) -> str:
    """Submit these tasks of the printed script with sbatch, and return the id of the job."""
    print_it = command("sbatch", file, "--out", out, "--device", "cpu", "--threads", 1, *words)
    printed = subprocess.run(print_it, capture_output=True, text=True, timeout=60, check=True)
    script = file.with_name("job.sh")
    script.write_text(printed.stdout)
    sbatch = ["sbatch", "--parsable", f"--array={tasks}", str(script)]
    return subprocess.run(sbatch, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


@needs_slurm
def test_the_printed_script_is_an_array_job_that_resumes_after_its_time_limit(tmp_path):
    """The signal before the time limit is sent by the test, to a task that is alone: the shortest limit is a minute, a requeued job waits
    two, and
    while other tasks of its array wait, scancel of SLURM 22.05 tries again and again.
    """
    file, out = write_sweep(tmp_path, 100), tmp_path / "the runs"
    first, *_ = [out / name for name in read_sweep(file)]
    jobs = [submit(file, out, "0")]
    try:
        wait_for((first / "metrics.jsonl").is_file)
        run_command("scancel", "--signal=USR1", "--batch", f"{jobs[0]}_0")
        wait_for(lambda: "smix: interrupted" in (out / "slurm-0.txt").read_text())
        wait_for(lambda: states_in_queue(jobs[0]) == ["PENDING"], 60)
        run_command("scontrol", "update", f"JobId={jobs[0]}_0", "StartTime=now")
        jobs.append(submit(file, out, "1-3%2", "--jobs", 2))
        wait_for(lambda: not any(map(states_in_queue, jobs)))
    finally:
        subprocess.run(["scancel", *jobs], capture_output=True, check=False, timeout=30)
    logs = {path.name: path.read_text() for path in out.glob("slurm-*.txt")}
    results = [read_result(out / name) for name in read_sweep(file)]
    assert all(result is not None for result in results), logs
    assert sorted(logs) == [f"slurm-{number}.txt" for number in range(4)]
    assert logs["slurm-0.txt"].count("smix: interrupted") == 1
    epochs = [json.loads(line)["epoch"] for line in (first / "metrics.jsonl").read_text().splitlines()]
    assert epochs == list(range(1, 101))


@needs_slurm
def test_a_cancelled_task_writes_its_checkpoint_and_is_not_requeued(tmp_path):
    file, out = write_sweep(tmp_path, 3000), tmp_path / "runs"
    job = submit(file, out, "0")
    first, *_ = [out / name for name in read_sweep(file)]
    try:
        wait_for((first / "metrics.jsonl").is_file)
        run_command("scancel", job)
        wait_for(lambda: not states_in_queue(job), 60)
    finally:
        subprocess.run(["scancel", job], capture_output=True, check=False, timeout=30)
    assert (out / "slurm-0.txt").read_text().count("smix: interrupted") == 1
    printed = subprocess.run(
        command("status", file, "--out", out), capture_output=True, text=True, timeout=60, check=True
    )
    assert "4 runs: 1 interrupted, 3 waiting" in printed.stdout
