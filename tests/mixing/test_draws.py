"""Test draws per sample, which are independent, and draws per batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from smix.mixing import Cutout, FMix, GMix, GridMix, HMix, Method, ResizeMix, StochasticMixup
from tests.mixing.listed import draw_maps

pytestmark = pytest.mark.usefixtures("without_type_checks")

METHODS = pytest.mark.parametrize(
    "method",
    [
        HMix(),
        GMix(),
        GridMix(),
        StochasticMixup(),
        Cutout(7),
        ResizeMix(),
        FMix(max_soft=0.3),
        FMix(spectrum="official"),
        FMix(max_soft=0.3, spectrum="official"),
    ],
    ids=repr,
)


@METHODS
def test_maps_within_a_batch_are_independent(method: Method):
    maps = draw_maps(method, 1000, (8, 14)).numpy().astype(float)
    assert len(np.unique(maps.reshape(len(maps), -1), axis=0)) > 100
    # The visible amount, and the centre along each axis of the less visible part.
    less = 1 - maps
    area = less.mean((1, 2))
    shown = area > 0
    figures = [area[shown]]
    for axis, length in ((2, 8), (1, 14)):
        along = less.mean(axis)[shown]
        figures.append((along * np.arange(length)).sum(1) / along.sum(1))
    for one in figures:
        for lag in (1, 2):
            assert abs(np.corrcoef(one[lag:], one[:-lag])[0, 1]) < 4.5 / len(one) ** 0.5


@METHODS
@pytest.mark.parametrize("size", [(8, 14), (30,), (4, 5, 6)], ids=str)
def test_per_batch_draws_one_map(method: Method, size: tuple[int, ...]):
    shared = [draw_maps(replace(method, per_batch=True), 20, size, seed) for seed in range(6)]
    for maps in shared:
        assert torch.equal(maps, maps[:1].expand_as(maps))
    assert len({maps[0].numpy().tobytes() for maps in shared}) > 1
