"""Test tasks as processes and on Ray. A shell replaces `python -m smix` and runs the first word of a task as its script."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from smix.errors import OptionError
from smix.lab import engines
from smix.lab.engines import LOST, Task, run_tasks
from smix.signals import TASK

WAIT = "n=0; while [ ! -e {path} ]; do n=$((n+1)); [ $n -gt 500 ] && exit 99; sleep 0.02; done; "
"""Shell command that waits for a file, for some seconds at most so that a failing test ends."""


@pytest.fixture(autouse=True)
def started_processes(tmp_path, monkeypatch) -> list[subprocess.Popen[bytes]]:
    """Return the list of started processes, with Python replaced by a shell that starts immediately."""
    shell = tmp_path / "python"
    shell.write_text('#!/bin/sh\n[ "$1 $2" = "-m smix" ] || exit 98\nshift 2\nexec sh -c "$@"\n')
    shell.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(shell))
    monkeypatch.setattr(engines, "POLL_SECONDS", 0.01)
    real, processes = engines._start, []

    def record_start(task: Task) -> subprocess.Popen[bytes]:
        processes.append(real(task))
        return processes[-1]

    monkeypatch.setattr(engines, "_start", record_start)
    return processes


def tasks(folder: Path, *scripts: str) -> list[Task]:
    return [Task([script], folder / f"log {place}.txt") for place, script in enumerate(scripts)]


def wait_for_file(true: Callable[[], bool]) -> None:
    """Wait for a file of another process, for some seconds at most."""
    for _ in range(500):
        if true():
            return
        time.sleep(0.02)
    raise AssertionError("nothing happened")


@pytest.mark.parametrize("jobs", [1, 2, 9])
def test_exit_codes_come_in_the_order_of_the_tasks(tmp_path, jobs):
    scripts = ["sleep 0.1; exit 3", "exit 0", "exit 5", "exit 1"]
    assert run_tasks(tasks(tmp_path, *scripts), jobs) == [3, 0, 5, 1]


def test_a_killed_task_returns_the_negative_signal(tmp_path):
    assert run_tasks(tasks(tmp_path, "kill -9 $$", "exit 0"), 1) == [-signal.SIGKILL, 0]


def test_an_empty_list_of_tasks_returns_at_once():
    assert run_tasks([], 2) == []


def test_a_failed_task_does_not_stop_the_others(tmp_path):
    run_tasks(tasks(tmp_path, "exit 7", "echo here"), 1)
    assert (tmp_path / "log 1.txt").read_text() == "here\n"


def test_tasks_run_in_their_order(tmp_path):
    run_tasks(tasks(tmp_path, *(f"echo {place} >> '{tmp_path}/order'" for place in range(4))), 1)
    assert (tmp_path / "order").read_text().split() == ["0", "1", "2", "3"]


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_the_allowed_number_of_tasks_runs_in_parallel_and_no_more(tmp_path, started_processes, monkeypatch, jobs):
    """The first tasks end only when the allowed number has started."""
    real, side_by_side, go = engines._start, [], tmp_path / "go"

    def count_running(task: Task) -> subprocess.Popen[bytes]:
        process = real(task)
        side_by_side.append(sum(one.poll() is None for one in started_processes))
        return process

    def poll() -> None:
        if len(started_processes) == jobs:
            go.touch()

    monkeypatch.setattr(engines, "_start", count_running)
    wait = WAIT.format(path=f"'{go}'")
    codes = run_tasks(tasks(tmp_path, *[wait + "exit 0"] * 5), jobs, poll)
    assert codes == [0] * 5
    assert side_by_side[jobs - 1] == jobs
    assert max(side_by_side) == jobs


def test_output_and_errors_are_appended_to_the_log(tmp_path):
    log = tmp_path / "new folder" / "log.txt"
    run_tasks([Task(["echo said; echo failed >&2"], log)], 1)
    run_tasks([Task(["echo again"], log)], 1)
    assert log.read_text() == "said\nfailed\nagain\n"


@pytest.mark.parametrize("name", ["a 0", "a'; echo foo", "a\n0", "$HOME", "-x"])
def test_arguments_and_folders_of_any_name_are_passed_unchanged(tmp_path, name):
    [task] = tasks(tmp_path / name, 'printf "%s|" "$0" "$@"')
    assert run_tasks([Task([*task.words, name, "", "--out", str(tmp_path / name)], task.log)], 1) == [0]
    assert task.log.read_text() == f"{name}||--out|{tmp_path / name}|"


def test_tasks_have_no_input(tmp_path):
    own, (read, write) = os.dup(0), os.pipe()
    os.write(write, b"typed by somebody\n")
    os.close(write)
    os.dup2(read, 0)
    try:
        run_tasks(tasks(tmp_path, "cat"), 1)
    finally:
        os.dup2(own, 0)
        os.close(own)
        os.close(read)
    assert (tmp_path / "log 0.txt").read_text() == ""


def test_tasks_know_their_parent_process(tmp_path):
    run_tasks(tasks(tmp_path, f"echo ${TASK} $PPID"), 1)
    assert (tmp_path / "log 0.txt").read_text() == f"{os.getpid()} {os.getpid()}\n"
    assert TASK not in os.environ


def test_tasks_do_not_receive_the_interrupt_of_the_terminal(tmp_path):
    run_tasks(tasks(tmp_path, "ps -o sid= -p $$ || cut -d' ' -f6 /proc/$$/stat; echo $$"), 1)
    session, process = (tmp_path / "log 0.txt").read_text().split()
    assert session == process


def run_until_interrupted(
    act: Callable[[], None], folder: Path, started_processes: list[subprocess.Popen[bytes]]
) -> None:
    """Run two tasks with one waiting, and call `act` when both are ready for SIGTERM."""
    script = f"trap 'sleep 0.1; echo checkpoint; exit 7' TERM; touch '{folder}'/ready$$; " + WAIT.format(
        path=f"'{folder}/never'"
    )

    def poll() -> None:
        if len(list(folder.glob("ready*"))) == 2:
            act()

    with pytest.raises(KeyboardInterrupt):
        run_tasks(tasks(folder, *[script] * 3), 2, poll)
    assert [process.returncode for process in started_processes] == [7, 7], "not waited for, or a third was started"
    for place in range(2):
        assert (folder / f"log {place}.txt").read_text() == "checkpoint\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupt_stops_all_tasks_waits_for_them_and_starts_no_more(tmp_path, started_processes, number):
    own = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored when the tests run in the background
    before = signal.getsignal(number)
    try:
        run_until_interrupted(lambda: os.kill(os.getpid(), number), tmp_path, started_processes)
        assert signal.getsignal(number) is before
    finally:
        signal.signal(signal.SIGINT, own)


def test_an_error_leaves_no_task_running(tmp_path, started_processes):
    def fail() -> None:
        raise KeyboardInterrupt

    run_until_interrupted(fail, tmp_path, started_processes)


def test_a_task_that_cannot_be_started_ends_the_running_tasks(tmp_path, started_processes):
    (tmp_path / "file").touch()
    ones = [*tasks(tmp_path, WAIT.format(path=f"'{tmp_path}/never'")), Task(["exit 0"], tmp_path / "file" / "log.txt")]
    with pytest.raises(OSError, match="file"):
        run_tasks(ones, 2)
    assert [process.returncode for process in started_processes] == [-signal.SIGTERM]


def test_the_handler_of_sigterm_is_restored(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    run_tasks(tasks(tmp_path, "exit 0"), 1)
    assert signal.getsignal(signal.SIGTERM) is before


def test_tasks_run_outside_the_main_thread(tmp_path):
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.extend(run_tasks(tasks(tmp_path, "exit 4"), 1)))
    thread.start()
    thread.join()
    assert codes == [4]


def test_a_missing_ray_is_reported_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(OptionError, match=r"engine: Ray is not installed; run pip install 'smix\[ray\]'"):
        engines.launch([Task(["--version"], tmp_path / "log.txt")], "ray", 1)


@pytest.mark.parametrize("engine", ["slurm", "ray"])
def test_an_empty_list_of_tasks_submits_nothing(engine):
    assert engines.launch([], engine, 2) == []


@pytest.mark.parametrize("code", [0, 2])
def test_a_task_on_a_cluster_returns_its_exit_code_and_ends_with_its_runner(tmp_path, started_processes, code):
    log = tmp_path / "log.txt"
    assert engines.run_in_ray_task(Task([f"echo said; exit {code}"], log)) == code
    assert log.read_text() == "said\n"

    def stop() -> None:
        while len(started_processes) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    with pytest.raises(KeyboardInterrupt):
        engines.run_in_ray_task(Task(["sleep 20"], log))
    assert started_processes[1].returncode == -signal.SIGTERM


@pytest.mark.parametrize(
    ("cpus", "jobs", "expected"),
    [
        ([8], 1, 8),
        ([8], 3, 2),
        ([8], 9, 1),  # eight run at once and one waits
        ([8, 8], 4, 4),
        ([8, 8], 3, 4),  # 5 would leave room for only two
        ([0, 7, 3], 3, 3),
        ([0], 2, 1),
        ([], 2, 1),
        ([0.5], 1, 1),
    ],
)
def test_tasks_share_the_cpus_of_nodes_and_none_spans_two_nodes(cpus, jobs, expected):
    assert engines._cpus_per_task(cpus, jobs) == expected


class Ray:
    """Stand-in for the module. A task runs when it is waited for, in the order of submission."""

    class exceptions:
        class RayError(Exception):
            pass

    def __init__(self, gpus: float = 0) -> None:
        self.gpus, self.peak, self.options, self.cancelled, self.running, self.results = gpus, 0, {}, [], [], {}

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 12.0} | ({"GPU": self.gpus} if self.gpus else {})

    def nodes(self) -> list[dict[str, object]]:
        nodes = [(8.0, True), (4.0, True), (64.0, False)]
        return [{"Alive": alive, "Resources": {"CPU": count}} for count, alive in nodes]

    def remote(self, **options: object):
        self.options = options

        def make(function: Callable[..., int]) -> SimpleNamespace:
            assert function is engines.run_in_ray_task
            return SimpleNamespace(remote=self.begin)

        return make

    def begin(self, task: Task, folder: Path) -> int:
        assert folder == Path.cwd()
        reference = len(self.results)
        self.results[reference] = task.words[0]
        self.running.append(reference)
        self.peak = max(self.peak, len(self.running))
        return reference

    def wait(self, references: list[int], num_returns: int = 1, timeout: float = 0) -> tuple[list[int], list[int]]:
        assert 0 < num_returns <= len(references), "Ray refuses it"
        assert references == self.running
        done, self.running = self.running[:num_returns], self.running[num_returns:]
        return done, self.running

    def get(self, reference: int) -> int:
        if self.results[reference] == "dies":
            raise self.exceptions.RayError("its node died")
        return int(self.results[reference])

    def cancel(self, reference: int) -> None:
        self.cancelled.append(reference)


@pytest.mark.parametrize("jobs", [1, 3, 9])
def test_ray_gets_as_many_tasks_as_allowed_and_their_exit_codes_are_in_order(tmp_path, jobs):
    ray = Ray()
    ray_tasks = [Task([word], tmp_path / f"{place}.txt") for place, word in enumerate(["3", "0", "dies", "2"])]
    assert engines._as_ray_tasks(ray, ray_tasks, jobs, lambda: None) == [3, 0, LOST, 2]
    assert ray.peak == min(jobs, 4)
    assert ray.cancelled == []
    assert (tmp_path / "2.txt").read_text() == "its node died\n"
    assert ray.options["num_cpus"] == {1: 8, 3: 4, 9: 2}[jobs]


@pytest.mark.parametrize(
    ("gpus", "jobs", "share"), [(0, 4, 0), (4, 4, 1), (8, 4, 1), (4, 3, 1), (1, 4, 1 / 4), (3, 4, 1 / 2)]
)
def test_ray_tasks_share_gpus_evenly(tmp_path, gpus, jobs, share):
    ray = Ray(gpus)
    engines._as_ray_tasks(ray, tasks(tmp_path, *["0"] * 4), jobs, lambda: None)
    assert ray.options["num_gpus"] == share


@pytest.mark.parametrize(("polls", "cancelled"), [(1, [1, 2]), (4, [])])
def test_interrupted_ray_tasks_are_cancelled_and_waited_for(tmp_path, polls, cancelled):
    ray, left = Ray(), polls

    def poll() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engines._as_ray_tasks(ray, tasks(tmp_path, *["0"] * 4), 3, poll)
    assert ray.cancelled == cancelled
    assert ray.running == []
