"""Test FMix against tests/reference/fmix.py: the number of pixels, their selection, and the spectrum of the noise."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from smix.mixing import FMix
from smix.mixing.core import MixBatch
from smix.mixing.fmix import clouds, isotropic_spectrum
from smix.mixing.select import mark_largest
from tests.mixing.cases import new_generator
from tests.reference import fmix as reference


def noise(size: tuple[int, ...], decay: float, draws: int, seed: int = 0) -> np.ndarray:
    x = torch.zeros(draws, 1, *size)
    batch = MixBatch(x, None, None, torch.arange(draws), new_generator(seed), draws)
    return clouds(isotropic_spectrum(batch, decay), size).numpy()


def masks(method: FMix, count: int, size: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    plan = method.plan(torch.zeros(count, 1, *size), generator=new_generator(seed))
    return plan.weight[plan.mixed, 0]


@pytest.mark.parametrize("size", [(24, 40), (7, 9), (31,), (4, 5, 7)], ids=str)
@pytest.mark.parametrize("kept", [0.0, 1e-4, 0.1, 0.25, 0.5, 0.73, 0.999, 1.0])
def test_the_mask_has_exactly_floor_lambda_n_plus_a_half_pixels(
    kept: float, size: tuple[int, ...], fix_lambda: Callable[[float], None]
):
    fix_lambda(kept)
    wanted = math.floor(float(np.float32(kept)) * math.prod(size) + 0.5)
    assert masks(FMix(), 12, size).flatten(1).sum(1).eq(wanted).all()


@pytest.mark.parametrize("path", ["partition", "sort"])
@pytest.mark.parametrize("values", ["ties", "constant", "distinct", "signed zeros"])
def test_selected_pixels_have_the_largest_values_and_ties_go_to_the_first(
    values: str, path: str, monkeypatch: pytest.MonkeyPatch
):
    """Both implementations, for the CPU and for compiled code, are compared with selection one after the other."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: path == "sort")
    length = 23
    field = {
        "ties": torch.randint(-2, 3, (length + 1, length), generator=new_generator(0)).float(),
        "constant": torch.full((length + 1, length), 0.5),
        "distinct": torch.randn(length + 1, length, generator=new_generator(0)),
        "signed zeros": torch.randint(0, 2, (length + 1, length), generator=new_generator(0)).float() * -0.0,
    }[values]
    counts = torch.arange(length + 1)
    expected = [reference.largest(row, count) for row, count in zip(field.tolist(), counts.tolist(), strict=True)]
    assert mark_largest(field, counts).tolist() == expected


@pytest.mark.parametrize("size", [(24, 40), (31,), (4, 5, 7)], ids=str)
def test_plans_of_both_paths_are_equal(size: tuple[int, ...], monkeypatch: pytest.MonkeyPatch):
    on_cpu = masks(FMix(), 32, size)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert torch.equal(masks(FMix(), 32, size), on_cpu)


@pytest.mark.parametrize("size", [(32, 32), (24, 48), (15, 9), (16,), (6, 8, 5)], ids=str)
@pytest.mark.parametrize("decay", [0.0, 3.0])
def test_noise_has_the_power_of_the_paper_in_every_direction_within_10_percent(size: tuple[int, ...], decay: float):
    """Divided by the squared amplitude of the paper, the mean power is the same at every frequency."""
    axes = tuple(range(1, len(size) + 1))
    power = (np.abs(np.fft.fftn(noise(size, decay, 4000).astype(float), axes=axes)) ** 2).mean(0)
    flat = power / reference.amplitude(size, decay) ** 2
    assert np.abs(flat / np.median(flat) - 1).max() < 0.1


@pytest.mark.parametrize(("size", "step"), [((32, 32), (1, 1)), ((24, 48), (1, 2)), ((48, 24), (2, 1))], ids=str)
def test_power_along_both_axes_is_equal_within_10_percent(size: tuple[int, int], step: tuple[int, int]):
    power = (np.abs(np.fft.fft2(noise(size, 3.0, 4000, seed=1).astype(float))) ** 2).mean(0)
    for wave in range(1, min(size) // 2 + 1):
        down, across = power[wave * step[0], 0], power[0, wave * step[1]]
        assert down == pytest.approx(across, rel=0.1)


@pytest.mark.slow
def test_vertical_and_horizontal_borders_are_as_frequent_as_in_the_paper(fix_lambda: Callable[[float], None]):
    size, count = (32, 32), 1000
    fix_lambda(0.5)
    rng = np.random.default_rng(0)
    literal = np.stack([reference.mask(size, 0.5, 3.0, rng) for _ in range(count)]).astype(int)
    ours = masks(FMix(), count, size).numpy().astype(int)
    down, across, literal_down, literal_across = (
        np.abs(np.diff(maps, axis=axis)).sum((1, 2)).mean() for maps in (ours, literal) for axis in (1, 2)
    )
    assert down == pytest.approx(across, rel=0.06)
    assert [down, across] == pytest.approx([literal_down, literal_across], rel=0.06)


def test_one_dimensional_masks_may_have_several_intervals(fix_lambda: Callable[[float], None]):
    """The published code produces only one circular interval."""
    fix_lambda(0.5)
    maps = masks(FMix(), 500, (64,))
    intervals = (maps.roll(1, dims=1) < maps).sum(1)
    assert intervals.min() == 1
    assert 25 < int((intervals > 1).sum()) < 475


def test_larger_decay_gives_smoother_clouds():
    rough, smooth = (masks(FMix(decay=decay), 200, (24, 40)).diff(dim=2).abs().mean() for decay in (1.0, 4.0))
    assert smooth < 0.6 * rough


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_strength_is_the_weight_inside_the_cloud(strength: float):
    plain = masks(FMix(), 12, (24, 40))
    assert torch.equal(masks(FMix(strength=strength), 12, (24, 40)), strength * plain)
    plan = FMix(strength=strength).plan(torch.zeros(12, 1, 24, 40), generator=new_generator(0))
    torch.testing.assert_close(plan.share[plan.mixed], strength * plain.flatten(1).mean(1))


def test_clouds_are_independent_within_a_batch_and_shared_per_batch():
    assert masks(FMix(), 32, (24, 40)).flatten(1).unique(dim=0).shape[0] >= 30
    assert masks(FMix(per_batch=True), 32, (24, 40)).flatten(1).unique(dim=0).shape[0] == 1
