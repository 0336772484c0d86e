"""Read and write the results of `smix evaluate`: one JSON file per data set in the folder `evaluation` of a run."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from smix import files
from smix.errors import RunError
from smix.evaluation.cifar_c import CorruptionErrors, mean_corruption_error
from smix.reprs import short_repr
from smix.untrusted import UnreadableError, one_line, read_checked, to_record, with_checksum

FOLDER = "evaluation"
FORMAT = 3

Fraction = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]


@dataclass(frozen=True)
class Corrupted:
    """Accuracy on corrupted images, in [0, 1]."""

    suite: str
    """Name of the corrupted images: the suite of smix or the official arrays."""
    images: Count
    clean: Fraction
    """Accuracy on the same images without corruption (severity 0)."""
    accuracy: Annotated[Mapping[str, Annotated[tuple[Fraction, ...], Meta(min_length=1)]], Meta(min_length=1)]
    """Corruption -> accuracy at severities 1, 2, ..."""

    @property
    def mean(self) -> float:
        """Mean accuracy over all corruptions and severities."""
        means = [math.fsum(values) / len(values) for values in self.accuracy.values()]
        return math.fsum(means) / len(means)


@dataclass(frozen=True)
class Attacked:
    """Accuracy under an adversarial attack, in [0, 1]."""

    name: str
    """Name: "fgsm" or "pgd"."""
    eps: float
    """Maximum change of a pixel value (L-infinity), for images in [0, 1]."""
    step_size: float
    """Change of a pixel value in one step, for images in [0, 1]."""
    steps: int
    images: Count
    clean: Fraction
    """Accuracy on the same images without attack."""
    accuracy: Fraction


@dataclass(frozen=True)
class ObjectAccuracies:
    """Accuracy on images whose object or background was replaced or hidden, in [0, 1]; all on the same images."""

    masks: str
    """Source of the masks."""
    images: Count
    left_out: Count
    """Number of images without a usable mask."""
    clean: Fraction
    swapped: Fraction
    """Accuracy with the background of an image from another class."""
    object_hidden: Fraction
    background_hidden: Fraction
    fingerprint: str = ""
    """Sha256 of the masks and of the choice of usable masks."""


@dataclass(frozen=True)
class Evaluation:
    """Results of one network on one data set. Suites that were not requested are None or empty."""

    data: Annotated[str, Meta(pattern=r"\A[^\x00-\x1f\x7f-\x9f]*\Z")]
    fingerprint: str
    """Sha256 of the images and labels."""
    images: Count
    weights: str
    """Sha256 of the weights file."""
    numbers: Mapping[str, float]
    """Metrics by name, as in `smix.evaluation.scores.Scores.numbers`."""
    own: bool = True
    """True for the test split of the data that the network was trained on."""
    corruptions: tuple[Corrupted, ...] = ()
    """At most one per suite of corrupted images."""
    attacks: tuple[Attacked, ...] = ()
    objects: ObjectAccuracies | None = None
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    left_out: Count = 0
    """Number of images of classes that the network does not have; not counted in `images`."""
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Further settings that the results depend on: model, size, normalisation, label map, seed."""
    __repr__ = short_repr("evaluation.numbers()")


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write an evaluation to a JSON file that contains a sha256 of itself."""
    files.write_bytes(path, with_checksum({"format": FORMAT, **dataclasses.asdict(evaluation)}))


def read_evaluation(path: Path) -> Evaluation:
    """Read a file written by `write_evaluation`.

    Raises:
        RunError: The file is missing, damaged or modified.
    """
    try:
        values = read_checked(path, FORMAT)
        del values["format"]
        return to_record(values, Evaluation)
    except (UnreadableError, KeyError) as error:
        raise RunError(
            f"{path}: expected an evaluation written by this version of smix, got {one_line(error)}; remove it and evaluate again"
        ) from None


def evaluations_of(run: Path) -> list[Evaluation]:
    """Return the evaluations in the folder of a run, by file name.

    Raises:
        RunError: One of them is damaged.
    """
    return [read_evaluation(path) for path in sorted((run / FOLDER).glob("*.json"))]


def mean_corruption_errors(evaluation: Evaluation, reference: Path) -> dict[str, float]:
    """Return the mean corruption error (mCE) relative to another network for each suite; 1 is as good as the reference.

    Args:
        evaluation: Evaluation with corruptions.
        reference: Folder of a run that was evaluated on the same images, or the file of its evaluation.

    Raises:
        RunError: The reference was not evaluated on these images with any suite of `evaluation`.
        DataError: The reference makes no error under some corruption. See `mean_corruption_error`.
    """
    candidates = [read_evaluation(reference)] if reference.is_file() else evaluations_of(reference)
    images = (evaluation.fingerprint, evaluation.images, evaluation.left_out)
    references = {
        corrupted.suite: corrupted
        for other in candidates
        if (other.fingerprint, other.images, other.left_out) == images
        for corrupted in other.corruptions
    }
    common = [corrupted for corrupted in evaluation.corruptions if corrupted.suite in references]
    if not common:
        raise RunError(
            f"{reference}: no accuracy on these {evaluation.images:,} corrupted images of {evaluation.data}; evaluate it with the same "
            "options first"
        )
    return {
        corrupted.suite: mean_corruption_error(
            errors_of(corrupted, evaluation.data), errors_of(references[corrupted.suite], reference.name)
        )
        for corrupted in common
    }


def errors_of(corrupted: Corrupted, model: str) -> CorruptionErrors:
    """Return the error rates, one minus the accuracy, as those of a network named `model`."""
    rates = {name: tuple(1 - value for value in values) for name, values in corrupted.accuracy.items()}
    return CorruptionErrors(model, corrupted.suite, rates)
