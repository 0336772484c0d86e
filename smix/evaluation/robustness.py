"""Measure the accuracy of a network on modified images: corrupted, attacked, or with a hidden or replaced object or background.

Images are read once, batch by batch, so that they need not fit in memory. Models are in evaluation mode. `advance` receives
the number of image forward passes since its last call; a gradient counts as the forward passes that cost the same.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray
from torch import Tensor, nn

from smix.data.batches import Batches, Loader
from smix.data.sets import ImageSet
from smix.errors import DataError
from smix.evaluation.attacks import NormalisedModel, pgd
from smix.evaluation.cifar_c import read_cifar_c
from smix.evaluation.corruptions.suite import CORRUPTIONS, SEVERITIES, corrupt
from smix.evaluation.occlusion import occlude, on_background, partners, usable

Rates = dict[str, tuple[float, ...]]
"""Corruption -> accuracy at each severity."""
Advance = Callable[[int], None]


class Attack(NamedTuple):
    """Parameters of `smix.evaluation.attacks.pgd`. An attack with one step has no random start."""

    name: str
    eps: float
    step_size: float
    steps: int

    @property
    def passes(self) -> int:
        """Cost of the attack in forward passes; a backward pass counts as two."""
        return 1 + 3 * self.steps


ATTACKS = (
    Attack("fgsm", 1 / 255, 1 / 255, 1),
    Attack("fgsm", 8 / 255, 8 / 255, 1),
    Attack("pgd", 1 / 255, 0.25 / 255, 10),
    Attack("pgd", 8 / 255, 2 / 255, 10),
)
"""8/255 is the usual size, but only adversarially trained networks keep any accuracy under it; differences between other networks show
at 1/255, the smallest change of an 8-bit image. The step size of PGD is 2.5 eps / steps, so that it can cross the range of changes."""
MAX_VALUES = 2**22
"""Maximum number of pixel values that are attacked at once: gradients need several times the memory of a forward pass."""


def on_corrupted(
    model: nn.Module,
    loader: Loader,
    index: NDArray[np.int64],
    seed: int,
    advance: Advance,
    severities: Sequence[int] = SEVERITIES,
) -> Rates:
    """Return the accuracy under the corruptions of smix, in [0, 1]. At severity 0 it equals the clean accuracy exactly.

    Args:
        model: Network.
        loader: Loader of the images.
        index: (N,) index of each image in its data set, used to seed its corruptions.
        seed: Random seed for the corruptions.
        advance: Progress callback.
        severities: Severities, 0 to 5.

    Raises:
        DataError: The images cannot be corrupted, or a logit is not finite.
    """
    correct = {name: [0] * len(severities) for name in CORRUPTIONS}
    for images, labels, rows in _with_index(loader, index):
        for name, counts in correct.items():
            for place, severity in enumerate(severities):
                corrupted = corrupt(images, name, severity, rows, seed)
                counts[place] += _count_correct(model, loader.normalise(corrupted), labels)
                advance(len(images))
    return {name: tuple(count / len(loader) for count in counts) for name, counts in correct.items()}


def check_cifar_c(folder: Path, data: ImageSet, outputs: Sequence[int] | None = None) -> None:
    """Check by size, number and labels that a folder contains corrupted versions of these images.

    Args:
        folder: Folder of CIFAR-10-C or CIFAR-100-C.
        data: Test split of CIFAR-10 or CIFAR-100.
        outputs: Output of each class of the data. Default: the class itself.

    Raises:
        DataError: The arrays are missing, or belong to other images.
    """
    labels = read_cifar_c(folder, next(iter(CORRUPTIONS)), SEVERITIES[0])[1].numpy()
    same = len(labels) > data.index.max() and data.size == (32, 32)
    if same and outputs is not None:
        same = bool(labels.max() < len(outputs))
        labels = np.array(outputs)[labels] if same else labels
    if not same or not np.array_equal(labels[data.index], data.labels):
        raise DataError(
            f"{folder}: the corrupted images differ from {data.name} test in size, number or labels; use CIFAR-10-C with cifar10 "
            "and CIFAR-100-C with cifar100"
        )


def on_cifar_c(model: nn.Module, loader: Batches, folder: Path, index: NDArray[np.int64], advance: Advance) -> Rates:
    """Return the accuracy on the published arrays, in [0, 1].

    Args:
        model: Network.
        loader: Loader of the same images without corruption.
        folder: Folder of CIFAR-10-C or CIFAR-100-C.
        index: (N,) rows of the images in the arrays.
        advance: Progress callback.

    Raises:
        DataError: An array is missing or damaged, or a logit is not finite.
    """
    rates: Rates = {}
    for name in CORRUPTIONS:
        accuracies = []
        for severity in SEVERITIES:
            images = read_cifar_c(folder, name, severity)[0][index].to(loader.images.device)
            corrupted = Batches(images, loader.labels, loader.normalise, at_once=loader.at_once)
            correct = sum(_count_correct(model, batch, labels) for batch, labels in corrupted.in_order())
            accuracies.append(correct / len(loader))
            advance(len(loader))
        rates[name] = tuple(accuracies)
    return rates


def attacked_at_once(values: int) -> int:
    """Return the maximum number of images to attack at once, given the number of values per image."""
    return max(1, MAX_VALUES // values)


def on_attacked(
    model: nn.Module, loader: Loader, index: NDArray[np.int64], seed: int, advance: Advance
) -> tuple[float, ...]:
    """Return the accuracy under each of `ATTACKS`, in [0, 1].

    Args:
        model: Network.
        loader: Loader of the images.
        index: (N,) index of each image in its data set, used to seed the start of its attack.
        seed: Random seed for the starting points.
        advance: Progress callback.

    Raises:
        DataError: A logit is not finite.
    """
    on_pixels = NormalisedModel(model, loader.normalise)
    correct = [0] * len(ATTACKS)
    for images, labels, rows in _with_index(loader, index):
        size = attacked_at_once(images[0].numel())
        scaled = (images.movedim(-1, 1).float() / 255).split(size)
        for part, part_labels, part_rows in zip(scaled, labels.split(size), rows.split(size), strict=True):
            for place, attack in enumerate(ATTACKS):
                start = part_rows if attack.steps > 1 else None
                attacked = pgd(on_pixels, part, part_labels, attack.eps, attack.step_size, attack.steps, start, seed)
                correct[place] += _count_correct(on_pixels, attacked, part_labels)
                advance(len(part) * attack.passes)
    return tuple(count / len(loader) for count in correct)


class OnObjects(NamedTuple):
    """Accuracies in [0, 1], all on the same images."""

    images: int
    clean: float
    swapped: float
    object_hidden: float
    background_hidden: float


def on_objects(model: nn.Module, loader: Loader, index: NDArray[np.int64], seed: int, advance: Advance) -> OnObjects:
    """Return the accuracy with swapped backgrounds, and with hidden objects or backgrounds.

    Args:
        model: Network.
        loader: Loader of images with masks. Images whose mask, at the input size, is empty or full are excluded.
        index: (N,) index of each image in its data set, used to seed the choice of its background.
        seed: Random seed for the choice of backgrounds.
        advance: Progress callback.

    Raises:
        DataError: There are no usable masks of two classes, or a logit is not finite.
    """
    rows, labels, colour = _usable(loader)
    others = rows[partners(labels, torch.from_numpy(index)[rows.cpu()], seed)]
    correct = [0] * 4
    for own, other in zip(loader.pixels(rows), loader.pixels(others), strict=True):
        assert own.masks is not None
        assert other.masks is not None
        variants = (
            own.images,
            on_background(own.images, own.masks, other.images, other.masks),
            occlude(own.images, own.masks, "object", colour=colour).images,
            occlude(own.images, own.masks, "background", colour=colour).images,
        )
        for place, images in enumerate(variants):
            correct[place] += _count_correct(model, loader.normalise(images), own.labels)
            advance(len(images))
    return OnObjects(len(rows), *(count / len(rows) for count in correct))


def _usable(loader: Loader) -> tuple[Int[Tensor, "n"], Int[Tensor, "n"], UInt8[Tensor, "C"]]:
    """Return the indices of the images with a usable mask, their labels, and the mean colour of all images."""
    rows, classes, before = [], [], 0
    sums: Tensor | None = None
    pixels = 0
    for images, labels, masks in loader.pixels():
        assert masks is not None
        batch_rows = usable(masks, None)
        rows.append(before + batch_rows)
        classes.append(labels[batch_rows])
        before += len(images)
        flat = images.flatten(0, -2)
        sums = flat.sum(0) if sums is None else sums + flat.sum(0)
        pixels += len(flat)
    assert sums is not None
    return torch.cat(rows), torch.cat(classes), (sums.double() / pixels).round().to(torch.uint8)


def _with_index(loader: Loader, index: NDArray[np.int64]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield images, labels, and the index of each image."""
    first = 0
    for images, labels, _ in loader.pixels():
        yield images, labels, torch.from_numpy(index[first : first + len(images)])
        first += len(images)


@torch.inference_mode()
def _count_correct(model: nn.Module, images: Float[Tensor, "B C *S"], labels: Int[Tensor, "B"]) -> int:
    """Return the number of correct predictions."""
    logits = model(images).float().cpu()
    if not logits.isfinite().all():
        raise DataError(
            "logits: expected finite numbers, got NaN or infinity; the training has probably diverged: train again with a lower "
            "learning rate"
        )
    return int((logits.argmax(1) == labels.cpu()).sum())
