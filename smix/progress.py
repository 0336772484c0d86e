"""Show the progress of long operations: a bar on a terminal, otherwise plain lines."""

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
    """Number of units per second."""

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
    """Estimate of the time left, based on the expected duration at first and on the observed rate later."""

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
    """Progress bar with its description on a separate line above, since both do not fit into one line of 80 columns."""

    def get_renderables(self) -> Iterator[RenderableType]:
        for task in self.tasks:
            yield Text(task.description, no_wrap=True, overflow="ellipsis")
            yield self.make_tasks_table([task])


@runtime_checkable
class Update(Protocol):
    """Function that shows progress, given the number of finished units and an optional text."""

    def __call__(self, done: int, text: str = "") -> None: ...


@contextmanager
def bar(
    title: str, total: int | None, unit: str = "images", quiet: bool = False, expected: float | None = None
) -> Iterator[Update]:
    """Show progress on standard error.

    Args:
        title: Description of the work.
        total: Number of units of work. None: unknown, so that only their number and rate are shown.
        unit: Name of a unit, in the plural.
        quiet: Show nothing.
        expected: Expected duration of the whole work in seconds, so that the time left is shown from the start.
            Default: the time left is shown as soon as a rate is known.

    Yields:
        A function to call with the number of finished units and an optional text to show.
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

    The estimate is `expected` minus `elapsed` at first, and follows the observed rate after half of the work. In between, it is a mean
    of both in which the weight of the observed rate grows: runs take seconds to start, so the first observed rates are far too low.

    Args:
        done: Number of finished units.
        total: Number of all units.
        elapsed: Seconds since the start.
        expected: Expected duration of the whole work in seconds.
    """
    if not done:
        return max(expected - elapsed, 0.1 * expected)
    fraction = done / total
    weight = min(1.0, 2 * fraction)
    return (1 - fraction) * ((1 - weight) * expected + weight * elapsed / fraction)


def duration(seconds: float) -> str:
    """Format seconds, such as "8 s", "3 min 5 s" or "2 h 10 min"."""
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    minutes, rest = divmod(rounded, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
