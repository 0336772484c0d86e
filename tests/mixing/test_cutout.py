"""Test Cutout against the map of every centre in tests/reference/cutout.py."""

import pytest
import torch

from smix.mixing import Cutout
from tests.mixing.cases import images, new_generator
from tests.mixing.listed import assert_drawn_as_listed, draw_maps, equally_likely
from tests.reference import cutout as reference

pytestmark = pytest.mark.usefixtures("without_type_checks")


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 30])
@pytest.mark.parametrize("size", [(8, 8), (6, 11), (11, 6), (14,), (4, 5, 6)], ids=str)
def test_all_legal_squares_are_drawn_and_no_others(size: tuple[int, ...], length: int):
    assert_drawn_as_listed(draw_maps(Cutout(length), 4000, size), equally_likely(reference.maps(size, length)))


@pytest.mark.parametrize("length", [3, 4])
def test_a_square_of_odd_length_has_all_its_pixels(length: int):
    removed = 1 - draw_maps(Cutout(length), 500, (9, 13))
    assert removed.flatten(1).sum(1).max() == length**2
    assert removed.amax(2).sum(1).max() == removed.amax(1).sum(1).max() == length


@pytest.mark.parametrize(("size", "length", "share"), [((32, 32), 16, 0.19), ((32, 32), 8, 0.055)], ids=str)
def test_the_mean_removed_area_is_below_that_of_the_square(size: tuple[int, int], length: int, share: float):
    """At 32 px a square of 16 px removes about 19 % of the image on average, not 25 %."""
    expected = reference.mean_removed(size, length)
    assert expected == pytest.approx(share, abs=0.003)
    removed = 1 - draw_maps(Cutout(length), 4000, size).flatten(1).mean(1)
    assert removed.mean().item() == pytest.approx(expected, abs=4 * removed.std().item() / 4000**0.5)


def test_a_square_longer_than_the_image_blanks_the_image():
    assert draw_maps(Cutout(40), 50, (9, 13)).eq(0).all()


@pytest.mark.parametrize("prob", [1.0, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("size", [(24, 40), (53,), (5, 6, 9)], ids=str)
def test_the_square_is_exactly_0_and_other_pixels_and_the_label_are_unchanged(
    size: tuple[int, ...], dtype: torch.dtype, prob: float
):
    x = images(30, size).to(dtype)
    plan = Cutout(5, prob=prob).plan(x, generator=new_generator(1))
    blanked = (plan.weight == 0).expand_as(x)
    assert blanked.any()
    assert plan.weight.unique().tolist() == [0, 1]
    assert torch.equal(plan.blend(x), torch.where(blanked, 0, x))
    assert torch.equal(blanked.flatten(1).any(1), plan.mixed)
    assert plan.share.eq(1).all()
    assert torch.equal(plan.target(torch.arange(30)).y_partner, torch.arange(30))


def test_a_batch_of_one_image_is_cut():
    plan = Cutout(3).plan(torch.ones(1, 2, 7, 9), generator=new_generator(0))
    assert plan.mixed.tolist() == [True]
    assert plan.blend(torch.ones(1, 2, 7, 9)).min() == 0
