"""Fuzz a file format: damaged files must give the original data or a one-line error, within bounded time and memory."""

import random
import resource
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from smix.errors import MAX_LENGTH, SmixError
from tests.attacks.formats import Format
from tests.attacks.mutations import damaged

SECONDS = 10.0
"""Longest time that reading a file may take."""
MEMORY = 2_000_000_000
"""Bytes that the process may grow by."""

RIGHT, REFUSED, OTHER = "as written", "refused", "other, not covered by a checksum"
GOOD = (RIGHT, REFUSED, OTHER)


class SlowError(BaseException):
    """Reading took too long."""


@dataclass
class Outcomes:
    """Outcomes of the trials of a format, with what is needed to see the bad ones again."""

    counts: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)
    slowest: float = 0.0
    """Seconds of the slowest trial."""
    changed: int = 0
    """Number of trials that changed the content."""


def attack(one: Format, folder: Path, trials: int, seed: int = 0) -> Outcomes:
    """Read `trials` damaged copies of a file of this format and classify the outcomes."""
    found = Outcomes()
    file = one.make(folder)
    whole, expected = file.read_bytes(), one.read(file)
    file.parent.mkdir(exist_ok=True)
    memory = _peak()
    for trial in range(trials):
        draws = random.Random(f"{seed}/{one.name}/{trial}")
        forged = one.forge is not None and draws.random() < 0.5
        content = one.forge(whole, draws) if forged and one.forge is not None else damaged(whole, draws)
        may_differ = not one.checked or (forged and not one.forged_checked)
        found.changed += content != whole
        file.write_bytes(content)
        began = time.monotonic()
        outcome = _outcome(one, file, expected, may_differ)
        found.slowest = max(found.slowest, time.monotonic() - began)
        if outcome in GOOD and _peak() - memory > MEMORY:
            outcome = f"more than {MEMORY:,} bytes"
        memory = max(memory, _peak() - MEMORY)
        found.counts[outcome.partition("\n")[0]] += 1
        if outcome not in GOOD:
            found.bad.append(f"{one.name}, seed {seed}, trial {trial}: {outcome}")
    file.write_bytes(whole)
    assert one.read(file) == expected, f"{one.name}: the whole file is not read as before"
    return found


def _outcome(one: Format, file: Path, expected: object, may_differ: bool) -> str:
    try:
        with _within(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about images that are damaged in places it can do without
            value = one.read(file)
    except SmixError as error:
        message = str(error)
        good = message.isprintable() and len(message) <= MAX_LENGTH
        return REFUSED if good else f"a message that is no line\n{message!r}"
    except SlowError:
        return f"more than {SECONDS} s"
    except Exception as error:
        return f"{type(error).__name__}\n{traceback.format_exc()}"
    if value == expected:
        return RIGHT
    return OTHER if may_differ else "other data"


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    def stop(signum: int, frame: object) -> None:
        raise SlowError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _peak() -> int:
    """Return the largest memory of this process so far, in bytes: where it was larger before, only a new process can tell more."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
