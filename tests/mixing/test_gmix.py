"""Test GMix against the map of every centre in tests/reference/gmix.py, and against the kernel of the authors."""

import math
from collections.abc import Callable

import pytest
import torch

from smix.mixing import GMix
from tests.mixing.listed import assert_drawn_as_listed, draw_maps, equally_likely
from tests.reference import gmix as reference

pytestmark = pytest.mark.usefixtures("without_type_checks")


@pytest.mark.parametrize("kept", [0.04, 0.37, 0.5, 0.9])
@pytest.mark.parametrize("size", [(8, 8), (6, 11), (11, 6), (14,), (4, 5, 6)], ids=str)
def test_all_bumps_of_the_paper_are_drawn_and_no_others(
    size: tuple[int, ...], kept: float, fix_lambda: Callable[[float], None]
):
    fix_lambda(kept)
    assert_drawn_as_listed(draw_maps(GMix(), 4000, size), equally_likely(reference.maps(size, kept)))


@pytest.mark.parametrize("kept", [0.1, 0.45])
def test_in_square_images_the_bump_equals_the_kernel_of_the_authors(kept: float, fix_lambda: Callable[[float], None]):
    """The kernel is exp(-pi d^2 / (lambda H^2)) with d in pixels."""
    fix_lambda(kept)
    side = 9
    for weight in draw_maps(GMix(), 20, (side, side)):
        row, column = divmod(int(weight.argmax()), side)
        expected = [
            [math.exp(-math.pi * ((p - row) ** 2 + (q - column) ** 2) / (kept * side**2)) for q in range(side)]
            for p in range(side)
        ]
        torch.testing.assert_close(weight, torch.tensor(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("size", "kept"), [((301,), 0.15), ((40, 60), 0.04), ((24, 20, 30), 0.01)], ids=str)
@pytest.mark.parametrize("own", [True, False])
def test_the_area_of_an_unclipped_bump_is_lambda(
    size: tuple[int, ...], kept: float, own: bool, fix_lambda: Callable[[float], None]
):
    fix_lambda(kept if own else 1 - kept)
    maps = draw_maps(GMix(), 400, size)
    bumps = maps if own else 1 - maps
    means = bumps.flatten(1).mean(1)
    faces = [bumps.movedim(axis, 1)[:, [0, -1]].flatten(1).amax(1) for axis in range(1, bumps.ndim)]
    edge = torch.stack(faces).amax(0)
    inside = edge < 1e-3
    assert inside.sum() > 5
    torch.testing.assert_close(means[inside], torch.full_like(means[inside], kept), rtol=0.01, atol=0)
    assert means[~inside].min() < 0.9 * kept


def test_the_bump_has_the_aspect_ratio_of_the_image(fix_lambda: Callable[[float], None]):
    """The weight at a quarter of the height from the centre equals that at a quarter of the width."""
    fix_lambda(0.2)
    maps = draw_maps(GMix(), 2000, (16, 40))
    centred = next(weight for weight in maps if weight[8, 20] == 1)
    torch.testing.assert_close(centred[12, 20], centred[8, 30])
    assert centred[12, 20] == pytest.approx(math.exp(-math.pi / 16 / 0.2), abs=1e-6)


@pytest.mark.parametrize(("kept", "own_pixels"), [(0.0, 1), (1.0, 59)])
@pytest.mark.parametrize("size", [(6, 10), (60,), (3, 4, 5)], ids=str)
def test_at_lambda_0_and_1_the_bump_is_one_pixel(
    size: tuple[int, ...], kept: float, own_pixels: int, fix_lambda: Callable[[float], None]
):
    fix_lambda(kept)
    maps = draw_maps(GMix(), 50, size)
    assert torch.equal(maps, maps.round())
    assert maps.flatten(1).sum(1).eq(own_pixels).all()
