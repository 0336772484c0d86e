"""Test stochastic mixup: one weight per pixel, uniform and independent."""

import numpy as np
import pytest
import torch
from scipy import stats

from smix.mixing import StochasticMixup
from tests.mixing.cases import images, new_generator
from tests.mixing.listed import draw_maps

pytestmark = pytest.mark.usefixtures("without_type_checks")

SIZES = pytest.mark.parametrize("size", [(24, 40), (7, 5), (53,), (5, 6, 9)], ids=str)


@SIZES
def test_weights_are_uniform(size: tuple[int, ...]):
    maps = draw_maps(StochasticMixup(), 200, size).numpy()
    assert stats.kstest(maps.ravel(), "uniform").pvalue > 1e-3
    # This also holds for every single pixel: no edge, row or column is special.
    means = maps.reshape(len(maps), -1).mean(0)
    assert np.abs(means - 0.5).max() < 5 * (1 / 12 / len(maps)) ** 0.5


@SIZES
def test_pixels_and_samples_are_independent(size: tuple[int, ...]):
    maps = draw_maps(StochasticMixup(), 200, size).numpy() - 0.5
    pairs = [(maps[1:], maps[:-1])]
    for axis in range(1, maps.ndim):
        lines = np.moveaxis(maps, axis, 0)
        pairs.append((lines[1:], lines[:-1]))
    for one, other in pairs:
        assert abs(stats.pearsonr(one.ravel(), other.ravel()).statistic) < 5 / one.size**0.5


@SIZES
def test_each_pixel_is_blended_by_its_own_weight_and_labelled_by_their_mean(size: tuple[int, ...]):
    x = images(12, size)
    plan = StochasticMixup().plan(x, generator=new_generator(2))
    weight, own = plan.weight.numpy(), x.numpy()
    expected = weight * own + (1 - weight) * own[plan.partner.numpy()]
    np.testing.assert_allclose(plan.blend(x).numpy(), expected, rtol=0, atol=1e-5)
    assert plan.share.tolist() == pytest.approx(weight.reshape(12, -1).mean(1).tolist(), abs=1e-6)
    assert plan.mixed.sum() > 5


def test_label_weights_are_near_one_half():
    plan = StochasticMixup().plan(torch.zeros(300, 1, 24, 40), generator=new_generator(0))
    share = plan.share[plan.mixed]
    assert share.std().item() == pytest.approx((1 / 12 / 960) ** 0.5, rel=0.2)
    assert abs(share.mean() - 0.5) < 0.003
