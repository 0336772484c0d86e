"""Test `max_soft` of FMix against the `linspace` rule of the published code in tests/reference/fmix_official.py."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from smix.mixing import FMix, fmix
from tests.mixing.cases import new_generator
from tests.mixing.listed import draw_maps
from tests.reference import fmix_official as reference

pytestmark = pytest.mark.usefixtures("without_type_checks")

KEPT = pytest.mark.parametrize("kept", [0.0, 0.004, 0.07, 0.5, 0.61, 0.93, 0.998, 1.0])
SOFT = pytest.mark.parametrize("max_soft", [0.001, 0.02, 0.1, 0.33, 0.5])


@pytest.mark.parametrize("spectrum", ["isotropic", "official"])
@pytest.mark.parametrize("size", [(53,), (11, 14), (4, 5, 7)], ids=str)
@SOFT
@KEPT
def test_weights_fall_by_rank_as_in_the_published_code(
    kept: float,
    max_soft: float,
    size: tuple[int, ...],
    spectrum: str,
    fix_lambda: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
):
    count = 6
    fix_lambda(kept)
    kept = float(np.float32(kept))
    field = torch.randn(count, *size, generator=new_generator(9))
    monkeypatch.setattr(fmix, "clouds", lambda spectrum, size: field)
    plan = FMix(max_soft=max_soft, spectrum=spectrum).plan(  # type: ignore[arg-type]
        torch.zeros(count, 1, *size), generator=new_generator(3)
    )
    assert plan.mixed.sum() > 3
    for i in plan.mixed.nonzero().flatten().tolist():
        found = plan.weight[i, 0].numpy()
        up, down = (reference.weights(field[i].numpy(), kept, coin, max_soft) for coin in (True, False))
        if spectrum == "isotropic":
            wanted = kept * field[i].numel()
            expected = up if math.floor(wanted + 0.5) == math.ceil(wanted) else down
        else:
            expected = up if abs(found.sum() - up.sum()) < abs(found.sum() - down.sum()) else down
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("spectrum", ["isotropic", "official"])
@pytest.mark.parametrize("size", [(53,), (24, 40), (4, 5, 7)], ids=str)
@SOFT
@KEPT
def test_the_mean_is_lambda_within_a_pixel_and_the_ramp_is_at_most_max_soft_wide(
    kept: float, max_soft: float, size: tuple[int, ...], spectrum: str, fix_lambda: Callable[[float], None]
):
    fix_lambda(kept)
    maps = draw_maps(FMix(max_soft=max_soft, spectrum=spectrum), 12, size).flatten(1)  # type: ignore[arg-type]
    pixels = math.prod(size)
    assert (maps.mean(1) - kept).abs().max() <= 1 / pixels + 1e-5
    assert maps.min() >= 0
    assert maps.max() <= 1
    soft = int(pixels * min(max_soft, kept, 1 - kept) + 1e-4)
    assert ((maps > 0) & (maps < 1)).sum(1).eq(max(2 * soft - 2, 0)).all()


def test_soft_and_hard_masks_agree_outside_the_border(fix_lambda: Callable[[float], None]):
    """With the same cloud the weights are 1 at the innermost pixels of the hard mask, 0 at the outermost pixels, and average 1/2 at the
    border.
    """
    fix_lambda(0.4)
    hard, soft = (draw_maps(FMix(max_soft=width), 20, (24, 40)) for width in (0.0, 0.1))
    assert hard[soft == 1].eq(1).all()
    assert hard[soft == 0].eq(0).all()
    assert torch.equal(soft > 0.5, hard == 1)


def test_the_strength_also_multiplies_a_soft_mask():
    assert torch.equal(
        draw_maps(FMix(max_soft=0.2, strength=0.6), 12, (24, 40)), 0.6 * draw_maps(FMix(max_soft=0.2), 12, (24, 40))
    )


def test_neighbouring_pixels_differ_less_with_a_softer_border(fix_lambda: Callable[[float], None]):
    fix_lambda(0.5)
    hard, soft, softer = (
        draw_maps(FMix(max_soft=width), 100, (24, 40)).diff(dim=2).abs().amax((1, 2)) for width in (0.0, 0.05, 0.3)
    )
    assert hard.min() == 1
    assert softer.mean() < 0.6 * soft.mean()
