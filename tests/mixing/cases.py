"""Provide methods, batches and masks for the tests of mixing."""

import math

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from smix.mixing import (
    CutMix,
    Cutout,
    Fallback,
    FMix,
    GMix,
    GridMix,
    HMix,
    Method,
    Mixup,
    ObjectPaste,
    Plan,
    RandomChoice,
    ResizeMix,
    SaliencyMix,
    SMix,
    StochasticMixup,
    Target,
    Validity,
    Vanilla,
)

# Methods whose label weight is the contribution of the own image to the mix.
HARD_AREA: list[Method] = [
    Vanilla(),
    CutMix(),
    CutMix(alpha=0.3, per_batch=True),
    CutMix(edge="inside", prob=0.6),
    FMix(),
    FMix(alpha=0.5, decay=1.5, per_batch=True),
    FMix(spectrum="official"),
    ResizeMix(),
    ResizeMix(scale=(0.5, 0.5), per_batch=True, prob=0.5),
    GridMix(),
    GridMix(alpha=0.5, cells=3, per_batch=True),
    SaliencyMix(),
    SaliencyMix(per_batch=True, prob=0.7),
    SMix(alpha=1.0, labels="area"),
]
SOFT_AREA: list[Method] = [
    Mixup(),
    Mixup(alpha=0.2, prob=0.5),
    Mixup(per_batch=True),
    StochasticMixup(),
    StochasticMixup(per_batch=True),
    HMix(),
    HMix(alpha=0.4, ratio=1.0, prob=0.5),
    HMix(ratio=0.0, per_batch=True),
    GMix(),
    GMix(alpha=0.5, per_batch=True),
    FMix(strength=0.7),
    FMix(max_soft=0.3),
    FMix(max_soft=0.5, spectrum="official"),
    ObjectPaste(),
    ObjectPaste(per_batch=True),
    ObjectPaste(scale=(0.3, 2.0), flip=0.5, overlap="avoid"),
    ObjectPaste(overlap="cover", per_batch=True, prob=0.6),
    SMix(labels="area"),
    SMix(alpha=(2.0, 3.0), labels="area"),
    SMix(alpha=(2.0, 3.0), labels="area", per_batch=True, prob=0.5),
    SMix(alpha=0.8, labels="area", feather=1.5),
    Fallback(SMix(labels="area"), FMix(strength=0.6)),
    Fallback(SMix(labels="area"), CutMix(per_batch=True), valid=Validity.published(), prob=0.7),
    Fallback(SMix(labels="area"), Mixup(prob=0.5), per_batch=True),
    Fallback(ObjectPaste(), ResizeMix()),
    RandomChoice((Mixup(), CutMix(), ObjectPaste(flip=1.0), ResizeMix())),
    RandomChoice((Mixup(), Fallback(SMix(labels="area"), FMix())), weights=(1, 3), per_batch=True, prob=0.8),
]
# Methods whose label weight is given by another formula, or is 1.
VISIBLE: list[Method] = [
    StochasticMixup(labels="visible"),
    CutMix(labels="visible"),
    ResizeMix(labels="visible"),
    HMix(labels="visible"),
    GMix(labels="visible"),
    GridMix(labels="visible"),
    SaliencyMix(labels="visible"),
    FMix(labels="visible"),
    SMix(labels="visible"),
    SMix(alpha=1.0, labels="visible", feather=1.0),
    ObjectPaste(labels="visible"),
    ObjectPaste(labels="visible", overlap="avoid", flip=0.5),
]
METHODS_OF_ALL_KINDS: list[Method] = [
    *HARD_AREA,
    *SOFT_AREA,
    SMix(),
    SMix(labels="coverage", feather=1.0),
    Fallback(SMix(), FMix()),
    Fallback(SMix(labels="coverage"), Vanilla()),
    Cutout(length=5),
    Cutout(length=4, prob=0.5, per_batch=True),
    *VISIBLE,
    RandomChoice((Cutout(length=5), SMix(), ResizeMix(labels="visible"))),
]
# One method per code path: every class, option and combination with its own random draws or computation.
COMPILED: list[Method] = [
    Vanilla(),
    Mixup(prob=0.5),
    CutMix(per_batch=True),
    CutMix(edge="inside"),
    FMix(strength=0.7),
    SMix(alpha=(2.0, 3.0), labels="area", feather=1.5),
    SMix(labels="coverage"),
    StochasticMixup(labels="visible"),
    Cutout(length=5),
    ResizeMix(labels="visible"),
    HMix(),
    GMix(),
    GridMix(),
    SaliencyMix(prob=0.5),
    FMix(spectrum="official", max_soft=0.2),
    ObjectPaste(overlap="avoid", flip=0.5, labels="visible"),
    ObjectPaste(per_batch=True),
    RandomChoice((Cutout(length=5), ResizeMix(), SMix())),
    Fallback(SMix(), FMix(), valid=Validity(min_entropy=0.5, min_edges=0.05), prob=0.7),
]
EVERY_METHOD = pytest.mark.parametrize(
    "method",
    [
        *COMPILED,
        *(pytest.param(one, marks=pytest.mark.exhaustive) for one in METHODS_OF_ALL_KINDS if one not in COMPILED),
    ],
    ids=repr,
)
"""Methods of all kinds; by default one per code path runs."""

SIZES = [(32, 32), (24, 40), (8, 8), (53,), (5, 6, 9)]


def skip_without_fake_gamma(method: Method) -> None:
    """Skip a method that draws from a Beta if torch has no fake implementation of gamma draws, which compilation requires."""
    if isinstance(method, SMix) and isinstance(method.alpha, tuple):
        try:
            torch._standard_gamma(torch.ones(1, device="meta"))
        except NotImplementedError:
            pytest.skip(f"torch {torch.__version__} has no fake form of gamma draws")


def new_generator(seed: int) -> torch.Generator:
    """Return a CPU generator with this seed."""
    return torch.Generator().manual_seed(seed)


def boxes(count: int, size: tuple[int, ...], seed: int = 0) -> Tensor:
    """Return bool masks (count, 1, *size): the first mask empty, the second full, the others random boxes."""
    masks = torch.ones(count, 1, *size, dtype=torch.bool)
    for axis, length in enumerate(size):
        ends = torch.randint(0, length + 1, (count, 2), generator=new_generator(seed + axis)).sort(dim=1).values
        place = torch.arange(length)
        along = (place >= ends[:, :1]) & (place < ends[:, 1:])
        masks &= along.view(count, 1, *(length if other == axis else 1 for other in range(len(size))))
    masks[0] = False
    masks[1:2] = True
    return masks


def images(count: int, size: tuple[int, ...], channels: int = 3, seed: int = 0) -> Tensor:
    return torch.randn(count, channels, *size, generator=new_generator(seed))


def same(one: Plan | Target, other: Plan | Target) -> bool:
    """Return whether two plans or targets are equal to the last bit."""
    leaves, structure = pytree.tree_flatten(one)
    others, other_structure = pytree.tree_flatten(other)
    return structure == other_structure and all(map(torch.equal, leaves, others))


def within(count: int, trials: int, probability: float, sigmas: float = 4.0) -> bool:
    """Return whether a number of successes is within `sigmas` standard deviations of the mean of its binomial distribution."""
    spread = math.sqrt(trials * probability * (1 - probability))
    return abs(count - trials * probability) <= sigmas * spread
