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
from smix.untrusted import UnreadableError, convert, one_line, read_checked, with_checksum

FOLDER = "evaluation"
FORMAT = 2

Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]


@dataclass(frozen=True)
class Corrupted:
    """Accuracy on corrupted images. Shares are in [0, 1]."""

    suite: str
    """Label of the images: of smix's suite or of the official arrays."""
    images: Count
    clean: Share
    """Accuracy on the same images, severity 0."""
    accuracy: Annotated[Mapping[str, Annotated[tuple[Share, ...], Meta(min_length=1)]], Meta(min_length=1)]
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
    images: Count
    clean: Share
    """Accuracy on the same images, unchanged."""
    accuracy: Share


@dataclass(frozen=True)
class Objects:
    """Accuracy on images whose object or background was changed, by masks. All on the same rows."""

    masks: str
    """Source of the masks."""
    images: Count
    left_out: Count
    """Images without a mask that can be used."""
    clean: Share
    swapped: Share
    """The object on the background of an image of another class."""
    object_hidden: Share
    background_hidden: Share
    fingerprint: str = ""
    """Sha256 of the masks and of which of them are used."""


@dataclass(frozen=True)
class Evaluation:
    """One network on one data set. None or empty: not asked for."""

    data: Annotated[str, Meta(pattern=r"\A[^\x00-\x1f\x7f-\x9f]*\Z")]
    fingerprint: str
    """Sha256 of the images and labels."""
    images: Count
    weights: str
    """Sha256 of the file of weights."""
    numbers: Mapping[str, float]
    """Metrics by name, as in `smix.evaluation.scores.Scores.numbers`."""
    own: bool = True
    """True for the test split of the data that the network was trained on."""
    corruptions: tuple[Corrupted, ...] = ()
    """At most one a suite."""
    attacks: tuple[Attacked, ...] = ()
    objects: Objects | None = None
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    left_out: Count = 0
    """Images whose class is none of the network's; they are not among `images`."""
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Further settings that the numbers depend on: model, size, normalisation, label map, seed."""


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write a file of `smix evaluate`, with a sha256 of itself."""
    files.write_bytes(path, with_checksum({"format": FORMAT, **dataclasses.asdict(evaluation)}))


def read_evaluation(path: Path) -> Evaluation:
    """Return what `write_evaluation` wrote. Raises RunError: The file is missing, damaged or changed."""
    try:
        values = read_checked(path, FORMAT)
        del values["format"]
        return convert(values, Evaluation)
    except (UnreadableError, KeyError) as error:
        raise RunError(
            f"{path}: expected an evaluation written by this version of smix, got {one_line(error)}; remove it and evaluate again"
        ) from None


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
    """Return the error rates of the network called `model`."""
    rates = {name: tuple(1 - value for value in values) for name, values in corrupted.accuracy.items()}
    return CorruptionErrors(model, corrupted.suite, rates)


def evaluations_of(run: Path) -> list[Evaluation]:
    """Return the evaluations in the folder of a run, by file name. Raises RunError: One is damaged."""
    return [read_evaluation(path) for path in sorted((run / FOLDER).glob("*.json"))]
