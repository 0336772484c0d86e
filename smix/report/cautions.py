"""Reasons why a comparison is too small to name a best method: each rule is a function of a few numbers that returns a `Caution`.

A reader takes the first sentence of a report along, so that it must not name a winner that the runs cannot support. Statistical
significance does not protect against this alone: a t-test of two seeds, a test split of 20 images, or networks that guess give
p-values, too.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from smix.evaluation.statistics import Summary, interval
from smix.training.records import Run

MIN_SEEDS = 3
MIN_IMAGES = 50
MIN_EPOCHS = 3
CHANCE_ERRORS = 2.0
"""Number of standard errors above chance up to which an accuracy is called chance level."""
FALL = 0.2
"""Share of the whole fall of the loss that the last fifth of the epochs may have before the training counts as unfinished."""


@dataclass(frozen=True)
class Caution:
    """A reason why methods cannot be ranked."""

    text: str
    """Clause for the headline."""
    advice: str
    """Clause in the imperative: what to do."""


def few_seeds(seeds: int) -> Caution | None:
    """Return a caution below three seeds.

    One run of each method says nothing about the variation between runs, and with two runs the 95 % interval of a mean is 12.7
    standard errors to either side (Student's t with one degree of freedom): such an interval is itself mostly noise.
    """
    if seeds >= MIN_SEEDS:
        return None
    text = f"{seeds} seed{'s' if seeds > 1 else ''} cannot show how much runs vary"
    return Caution(text, f"take at least {MIN_SEEDS} seeds, better 5")


def few_images(images: int) -> Caution | None:
    """Return a caution below 50 test images.

    There, one image is more than 2 points, and the 95 % interval of an accuracy near 50 % is wider than 14 points to either side, as
    the images are a sample, too: most differences between methods are smaller.
    """
    if not 0 < images < MIN_IMAGES:
        return None
    text = "there is only 1 test image"
    text = text if images == 1 else f"one of only {images} test images is {100 / images:.1f} points"
    return Caution(text, f"test at least {MIN_IMAGES} images, better 1,000")


def impossible_intervals(accuracies: Mapping[str, Summary]) -> Caution | None:
    """Return a caution if the 95 % interval of a mean accuracy in percent exceeds 0 to 100 %.

    No accuracy lies there, so that the number of runs is too small for the normal distribution that the interval assumes.
    """
    outside = [method for method, one in accuracies.items() if interval(one)[0] < 0 or interval(one)[1] > 100]
    text = f"the 95 % interval of {_names(outside)} exceeds 0 to 100 %"
    return Caution(text, "take more seeds") if outside else None


def at_chance(highest: float, chance: float, images: int) -> Caution | None:
    """Return a caution if the highest mean accuracy is that of guessing.

    Guessing the most frequent class is right for a share `chance` of the images, with a standard error of
    sqrt(chance (1 - chance) / images); an accuracy within two standard errors above that is no evidence of learning.

    Args:
        highest: Highest mean test accuracy, in [0, 1].
        chance: Share of the test images in the most frequent class, or 1 / number of classes.
        images: Number of test images.
    """
    if images < 1 or not highest <= chance + CHANCE_ERRORS * math.sqrt(chance * (1 - chance) / images):
        return None
    text = f"no method is better than guessing, which is right for {100 * chance:.1f} % of the images"
    return Caution(text, "check the labels and the learning rate, or train longer")


def unconverged(losses: Mapping[str, Sequence[Sequence[float]]], pretrained: bool = False) -> Caution | None:
    """Return a caution if a training had hardly begun, or its loss still fell clearly when it ended.

    Compared are the mean training loss of the last fifth of the epochs with that of the fifth before. A loss that falls as
    fast at the end as on average falls there by 22 % of its whole fall; finished trainings of smix's demo, whose learning rate is
    annealed to 0 at the end, fall by 3 to 13 %. Below three epochs there is nothing to compare, unless the network was
    pre-trained. Methods that converge more slowly, as mixing does, would be at a disadvantage.

    Args:
        losses: Training loss of each epoch with mixing, for each seed of each method.
        pretrained: True if the training began with pre-trained weights.
    """
    epochs = min((len(each) for seeds in losses.values() for each in seeds), default=0)
    if epochs < MIN_EPOCHS:
        text = f"the networks were trained for only {epochs} epoch{'s' if epochs > 1 else ''}"
        return Caution(text, "train longer") if epochs > 0 and not pretrained else None
    falling = [method for method, seeds in losses.items() if _still_falls(seeds)]
    text = f"the training loss of {_names(falling)} was still falling clearly at the end"
    return Caution(text, "train longer") if falling else None


def _still_falls(losses: Sequence[Sequence[float]]) -> bool:
    epochs = min(map(len, losses))
    mean = np.mean([each[:epochs] for each in losses], 0)
    part = max(1, round(epochs / 5))
    end, before = mean[-part:].mean(), mean[-2 * part : -part].mean()
    return bool(before - end > FALL * (mean[0] - end)) if mean[0] > end else False


def cautions_of(
    runs: Sequence[Run], complete: Mapping[str, Summary], chance: float | None = None
) -> tuple[Caution, ...]:
    """Return all reasons why the complete methods of a comparison cannot be ranked; none if there is no such method.

    Args:
        runs: Runs that differ only in method and seed.
        complete: Test accuracy in percent of the methods that have finished all of their runs.
        chance: Accuracy of guessing, in [0, 1]. Default: 1 / number of classes.
    """
    if not complete:
        return ()
    finished = [run for run in runs if run.result is not None and run.config.method in complete]
    data, config = finished[0].provenance["data"], finished[0].config
    images, classes = data["images"]["test"], len(data["classes"])
    losses: dict[str, list[list[float]]] = {}
    for run in finished:
        mixed = [epoch.train_loss for epoch in run.metrics[: max(1, config.epochs - config.mix_off_epochs)]]
        losses.setdefault(run.config.method, []).append(mixed)
    highest = max(one.mean for one in complete.values()) / 100
    found = (
        few_seeds(min(one.count for one in complete.values())),
        few_images(images),
        at_chance(highest, chance if chance is not None else 1 / max(1, classes), images),
        impossible_intervals(complete),
        unconverged(losses, config.init_weights is not None),
    )
    return tuple(one for one in found if one is not None)


def _names(methods: Sequence[str]) -> str:
    if not methods:
        return "none"
    shown = [*methods[:3], *([f"{len(methods) - 3} more"] if len(methods) > 3 else [])]
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
