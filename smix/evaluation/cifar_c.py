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
"""Files of the archives beside the 15: for validation, not part of the mean."""


def read_official(folder: Path | str, name: str, severity: int) -> tuple[UInt8[Tensor, "N 32 32 3"], Int[Tensor, "N"]]:
    """Images and labels of one corruption at one severity, 10,000 in the published archives.

    Args:
        folder: Of `gaussian_noise.npy` and the others, and `labels.npy`.
        name: One of the 15, or of `EXTRA`.
        severity: 1 to 5; the clean images are not in the archive.

    Raises:
        DataError: a file is missing, broken, or holds something else.
        OptionError: no such corruption or severity.
    """
    if name not in CORRUPTIONS and name not in EXTRA:
        raise unknown("corruption", name, (*CORRUPTIONS, *EXTRA))
    if severity not in SEVERITIES:
        raise OptionError(f"corruption: expected a severity from 1 to 5, got {severity}; choose one of these")
    path, labels_path = Path(folder) / f"{name}.npy", Path(folder) / "labels.npy"
    images, labels = _array(path), _array(labels_path)
    if images.dtype != np.uint8 or images.shape[1:] != (32, 32, 3) or not len(images) or len(images) % 5:
        raise DataError(
            f"{path}: expected 50000 x 32 x 32 x 3 of uint8, five severities one after the other, got "
            f"{' x '.join(map(str, images.shape))} of {images.dtype}; extract the archive again"
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
    """Error rates of a model on corrupted images."""

    model: str
    suite: str
    """Label of the images: `LABEL` of this module or of smix's suite."""
    rates: Mapping[str, tuple[float, ...]]
    """Corruption -> share of wrong predictions at each severity, in [0, 1]."""

    @property
    def mean(self) -> float:
        """Over all corruptions and severities, each alike."""
        rates = [np.mean(each) for each in self.rates.values()]
        return float(np.mean(rates))


def mean_corruption_error(errors: CorruptionErrors, reference: CorruptionErrors) -> float:
    """mCE: the mean over corruptions of the errors' sum over that of the reference model (eq. 1); 1: as good as the reference.

    The paper's reference is AlexNet on ImageNet-C, in percent. For CIFAR-C there is none that all use, so it must be named beside
    the number: `reference.model`.

    Raises:
        DataError: other corruptions, severities or images than the reference, or a reference that is never wrong.
    """
    for what, ours, theirs in (
        ("suite", errors.suite, reference.suite),
        ("corruptions", _shown(errors), _shown(reference)),
    ):
        if ours != theirs:
            raise DataError(
                f"mCE: expected the {what} of the reference {reference.model}, {theirs}, got {ours}; evaluate both alike"
            )
    perfect = [name for name, rates in reference.rates.items() if sum(rates) == 0]
    if perfect or not reference.rates:
        raise DataError(
            f"mCE: expected errors of the reference {reference.model} on every corruption, got none on "
            f"{', '.join(perfect) or 'any'}; choose another reference"
        )
    return float(np.mean([sum(rates) / sum(reference.rates[name]) for name, rates in errors.rates.items()]))


def _shown(errors: CorruptionErrors) -> str:
    return ", ".join(f"{name} x {len(rates)}" for name, rates in sorted(errors.rates.items()))
