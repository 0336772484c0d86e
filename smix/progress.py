"""Show the progress of anything that takes more than two seconds: a bar on a terminal, otherwise plain lines."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text

SECONDS_BETWEEN_LINES = 10.0


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(
            f"{speed:,.3g} {self.unit}/s" if speed and speed < 100 else f"{speed:,.0f} {self.unit}/s" if speed else "",
            style="progress.data.speed",
        )


class _Left(ProgressColumn):
    """Time left, shown from the start: as expected at first, as observed later."""

    def __init__(self, expected: float) -> None:
        super().__init__()
        self.expected = expected

    def render(self, task: Task) -> Text:
        if task.finished:
            return Text(f"took {duration(task.finished_time or 0)}", style="progress.elapsed")
        before = task.fields.get("before", 0)  # work of an earlier, interrupted command does not count for the rate
        seconds = time_left(task.completed - before, (task.total or 1) - before, task.elapsed or 0, self.expected)
        return Text(f"{duration(seconds)} left", style="progress.remaining")


class _Below(Progress):
    """Progress bar with its description on a separate line above it, since both together do not fit into 80 columns."""

    def get_renderables(self) -> Iterator[RenderableType]:
        for task in self.tasks:
            yield Text(task.description, no_wrap=True, overflow="ellipsis")
            yield self.make_tasks_table([task])


@runtime_checkable
class Update(Protocol):
    """Function that shows progress, called with the number of finished units and an optional text."""

    def __call__(self, done: int, text: str = "") -> None: ...


@contextmanager
def bar(
    title: str, total: int | None, unit: str = "images", quiet: bool = False, expected: float | None = None
) -> Iterator[Update]:
    """Show progress on standard error.

    Args:
        title: Description.
        total: Number of units of work. None: unknown, so that only their number and rate are shown.
        unit: Name of a unit, in the plural.
        quiet: Show nothing.
        expected: Expected duration of the whole work in seconds, so that the time left is shown from the start.
            Default: it is shown as soon as a rate is known.

    Yields:
        A function to be called with the number of finished units and an optional text to show.
    """
    if quiet:
        yield lambda done, text="": None
    elif sys.stderr.isatty():
        columns = (
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            _Rate(unit),
            TimeRemainingColumn(elapsed_when_finished=True) if expected is None else _Left(expected),
        )
        with _Below(*columns, console=Console(stderr=True)) as progress:
            yield _on_terminal(progress, title, total)
    else:
        yield _lines(title, total, unit)


def _on_terminal(progress: Progress, title: str, total: int | None) -> Update:
    task = progress.add_task(title, total=total)
    before: int | None = None

    def update(done: int, text: str = "") -> None:
        nonlocal before
        before = done if before is None else before
        progress.update(task, completed=done, before=before, description=f"{title}\n{text}" if text else title)

    return update


def _lines(title: str, total: int | None, unit: str) -> Update:
    start = last = time.monotonic()
    before: int | None = None

    def update(done: int, text: str = "") -> None:
        nonlocal last, before
        now = time.monotonic()
        if before is None:
            before = done  # work of an earlier, interrupted command does not count for the rate
        if now - last < SECONDS_BETWEEN_LINES or done == before:
            return
        last = now
        rate = (done - before) / (now - start)
        more = f", {text}" if text else ""
        count, left = (
            (f"{done}", "") if total is None else (f"{done}/{total}", f", {duration((total - done) / rate)} left")
        )
        print(f"{title}: {count} {unit}, {rate:.3g}/s{more}{left}", file=sys.stderr, flush=True)  # noqa: T201

    return update


def time_left(done: float, total: float, elapsed: float, expected: float) -> float:
    """Return the estimated seconds until the work is finished.

    The estimate begins as `expected` minus `elapsed` and, from half of the work on, follows the observed rate. Until
    then the two are averaged, and the weight of the observation grows with the finished work: runs take seconds to
    start before they report anything, so the first rates are far too low.

    Args:
        done: Finished units.
        total: All units.
        elapsed: Seconds since the start.
        expected: Expected duration of the whole work in seconds.
    """
    if not done:
        return max(expected - elapsed, 0.1 * expected)
    part = done / total
    trust = min(1.0, 2 * part)
    return (1 - part) * ((1 - trust) * expected + trust * elapsed / part)


def duration(seconds: float) -> str:
    """Return seconds as a text such as "8 s", "3 min 5 s" or "2 h 10 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
