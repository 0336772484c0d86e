"""Show runs in experiment trackers, each by its own library: `--track tensorboard,mlflow:URI,wandb`.

A tracker that fails during training is left out with a warning: it must not cost the run.
"""

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.util import find_spec

from smix.config import TRACKERS
from smix.errors import OptionError, SmixError
from smix.training.loop import Epoch
from smix.training.records import Result
from smix.training.samples import Samples
from smix.training.trackers.record import RunRecord as RunRecord
from smix.training.trackers.record import Tracker as Tracker
from smix.untrusted import one_line

EXTRAS = {"tensorboard": "TensorBoard", "mlflow": "MLflow", "wandb": "wandb"}
"""Names of the packages in messages."""


def parse_trackers(text: str | None) -> dict[str, str]:
    """Return the trackers of --track and what follows their colons.

    Raises:
        OptionError: A tracker is unknown or named twice, or takes no value.

    >>> parse_trackers("tensorboard,mlflow:sqlite:///runs.db")
    {'tensorboard': '', 'mlflow': 'sqlite:///runs.db'}
    """
    trackers: dict[str, str] = {}
    # A URI may contain commas: after mlflow: only those before the name of a tracker separate.
    names = "|".join(TRACKERS)
    parts = (
        [] if text is None else re.findall(rf"\s*mlflow:.*?(?=,\s*(?:{names})\s*(?:[:,]|$)|$)|[^,]+|^$|(?<=,)$", text)
    )
    for part in parts:
        name, colon, value = part.strip().partition(":")
        if name not in TRACKERS:
            raise OptionError(
                f'track: expected {", ".join(TRACKERS)} or mlflow:URI, separated by commas, got "{part.strip()}"; correct the name'
            )
        if name in trackers:
            raise OptionError(f"track: {name} is named twice; name it once")
        if colon and (name != "mlflow" or not value):
            raise OptionError(
                f'track: expected {"mlflow:URI" if name == "mlflow" else f"{name} alone"}, got "{part.strip()}"'
            )
        trackers[name] = value
    return trackers


def check_trackers(text: str | None) -> None:
    """Raise OptionError if --track is wrong, or the package of a tracker is not installed."""
    for name in parse_trackers(text):
        try:
            missing = find_spec(name) is None
        except ValueError:  # None in sys.modules
            missing = True
        if missing:
            raise OptionError(f"track: {EXTRAS[name]} is not installed; run pip install 'smix[{name}]'")


@contextmanager
def tracking(run: RunRecord, text: str | None, epochs_done: int) -> Iterator[list[Tracker]]:
    """Yield the trackers of --track for a run.

    Args:
        run: The run.
        text: Value of --track.
        epochs_done: Number of finished epochs; what an interrupted run has written after them is replaced.

    Raises:
        OptionError: A tracker cannot be started.
    """
    with ExitStack() as stack:
        trackers: list[Tracker] = []
        for name, value in parse_trackers(text).items():
            module = importlib.import_module(f"smix.training.trackers.{name}")
            start: Callable[[RunRecord, str, int], AbstractContextManager[Tracker]] = module.start
            try:
                trackers.append(_Guarded(name, stack.enter_context(start(run, value, epochs_done))))
            except (SmixError, KeyboardInterrupt):
                raise
            except Exception as error:  # each library has its own
                where = f" at {value}" if value else ""
                raise OptionError(
                    f"track: {name} cannot be started{where} ({one_line(error, 160)}); correct the address, or omit {name}"
                ) from None
        yield trackers


class _Guarded:
    """A tracker that is left out with a warning once it has failed."""

    def __init__(self, name: str, tracker: Tracker) -> None:
        self.name = name
        self.tracker: Tracker | None = tracker

    def log_epoch(self, epoch: Epoch, samples: Samples) -> None:
        self._try(lambda tracker: tracker.log_epoch(epoch, samples))

    def log_result(self, result: Result) -> None:
        self._try(lambda tracker: tracker.log_result(result))

    def _try(self, act: Callable[[Tracker], None]) -> None:
        if self.tracker is None:
            return
        try:
            act(self.tracker)
        except Exception as error:
            self.tracker = None
            sys.stderr.write(f"smix: track: {self.name} failed ({one_line(error, 160)}); the run goes on without it\n")
