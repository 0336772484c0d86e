"""Accuracy of a network on images that are changed: corrupted, attacked, or without their object or background.

Images are read once, batch by batch, so that they need not fit in memory. Models are in evaluation mode. `done` is told how many
more images were shown; where gradients are taken, as many forward passes as they take the time of.
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
from smix.lab.label_map import LabelMap

Rates = dict[str, tuple[float, ...]]
"""Corruption -> accuracy at each severity."""
Done = Callable[[int], None]


class Attack(NamedTuple):
    """Numbers of `smix.evaluation.attacks.pgd`; without a random start where it is one step."""

    name: str
    eps: float
    step: float
    steps: int

    @property
    def passes(self) -> int:
        """Forward passes that it takes the time of: a backward pass takes that of two."""
        return 1 + 3 * self.steps


ATTACKS = (
    Attack("fgsm", 1 / 255, 1 / 255, 1),
    Attack("fgsm", 8 / 255, 8 / 255, 1),
    Attack("pgd", 1 / 255, 0.25 / 255, 10),
    Attack("pgd", 8 / 255, 2 / 255, 10),
)
"""8/255 is usual, but only networks that are trained against attacks have anything left then. Others differ at 1/255, the least
that a stored image can be changed by. A step is 2.5 eps / steps, so that an attack can cross its range."""
VALUES = 2**22
"""Number of values of images that are attacked at once: gradients take several times the memory of a forward pass."""


def on_corrupted(
    model: nn.Module,
    loader: Loader,
    index: NDArray[np.int64],
    seed: int,
    done: Done,
    severities: Sequence[int] = SEVERITIES,
) -> Rates:
    """Accuracy under the own suite, in [0, 1]. At severity 0 it is that on untouched images, exactly.

    Args:
        index: Of each image in its data set.

    Raises:
        DataError: images that cannot be corrupted, or a logit that is not finite.
    """
    right = {name: [0] * len(severities) for name in CORRUPTIONS}
    for images, labels, rows in _numbered(loader, index):
        for name, hits in right.items():
            for place, severity in enumerate(severities):
                changed = corrupt(images, name, severity, rows, seed)
                hits[place] += _hits(model, loader.normalise(changed), labels)
                done(len(images))
    return {name: tuple(count / len(loader) for count in hits) for name, hits in right.items()}


def check_official(folder: Path, data: ImageSet, mapped: LabelMap | None) -> None:
    """Raises DataError unless the folder has corrupted versions of these images, by their labels."""
    theirs = read_cifar_c(folder, next(iter(CORRUPTIONS)), SEVERITIES[0])[1].numpy()
    same = len(theirs) > data.index.max() and data.size == (32, 32)
    if same and mapped is not None:
        same = bool(theirs.max() < len(mapped.label))
        theirs = np.array(mapped.label)[theirs] if same else theirs
    if not same or not np.array_equal(theirs[data.index], data.labels):
        raise DataError(
            f"{folder}: expected the images of {data.name} test, corrupted, got others by size, number or labels; CIFAR-10-C is of "
            "cifar10, CIFAR-100-C of cifar100"
        )


def on_official(model: nn.Module, loader: Batches, folder: Path, index: NDArray[np.int64], done: Done) -> Rates:
    """Accuracy on the published arrays, in [0, 1].

    Args:
        loader: Of the same images, untouched.
        index: Their rows in the arrays.

    Raises:
        DataError: an array is missing or broken, or a logit is not finite.
    """
    found: Rates = {}
    for name in CORRUPTIONS:
        each = []
        for severity in SEVERITIES:
            images = read_cifar_c(folder, name, severity)[0][index].to(loader.images.device)
            changed = Batches(images, loader.labels, loader.normalise, at_once=loader.at_once)
            each.append(sum(_hits(model, some, labels) for some, labels in changed.in_order()) / len(loader))
            done(len(loader))
        found[name] = tuple(each)
    return found


def attacked_at_once(values: int) -> int:
    """Return how many images of so many values are attacked at once, if a batch has more."""
    return max(1, VALUES // values)


def on_attacked(model: nn.Module, loader: Loader, index: NDArray[np.int64], seed: int, done: Done) -> tuple[float, ...]:
    """Accuracy under each of `ATTACKS`, in [0, 1].

    Args:
        index: As for `on_corrupted`.

    Raises:
        DataError: a logit is not finite.
    """
    whole = NormalisedModel(model, loader.normalise)
    right = [0] * len(ATTACKS)
    for images, labels, rows in _numbered(loader, index):
        most = attacked_at_once(images[0].numel())
        scaled = (images.movedim(-1, 1).float() / 255).split(most)
        for some, theirs, numbers in zip(scaled, labels.split(most), rows.split(most), strict=True):
            for place, attack in enumerate(ATTACKS):
                start = numbers if attack.steps > 1 else None
                changed = pgd(whole, some, theirs, attack.eps, attack.step, attack.steps, start, seed)
                right[place] += _hits(whole, changed, theirs)
                done(len(some) * attack.passes)
    return tuple(count / len(loader) for count in right)


class OnObjects(NamedTuple):
    """Accuracy, all on the same images."""

    images: int
    clean: float
    swapped: float
    object_hidden: float
    background_hidden: float


def on_objects(model: nn.Module, loader: Loader, index: NDArray[np.int64], seed: int, done: Done) -> OnObjects:
    """Accuracy on objects before other backgrounds, and on images without object or background, in [0, 1].

    Args:
        loader: With masks; images whose mask is empty or everything, as the network sees it, are left out.
        index: As for `on_corrupted`.

    Raises:
        DataError: no usable masks of two classes, or a logit that is not finite.
    """
    rows, labels, colour = _usable(loader)
    others = rows[partners(labels, torch.from_numpy(index)[rows.cpu()], seed)]
    right = [0] * 4
    for own, other in zip(loader.pixels(rows), loader.pixels(others), strict=True):
        assert own.masks is not None
        assert other.masks is not None
        shown = (
            own.images,
            on_background(own.images, own.masks, other.images, other.masks),
            occlude(own.images, own.masks, "object", colour=colour).images,
            occlude(own.images, own.masks, "background", colour=colour).images,
        )
        for place, images in enumerate(shown):
            right[place] += _hits(model, loader.normalise(images), own.labels)
            done(len(images))
    return OnObjects(len(rows), *(count / len(rows) for count in right))


def _usable(loader: Loader) -> tuple[Int[Tensor, "n"], Int[Tensor, "n"], UInt8[Tensor, "C"]]:
    """Places of the images whose mask can be used, their labels, and the mean colour of all images."""
    rows, classes, before = [], [], 0
    sums: Tensor | None = None
    pixels = 0
    for images, labels, masks in loader.pixels():
        assert masks is not None
        good = usable(masks, None)
        rows.append(before + good)
        classes.append(labels[good])
        before += len(images)
        flat = images.flatten(0, -2)
        sums = flat.sum(0) if sums is None else sums + flat.sum(0)
        pixels += len(flat)
    assert sums is not None
    return torch.cat(rows), torch.cat(classes), (sums.double() / pixels).round().to(torch.uint8)


def _numbered(loader: Loader, index: NDArray[np.int64]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Images, labels, and the index of each."""
    first = 0
    for images, labels, _ in loader.pixels():
        yield images, labels, torch.from_numpy(index[first : first + len(images)])
        first += len(images)


@torch.inference_mode()
def _hits(model: nn.Module, images: Float[Tensor, "B C *S"], labels: Int[Tensor, "B"]) -> int:
    """Return the number of correct predictions."""
    logits = model(images).float().cpu()
    if not logits.isfinite().all():
        raise DataError("logits: expected finite numbers, got NaN or infinity; did the training diverge?")
    return int((logits.argmax(1) == labels.cpu()).sum())
