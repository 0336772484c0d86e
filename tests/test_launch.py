"""Tasks as processes. In place of `python -m smix` the tests start the shell, with the task's first word as its script."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from smix import launch
from smix.errors import OptionError
from smix.launch import PARENT, Task, on_signals, orphaned, run_tasks

WAIT = "n=0; while [ ! -e {path} ]; do n=$((n+1)); [ $n -gt 500 ] && exit 99; sleep 0.02; done; "
"""Waits for a file; gives up after some seconds, so that a broken test ends."""


@pytest.fixture(autouse=True)
def started(tmp_path, monkeypatch) -> list[subprocess.Popen[bytes]]:
    """The processes that were started. Replaces Python by a shell that is ready at once."""
    shell = tmp_path / "python"
    shell.write_text('#!/bin/sh\n[ "$1 $2" = "-m smix" ] || exit 98\nshift 2\nexec sh -c "$@"\n')
    shell.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(shell))
    monkeypatch.setattr(launch, "POLL_SECONDS", 0.01)
    real, processes = launch._start, []

    def noted(task: Task) -> subprocess.Popen[bytes]:
        processes.append(real(task))
        return processes[-1]

    monkeypatch.setattr(launch, "_start", noted)
    return processes


def tasks(folder: Path, *scripts: str) -> list[Task]:
    return [Task([script], folder / f"log {place}.txt") for place, script in enumerate(scripts)]


def until(true: Callable[[], bool]) -> None:
    """Waits for another process, at most some seconds."""
    for _ in range(500):
        if true():
            return
        time.sleep(0.02)
    raise AssertionError("nothing happened")


@pytest.mark.parametrize("jobs", [1, 2, 9])
def test_exit_codes_come_in_the_order_of_the_tasks(tmp_path, jobs):
    scripts = ["sleep 0.1; exit 3", "exit 0", "exit 5", "exit 1"]
    assert run_tasks(tasks(tmp_path, *scripts), jobs) == [3, 0, 5, 1]


def test_a_task_that_was_killed_has_the_negative_signal(tmp_path):
    assert run_tasks(tasks(tmp_path, "kill -9 $$", "exit 0"), 1) == [-signal.SIGKILL, 0]


def test_no_tasks_are_done_at_once():
    assert run_tasks([], 2) == []


def test_a_failed_task_does_not_stop_the_others(tmp_path):
    run_tasks(tasks(tmp_path, "exit 7", "echo here"), 1)
    assert (tmp_path / "log 1.txt").read_text() == "here\n"


def test_tasks_run_in_their_order(tmp_path):
    run_tasks(tasks(tmp_path, *(f"echo {place} >> '{tmp_path}/order'" for place in range(4))), 1)
    assert (tmp_path / "order").read_text().split() == ["0", "1", "2", "3"]


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_as_many_tasks_as_allowed_run_side_by_side_and_no_more(tmp_path, started, monkeypatch, jobs):
    """The first ones end only when as many as allowed have begun."""
    real, side_by_side, go = launch._start, [], tmp_path / "go"

    def counted(task: Task) -> subprocess.Popen[bytes]:
        process = real(task)
        side_by_side.append(sum(one.poll() is None for one in started))
        return process

    def poll() -> None:
        if len(started) == jobs:
            go.touch()

    monkeypatch.setattr(launch, "_start", counted)
    wait = WAIT.format(path=f"'{go}'")
    codes = run_tasks(tasks(tmp_path, *[wait + "exit 0"] * 5), jobs, poll)
    assert codes == [0] * 5
    assert side_by_side[jobs - 1] == jobs
    assert max(side_by_side) == jobs


def test_output_and_errors_go_to_the_log_below_what_was_there(tmp_path):
    log = tmp_path / "new folder" / "log.txt"
    run_tasks([Task(["echo said; echo failed >&2"], log)], 1)
    run_tasks([Task(["echo again"], log)], 1)
    assert log.read_text() == "said\nfailed\nagain\n"


@pytest.mark.parametrize("name", ["a 0", "a'; echo foo", "a\n0", "$HOME", "-x"])
def test_words_and_folders_of_any_name_arrive_as_they_are(tmp_path, name):
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


def test_tasks_know_who_started_them(tmp_path):
    run_tasks(tasks(tmp_path, f"echo ${PARENT} $PPID"), 1)
    assert (tmp_path / "log 0.txt").read_text() == f"{os.getpid()} {os.getpid()}\n"
    assert PARENT not in os.environ


def test_tasks_are_out_of_reach_of_the_terminals_interrupt(tmp_path):
    run_tasks(tasks(tmp_path, "ps -o sid= -p $$ || cut -d' ' -f6 /proc/$$/stat; echo $$"), 1)
    session, process = (tmp_path / "log 0.txt").read_text().split()
    assert session == process


def interrupted_by(act: Callable[[], None], folder: Path, started: list[subprocess.Popen[bytes]]) -> None:
    """Two tasks run and one waits; `act` is done once both are ready for SIGTERM."""
    script = f"trap 'sleep 0.1; echo checkpoint; exit 7' TERM; touch '{folder}'/ready$$; " + WAIT.format(
        path=f"'{folder}/never'"
    )

    def poll() -> None:
        if len(list(folder.glob("ready*"))) == 2:
            act()

    with pytest.raises(KeyboardInterrupt):
        run_tasks(tasks(folder, *[script] * 3), 2, poll)
    assert [process.returncode for process in started] == [7, 7], "not waited for, or a third was started"
    for place in range(2):
        assert (folder / f"log {place}.txt").read_text() == "checkpoint\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_it_tells_its_tasks_waits_for_them_and_starts_no_more(tmp_path, started, number):
    own = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    before = signal.getsignal(number)
    try:
        interrupted_by(lambda: os.kill(os.getpid(), number), tmp_path, started)
        assert signal.getsignal(number) is before
    finally:
        signal.signal(signal.SIGINT, own)


def test_whatever_fails_meanwhile_no_task_is_left_behind(tmp_path, started):
    def fail() -> None:
        raise KeyboardInterrupt

    interrupted_by(fail, tmp_path, started)


def test_a_task_that_cannot_be_started_ends_those_that_run(tmp_path, started):
    (tmp_path / "file").touch()
    ones = [*tasks(tmp_path, WAIT.format(path=f"'{tmp_path}/never'")), Task(["exit 0"], tmp_path / "file" / "log.txt")]
    with pytest.raises(OSError, match="file"):
        run_tasks(ones, 2)
    assert [process.returncode for process in started] == [-signal.SIGTERM]


def test_the_handler_of_sigterm_is_restored(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    run_tasks(tasks(tmp_path, "exit 0"), 1)
    assert signal.getsignal(signal.SIGTERM) is before


def test_outside_the_main_thread_tasks_run_as_well(tmp_path):
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.extend(run_tasks(tasks(tmp_path, "exit 4"), 1)))
    thread.start()
    thread.join()
    assert codes == [4]


def test_signals_are_handled_inside_the_block_only():
    caught: list[int] = []
    before = signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGUSR2)
    with on_signals((signal.SIGUSR1, signal.SIGUSR2), lambda number, frame: caught.append(number)):
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR2)
    assert caught == [signal.SIGUSR1, signal.SIGUSR2]
    assert (signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGUSR2)) == before


def test_handlers_are_restored_when_the_block_fails():
    before = signal.getsignal(signal.SIGUSR1)
    with pytest.raises(ZeroDivisionError), on_signals((signal.SIGUSR1,), lambda number, frame: None):
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGUSR1) is before


def test_a_process_is_orphaned_if_another_one_started_it(monkeypatch):
    monkeypatch.delenv(PARENT, raising=False)
    assert not orphaned()
    monkeypatch.setenv(PARENT, str(os.getppid()))
    assert not orphaned()
    monkeypatch.setenv(PARENT, str(os.getpid()))
    assert orphaned()


def test_tasks_notice_that_the_process_that_started_them_was_killed(tmp_path, monkeypatch):
    monkeypatch.undo()
    child, parent = tmp_path / "child.py", tmp_path / "parent.py"
    child.write_text(
        "import sys, time; from pathlib import Path; from smix.launch import orphaned\n"
        "folder = Path(sys.argv[3])\n"
        "(folder / ('wrong' if orphaned() else 'begun')).touch()\n"
        "for _ in range(500):\n"
        "    if orphaned(): (folder / 'noticed').touch(); break\n"
        "    time.sleep(0.02)\n"
    )
    parent.write_text(
        "import sys; from pathlib import Path; from smix import launch\n"
        "folder = Path(sys.argv[1])\n"
        "sys.executable = str(folder / 'python')\n"
        "launch.run_tasks([launch.Task([str(folder)], folder / 'log.txt')], 1)\n"
    )
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{child}" "$@"\n')
    environment = {**os.environ, "PYTHONPATH": str(Path(launch.__file__).parents[1])}
    process = subprocess.Popen([sys.executable, str(parent), str(tmp_path)], env=environment)
    until((tmp_path / "begun").exists)
    process.kill()
    process.wait()
    until((tmp_path / "noticed").exists)
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize(("engine", "package"), [("slurm", "submitit"), ("ray", "ray")])
def test_an_engine_that_is_not_installed_names_its_extra(tmp_path, monkeypatch, engine, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        OptionError, match=rf"engine: expected the package {package}, got none; install smix\[{engine}\]"
    ):
        launch.launch([launch.Task(["--version"], tmp_path / "log.txt")], engine, 1)


def test_slurm_on_a_machine_without_it_is_one_line(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OptionError, match="engine: expected SLURM's sbatch on this machine, got none"):
        launch.launch([launch.Task(["--version"], tmp_path / "log.txt")], "slurm", 1)


def test_the_script_that_slurm_gets_is_pinned(tmp_path, monkeypatch):
    """A fake sbatch keeps what it is given; submitit writes it."""
    pytest.importorskip("submitit")
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(f'#!/bin/sh\ncp "$1" {tmp_path}/kept.sh\necho no such partition >&2\nexit 1\n')
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:/usr/bin:/bin")
    tasks = [
        launch.Task(["masks", "build", "--shard", f"{part}/3"], tmp_path / "logs" / f"{part}.txt") for part in (1, 2, 3)
    ]
    with pytest.raises(OptionError, match=r"engine: expected SLURM to take the jobs, got: .*; see SBATCH_PARTITION"):
        launch.launch(tasks, "slurm", 2)
    lines = (tmp_path / "kept.sh").read_text().replace(sys.executable, "PYTHON").replace(str(tmp_path), "FOLDER")
    assert lines == (Path(__file__).parent / "golden" / "sbatch.sh").read_text()


@pytest.mark.parametrize("code", [0, 2])
def test_a_task_that_a_cluster_runs_gives_its_exit_code_and_ends_with_its_runner(tmp_path, started, code):
    log = tmp_path / "log.txt"
    assert launch.run_here(Task([f"echo said; exit {code}"], log)) == code
    assert log.read_text() == "said\n"

    def stop() -> None:
        while len(started) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    with pytest.raises(KeyboardInterrupt):
        launch.run_here(Task(["sleep 20"], log))
    assert started[1].returncode == -signal.SIGTERM
