"""What `smix evaluate` leaves: a JSON file a data set, in the run's folder `evaluation`, which `smix report` reads."""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smix import files
from smix.errors import RunError
from smix.evaluation.cifar_c import CorruptionErrors, mean_corruption_error

FOLDER = "evaluation"


@dataclass(frozen=True)
class Corrupted:
    """Accuracy on corrupted images. Shares are in [0, 1]."""

    suite: str
    """What the images are: the label of the own suite, or of the official arrays."""
    images: int
    clean: float
    """Accuracy on the same images, severity 0."""
    accuracy: Mapping[str, tuple[float, ...]]
    """Corruption -> accuracy at severities 1, 2, ..."""

    @property
    def mean(self) -> float:
        """Over all corruptions and severities, each alike."""
        each = [math.fsum(values) / len(values) for values in self.accuracy.values()]
        return math.fsum(each) / len(each)


@dataclass(frozen=True)
class Attacked:
    """Accuracy on images that were changed to be mistaken."""

    name: str
    """fgsm or pgd."""
    eps: float
    """Largest change of a value, on the 0..1 scale."""
    step: float
    steps: int
    images: int
    clean: float
    """Accuracy on the same images, unchanged."""
    accuracy: float


@dataclass(frozen=True)
class Objects:
    """Accuracy on images whose object or background was changed, by masks. All on the same rows."""

    masks: str
    """Where the masks are from."""
    images: int
    left_out: int
    """Images without a mask that can be used."""
    clean: float
    swapped: float
    """The object on the background of an image of another class."""
    object_hidden: float
    background_hidden: float
    fingerprint: str = ""
    """Of the masks and of which of them are used."""


@dataclass(frozen=True)
class Evaluation:
    """One network on one data set. None or empty: not asked for."""

    data: str
    fingerprint: str
    """Of the images and labels."""
    images: int
    weights: str
    """Sha256 of the file of weights."""
    numbers: Mapping[str, float]
    """As `smix.evaluation.scores.Scores.numbers`."""
    own: bool = True
    """Is it the test split of the data that the network was trained on?"""
    corruptions: tuple[Corrupted, ...] = ()
    """At most one a suite."""
    attacks: tuple[Attacked, ...] = ()
    objects: Objects | None = None
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    left_out: int = 0
    """Images whose class is none of the network's; they are not among `images`."""
    made: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What else the numbers depend on: model, size, normalisation, class map, seed."""


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    files.write_json(path, dataclasses.asdict(evaluation))


def read_evaluation(path: Path) -> Evaluation:
    """Raises RunError: missing or broken."""
    try:
        values: dict[str, Any] = json.loads(path.read_text())
        evaluation = Evaluation(
            **{
                **values,
                "corruptions": tuple(
                    Corrupted(**{**one, "accuracy": {name: tuple(each) for name, each in one["accuracy"].items()}})
                    for one in values["corruptions"]
                ),
                "attacks": tuple(Attacked(**one) for one in values["attacks"]),
                "objects": None if values["objects"] is None else Objects(**values["objects"]),
            }
        )
        _check_types(evaluation)
        return evaluation
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(
            f"{path}: expected what smix evaluate wrote, got {type(error).__name__}; remove it and evaluate again"
        ) from None


def _check_types(evaluation: Evaluation) -> None:
    """Raises TypeError or ValueError where a text or a finite number is something else."""
    texts: list[Any] = []
    numbers: list[Any] = [*evaluation.numbers.values()]
    records: list[Any] = [evaluation, *evaluation.corruptions, *evaluation.attacks, *filter(None, [evaluation.objects])]
    for record in records:
        for field in dataclasses.fields(record):
            if field.type in (str, int, float):
                (texts if field.type is str else numbers).append(getattr(record, field.name))
    for corrupted in evaluation.corruptions:
        if not corrupted.accuracy or not all(corrupted.accuracy.values()):
            raise ValueError("a suite without accuracy")
        numbers += [value for values in corrupted.accuracy.values() for value in values]
    if not all(isinstance(text, str) for text in texts) or not all(map(_finite, numbers)):
        raise TypeError("a text or a number is something else")
    if not isinstance(evaluation.made, dict):
        raise TypeError("no dictionary of what it is made of")


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def mean_corruption_errors(evaluation: Evaluation, reference: Path) -> dict[str, float]:
    """mCE against another network, by suite: see `mean_corruption_error`; 1 is as good as the reference.

    Args:
        reference: The folder of a run that was evaluated on the same images, or the file that `smix evaluate` wrote.

    Raises:
        RunError: it was not evaluated on these images, or on no suite that this evaluation has.
        DataError: it was never wrong under some corruption.
    """
    found = [read_evaluation(reference)] if reference.is_file() else evaluations_of(reference)
    same = (evaluation.fingerprint, evaluation.images, evaluation.left_out)
    theirs = {
        one.suite: one
        for each in found
        if (each.fingerprint, each.images, each.left_out) == same
        for one in each.corruptions
    }
    suites = [(one, theirs[one.suite]) for one in evaluation.corruptions if one.suite in theirs]
    if not suites:
        raise RunError(
            f"{reference}: expected accuracy on {evaluation.images:,} corrupted images of {evaluation.data}, got none; evaluate it the "
            "same way first"
        )
    return {
        one.suite: mean_corruption_error(errors_of(one, evaluation.data), errors_of(other, reference.name))
        for one, other in suites
    }


def errors_of(corrupted: Corrupted, model: str) -> CorruptionErrors:
    """How often the network that is called `model` is wrong."""
    rates = {name: tuple(1 - value for value in values) for name, values in corrupted.accuracy.items()}
    return CorruptionErrors(model, corrupted.suite, rates)


def evaluations_of(run: Path) -> list[Evaluation]:
    """Those in the folder of a run, by file name. Raises RunError: one is broken."""
    return [read_evaluation(path) for path in sorted((run / FOLDER).glob("*.json"))]
