"""Draws of a method, and the comparison with a list of all that it may draw."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from smix.mixing import Method
from tests.mixing.cases import seeded, within


def drawn(method: Method, count: int, size: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """The maps (n, *size) of the mixed samples of one batch."""
    plan = method.plan(torch.zeros(count, 1, *size), generator=seeded(seed))
    return plan.weight[plan.mixed, 0].expand(-1, *size)


def assert_drawn_as_listed(maps: torch.Tensor, listed: Iterable[tuple[NDArray, float]], sigmas: float = 5) -> None:
    """Every map that was drawn is one of these, and each of these came up as often as its probability says."""
    law: dict[bytes, float] = defaultdict(float)
    for legal, probability in listed:
        law[legal.astype(float).tobytes()] += probability
    legals = torch.from_numpy(np.stack([np.frombuffer(legal) for legal in law]))
    distance, nearest = torch.cdist(maps.flatten(1).double(), legals, p=torch.inf).min(1)
    assert distance.max() < 1e-5
    counts = torch.bincount(nearest, minlength=len(law)).tolist()
    assert all(counts)
    for found, probability in zip(counts, law.values(), strict=True):
        assert within(found, len(maps), probability, sigmas)


def evenly(maps: Iterable[NDArray]) -> list[tuple[NDArray, float]]:
    """These maps, each as likely as the others."""
    every = list(maps)
    return [(each, 1 / len(every)) for each in every]
