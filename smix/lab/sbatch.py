"""A sweep as a script for SLURM's sbatch: an array job of which each task is a line, to be edited by whoever submits it."""

import dataclasses
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from smix import files
from smix.config import RunOptions, arguments
from smix.errors import OptionError
from smix.lab.run_all import check_folders, materials
from smix.lab.sweep import Sweep
from smix.launch import RETRIES, WARNING_SECONDS
from smix.training.records import read_result

SCRIPT = """\
#!/bin/bash
# The runs that are missing, a task each. Add what your cluster asks for (##SBATCH is a comment), then: sbatch THIS_FILE
#SBATCH --job-name=smix
#SBATCH --array={array}
#SBATCH --chdir={folder}
#SBATCH --output={log}
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@{warning}
##SBATCH --partition=gpu
##SBATCH --time=4:00:00
##SBATCH --gpus=1
##SBATCH --cpus-per-task=8

{command} &
run=$! warned=
# The time limit is near: smix is told, and writes its checkpoint. SIGTERM goes to every process of a job, so to smix, too.
trap 'warned=1; kill -USR1 "$run"' USR1
trap : TERM
wait "$run"
code=$?
while kill -0 "$run" 2>/dev/null; do # a signal has ended the waiting, not smix
    wait "$run"
    code=$?
done
if [ -n "$warned" ] && [ "$code" -gt 128 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {retries} ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def sbatch_script(sweep: Sweep, path: Path, out: Path, options: RunOptions, jobs: int | None = None) -> str:
    """The script of the missing runs of the sweep in the file `path`. Makes `out`, where SLURM is to write the tasks' output.

    Args:
        jobs: Tasks at a time; None: as many as SLURM lets.

    Raises:
        SmixError: an option, the data or the masks cannot be used, `out` holds other runs or cannot be written, or no run is
            missing.
    """
    if jobs is not None and jobs < 1:
        raise OptionError(f"jobs: expected 1 or more, got {jobs}")
    for place in (out, path, Path.cwd()):  # a line break would end the comment that SLURM reads, and begin a command
        files.check_name(place)
    plan = {out / name: one for name, one in sweep.items()}
    check_folders(plan)
    for _ in materials(plan, options):  # a mistake is one line here, and not one in each task's output
        pass
    missing = [number for number, folder in enumerate(plan) if read_result(folder) is None]
    if not missing:
        raise OptionError(f"{out}: expected runs that are missing, got none: all {len(plan)} are done")
    with files.lock(out, shared=True):
        out = out.resolve()
    words = [sys.executable, "-m", "smix", "sweep", "run", str(path.resolve()), "--out", str(out)]
    words += arguments(dataclasses.replace(options, quiet=True))
    return SCRIPT.format(
        array=f"{_ranges(missing)}{f'%{jobs}' if jobs else ''}",
        folder=shlex.quote(str(Path.cwd())),
        log=shlex.quote(str(out).replace("%", "%%") + "/slurm-%a.txt"),
        warning=WARNING_SECONDS,
        command=f'{shlex.join(words)} --index "$SLURM_ARRAY_TASK_ID"',
        retries=RETRIES,
    )


def _ranges(numbers: Iterable[int]) -> str:
    """Rising numbers as SLURM writes them: 0-3,5."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        first = ranges.pop()[0] if ranges and ranges[-1][1] == number - 1 else number
        ranges.append((first, number))
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges)
