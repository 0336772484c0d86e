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


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    files.write_json(path, dataclasses.asdict(evaluation))


def read_evaluation(path: Path) -> Evaluation:
    """Raises RunError: missing or broken."""
    try:
        values: dict[str, Any] = json.loads(path.read_text())
        return Evaluation(
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
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(
            f"{path}: expected what smix evaluate wrote, got {type(error).__name__}; remove it and evaluate again"
        ) from None


def evaluations_of(run: Path) -> list[Evaluation]:
    """Those in the folder of a run, by file name. Raises RunError: one is broken."""
    return [read_evaluation(path) for path in sorted((run / FOLDER).glob("*.json"))]
