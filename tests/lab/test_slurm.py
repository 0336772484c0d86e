"""Test the jobs of SLURM, with scripts in place of its commands."""

import os
import re
import shlex
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from smix.errors import OptionError, RunError
from smix.lab import engines
from smix.lab import slurm as module
from smix.lab.engines import LOST, Task

GOLDEN = Path(__file__).parents[1] / "golden"


def script(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}")
    path.chmod(0o755)


@dataclass(frozen=True)
class Slurm:
    """Commands that stand in for those of SLURM. The plan of job 7_0, ... is an exit code, `lost`, `message` or `stays` (until told to
    stop)."""

    folder: Path

    def plan(self, *jobs: str) -> None:
        (self.folder / "plan").write_text("\n".join(jobs))

    @property
    def cancelled(self) -> list[str]:
        """Calls of scancel."""
        calls = self.folder / "cancelled"
        return calls.read_text().splitlines() if calls.exists() else []


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Slurm:
    folder = tmp_path / "slurm"
    (folder / "queue").mkdir(parents=True)
    script(
        folder / "bin" / "sbatch",
        f"""cd '{folder}'; env | grep -o '^S[A-Z_]*=.*' > environment; echo "$*" > options; cp "${{@: -1}}" script.sh
        store=$(sed -n "s/^#SBATCH --output='\\?\\([^']*\\)[/]%.*/\\1/p" script.sh)
        place=0
        while read -r plan || [ -n "$plan" ]; do
            case $plan in
                stays) touch queue/7_$place;;
                lost) ;;
                message) echo 'slurmstepd: oom' > "$store/$place.txt";;
                *) echo $plan > "$store/$place.code";;
            esac
            place=$((place + 1))
        done < plan
        echo 7""",
    )
    script(folder / "bin" / "squeue", f"[ ! -e '{folder}/down' ] || exit 1; ls '{folder}/queue'")
    script(
        folder / "bin" / "scancel",
        f"""echo "$*" >> '{folder}/cancelled'; [ "$1" = --full ] || exit 0; cd '{folder}/queue' && rm -f "${{@:3}}" """,
    )
    monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(module, "CLUSTER_POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "QUEUE_SECONDS", 0.01)
    monkeypatch.setattr(module, "GRACE_SECONDS", 3.0)
    return Slurm(folder)


def on_slurm(folder: Path, count: int, poll: Callable[[], None] = lambda: None) -> list[int]:
    tasks = [Task(["--version"], folder / "logs" / f"{place}" / "log.txt") for place in range(count)]
    return engines.launch(tasks, "slurm", 2, poll)


def test_exit_codes_come_in_the_order_of_the_tasks_and_the_files_of_the_job_are_removed(tmp_path, slurm):
    slurm.plan("3", "0", "130", "137")
    assert on_slurm(tmp_path, 4) == [3, 0, 130, -signal.SIGKILL]
    assert not list(tmp_path.rglob(".slurm-*"))
    assert slurm.cancelled == []


@pytest.mark.slow
def test_the_script_runs_each_task_with_its_log_and_exit_code(tmp_path, slurm, monkeypatch):
    """The stand-in for sbatch runs the tasks of the script one after the other. A shell replaces `python -m smix`."""
    shell = tmp_path / "python"
    script(shell, 'shift 2\nexec sh -c "$@"\n')
    monkeypatch.setattr(sys, "executable", str(shell))
    script(
        slurm.folder / "bin" / "sbatch",
        'for task in 0 1 2; do SLURM_ARRAY_TASK_ID=$task bash "${@: -1}"; done > /dev/null; echo 7',
    )
    words = [
        ["[ $SMIX_TASK = $PPID ] && echo child; exit 3"],
        ["kill -9 $$"],
        ['printf "%s|" "$0" "$@"', "a; echo b", "c'd\n"],
    ]
    tasks = [Task(one, tmp_path / "the logs" / f"{place}.txt") for place, one in enumerate(words)]
    assert engines.launch(tasks, "slurm", 2) == [3, -signal.SIGKILL, 0]
    assert [task.log.read_text() for task in tasks] == ["child\n", "", "a; echo b|c'd\n|"]


def test_jobs_that_end_without_an_exit_code_failed_and_their_logs_say_what_slurm_said(tmp_path, slurm):
    slurm.plan("0", "lost", "message")
    assert on_slurm(tmp_path, 3) == [0, LOST, LOST]
    logs = [tmp_path / "logs" / str(place) / "log.txt" for place in range(3)]
    assert not logs[0].exists()
    assert logs[1].read_text() == "job of SLURM: cancelled, or lost with its node\n"
    assert logs[2].read_text() == "job of SLURM: slurmstepd: oom\n"
    assert not list(tmp_path.rglob(".slurm-*"))


def test_what_slurm_printed_about_a_failed_task_is_in_its_log_before_the_files_are_removed(tmp_path, slurm):
    slurm.plan("3", "0")

    def print_messages() -> None:
        [folder] = (tmp_path / "logs").glob(".slurm-*")
        for place in range(2):
            (folder / f"{place}.txt").write_text("slurmstepd: full\n")

    assert on_slurm(tmp_path, 2, print_messages) == [3, 0]
    assert (tmp_path / "logs" / "0" / "log.txt").read_text() == "job of SLURM: slurmstepd: full\n"
    assert not (tmp_path / "logs" / "1" / "log.txt").exists()
    assert not list(tmp_path.rglob(".slurm-*"))


@pytest.mark.slow
def test_jobs_are_not_given_up_while_slurm_does_not_answer(tmp_path, slurm):
    slurm.plan("lost", "stays")
    (slurm.folder / "down").touch()
    polls = 0

    def poll() -> None:
        nonlocal polls
        polls += 1
        if polls == 4 * module.MISSED:
            (slurm.folder / "down").unlink()
        if polls == 8 * module.MISSED:
            (slurm.folder / "queue" / "7_1").unlink()

    assert on_slurm(tmp_path, 2, poll) == [LOST, LOST]
    assert polls > 8 * module.MISSED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_interrupted_its_jobs_are_told_to_stop_waited_for_and_only_then_cancelled(tmp_path, slurm, number):
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
    assert slurm.cancelled == ["--state=PENDING 7_0 7_2", "--full --signal=TERM 7_0 7_2", "7_0 7_2"]
    assert not list(tmp_path.rglob(".slurm-*"))
    assert signal.getsignal(number) is before


def test_interrupted_when_all_jobs_are_done_nothing_is_cancelled(tmp_path, slurm):
    """scancel with a filter and no id would end every job of the user."""
    slurm.plan("0", "0")

    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_slurm(tmp_path, 2, fail)
    assert slurm.cancelled == []


def test_jobs_that_do_not_stop_are_cancelled_after_the_grace(tmp_path, slurm, monkeypatch):
    slurm.plan("stays")
    script(slurm.folder / "bin" / "scancel", f"echo \"$*\" >> '{slurm.folder}/cancelled'")
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.1)

    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_slurm(tmp_path, 1, fail)
    assert slurm.cancelled[-1] == "7_0"


def test_a_job_that_submits_jobs_does_not_hand_its_own_place_on(tmp_path, slurm, monkeypatch):
    own = {"SLURM_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "3", "SLURM_CONF": "/etc/slurm.conf", "SBATCH_PARTITION": "gpu"}
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    slurm.plan("0")
    on_slurm(tmp_path, 1)
    environment = (slurm.folder / "environment").read_text().splitlines()
    assert {"SLURM_CONF=/etc/slurm.conf", "SBATCH_PARTITION=gpu"} <= set(environment)
    assert not any(one.startswith(("SLURM_JOB_ID", "SLURM_ARRAY")) for one in environment)
    assert {name: os.environ[name] for name in own} == own


def test_cpus_are_asked_for_by_the_variable_that_sbatch_does_not_know(tmp_path, slurm, monkeypatch):
    slurm.plan("0")
    monkeypatch.setenv("SBATCH_CPUS_PER_TASK", "6")
    on_slurm(tmp_path, 1)
    assert "--cpus-per-task=6" in (slurm.folder / "options").read_text()


def test_slurm_on_a_machine_without_it_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OptionError, match="engine: SLURM's sbatch is not available on this machine"):
        engines.launch([Task(["--version"], tmp_path / "log.txt")], "slurm", 1)


def test_the_script_that_slurm_gets_is_pinned(tmp_path, monkeypatch):
    """A fake sbatch keeps the files that it is given, and refuses them."""
    keep = f"""cp -r "$(dirname "${{@: -1}}")" '{tmp_path}/kept'\necho no such partition >&2\nexit 1\n"""
    script(tmp_path / "bin" / "sbatch", keep)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    tasks = [Task(["masks", "build", f"--shard={part}/3"], tmp_path / "logs" / f"{part}.txt") for part in (1, 2, 3)]
    with pytest.raises(
        OptionError, match=r"engine: SLURM rejected the job \(no such partition\); check SBATCH_PARTITION"
    ):
        engines.launch(tasks, "slurm", 2)
    lines = (tmp_path / "kept" / "script.sh").read_text()
    [folder] = set(re.findall(rf"{re.escape(str(tmp_path))}/logs/\.slurm-\w+", lines))
    lines = lines.replace(folder, "JOB").replace(shlex.quote(str(Path.cwd())), "HERE")
    lines = re.sub("'(JOB[^']*)'", r"\1", lines)  # quoted where it has a space
    assert lines == (GOLDEN / "sbatch.sh").read_text()
    command = f"SMIX_TASK=$PPID exec {shlex.quote(sys.executable)} -m smix masks build --shard=2/3 < /dev/null >> "
    assert (tmp_path / "kept" / "1.sh").read_text().startswith(command)


def test_a_job_that_was_told_to_stop_is_waited_for_while_slurm_lists_it(tmp_path, slurm):
    """A preempted job exits with 130, and SLURM requeues it."""
    slurm.plan("130")
    (slurm.folder / "queue" / "7_0").touch()
    polls = 0

    def poll() -> None:
        nonlocal polls
        polls += 1
        if polls == 3 * module.MISSED:
            [folder] = (tmp_path / "logs" / "0").glob(".slurm-*")
            (folder / "0.code").write_text("0\n")

    assert on_slurm(tmp_path, 1, poll) == [0]
    assert polls >= 3 * module.MISSED


def test_a_current_folder_with_a_line_break_is_refused(tmp_path, slurm, monkeypatch):
    (tmp_path / "a\ntouch PWN").mkdir()
    monkeypatch.chdir(tmp_path / "a\ntouch PWN")
    with pytest.raises(RunError, match="the path contains control characters"):
        on_slurm(tmp_path, 1)


def test_a_job_that_slurm_refuses_leaves_no_files(tmp_path, slurm):
    script(slurm.folder / "bin" / "sbatch", "exit 1")
    with pytest.raises(OptionError, match="no reason given"):
        on_slurm(tmp_path, 1)
    assert not list(tmp_path.rglob(".slurm-*"))
