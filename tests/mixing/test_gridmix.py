"""GridMix against tests/reference/gridmix.py, where every choice of cells is listed."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from smix.mixing import GridMix
from tests.mixing.cases import within
from tests.mixing.listed import assert_drawn_as_listed, drawn
from tests.reference import gridmix as reference

pytestmark = pytest.mark.usefixtures("as_users_run_it")


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.6])
@pytest.mark.parametrize(
    ("size", "cells"), [((4, 6), 2), ((5, 7), 2), ((7, 2), 2), ((12,), 4), ((11,), 4), ((3,), 5), ((5, 1), 2)], ids=str
)
def test_every_choice_of_cells_is_drawn_as_often_as_lambda_says(
    size: tuple[int, ...], cells: int, kept: float, fix_lambda: Callable[[float], None]
):
    fix_lambda(kept)
    assert_drawn_as_listed(drawn(GridMix(cells=cells), 6000, size), reference.maps(size, cells, kept))


@pytest.mark.parametrize(
    ("size", "cells"), [((24, 40), 4), ((7, 10), 3), ((10, 7), 3), ((9, 5), 8), ((23,), 6), ((5, 6, 9), 4)], ids=str
)
def test_cells_are_whole_independent_and_of_one_probability(
    size: tuple[int, ...], cells: int, fix_lambda: Callable[[float], None]
):
    kept, count = 0.3, 2000
    fix_lambda(kept)
    maps = drawn(GridMix(cells=cells), count, size).numpy()
    of_cell = [[reference.cell(p, length, cells) for p in range(length)] for length in size]
    firsts = [sorted({row.index(c) for c in row}) for row in of_cell]
    values = maps[np.ix_(range(len(maps)), *firsts)]
    places = np.ix_(range(len(maps)), *[[sorted(set(row)).index(c) for c in row] for row in of_cell])
    assert np.array_equal(maps, values[places])
    flat = values.reshape(len(maps), -1)
    assert all(within(count, len(flat), kept, 4.5) for count in flat.sum(0))
    correlation = np.corrcoef(flat.T) - np.eye(flat.shape[1])
    assert np.abs(correlation).max() < 5.5 / len(flat) ** 0.5


@pytest.mark.parametrize(("length", "cells"), [(32, 4), (10, 4), (7, 3), (5, 8), (53, 6)])
def test_cells_differ_by_a_pixel_at_most(length: int, cells: int, fix_lambda: Callable[[float], None]):
    """Borders are where any of many maps changes; a cell of less than one pixel is not seen."""
    fix_lambda(0.5)
    maps = drawn(GridMix(cells=cells), 200, (length,))
    borders = [0, *(maps.diff(dim=1) != 0).any(0).nonzero().flatten().add(1).tolist(), length]
    sides = Counter(np.diff(borders).tolist())
    assert sum(sides.values()) == min(cells, length)
    assert max(sides) - min(sides) <= 1


def test_the_area_spreads_as_a_binomial_of_a_uniform_lambda():
    """Var = Var(lambda) + E[lambda (1 - lambda)] / g^2 at alpha 1, where lambda is uniform."""
    area = drawn(GridMix(cells=4), 20_000, (8, 12)).flatten(1).mean(1)
    assert area.mean().item() == pytest.approx(0.5, abs=0.01)
    assert area.var().item() == pytest.approx(1 / 12 + 1 / 6 / 16, rel=0.04)


def test_alpha_concentrates_lambda():
    few, many = (drawn(GridMix(alpha=a, cells=4), 4000, (8, 12)).flatten(1).mean(1) for a in (0.1, 50.0))
    assert few.var() > 0.19
    assert many.var().item() == pytest.approx(0.25 / 16 + 0.25 / 101, rel=0.1)


@pytest.mark.parametrize("kept", [0.0, 1.0])
@pytest.mark.parametrize("size", [(24, 40), (5,), (3, 4, 5)], ids=str)
def test_lambda_0_is_the_partner_alone_and_lambda_1_the_own_image(
    size: tuple[int, ...], kept: float, fix_lambda: Callable[[float], None]
):
    fix_lambda(kept)
    assert drawn(GridMix(), 300, size).eq(kept).all()
