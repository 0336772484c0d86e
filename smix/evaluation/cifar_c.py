"""The published CIFAR-10-C and CIFAR-100-C, and the corruption errors of Hendrycks and Dietterich, ICLR 2019.

The archives are at doi.org/10.5281/zenodo.2535967 and doi.org/10.5281/zenodo.3555552; nothing here downloads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from smix.arrays import map_npy
from smix.errors import DataError, OptionError, unknown
from smix.evaluation.corruptions.suite import CORRUPTIONS, SEVERITIES
from smix.untrusted import UnreadableError, open_file

LABEL = "official CIFAR-C"
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
"""Further corruptions in the archives, meant for validation; they are not part of the mean."""


def read_cifar_c(folder: Path | str, name: str, severity: int) -> tuple[UInt8[Tensor, "N 32 32 3"], Int[Tensor, "N"]]:
    """Read images and labels of one corruption at one severity, 10,000 in the published archives.

    Args:
        folder: Folder that contains `gaussian_noise.npy`, the other corruptions and `labels.npy`.
        name: One of the 15 corruptions, or of `EXTRA`.
        severity: Severity from 1 to 5; the clean images are not in the archive.

    Returns:
        Images, channels last, and class numbers.

    Raises:
        DataError: A file is missing or damaged, or does not contain such arrays.
        OptionError: The corruption or the severity is unknown.

    >>> np.save("fog.npy", np.zeros((5 * 2, 32, 32, 3), np.uint8))  # the published archive has 5 x 10,000 images
    >>> np.save("labels.npy", np.arange(5 * 2) % 2)
    >>> images, labels = smix.evaluation.read_cifar_c(".", "fog", severity=3)
    >>> images.shape, labels
    (torch.Size([2, 32, 32, 3]), tensor([0, 1]))
    """
    if name not in CORRUPTIONS and name not in EXTRA:
        raise unknown("corruption", name, (*CORRUPTIONS, *EXTRA))
    if severity not in SEVERITIES:
        raise OptionError(f"corruption: expected a severity from 1 to 5, got {severity}; choose one of them")
    path, labels_path = Path(folder) / f"{name}.npy", Path(folder) / "labels.npy"
    images, labels = _array(path), _array(labels_path)
    if images.dtype != np.uint8 or images.shape[1:] != (32, 32, 3) or not len(images) or len(images) % 5:
        raise DataError(
            f"{path}: expected 50000 x 32 x 32 x 3 values of uint8, got {' x '.join(map(str, images.shape))} of {images.dtype}; "
            "extract the archive again"
        )
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "ui":
        raise DataError(
            f"{labels_path}: expected {len(images)} whole numbers, got {' x '.join(map(str, labels.shape))} of "
            f"{labels.dtype}; extract the archive again"
        )
    count = len(images) // 5
    part = slice((severity - 1) * count, severity * count)
    return torch.from_numpy(np.array(images[part])), torch.from_numpy(labels[part].astype(np.int64))


def _array(path: Path) -> NDArray[np.generic]:
    try:
        with open_file(path) as file:
            return map_npy(file)
    except UnreadableError as error:
        raise DataError(
            f"{path}: expected a .npy file of CIFAR-10-C or CIFAR-100-C, got {error}; extract the archive there"
        ) from None


@dataclass(frozen=True)
class CorruptionErrors:
    """Error rates of a model on corrupted images.

    >>> rates = {"fog": (0.1, 0.2), "snow": (0.3, 0.4)}
    >>> smix.evaluation.CorruptionErrors("resnet18", "own corruptions, CIFAR-C severities", rates).mean
    0.25
    """

    model: str
    suite: str
    """Label of the images: `LABEL` of this module or of smix.evaluation.corruptions.suite."""
    rates: Mapping[str, tuple[float, ...]]
    """Fraction of wrong predictions at each severity, in [0, 1], by corruption."""

    @property
    def mean(self) -> float:
        """Mean over all corruptions and severities, with equal weights, in [0, 1]."""
        return float(np.mean([np.mean(rates) for rates in self.rates.values()]))


def mean_corruption_error(errors: CorruptionErrors, reference: CorruptionErrors) -> float:
    """Return the mean corruption error (mCE) of a model relative to a reference model; 1 is as good as the reference.

    It is the mean over corruptions of the sum of the errors over all severities, divided by that of the reference (Hendrycks and
    Dietterich, ICLR 2019, section 4.1). The reference of the paper is AlexNet on ImageNet-C, and its numbers are percent.
    CIFAR-C has no common reference, so the number must be reported together with `reference.model`.

    Args:
        errors: Error rates of the model.
        reference: Error rates of the reference model on the same images.

    Raises:
        DataError: The corruptions, severities or images differ, or the reference makes no error on a corruption.

    >>> suite = "own corruptions, CIFAR-C severities"
    >>> model = smix.evaluation.CorruptionErrors("smix", suite, {"fog": (0.1, 0.2), "snow": (0.3, 0.3)})
    >>> reference = smix.evaluation.CorruptionErrors("vanilla", suite, {"fog": (0.2, 0.4), "snow": (0.3, 0.3)})
    >>> round(smix.evaluation.mean_corruption_error(model, reference), 3)
    0.75
    """
    for aspect, got, expected in (
        ("suite", errors.suite, reference.suite),
        ("corruptions", _corruptions(errors), _corruptions(reference)),
    ):
        if got != expected:
            raise DataError(
                f"mCE: {errors.model} was evaluated on the {aspect} {got}, the reference {reference.model} on {expected}; "
                "evaluate both models on the same images"
            )
    perfect = [name for name, rates in reference.rates.items() if sum(rates) == 0]
    if perfect or not reference.rates:
        raise DataError(
            f"mCE: the reference {reference.model} makes no errors on {', '.join(perfect) or 'any corruption'}, so the ratio is "
            "undefined; choose another reference"
        )
    return float(np.mean([sum(rates) / sum(reference.rates[name]) for name, rates in errors.rates.items()]))


def _corruptions(errors: CorruptionErrors) -> str:
    return ", ".join(f"{name} x {len(rates)}" for name, rates in sorted(errors.rates.items()))
