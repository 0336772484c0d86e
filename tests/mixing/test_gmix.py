"""GMix against tests/reference/gmix.py, where the map of every centre is listed, and the authors' kernel."""

import math
from collections.abc import Callable

import pytest
import torch

from smix.mixing import GMix
from tests.mixing.listed import assert_drawn_as_listed, drawn, evenly
from tests.reference import gmix as reference

pytestmark = pytest.mark.usefixtures("as_users_run_it")


@pytest.mark.parametrize("kept", [0.04, 0.37, 0.5, 0.9])
@pytest.mark.parametrize("size", [(8, 8), (6, 11), (11, 6), (14,), (4, 5, 6)], ids=str)
def test_every_bump_of_the_paper_and_no_other_is_drawn(
    size: tuple[int, ...], kept: float, fix_lambda: Callable[[float], None]
):
    fix_lambda(kept)
    assert_drawn_as_listed(drawn(GMix(), 4000, size), evenly(reference.maps(size, kept)))


@pytest.mark.parametrize("kept", [0.1, 0.45])
def test_in_a_square_the_bump_is_the_authors_kernel(kept: float, fix_lambda: Callable[[float], None]):
    """exp(-pi d^2 / (lambda H^2)), d in pixels."""
    fix_lambda(kept)
    side = 9
    for weight in drawn(GMix(), 20, (side, side)):
        row, column = divmod(int(weight.argmax()), side)
        expected = [
            [math.exp(-math.pi * ((p - row) ** 2 + (q - column) ** 2) / (kept * side**2)) for q in range(side)]
            for p in range(side)
        ]
        torch.testing.assert_close(weight, torch.tensor(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("size", "kept"), [((301,), 0.15), ((40, 60), 0.04), ((24, 20, 30), 0.01)], ids=str)
@pytest.mark.parametrize("own", [True, False])
def test_an_unclipped_bump_covers_its_share(
    size: tuple[int, ...], kept: float, own: bool, fix_lambda: Callable[[float], None]
):
    fix_lambda(kept if own else 1 - kept)
    maps = drawn(GMix(), 400, size)
    bumps = maps if own else 1 - maps
    means = bumps.flatten(1).mean(1)
    faces = [bumps.movedim(axis, 1)[:, [0, -1]].flatten(1).amax(1) for axis in range(1, bumps.ndim)]
    edge = torch.stack(faces).amax(0)
    inside = edge < 1e-3
    assert inside.sum() > 5
    torch.testing.assert_close(means[inside], torch.full_like(means[inside], kept), rtol=0.01, atol=0)
    assert means[~inside].min() < 0.9 * kept


def test_the_bump_has_the_aspect_ratio_of_the_image(fix_lambda: Callable[[float], None]):
    """A quarter of the height away it is as faint as a quarter of the width away."""
    fix_lambda(0.2)
    maps = drawn(GMix(), 2000, (16, 40))
    centred = next(weight for weight in maps if weight[8, 20] == 1)
    torch.testing.assert_close(centred[12, 20], centred[8, 30])
    assert centred[12, 20] == pytest.approx(math.exp(-math.pi / 16 / 0.2), abs=1e-6)


@pytest.mark.parametrize(("kept", "own_pixels"), [(0.0, 1), (1.0, 59)])
@pytest.mark.parametrize("size", [(6, 10), (60,), (3, 4, 5)], ids=str)
def test_at_lambda_0_and_1_the_bump_is_one_pixel(
    size: tuple[int, ...], kept: float, own_pixels: int, fix_lambda: Callable[[float], None]
):
    fix_lambda(kept)
    maps = drawn(GMix(), 50, size)
    assert torch.equal(maps, maps.round())
    assert maps.flatten(1).sum(1).eq(own_pixels).all()
