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
from tests.attacks.mutations import damage_bytes

SECONDS = 10.0
"""Maximum seconds to read a file."""
MEMORY = 2_000_000_000
"""Maximum bytes by which the process may grow."""

RIGHT, REFUSED, OTHER = "as written", "refused", "other, not covered by a checksum"
GOOD = (RIGHT, REFUSED, OTHER)


class SlowError(BaseException):
    """Raised if reading takes too long."""


@dataclass
class Outcomes:
    """Outcomes of the trials of a format. The bad ones name seed and trial, with which they can be repeated."""

    counts: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)
    slowest: float = 0.0
    """Seconds of the slowest trial."""
    changed: int = 0
    """Number of trials that changed the content."""


def attack(file_format: Format, folder: Path, trials: int, seed: int = 0) -> Outcomes:
    """Read `trials` damaged copies of a file of this format and classify the outcomes."""
    outcomes = Outcomes()
    file = file_format.make(folder)
    original, expected = file.read_bytes(), file_format.read(file)
    file.parent.mkdir(exist_ok=True)
    memory = _peak()
    for trial in range(trials):
        draws = random.Random(f"{seed}/{file_format.name}/{trial}")
        forged = file_format.forge is not None and draws.random() < 0.5
        content = (
            file_format.forge(original, draws)
            if forged and file_format.forge is not None
            else damage_bytes(original, draws)
        )
        may_differ = not file_format.checked or (forged and not file_format.forged_checked)
        outcomes.changed += content != original
        file.write_bytes(content)
        began = time.monotonic()
        outcome = _outcome(file_format, file, expected, may_differ)
        outcomes.slowest = max(outcomes.slowest, time.monotonic() - began)
        if outcome in GOOD and _peak() - memory > MEMORY:
            outcome = f"more than {MEMORY:,} bytes"
        memory = max(memory, _peak() - MEMORY)
        outcomes.counts[outcome.partition("\n")[0]] += 1
        if outcome not in GOOD:
            outcomes.bad.append(f"{file_format.name}, seed {seed}, trial {trial}: {outcome}")
    file.write_bytes(original)
    assert file_format.read(file) == expected, f"{file_format.name}: the original file is not read as before"
    return outcomes


def _outcome(file_format: Format, file: Path, expected: object, may_differ: bool) -> str:
    try:
        with _within(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of damage that it can ignore
            value = file_format.read(file)
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
    """Return the peak memory of this process in bytes. It never decreases, so memory is only measured beyond an earlier peak."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
