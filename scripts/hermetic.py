"""Run the tests as other machines would: `make test-hermetic`.

In a copy of the source tree whose path has a space, without HOME, and with a PATH of the virtual environment, /usr/bin and /bin:

- three runs with the tests shuffled and spread over the processes at random,
- each test file alone,
- if started by root: the first run as root, all others as the user `nobody`.

A run fails if a test fails or leaves a file in the temporary folder. At the end the source tree must not contain new files.

Logs are written to the folder `hermetic`. Takes half an hour on two cores.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / "hermetic"
NOBODY = 65534
NO_TEST_RAN = 5
"""Exit code of pytest if all tests of a file are deselected by their markers."""
IGNORED_PREFIXES = ("pytest", ".config", ".ses", "matplotlib-", "torchelastic_", "torchinductor_")
"""Prefixes of names that may be left in the temporary folder: by pytest, by Chromium and Matplotlib without a home folder, and by
PyTorch."""


@dataclass(frozen=True)
class Conditions:
    """Source tree and user of a run of the tests."""

    tree: Path
    user: int | None
    """User id; None: the user that started the script."""

    def run(self, name: str, *options: str, may_be_empty: bool = False) -> bool:
        """Run pytest, write its output to a log, print one line, and return whether it passed and left no files."""
        started, own = time.monotonic(), Path(tempfile.mkdtemp(prefix="t ", dir=self.tree.parent))
        if self.user is not None:
            os.chown(own, self.user, self.user)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={own / 'pytest'}"]
        with (LOGS / f"{name}.txt").open("w") as log:
            done = subprocess.run(
                [*command, *options],
                cwd=self.tree,
                env=environment(self.tree, own),
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else [],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        left = sorted(path.name for path in own.iterdir() if not path.name.startswith(IGNORED_PREFIXES))
        shutil.rmtree(own, ignore_errors=True)
        passed = done.returncode == 0 or (may_be_empty and done.returncode == NO_TEST_RAN)
        last = ((LOGS / f"{name}.txt").read_text().splitlines() or ["no output"])[-1]
        if left:
            passed, last = False, f"{last}; left in the temporary folder: {', '.join(left)}"
        print(f"{'passed' if passed else 'FAILED'}  {name}  {time.monotonic() - started:.0f} s  {last}", flush=True)
        return passed


def environment(tree: Path, temporary: Path) -> dict[str, str]:
    """Return the complete environment of a test process."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    kept = {name: os.environ[name] for name in ("SMIX_SHARED",) if name in os.environ}
    return {"PATH": path, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(temporary), **kept}


def copy_tree(out: Path) -> Path:
    """Copy all files that are tracked or not ignored by git, readable for all users."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    tree = out / "smix source"
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
    for path in (out, *out.rglob("*")):
        path.chmod(0o755)
    return tree


def files_in(tree: Path) -> set[Path]:
    """Return the files of a source tree, without compiled modules."""
    return {path for path in tree.rglob("*") if path.is_file() and path.parent.name != "__pycache__"}


def other_user() -> int | None:
    """Return the id of the user `nobody`, or None if the script was not started by root.

    Raises:
        SystemExit: An ordinary user cannot run this environment.
    """
    if os.geteuid() != 0:
        print("not started by root: all runs use the current user")
        return None
    command = [sys.executable, "-c", "import torch"]
    done = subprocess.run(command, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", env={}, capture_output=True)
    if done.returncode:
        raise SystemExit(
            f"{sys.prefix}: an ordinary user cannot run this environment (its Python is {Path(sys.executable).resolve()}); "
            "run make test-hermetic VENV=.venv-user PYTHON=/usr/bin/python3"
        )
    return NOBODY


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seed",
        type=int,
        default=int(time.time()),
        help="seed of the first shuffled run; the others use the next numbers",
    )
    parser.add_argument("--only", choices=["shuffled", "alone"], help="run only these")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    user = other_user()
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir()
    (LOGS / ".gitignore").write_text("*\n")
    passed = []
    with tempfile.TemporaryDirectory(prefix="smix hermetic ") as folder:
        tree = copy_tree(Path(folder))
        source = files_in(tree)
        if arguments.only != "alone":
            for turn in range(3):
                seed = arguments.seed + turn
                shuffled = ["-p", "randomly", f"--randomly-seed={seed}", "--randomly-dont-reset-seed"]
                spread = ["-n", str(arguments.processes), "--dist", "load"]
                passed.append(Conditions(tree, None if turn == 0 else user).run(f"shuffled-{seed}", *spread, *shuffled))
        if arguments.only != "shuffled":
            files = sorted(path.relative_to(tree) for path in (tree / "tests").rglob("test_*.py"))
            with ThreadPoolExecutor(arguments.processes) as pool:
                alone = Conditions(tree, user)
                passed += pool.map(
                    lambda file: alone.run(f"alone-{'-'.join(file.parts[1:])}", str(file), may_be_empty=True), files
                )
        written = sorted(str(path.relative_to(tree)) for path in files_in(tree) - source)
        passed.append(not written)
        print(f"{'FAILED' if written else 'passed'}  written into the source tree: {', '.join(written) or 'nothing'}")
    print(f"{sum(passed)} of {len(passed)} runs and checks passed; logs: {LOGS}")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
