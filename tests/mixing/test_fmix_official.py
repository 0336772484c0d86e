"""Test `spectrum="official"` of FMix against tests/reference/fmix_official.py, and the effect of its error on the noise."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from smix.mixing import FMix
from smix.mixing.core import MixBatch
from smix.mixing.fmix import clouds, official_spectrum
from tests.mixing.cases import new_generator, within
from tests.mixing.listed import draw_maps
from tests.reference import fmix_official as reference

pytestmark = pytest.mark.usefixtures("without_type_checks")

SIZES = pytest.mark.parametrize(
    "size",
    [(16,), (53,), (2,), (8, 8), (24, 40), (7, 9), (6, 11), (11, 4), (5, 2), (2, 3), (4, 6, 8), (5, 7, 3), (9, 4, 2)],
    ids=str,
)


def noise(size: tuple[int, ...], draws: int, decay: float = 3.0, seed: int = 0) -> np.ndarray:
    x = torch.zeros(draws, 1, *size)
    batch = MixBatch(x, None, None, torch.arange(draws), new_generator(seed), draws)
    return clouds(official_spectrum(batch, decay), size).numpy()


@pytest.mark.parametrize("decay", [0.0, 1.5, 3.0])
@SIZES
def test_the_field_equals_that_of_the_published_code_for_the_same_noise(size: tuple[int, ...], decay: float):
    """Only the first two rows of the noise matter. Fields are equal up to a factor, which does not change ranks."""
    draws, grid = 5, reference.grid(size).shape
    rows = torch.randn(draws, 2, *grid[1:], 2, generator=new_generator(4)).numpy()
    full = np.random.default_rng(0).standard_normal((draws, *grid, 2))
    full[:, :2] = rows
    expected = np.stack([reference.field(each, size, decay) for each in full])
    found = noise(size, draws, decay, seed=4) * max(size) ** decay
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@SIZES
def test_the_last_axis_has_only_the_frequencies_0_and_1(size: tuple[int, ...]):
    power = np.abs(np.fft.fft(noise(size, 50).astype(float), axis=-1)) ** 2
    along = power.reshape(-1, size[-1]).mean(0)
    left = {0, 1 % size[-1], size[-1] - 1}
    others = [k for k in range(size[-1]) if k not in left]
    assert (along[others] < 1e-9 * along.max()).all()
    assert (along[sorted(left)] > 1e-3 * along.max()).all()


def test_the_power_is_distributed_as_in_the_published_code():
    """Measured there at 32 x 32 pixels: 19.6 and 80.4 % at the frequencies 0 and +-1 of the last axis; along the first axis the low-pass
    of the
    paper, 63 % and 18 % at the first two.
    """
    power = (np.abs(np.fft.fft2(noise((32, 32), 3000).astype(float))) ** 2).mean(0)
    power /= power.sum()
    assert [power[:, 0].sum(), power[:, [1, 31]].sum()] == pytest.approx([0.196, 0.804], abs=0.01)
    assert power.sum(1)[[0, 1, 31]] == pytest.approx([0.63, 0.18, 0.18], abs=0.01)


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.5, 0.97])
@pytest.mark.parametrize("length", [24, 53])
def test_one_dimensional_masks_are_one_cyclic_interval(length: int, kept: float, fix_lambda: Callable[[float], None]):
    fix_lambda(kept)
    maps = draw_maps(FMix(spectrum="official"), 500, (length,))
    assert len(maps) > 490
    counts = maps.sum(1)
    partly = (counts > 0) & (counts < length)
    begins = (maps.roll(1, dims=1) < maps).sum(1)
    assert torch.equal(begins, partly.long())
    assert partly.any()
    # The interval may start anywhere.
    starts = ((maps.roll(1, dims=1) < maps).float().argmax(1)[partly]).bincount(minlength=length)
    assert all(within(int(start), int(partly.sum()), 1 / length, 4.5) for start in starts)


@pytest.mark.parametrize("size", [(53,), (24, 40), (4, 5, 7)], ids=str)
@pytest.mark.parametrize("kept", [0.0, 0.1234, 0.25, 0.5, 0.777, 0.9999, 1.0])
def test_the_count_is_lambda_n_rounded_up_or_down_at_random(
    kept: float, size: tuple[int, ...], fix_lambda: Callable[[float], None]
):
    fix_lambda(kept)
    wanted = float(np.float32(kept)) * math.prod(size)
    counts = draw_maps(FMix(spectrum="official"), 1000, size).flatten(1).sum(1)
    up, down = math.ceil(wanted), math.floor(wanted)
    assert set(counts.tolist()) == {up, down}
    if up > down:
        assert within(int((counts == up).sum()), len(counts), 0.5)


@pytest.mark.parametrize("size", [(32, 32), (24, 40), (15, 33), (6, 8, 10)], ids=str)
@pytest.mark.parametrize("kept", [0.5, 0.2])
def test_borders_along_each_axis_are_as_frequent_as_in_the_published_code(
    size: tuple[int, ...], kept: float, fix_lambda: Callable[[float], None]
):
    count = 800
    fix_lambda(kept)
    rng = np.random.default_rng(0)
    literal = np.stack([reference.mask(size, kept, 3.0, rng) for _ in range(count)])
    ours = draw_maps(FMix(spectrum="official"), count, size).numpy()
    for axis in range(1, len(size) + 1):
        found, expected = (np.abs(np.diff(maps, axis=axis)).reshape(len(maps), -1).sum(1) for maps in (ours, literal))
        spread = math.sqrt(found.var() / len(found) + expected.var() / count)
        assert abs(found.mean() - expected.mean()) < 4 * spread
        assert spread < 0.04 * expected.mean()


def test_border_lengths_at_32_pixels_are_the_measured_ones(fix_lambda: Callable[[float], None]):
    """42.5 along the columns and 60.2 along the rows, because the clouds are elongated vertically."""
    fix_lambda(0.5)
    maps = draw_maps(FMix(spectrum="official"), 4000, (32, 32))
    down, across = (maps.diff(dim=axis).abs().flatten(1).sum(1).mean().item() for axis in (1, 2))
    assert [down, across] == pytest.approx([42.5, 60.2], rel=0.03)


def test_masks_are_independent_within_a_batch_and_shared_per_batch():
    assert len(draw_maps(FMix(spectrum="official"), 64, (24, 40)).flatten(1).unique(dim=0)) > 55
    assert len(draw_maps(FMix(spectrum="official", per_batch=True), 64, (24, 40)).flatten(1).unique(dim=0)) == 1
