"""Run array jobs of SLURM: their script, and the commands that submit, watch and cancel them.

`smix sweep sbatch` prints the script for the user to edit and submit; `--engine slurm` submits it and waits. sbatch reads
SBATCH_PARTITION, SBATCH_TIMELIMIT, SBATCH_GPUS and the like from the environment (docs/cluster.md).
"""

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import mkdtemp

from smix import files
from smix.errors import OptionError
from smix.lab.engines import CLUSTER_POLL_SECONDS, GRACE_SECONDS, LOST, RETRIES, SLURM_LINE, Task, append_log
from smix.signals import INTERRUPTED, TASK, interruptible
from smix.untrusted import read_end

QUEUE_SECONDS = 10.0
"""Seconds between two queries of the queue, since other users share it."""
MISSED = 6
"""Number of queries without the job and without an exit code after which it is lost: a network file system shows files late."""
WARNING_SECONDS = 120
"""Seconds before its time limit at which SLURM warns a job."""

SCRIPT = """\
#!/bin/bash
# {title}
#SBATCH --job-name=smix
#SBATCH --array={array}
#SBATCH --chdir={folder}
#SBATCH --output={log}
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@{warning}
{requests}
{start}{command} &
run=$! warned=
# The time limit is near: tell smix, which writes its checkpoint. SIGTERM reaches every process of a job, so smix as well.
trap 'warned=1; kill -USR1 "$run"' USR1
trap : TERM
wait "$run"
code=$?
while kill -0 "$run" 2>/dev/null; do # a signal has ended the wait, not smix
    wait "$run"
    code=$?
done
if [ -n "$warned" ] && [ "$code" -gt 128 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {retries} ]; then
    scontrol requeue "$SLURM_JOB_ID"{requeued}
fi
{end}exit "$code"
"""
REQUESTS = """\
##SBATCH --partition=gpu
##SBATCH --time=4:00:00
##SBATCH --gpus=1
##SBATCH --cpus-per-task=8
"""


def array_script(
    title: str,
    indices: Iterable[int],
    command: str,
    log: str,
    jobs: int | None = None,
    requests: str = "",
    code: str | None = None,
) -> str:
    """Return the script of an array job for sbatch.

    Args:
        title: First comment.
        indices: Indices of the tasks, in ascending order.
        command: Shell command of a task, which may use "$SLURM_ARRAY_TASK_ID".
        log: File for the output, with SLURM's patterns such as %a.
        jobs: Number of concurrent tasks. Default: as many as SLURM allows.
        requests: Further #SBATCH lines.
        code: Shell word of the file to which the exit code of a task is written, unless it is requeued. Default: none.

    Raises:
        RunError: The current folder has a name that would end a comment of the script.
    """
    files.check_name(Path.cwd())
    return SCRIPT.format(
        title=title,
        array=f"{_ranges(indices)}{f'%{jobs}' if jobs else ''}",
        folder=shlex.quote(str(Path.cwd())),
        log=shlex.quote(log),
        warning=WARNING_SECONDS,
        requests=requests,
        start=f"rm -f {code}\n" if code else "",
        command=command,
        retries=RETRIES,
        requeued=" && exit" if code else "",
        end=f'echo "$code" > {code}.new && mv {code}.new {code}\n' if code else "",
    )


def run_on_slurm(tasks: Sequence[Task], jobs: int, poll: Callable[[], None]) -> list[int]:
    """Run tasks as one array job: see `engines.launch`.

    The files of the job are in a new folder `.slurm-*` next to the logs. It is removed when the job has ended, and what SLURM
    printed about a failed task is appended to the log of the task. Only a command that is killed leaves its folder, since its
    jobs continue to run.

    Raises:
        OptionError: SLURM is not available on this machine, or rejects the job.
    """
    if shutil.which("sbatch") is None:
        raise OptionError("engine: SLURM's sbatch is not available on this machine; run this command on a login node")
    folder = Path(mkdtemp(prefix=".slurm-", dir=os.path.commonpath([task.log.parent for task in tasks])))
    files.check_name(folder)
    for number, task in enumerate(tasks):
        log = shlex.quote(str(task.log))
        # Its parent is the script of the job: the task notices when that is killed.
        command = f"{TASK}=$PPID exec {shlex.join(task.command)} < /dev/null >> {log} 2>&1"
        files.write_bytes(folder / f"{number}.sh", os.fsencode(f"{command}\n"))
    task_file = f'{shlex.quote(str(folder))}/"$SLURM_ARRAY_TASK_ID"'
    script = array_script(
        "Written by smix --engine slurm",
        range(len(tasks)),
        f"bash {task_file}.sh",
        f"{str(folder).replace('%', '%%')}/%a.txt",
        jobs,
        code=f"{task_file}.code",
    )
    files.write_bytes(folder / "script.sh", os.fsencode(script))
    try:
        with interruptible():
            codes = _wait(_submit(folder / "script.sh"), folder, len(tasks), poll)
        for number, task in enumerate(tasks):
            ended = (folder / f"{number}.code").is_file()
            message = read_end(folder / f"{number}.txt").strip() or (
                "" if ended else "cancelled, or lost with its node"
            )
            if codes[number] and message:
                append_log(task.log, f"{SLURM_LINE}{message}\n")
        return codes
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # tasks that were cancelled may still write to it


def _submit(script: Path) -> str:
    """Submit a script and return the id of the job."""
    # A job that submits jobs would pass its own place in an array, and its restarts, on to them.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_") and name != TASK}
    environment |= {"SLURM_CONF": os.environ["SLURM_CONF"]} if "SLURM_CONF" in os.environ else {}
    # sbatch does not read this variable.
    cpus = os.environ.get("SBATCH_CPUS_PER_TASK")
    options = [] if cpus is None else [f"--cpus-per-task={cpus}"]
    submitted = subprocess.run(
        ["sbatch", "--parsable", *options, str(script)], capture_output=True, text=True, check=False, env=environment
    )
    if submitted.returncode:
        reason = " ".join(submitted.stderr.split()) or "no reason given"
        raise OptionError(
            f"engine: SLURM rejected the job ({reason}); check SBATCH_PARTITION and the other SBATCH_ variables"
        )
    return submitted.stdout.strip().partition(";")[0]


def _wait(job: str, folder: Path, count: int, poll: Callable[[], None]) -> list[int]:
    """Wait until all tasks of a job have ended. Queries squeue: not every cluster has sacct."""
    codes = [LOST] * count
    running = dict.fromkeys(range(count), 0)
    """Number of queries in a row that have missed each task."""
    queried = time.monotonic()
    try:
        while running:
            written = {path.name for path in folder.iterdir()}  # also refreshes the cache of a network file system
            for number in [number for number in running if f"{number}.code" in written]:
                code = _exit_code(folder / f"{number}.code")
                codes[number] = codes[number] if code is None else code
                # SLURM may requeue a task that was told to stop: it has ended when the queue no longer lists it.
                if code not in (None, INTERRUPTED):
                    del running[number]
            if time.monotonic() > queried + QUEUE_SECONDS:
                queried, queue = time.monotonic(), _queue()
                for number in running:
                    missed = queue is not None and f"{job}_{number}" not in queue
                    running[number] = running[number] + 1 if missed else 0
                running = {number: missed for number, missed in running.items() if missed < MISSED}
            poll()
            if running:
                time.sleep(CLUSTER_POLL_SECONDS)
    except BaseException:
        _cancel([f"{job}_{number}" for number in running])
        raise
    return codes


def _exit_code(file: Path) -> int | None:
    """Return an exit code as in Python: -N for signal N (128 + N in a shell). None: removed by a restarted task."""
    try:
        code = int(file.read_text())
    except FileNotFoundError:
        return None
    return 128 - code if code > 128 and code != INTERRUPTED else code


def _queue() -> set[str] | None:
    """Return the jobs of this user that wait or run, None if SLURM does not answer."""
    squeue = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
    answer = subprocess.run(squeue, capture_output=True, text=True, check=False)
    return set(answer.stdout.split()) if answer.returncode == 0 else None


def _cancel(ids: Sequence[str]) -> None:
    """Cancel jobs: running ones get SIGTERM, and SIGKILL only if they still exist after `GRACE_SECONDS`."""

    def scancel(*options: str) -> None:
        subprocess.run(["scancel", *options, *ids], capture_output=True, check=False)  # fails for jobs that have ended

    if not ids:  # without an id the filters would match every job of the user
        return
    try:
        scancel("--state=PENDING")
        scancel("--full", "--signal=TERM")  # the script, which ignores it, and smix
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline and ((queue := _queue()) is None or not queue.isdisjoint(ids)):
            time.sleep(CLUSTER_POLL_SECONDS)
    finally:
        scancel()


def _ranges(numbers: Iterable[int]) -> str:
    """Format ascending numbers as SLURM does: 0-3,5."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        first = ranges.pop()[0] if ranges and ranges[-1][1] == number - 1 else number
        ranges.append((first, number))
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges)
