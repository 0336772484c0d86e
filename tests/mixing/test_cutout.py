"""Cutout against tests/reference/cutout.py, where the map of every centre is listed."""

import pytest
import torch

from smix.mixing import Cutout
from tests.mixing.cases import images, seeded
from tests.mixing.listed import assert_drawn_as_listed, drawn, evenly
from tests.reference import cutout as reference

pytestmark = pytest.mark.usefixtures("as_users_run_it")


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 30])
@pytest.mark.parametrize("size", [(8, 8), (6, 11), (11, 6), (14,), (4, 5, 6)], ids=str)
def test_every_square_and_no_other_is_drawn(size: tuple[int, ...], length: int):
    assert_drawn_as_listed(drawn(Cutout(length), 4000, size), evenly(reference.maps(size, length)))


@pytest.mark.parametrize("length", [3, 4])
def test_an_odd_length_keeps_all_of_its_pixels(length: int):
    removed = 1 - drawn(Cutout(length), 500, (9, 13))
    assert removed.flatten(1).sum(1).max() == length**2
    assert removed.amax(2).sum(1).max() == removed.amax(1).sum(1).max() == length


@pytest.mark.parametrize(("size", "length", "share"), [((32, 32), 16, 0.19), ((32, 32), 8, 0.055)], ids=str)
def test_the_mean_removed_area_is_below_that_of_the_square(size: tuple[int, int], length: int, share: float):
    """At 32 px, 16 removes about 19 % of the image, not 25 %."""
    expected = reference.mean_removed(size, length)
    assert expected == pytest.approx(share, abs=0.003)
    removed = 1 - drawn(Cutout(length), 4000, size).flatten(1).mean(1)
    assert removed.mean().item() == pytest.approx(expected, abs=4 * removed.std().item() / 4000**0.5)


def test_a_square_longer_than_the_image_blanks_all_of_it():
    assert drawn(Cutout(40), 50, (9, 13)).eq(0).all()


@pytest.mark.parametrize("prob", [1.0, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("size", [(24, 40), (53,), (5, 6, 9)], ids=str)
def test_the_square_is_exactly_0_the_rest_exactly_the_image_and_the_label_its_own(
    size: tuple[int, ...], dtype: torch.dtype, prob: float
):
    x = images(30, size).to(dtype)
    plan = Cutout(5, prob=prob).plan(x, generator=seeded(1))
    blanked = (plan.weight == 0).expand_as(x)
    assert blanked.any()
    assert plan.weight.unique().tolist() == [0, 1]
    assert torch.equal(plan.blend(x), torch.where(blanked, 0, x))
    assert torch.equal(blanked.flatten(1).any(1), plan.mixed)
    assert plan.share.eq(1).all()
    assert torch.equal(plan.target(torch.arange(30)).y_partner, torch.arange(30))


def test_one_image_alone_is_cut_too():
    plan = Cutout(3).plan(torch.ones(1, 2, 7, 9), generator=seeded(0))
    assert plan.mixed.tolist() == [True]
    assert plan.blend(torch.ones(1, 2, 7, 9)).min() == 0
