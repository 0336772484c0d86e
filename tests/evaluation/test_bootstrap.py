"""Test the bootstrap over test images against scipy, and the coverage of its intervals."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from smix.errors import DataError, OptionError
from smix.evaluation.bootstrap import bootstrap_over_images


def pair(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the correctness of two networks that are right on mostly the same images."""
    generator = np.random.default_rng(seed)
    first = generator.random(count) < 0.7
    second = np.where(generator.random(count) < 0.8, first, generator.random(count) < 0.5)
    return torch.from_numpy(first), torch.from_numpy(second)


def test_the_interval_equals_scipy():
    first, second = pair(400)
    found = bootstrap_over_images(first, second, draws=5000)
    told = stats.bootstrap(
        (first.numpy().astype(float), second.numpy().astype(float)),
        lambda a, b, axis: (a - b).mean(axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=5000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((told.low, told.high), abs=0.006)
    assert found.mean == pytest.approx((first.double() - second.double()).mean().item())
    assert (found.images, found.draws) == (400, 5000)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    losses = [torch.from_numpy(np.random.default_rng(n).random(100)) for n in range(2)]
    assert bootstrap_over_images(*losses, draws=100) == bootstrap_over_images(*losses, draws=100)
    assert bootstrap_over_images(*losses, draws=100) != bootstrap_over_images(*losses, seed=1, draws=100)


def test_the_bootstrap_is_paired():
    values = torch.from_numpy(np.random.default_rng(0).normal(0, 100, 50))
    found = bootstrap_over_images(values + 1, values, draws=100)
    assert (found.mean, found.low, found.high) == pytest.approx((1, 1, 1))


def test_the_interval_has_its_nominal_coverage():
    hits = 0
    for seed in range(200):
        first, second = pair(200, seed)
        found = bootstrap_over_images(first, second, draws=200)
        hits += found.low <= 0.2 * (0.7 - 0.5) <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_a_single_image_has_no_interval():
    found = bootstrap_over_images(torch.tensor([True]), torch.tensor([False]))
    assert (found.mean, found.images) == (1.0, 1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_invalid_input_is_refused_in_one_line():
    empty, one = torch.zeros(0), torch.zeros(1)
    with pytest.raises(DataError, match=r"^bootstrap: expected one number for each of the same images, got [^\n]*$"):
        bootstrap_over_images(empty, empty)
    with pytest.raises(DataError, match=r"^bootstrap: expected finite numbers, got NaN or infinity; [^\n]*$"):
        bootstrap_over_images(one * math.nan, one)
    for draws, level in ((0, 0.95), (10, 1.0)):
        with pytest.raises(OptionError, match=r"^bootstrap: expected 1 draw or more and a level between"):
            bootstrap_over_images(one, one, draws=draws, level=level)
