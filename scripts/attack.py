"""Fuzz every file format that smix reads, and kill every command that writes files at random moments: `make attack`, 20 minutes.

Prints a table of outcomes by format. Exits with 1 if a damaged file gave other data, a traceback or more than one line, or took too long or
too much memory, or if a killed command did not finish with the same result. The tests in tests/attacks do the same on a small scale.
"""

import argparse
import io
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr
from pathlib import Path

from rich.console import Console
from rich.table import Table

from scripts import kills
from tests.attacks.formats import FORMATS
from tests.attacks.fuzz import OTHER, REFUSED, RIGHT, Outcomes, attack


def fuzz_format(number: int, trials: int, seed: int) -> Outcomes:
    """Fuzz one format. Standard error is discarded, because smix reports there which files it repairs."""
    with tempfile.TemporaryDirectory(prefix="smix-attack-") as folder, redirect_stderr(io.StringIO()):
        return attack(FORMATS[number], Path(folder), trials, seed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=4000, help="damaged files of each format")
    parser.add_argument("--kills", type=int, default=10, help="kills of each command")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="random seed (default: the current time)")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    print(f"{len(FORMATS)} formats, {arguments.trials} trials each, seed {arguments.seed}", flush=True)
    table = Table("Format", RIGHT, REFUSED, OTHER, "bad", "slowest (s)")
    bad: list[str] = []
    # A new process for each format, because peak memory is recorded per process.
    with ProcessPoolExecutor(arguments.processes, max_tasks_per_child=1) as pool:
        futures = [pool.submit(fuzz_format, number, arguments.trials, arguments.seed) for number in range(len(FORMATS))]
        for file_format, future in zip(FORMATS, futures, strict=True):
            outcomes = future.result()
            counts = [str(outcomes.counts[name]) for name in (RIGHT, REFUSED, OTHER)]
            table.add_row(file_format.name, *counts, str(len(outcomes.bad)), f"{outcomes.slowest:.2f}")
            bad += outcomes.bad
            print(f"{file_format.name}: {dict(outcomes.counts)}", flush=True)
    Console(width=120).print(table)
    for outcome in bad[:50]:
        print(outcome)
    unequal = sum(kills.kill(kind, arguments.kills, arguments.seed) for kind in kills.KINDS) if arguments.kills else 0
    print(f"{len(bad)} bad outcomes for damaged files, {unequal} for killed commands")
    return 1 if bad or unequal else 0


if __name__ == "__main__":
    sys.exit(main())
