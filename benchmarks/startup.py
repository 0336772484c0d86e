"""Measure how long commands take that only answer a question or refuse a mistake. `python -m benchmarks.startup`.

Each command runs in a new process, after one run that warms the disk cache. The processor time is what a command costs on a busy
machine, too; the wall-clock time was measured next to whatever else the machine did.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.harness import RESULTS, environment, markdown, take_turns, write
from benchmarks.harness import seconds as seconds_of
from smix.device import find_device, in_words

COMMANDS = {
    "--help": 0.4,
    "data": 1.5,
    "doctor": 1.5,
    "train --lrr 0.1 --out run": 1.5,
    "train --data cifar11 --out run": 1.5,
    "masks build --data cifar10 --source torchvison:x --out masks": 1.5,
}
"""Commands, and the seconds that each may take on a warm, idle machine."""


def measure(words: str) -> tuple[float, float]:
    """Return the seconds of wall-clock time and of processor time of a command."""
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "smix", *words.split()]
        wall = seconds_of(lambda: subprocess.run(command, capture_output=True, cwd=folder, check=False))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, sum(getattr(after, name) - getattr(before, name) for name in ("ru_utime", "ru_stime"))


def main() -> None:
    """Measure all commands and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    for words in COMMANDS:
        measure(words)
    times = take_turns({words: partial(measure, words) for words in COMMANDS}, options.rounds)
    result = {**environment(in_words(find_device("cpu"))), "commands": {}}
    rows = []
    for words, target in COMMANDS.items():
        wall, used = (statistics.median(values) for values in zip(*times[words], strict=True))
        result["commands"][words] = {"median_wall_s": wall, "median_processor_s": used, "target_s": target}
        rows.append((f"`smix {words}`", f"{used:.2f}", f"{wall:.2f}", f"{target}"))
        print(*rows[-1])
    facts = f"{result['date']}, {result['processor']}, Python {result['versions']['python']}, torch {result['versions']['torch']}"
    head = ("Command", "Processor time (s)", "Wall-clock time (s)", "Target (s)")
    page = [
        "# Start of the command line",
        "",
        f"{facts}; median of {options.rounds} runs.",
        "",
        *markdown(head, rows),
        "",
    ]
    print(write(options.out, f"startup_cpu_{result['date']}", result, "\n".join(page)))


if __name__ == "__main__":
    main()
