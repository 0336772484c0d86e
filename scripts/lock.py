"""Update the pinned versions in `constraints`: `make lock`. Needs uv and the package index.

- tested.txt: versions for `make demo` and `make test` on every supported system and Python
- oldest.txt: lowest versions that pyproject.toml allows, for `make test-oldest`
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST_PYTHON = "3.11"
LIMITS = ("torch==2.14.1", "torchvision==0.29.1")
"""The release before the newest PyTorch; `make test-newest` tests the newest."""


def main() -> None:
    resolved = {
        "tested.txt": resolve("--universal", limits=LIMITS),
        "oldest.txt": resolve("--resolution", "lowest-direct"),
    }
    for name, versions in resolved.items():
        head = f"# Made by `make lock` from pyproject.toml: {len(versions)} packages. Do not edit."
        (ROOT / "constraints" / name).write_text("\n".join([head, *versions]) + "\n")


def resolve(*options: str, limits: tuple[str, ...] = ()) -> list[str]:
    """Return the lines `package==version` of all packages."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(limits))
        file.flush()
        command = [
            sys.executable,
            "-m",
            "uv",
            "pip",
            "compile",
            "pyproject.toml",
            "--all-extras",
            "--quiet",
            "--upgrade",
        ]
        command += ["--python-version", OLDEST_PYTHON, "--no-header", "--no-annotate", "--constraint", file.name]
        done = subprocess.run([*command, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)  # uv has printed the reason
    return [line for line in done.stdout.splitlines() if re.match(r"[a-z0-9]", line)]


if __name__ == "__main__":
    main()
