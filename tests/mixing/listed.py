"""Draw maps of a method, and compare them with the list of all possible maps."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from smix.mixing import Method
from tests.mixing.cases import new_generator, within


def draw_maps(method: Method, count: int, size: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Return the maps (n, *size) of the mixed samples of one batch."""
    plan = method.plan(torch.zeros(count, 1, *size), generator=new_generator(seed))
    return plan.weight[plan.mixed, 0].expand(-1, *size)


def assert_drawn_as_listed(maps: torch.Tensor, listed: Iterable[tuple[NDArray, float]], sigmas: float = 5) -> None:
    """Check that each drawn map is in the list, and that each listed map is drawn as often as its probability requires."""
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


def equally_likely(maps: Iterable[NDArray]) -> list[tuple[NDArray, float]]:
    """Return the maps with equal probabilities."""
    every = list(maps)
    return [(each, 1 / len(every)) for each in every]
