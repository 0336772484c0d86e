"""Suites of an evaluation: clean, corrupted and attacked images, and hidden objects. All are checked first."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from smix.data.batches import Batches, Loader
from smix.data.sets import ImageSet
from smix.errors import MaskError, RunError
from smix.evaluation import cifar_c
from smix.evaluation import robustness as measure
from smix.evaluation.corruptions import suite
from smix.evaluation.predict import predict
from smix.evaluation.records import Attacked, Corrupted, Evaluation, ObjectAccuracies
from smix.evaluation.robustness import ATTACKS, Advance
from smix.evaluation.scores import compute_scores
from smix.lab.label_map import grouped
from smix.lab.target import EvalTarget
from smix.masks.lookup import ObjectMasks, masks_of
from smix.masks.store import MaskStore
from smix.training.inputs import versions
from smix.training.predictions import read_predictions

CONDITIONS = len(suite.CORRUPTIONS) * len(suite.SEVERITIES)
CLEAN = "clean images"
CORRUPTIONS = f"{len(suite.CORRUPTIONS)} corruptions x {len(suite.SEVERITIES)} severities"


@dataclass(frozen=True)
class Suite:
    """One suite of an evaluation."""

    name: str
    passes: int
    """Number of forward passes per image."""
    is_done: Callable[[Evaluation], bool]
    """Return whether an evaluation of the same network, images and options contains the suite."""
    add: Callable[[Evaluation, Advance], Evaluation]
    """Compute the suite, and return the evaluation with it."""
    at_once: int
    """Number of images per batch."""


def requested_suites(target: EvalTarget, loader: Loader) -> list[Suite]:
    """Return the suites requested by the options of the target, in order.

    Args:
        target: Network, images and options.
        loader: Loader of the images.

    Raises:
        SmixError: The images cannot be corrupted, or the masks or official arrays belong to other images.
    """
    config, suites = target.config, [_clean(target, loader)]
    if config.corruptions:
        suites.append(_corrupted(target, loader, config.seed))
    if config.official is not None:
        suites.append(_official(target, loader, config.official))
    if config.attacks:
        suites.append(_attacked(target, loader, config.seed))
    if config.masks is not None:
        suites.append(_objects(target, loader, config.masks, config.seed))
    return suites


def _clean(target: EvalTarget, loader: Loader) -> Suite:
    def batches(advance: Advance) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in loader.in_order():
            yield images, labels
            advance(len(images))

    def add(evaluation: Evaluation, advance: Advance) -> Evaluation:
        result = compute_scores(*predict(target.model, batches(advance)), _validation(target))
        return replace(evaluation, numbers=result.numbers(), versions=versions())

    return Suite(CLEAN, len(loader), lambda evaluation: bool(evaluation.numbers), add, loader.at_once)


def _validation(target: EvalTarget) -> tuple[Tensor, Tensor] | None:
    """Return the logits of the outputs, and the labels, of the validation images of the run."""
    if target.run is None or "validation.npz" not in target.run.files:
        return None
    logits, labels = read_predictions(target.run, "validation.npz")
    if target.mapping is None:
        return logits, labels
    return grouped(logits, target.mapping.outputs), torch.from_numpy(target.mapping.labels(labels.numpy()))


def _corrupted(target: EvalTarget, loader: Loader, seed: int) -> Suite:
    nothing = torch.empty(0, *target.classifier.size, target.data.channels, dtype=torch.uint8)
    suite.corrupt(nothing, next(iter(suite.CORRUPTIONS)), 0, ())  # raises now if such images cannot be corrupted

    def rates(advance: Advance) -> measure.Rates:
        return measure.on_corrupted(target.model, loader, target.data.index, seed, advance)

    return _corruption_suite(CORRUPTIONS, suite.LABEL, rates, loader)


def _official(target: EvalTarget, loader: Loader, folder: Path) -> Suite:
    if not isinstance(loader, Batches):
        raise RunError(
            f"{target.classifier.path}: expected a network for images of 32 x 32 for the arrays in {folder}, got one for "
            f"{' x '.join(map(str, target.classifier.size))}; omit --official"
        )
    measure.check_cifar_c(folder, target.data, None if target.mapping is None else target.mapping.label)

    def rates(advance: Advance) -> measure.Rates:
        return measure.on_cifar_c(target.model, loader, folder, target.data.index, advance)

    return _corruption_suite(f"official {CORRUPTIONS}", cifar_c.LABEL, rates, loader)


def _corruption_suite(name: str, label: str, rates: Callable[[Advance], measure.Rates], loader: Loader) -> Suite:
    def add(evaluation: Evaluation, advance: Advance) -> Evaluation:
        corrupted = Corrupted(label, evaluation.images, evaluation.numbers["accuracy"], rates(advance))
        return replace(evaluation, corruptions=(*evaluation.corruptions, corrupted))

    def is_done(evaluation: Evaluation) -> bool:
        return any(corrupted.suite == label for corrupted in evaluation.corruptions)

    return Suite(name, CONDITIONS * len(loader), is_done, add, loader.at_once)


def _attacked(target: EvalTarget, loader: Loader, seed: int) -> Suite:
    def add(evaluation: Evaluation, advance: Advance) -> Evaluation:
        accuracies = measure.on_attacked(target.model, loader, target.data.index, seed, advance)
        clean = evaluation.numbers["accuracy"]
        attacks = (
            Attacked(attack.name, attack.eps, attack.step_size, attack.steps, evaluation.images, clean, accuracy)
            for attack, accuracy in zip(ATTACKS, accuracies, strict=True)
        )
        return replace(evaluation, attacks=tuple(attacks))

    def is_done(evaluation: Evaluation) -> bool:
        return [(one.name, one.eps, one.step_size, one.steps) for one in evaluation.attacks] == list(ATTACKS)

    passes = sum(attack.passes for attack in ATTACKS) * len(loader)
    at_once = measure.attacked_at_once(math.prod(target.classifier.size) * target.data.channels)
    return Suite(f"{len(ATTACKS)} attacks", passes, is_done, add, min(at_once, loader.at_once))


def _objects(target: EvalTarget, loader: Loader, where: str, seed: int) -> Suite:
    data, masks = _with_masks(target.data, where)
    source, fingerprint = masks.provenance["source"]["name"], masks.provenance["fingerprint"]

    def add(evaluation: Evaluation, advance: Advance) -> Evaluation:
        result = measure.on_objects(target.model, target.loader(data, masks.masks), data.index, seed, advance)
        left_out = evaluation.images - result.images
        objects = ObjectAccuracies(source, left_out=left_out, fingerprint=fingerprint, **result._asdict())
        return replace(evaluation, objects=objects)

    def is_done(evaluation: Evaluation) -> bool:
        return evaluation.objects is not None and evaluation.objects.fingerprint == fingerprint

    return Suite("objects and backgrounds", 4 * len(data), is_done, add, loader.at_once)


def _with_masks(data: ImageSet, where: str) -> tuple[ImageSet, ObjectMasks]:
    """Return the images whose masks are not marked invalid in the store, and the masks."""
    if where != "carried":
        store = MaskStore(where)
        valid = store.usable[store.align(data)]
        if not valid.any():
            raise MaskError(
                f"{where}: expected masks for the {len(data):,} evaluated images, got none; build them with smix masks build"
            )
        data = data.rows(np.flatnonzero(valid))
    return data, masks_of(data, where)
