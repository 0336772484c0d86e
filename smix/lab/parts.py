"""The parts of an evaluation: what was asked for and is not there yet, checked before any of it is computed."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from smix.config import EvaluateConfig
from smix.data.batches import Batches, Loader
from smix.data.sets import ImageSet
from smix.errors import MaskError, RunError
from smix.evaluation import cifar_c
from smix.evaluation.corruptions import suite
from smix.evaluation.predict import predict
from smix.evaluation.scores import scores
from smix.lab.evaluations import Attacked, Corrupted, Evaluation, Objects
from smix.lab.label_map import grouped
from smix.lab.robustness import (
    ATTACKS,
    Done,
    Rates,
    attacked_at_once,
    check_official,
    on_attacked,
    on_corrupted,
    on_objects,
    on_official,
)
from smix.lab.subject import EvalTarget
from smix.masks.lookup import ObjectMasks, masks_of
from smix.masks.store import MaskStore
from smix.training.material import versions
from smix.training.predictions import read_predictions

CONDITIONS = len(suite.CORRUPTIONS) * len(suite.SEVERITIES)
UNTOUCHED = "untouched images"
CORRUPTIONS = f"{len(suite.CORRUPTIONS)} corruptions x {len(suite.SEVERITIES)} severities"


@dataclass(frozen=True)
class Part:
    """A part of an evaluation that can be computed."""

    what: str
    passes: int
    """Images that the network is shown, each as often as it is."""
    is_in: Callable[[Evaluation], bool]
    """Return whether an evaluation of the same network, images and options has this part."""
    add: Callable[[Evaluation, Done], Evaluation]
    at_once: int
    """Images that the network is shown at once."""


def parts_of(subject: EvalTarget, loader: Loader, config: EvaluateConfig) -> list[Part]:
    """Return the parts that `config` asks for, in order.

    Args:
        loader: Of the subject's images.

    Raises:
        SmixError: the images cannot be corrupted, or the masks or the official arrays are of others.
    """
    parts = [_untouched(subject, loader)]
    if config.corruptions:
        parts.append(_corrupted(subject, loader, config.seed))
    if config.official is not None:
        parts.append(_official(subject, loader, config.official))
    if config.attacks:
        parts.append(_attacked(subject, loader, config.seed))
    if config.masks is not None:
        parts.append(_objects(subject, loader, config.masks, config.seed))
    return parts


def _untouched(subject: EvalTarget, loader: Loader) -> Part:
    def batches(done: Done) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in loader.in_order():
            yield images, labels
            done(len(images))

    def add(evaluation: Evaluation, done: Done) -> Evaluation:
        found = scores(*predict(subject.model, batches(done)), _validation(subject))
        return replace(evaluation, numbers=found.numbers(), versions=versions())

    return Part(UNTOUCHED, len(loader), lambda evaluation: bool(evaluation.numbers), add, loader.at_once)


def _corrupted(subject: EvalTarget, loader: Loader, seed: int) -> Part:
    nothing = torch.empty(0, *subject.classifier.size, subject.data.channels, dtype=torch.uint8)
    suite.corrupt(nothing, next(iter(suite.CORRUPTIONS)), 0, ())  # says now what is wrong with such images

    def add(evaluation: Evaluation, done: Done) -> Evaluation:
        rates = on_corrupted(subject.model, loader, subject.data.index, seed, done)
        return _with_suite(evaluation, suite.LABEL, rates)

    return Part(
        CORRUPTIONS, CONDITIONS * len(loader), lambda evaluation: _has(evaluation, suite.LABEL), add, loader.at_once
    )


def _official(subject: EvalTarget, loader: Loader, folder: Path) -> Part:
    if not isinstance(loader, Batches):
        raise RunError(
            f"{subject.classifier.path}: expected a network of images of 32 x 32 for the arrays in {folder}, got one of "
            f"{' x '.join(map(str, subject.classifier.size))}; leave --official out"
        )
    check_official(folder, subject.data, subject.mapped)

    def add(evaluation: Evaluation, done: Done) -> Evaluation:
        rates = on_official(subject.model, loader, folder, subject.data.index, done)
        return _with_suite(evaluation, cifar_c.LABEL, rates)

    what = f"official {CORRUPTIONS}"
    return Part(what, CONDITIONS * len(loader), lambda evaluation: _has(evaluation, cifar_c.LABEL), add, loader.at_once)


def _has(evaluation: Evaluation, label: str) -> bool:
    return any(one.suite == label for one in evaluation.corruptions)


def _with_suite(evaluation: Evaluation, label: str, rates: Rates) -> Evaluation:
    corrupted = Corrupted(label, evaluation.images, evaluation.numbers["accuracy"], rates)
    return replace(evaluation, corruptions=(*evaluation.corruptions, corrupted))


def _attacked(subject: EvalTarget, loader: Loader, seed: int) -> Part:
    def add(evaluation: Evaluation, done: Done) -> Evaluation:
        found = on_attacked(subject.model, loader, subject.data.index, seed, done)
        clean = evaluation.numbers["accuracy"]
        attacks = (
            Attacked(attack.name, attack.eps, attack.step, attack.steps, evaluation.images, clean, accuracy)
            for attack, accuracy in zip(ATTACKS, found, strict=True)
        )
        return replace(evaluation, attacks=tuple(attacks))

    def is_in(evaluation: Evaluation) -> bool:
        return [(one.name, one.eps, one.step, one.steps) for one in evaluation.attacks] == list(ATTACKS)

    passes = sum(attack.passes for attack in ATTACKS) * len(loader)
    most = attacked_at_once(math.prod(subject.classifier.size) * subject.data.channels)
    return Part(f"{len(ATTACKS)} attacks", passes, is_in, add, min(most, loader.at_once))


def _with_masks(data: ImageSet, where: str) -> tuple[ImageSet, ObjectMasks]:
    """Return the images whose masks the store does not call invalid, and the masks."""
    if where != "carried":
        store = MaskStore(where)
        store.check_made_of(data)
        valid = store.valid[data.index]
        if not valid.any():
            raise MaskError(
                f"{where}: expected masks of the {len(data):,} images that are evaluated, got none; build more with smix masks build"
            )
        data = data.rows(np.flatnonzero(valid))
    return data, masks_of(data, where)


def _objects(subject: EvalTarget, loader: Loader, where: str, seed: int) -> Part:
    data, masks = _with_masks(subject.data, where)
    source, fingerprint = masks.provenance["source"]["name"], masks.provenance["fingerprint"]

    def add(evaluation: Evaluation, done: Done) -> Evaluation:
        found = on_objects(subject.model, subject.loader(data, masks.masks), data.index, seed, done)
        return replace(
            evaluation,
            objects=Objects(
                masks=source,
                images=found.images,
                left_out=evaluation.images - found.images,
                clean=found.clean,
                swapped=found.swapped,
                object_hidden=found.object_hidden,
                background_hidden=found.background_hidden,
                fingerprint=fingerprint,
            ),
        )

    def is_in(evaluation: Evaluation) -> bool:
        return evaluation.objects is not None and evaluation.objects.fingerprint == fingerprint

    return Part("objects and backgrounds", 4 * len(data), is_in, add, loader.at_once)


def _validation(subject: EvalTarget) -> tuple[Tensor, Tensor] | None:
    """Logits and labels of the run's validation images, with the outputs that the network has here."""
    if subject.run is None or "validation.npz" not in subject.run.files:
        return None
    logits, labels = read_predictions(subject.run, "validation.npz")
    if subject.mapped is None:
        return logits, labels
    return grouped(logits, subject.mapped.outputs), torch.from_numpy(subject.mapped.labels(labels.numpy()))
