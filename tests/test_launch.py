"""Test tasks as processes. Instead of `python -m smix` the tests start the shell, with the first word of a task as its script."""

import os
import pickle
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from smix import launch
from smix.errors import OptionError
from smix.launch import PARENT, Task, on_signals, orphaned, run_tasks

WAIT = "n=0; while [ ! -e {path} ]; do n=$((n+1)); [ $n -gt 500 ] && exit 99; sleep 0.02; done; "
"""Shell script that waits for a file, at most some seconds, so that a broken test ends."""


@pytest.fixture(autouse=True)
def started(tmp_path, monkeypatch) -> list[subprocess.Popen[bytes]]:
    """Return the list of started processes, with Python replaced by a shell, which starts immediately."""
    shell = tmp_path / "python"
    shell.write_text('#!/bin/sh\n[ "$1 $2" = "-m smix" ] || exit 98\nshift 2\nexec sh -c "$@"\n')
    shell.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(shell))
    monkeypatch.setattr(launch, "POLL_SECONDS", 0.01)
    real, processes = launch._start, []

    def recorded_start(task: Task) -> subprocess.Popen[bytes]:
        processes.append(real(task))
        return processes[-1]

    monkeypatch.setattr(launch, "_start", recorded_start)
    return processes


def tasks(folder: Path, *scripts: str) -> list[Task]:
    return [Task([script], folder / f"log {place}.txt") for place, script in enumerate(scripts)]


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for another process, at most some seconds."""
    for _ in range(500):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("the condition did not become true")


@pytest.mark.parametrize("jobs", [1, 2, 9])
def test_exit_codes_are_in_the_order_of_the_tasks(tmp_path, jobs):
    scripts = ["sleep 0.1; exit 3", "exit 0", "exit 5", "exit 1"]
    assert run_tasks(tasks(tmp_path, *scripts), jobs) == [3, 0, 5, 1]


def test_a_task_that_was_killed_has_the_negative_signal(tmp_path):
    assert run_tasks(tasks(tmp_path, "kill -9 $$", "exit 0"), 1) == [-signal.SIGKILL, 0]


def test_no_tasks_need_no_process():
    assert run_tasks([], 2) == []


def test_a_failed_task_does_not_stop_the_others(tmp_path):
    run_tasks(tasks(tmp_path, "exit 7", "echo here"), 1)
    assert (tmp_path / "log 1.txt").read_text() == "here\n"


def test_tasks_start_in_order(tmp_path):
    run_tasks(tasks(tmp_path, *(f"echo {place} >> '{tmp_path}/order'" for place in range(4))), 1)
    assert (tmp_path / "order").read_text().split() == ["0", "1", "2", "3"]


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_the_number_of_concurrent_tasks_is_limited(tmp_path, started, monkeypatch, jobs):
    """The first tasks end only when the maximum number of tasks has started."""
    real, concurrent, go = launch._start, [], tmp_path / "go"

    def counting_start(task: Task) -> subprocess.Popen[bytes]:
        process = real(task)
        concurrent.append(sum(other.poll() is None for other in started))
        return process

    def poll() -> None:
        if len(started) == jobs:
            go.touch()

    monkeypatch.setattr(launch, "_start", counting_start)
    wait = WAIT.format(path=f"'{go}'")
    codes = run_tasks(tasks(tmp_path, *[wait + "exit 0"] * 5), jobs, poll)
    assert codes == [0] * 5
    assert concurrent[jobs - 1] == jobs
    assert max(concurrent) == jobs


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


def test_tasks_have_no_standard_input(tmp_path):
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


def test_tasks_do_not_receive_interrupts_of_the_terminal(tmp_path):
    run_tasks(tasks(tmp_path, "ps -o sid= -p $$ || cut -d' ' -f6 /proc/$$/stat; echo $$"), 1)
    session, process = (tmp_path / "log 0.txt").read_text().split()
    assert session == process


def interrupted_by(act: Callable[[], None], folder: Path, started: list[subprocess.Popen[bytes]]) -> None:
    """Run two tasks while a third waits, and call `act` when both are ready for SIGTERM."""
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
def test_an_interrupt_signals_tasks_waits_for_them_and_starts_no_more(tmp_path, started, number):
    own = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored if the tests run in the background
    before = signal.getsignal(number)
    try:
        interrupted_by(lambda: os.kill(os.getpid(), number), tmp_path, started)
        assert signal.getsignal(number) is before
    finally:
        signal.signal(signal.SIGINT, own)


def test_no_task_survives_an_error(tmp_path, started):
    def fail() -> None:
        raise KeyboardInterrupt

    interrupted_by(fail, tmp_path, started)


def test_a_task_that_cannot_be_started_ends_those_that_run(tmp_path, started):
    (tmp_path / "file").touch()
    ray_tasks = [
        *tasks(tmp_path, WAIT.format(path=f"'{tmp_path}/never'")),
        Task(["exit 0"], tmp_path / "file" / "log.txt"),
    ]
    with pytest.raises(OSError, match="file"):
        run_tasks(ray_tasks, 2)
    assert [process.returncode for process in started] == [-signal.SIGTERM]


def test_the_handler_of_sigterm_is_restored(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    run_tasks(tasks(tmp_path, "exit 0"), 1)
    assert signal.getsignal(signal.SIGTERM) is before


def test_tasks_run_outside_of_the_main_thread(tmp_path):
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
    wait_until((tmp_path / "begun").exists)
    process.kill()
    process.wait()
    wait_until((tmp_path / "noticed").exists)
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize(("engine", "package"), [("slurm", "submitit"), ("ray", "ray")])
def test_an_engine_that_is_not_installed_names_its_extra(tmp_path, monkeypatch, engine, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        OptionError, match=rf"engine: expected the package {package}, got none; install smix\[{engine}\]"
    ):
        launch.launch([launch.Task(["--version"], tmp_path / "log.txt")], engine, 1)


def test_missing_slurm_is_one_line(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OptionError, match="engine: expected SLURM's sbatch on this machine, got none"):
        launch.launch([launch.Task(["--version"], tmp_path / "log.txt")], "slurm", 1)


def test_the_slurm_script_is_pinned(tmp_path, monkeypatch):
    """A fake sbatch stores the script that submitit writes."""
    pytest.importorskip("submitit")
    commands = tmp_path / "bin"
    script(commands / "sbatch", f"""cp "$1" '{tmp_path}/kept.sh'\necho no such partition >&2\nexit 1\n""")
    script(commands / "srun", "exit 1")  # submitit looks for it
    monkeypatch.setenv("PATH", f"{commands}:/usr/bin:/bin")
    tasks = [
        launch.Task(["masks", "build", "--shard", f"{part}/3"], tmp_path / "logs" / f"{part}.txt") for part in (1, 2, 3)
    ]
    with pytest.raises(OptionError, match=r"engine: expected SLURM to take the jobs, got: .*; see SBATCH_PARTITION"):
        launch.launch(tasks, "slurm", 2)
    lines = (tmp_path / "kept.sh").read_text().replace(shlex.quote(sys.executable), "PYTHON")
    lines = re.sub("'(FOLDER[^']*)'", r"\1", lines.replace(str(tmp_path), "FOLDER"))  # quoted if it contains a space
    assert lines == (Path(__file__).parent / "golden" / "sbatch.sh").read_text()


@pytest.mark.parametrize("code", [0, 2])
def test_a_task_on_a_cluster_returns_its_exit_code_and_ends_with_its_runner(tmp_path, started, code):
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


def script(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}")
    path.chmod(0o755)


@dataclass(frozen=True)
class Slurm:
    """Fake SLURM commands. The plan of a job such as `7_0` is an exit code, `lost`, or `stays` (until it is told to stop)."""

    folder: Path

    def plan(self, *jobs: str) -> None:
        (self.folder / "plan").write_text("\n".join(jobs))

    @property
    def cancelled(self) -> list[str]:
        """Return the calls of scancel."""
        calls = self.folder / "cancelled"
        return calls.read_text().splitlines() if calls.exists() else []


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Slurm:
    pytest.importorskip("submitit")
    folder = tmp_path / "slurm"
    (folder / "queue").mkdir(parents=True)
    for code in (0, 2, 3):
        (folder / f"{code}.pkl").write_bytes(pickle.dumps(("success", code)))
    (folder / "broken.pkl").write_bytes(pickle.dumps(("error", "Traceback")))
    script(
        folder / "bin" / "sbatch",
        f"""cd '{folder}'; env | grep -o '^S[A-Z_]*=.*' > environment; cp "$1" script.sh
        store=$(sed -n "s/^#SBATCH --output='\\?\\([^']*\\)[/]%.*/\\1/p" "$1"); array=$(grep -c '^#SBATCH --array' "$1")
        place=0
        while read -r plan || [ -n "$plan" ]; do
            [ $array = 1 ] && id=7_$place || id=7
            case $plan in
                stays) touch queue/$id;;
                lost) ;;
                said) echo 'slurmstepd: oom' > "$store/${{id}}_0_log.out";;
                *) cp $plan.pkl "$store/${{id}}_0_result.pkl";;
            esac
            place=$((place + 1))
        done < plan
        echo Submitted batch job 7""",
    )
    script(folder / "bin" / "squeue", f"[ ! -e '{folder}/down' ] || exit 1; ls '{folder}/queue'")
    script(
        folder / "bin" / "scancel",
        f"""echo "$*" >> '{folder}/cancelled'; [ "$1" = --batch ] || exit 0; cd '{folder}/queue' && rm -f "${{@:3}}" """,
    )
    script(folder / "bin" / "srun", "exit 1")  # submitit looks for it
    monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(launch, "CLUSTER_POLL_SECONDS", 0.01)
    monkeypatch.setattr(launch, "QUEUE_SECONDS", 0.01)
    monkeypatch.setattr(launch, "GRACE_SECONDS", 3.0)
    return Slurm(folder)


def on_slurm(folder: Path, count: int, poll: Callable[[], None] = lambda: None) -> list[int]:
    ray_tasks = [Task(["--version"], folder / "logs" / f"{place}" / "log.txt") for place in range(count)]
    return launch.launch(ray_tasks, "slurm", 2, poll)


def test_exit_codes_of_jobs_are_in_the_order_of_the_tasks_and_submission_files_are_removed(tmp_path, slurm):
    slurm.plan("3", "0", "2")
    assert on_slurm(tmp_path, 3) == [3, 0, 2]
    assert (tmp_path / "logs" / ".slurm").is_dir()
    slurm.plan("0", "0")
    assert on_slurm(tmp_path / "other", 2) == [0, 0]
    assert not (tmp_path / "other" / "logs" / ".slurm").exists()
    assert slurm.cancelled == []


def test_a_single_job_is_not_an_array(tmp_path, slurm):
    slurm.plan("3")
    assert on_slurm(tmp_path, 1) == [3]
    assert "--array" not in (slurm.folder / "script.sh").read_text()


def test_jobs_without_an_exit_code_have_failed_and_their_logs_contain_the_state_in_slurm(tmp_path, slurm):
    slurm.plan("0", "lost", "said", "broken")
    assert on_slurm(tmp_path, 4) == [0, 1, 1, 1]
    logs = [tmp_path / "logs" / str(place) / "log.txt" for place in range(4)]
    assert not logs[0].exists()
    assert logs[1].read_text() == "job 7_1: cancelled, killed, or lost with its node\n"
    assert logs[2].read_text() == "slurmstepd: oom\n"


@pytest.mark.slow
def test_jobs_survive_while_slurm_does_not_answer(tmp_path, slurm):
    slurm.plan("lost", "stays")
    (slurm.folder / "down").touch()
    polls = 0

    def poll() -> None:
        nonlocal polls
        polls += 1
        if polls == 4 * launch.MISSED:
            (slurm.folder / "down").unlink()
        if polls == 8 * launch.MISSED:
            (slurm.folder / "queue" / "7_1").unlink()

    assert on_slurm(tmp_path, 2, poll) == [1, 1]
    assert polls > 8 * launch.MISSED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_an_interrupt_signals_jobs_waits_for_them_and_then_cancels_them(tmp_path, slurm, number):
    slurm.plan("stays", "0", "stays")
    before = signal.getsignal(number)
    polls = 0

    def poll() -> None:
        nonlocal polls
        polls += 1
        if polls == 2:
            os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt):
        on_slurm(tmp_path, 3, poll)
    assert slurm.cancelled == ["--state=PENDING 7_0 7_2", "--batch --signal=TERM 7_0 7_2", "7_0 7_2"]
    assert signal.getsignal(number) is before


def test_an_interrupt_after_all_jobs_are_done_cancels_nothing(tmp_path, slurm):
    """scancel with a filter and no id would end every job of the user."""
    slurm.plan("0", "0")

    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_slurm(tmp_path, 2, fail)
    assert slurm.cancelled == []


def test_jobs_that_do_not_stop_are_cancelled_after_the_grace_period(tmp_path, slurm, monkeypatch):
    slurm.plan("stays")
    script(slurm.folder / "bin" / "scancel", f"echo \"$*\" >> '{slurm.folder}/cancelled'")
    monkeypatch.setattr(launch, "GRACE_SECONDS", 0.1)

    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_slurm(tmp_path, 1, fail)
    assert slurm.cancelled[-1] == "7"


def test_a_job_that_submits_jobs_does_not_pass_on_its_array_variables(tmp_path, slurm, monkeypatch):
    own = {"SLURM_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "3", "SLURM_CONF": "/etc/slurm.conf", "SBATCH_PARTITION": "gpu"}
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    slurm.plan("0")
    on_slurm(tmp_path, 1)
    variables = (slurm.folder / "environment").read_text().splitlines()
    assert {"SLURM_CONF=/etc/slurm.conf", "SBATCH_PARTITION=gpu"} <= set(variables)
    assert not any(line.startswith(("SLURM_JOB_ID", "SLURM_ARRAY")) for line in variables)
    assert {name: os.environ[name] for name in own} == own


def test_cpus_are_requested_by_a_variable_that_sbatch_ignores(tmp_path, slurm, monkeypatch):
    slurm.plan("0")
    monkeypatch.setenv("SBATCH_CPUS_PER_TASK", "6")
    on_slurm(tmp_path, 1)
    assert "#SBATCH --cpus-per-task=6\n" in (slurm.folder / "script.sh").read_text()


def test_no_tasks_submit_no_job(slurm):
    assert launch.launch([], "slurm", 2) == []
    assert launch.launch([], "ray", 2) == []


JOB = """
import os, runpy, signal, sys, time
from pathlib import Path
from smix import launch

def command(name, run_name, alter_sys):
    print("begun with", *sys.argv[1:], launch.PARENT in os.environ, flush=True)
    if sys.argv[1] == "fails":
        raise ZeroDivisionError
    signals = []
    if sys.argv[1] == "waits":
        # As in smix: the first signal is recorded, and the command stops at the next safe point.
        with launch.on_signals(launch.STOP, lambda number, frame: signals.append(number)):
            while not signals:
                time.sleep(0.01)
        time.sleep(0.1)
        print("checkpoint", len(signals), flush=True)
        sys.exit(130)
    sys.exit(int(sys.argv[1]))

log = Path(sys.argv[1])
runpy.run_module = command
code = launch._be(launch.Task(sys.argv[2:], log))
log.with_name("code").write_text(str(code))
"""


def run_job(folder: Path, *words: str, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a job of SLURM that runs a task with these words."""
    script(folder / "bin" / "scontrol", f"echo \"$*\" >> '{folder}/scontrol'")
    return subprocess.Popen(
        [sys.executable, "-c", JOB, str(folder / "log.txt"), *words],
        env={
            **os.environ,
            "PATH": f"{folder}/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(launch.__file__).parents[1]),
            "SLURM_JOB_ID": "7",
            PARENT: "1",
            **(environment or {}),
        },
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("code", ["0", "2"])
def test_a_job_runs_the_task_and_returns_its_exit_code(tmp_path, monkeypatch, code):
    monkeypatch.undo()
    assert run_job(tmp_path, code, "a b").wait() == 0
    assert (tmp_path / "code").read_text() == code
    assert (tmp_path / "log.txt").read_text() == f"begun with {code} a b False\n"


def test_a_bug_in_a_job_leaves_its_traceback_in_the_log(tmp_path, monkeypatch):
    monkeypatch.undo()
    assert run_job(tmp_path, "fails").wait() == 1
    assert not (tmp_path / "code").exists()
    assert (tmp_path / "log.txt").read_text().endswith("ZeroDivisionError\n")


@pytest.mark.parametrize(
    ("number", "restarts", "requeued"),
    [
        (signal.SIGTERM, 0, False),
        (signal.SIGUSR1, 0, False),
        (signal.SIGUSR2, 0, True),
        (signal.SIGUSR2, launch.RETRIES - 1, True),
        (signal.SIGUSR2, launch.RETRIES, False),
    ],
)
def test_a_job_that_is_told_to_stop_leaves_no_exit_code_and_is_requeued_at_its_time_limit(
    tmp_path, monkeypatch, number, restarts, requeued
):
    monkeypatch.undo()
    process = run_job(tmp_path, "waits", environment={"SLURM_RESTART_COUNT": str(restarts)})
    wait_until(lambda: (tmp_path / "log.txt").exists() and "begun" in (tmp_path / "log.txt").read_text())
    time.sleep(0.1)
    process.send_signal(number)
    assert process.wait() == 130
    assert not (tmp_path / "code").exists()
    assert (tmp_path / "log.txt").read_text().endswith("checkpoint 1\n"), "the command got its signal once"
    assert (tmp_path / "scontrol").exists() == requeued
    if requeued:
        assert (tmp_path / "scontrol").read_text() == "requeue 7\n"


@pytest.mark.parametrize(
    ("cpus", "jobs", "expected"),
    [
        ([8], 1, 8),
        ([8], 3, 2),
        ([8], 9, 1),  # eight run, one waits
        ([8, 8], 4, 4),
        ([8, 8], 3, 4),  # with 5 CPUs each only two would fit
        ([0, 7, 3], 3, 3),
        ([0], 2, 1),
        ([], 2, 1),
        ([0.5], 1, 1),
    ],
)
def test_tasks_share_the_cpus_of_a_node_and_never_span_two(cpus, jobs, expected):
    assert launch._share(cpus, jobs) == expected


class Ray:
    """Fake module of Ray: a task ends when it is waited for, in the order of submission."""

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
            assert function is launch.run_here
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
def test_the_number_of_concurrent_ray_tasks_is_limited_and_exit_codes_are_in_order(tmp_path, jobs):
    ray = Ray()
    ray_tasks = [Task([word], tmp_path / f"{place}.txt") for place, word in enumerate(["3", "0", "dies", "2"])]
    assert launch._as_ray_tasks(ray, ray_tasks, jobs, lambda: None) == [3, 0, 1, 2]
    assert ray.peak == min(jobs, 4)
    assert ray.cancelled == []
    assert (tmp_path / "2.txt").read_text() == "its node died\n"
    assert ray.options["num_cpus"] == {1: 8, 3: 4, 9: 2}[jobs]


@pytest.mark.parametrize(
    ("gpus", "jobs", "share"), [(0, 4, 0), (4, 4, 1), (8, 4, 1), (4, 3, 1), (1, 4, 1 / 4), (3, 4, 1 / 2)]
)
def test_ray_tasks_share_gpus_evenly(tmp_path, gpus, jobs, share):
    ray = Ray(gpus)
    launch._as_ray_tasks(ray, tasks(tmp_path, *["0"] * 4), jobs, lambda: None)
    assert ray.options["num_gpus"] == share


@pytest.mark.parametrize(("polls", "cancelled"), [(1, [1, 2]), (4, [])])
def test_an_interrupt_cancels_ray_tasks_and_waits_for_them(tmp_path, polls, cancelled):
    ray, left = Ray(), polls

    def poll() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch._as_ray_tasks(ray, tasks(tmp_path, *["0"] * 4), 3, poll)
    assert ray.cancelled == cancelled
    assert ray.running == []
