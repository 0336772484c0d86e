"""Test GridMix against all choices of cells in tests/reference/gridmix.py."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from smix.mixing import GridMix
from tests.mixing.cases import within
from tests.mixing.listed import assert_drawn_as_listed, draw_maps
from tests.reference import gridmix as reference

pytestmark = pytest.mark.usefixtures("without_type_checks")


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.6])
@pytest.mark.parametrize(
    ("size", "cells"), [((4, 6), 2), ((5, 7), 2), ((7, 2), 2), ((12,), 4), ((11,), 4), ((3,), 5), ((5, 1), 2)], ids=str
)
def test_choices_of_cells_are_drawn_with_the_probabilities_of_lambda(
    size: tuple[int, ...], cells: int, kept: float, fix_lambda: Callable[[float], None]
):
    fix_lambda(kept)
    assert_drawn_as_listed(draw_maps(GridMix(cells=cells), 6000, size), reference.maps(size, cells, kept))


@pytest.mark.parametrize(
    ("size", "cells"), [((24, 40), 4), ((7, 10), 3), ((10, 7), 3), ((9, 5), 8), ((23,), 6), ((5, 6, 9), 4)], ids=str
)
def test_cells_are_uniform_independent_and_equally_probable(
    size: tuple[int, ...], cells: int, fix_lambda: Callable[[float], None]
):
    kept, count = 0.3, 2000
    fix_lambda(kept)
    maps = draw_maps(GridMix(cells=cells), count, size).numpy()
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
def test_cell_sizes_differ_by_at_most_one_pixel(length: int, cells: int, fix_lambda: Callable[[float], None]):
    """Borders are where any of many maps changes; cells smaller than one pixel are invisible."""
    fix_lambda(0.5)
    maps = draw_maps(GridMix(cells=cells), 200, (length,))
    borders = [0, *(maps.diff(dim=1) != 0).any(0).nonzero().flatten().add(1).tolist(), length]
    sides = Counter(np.diff(borders).tolist())
    assert sum(sides.values()) == min(cells, length)
    assert max(sides) - min(sides) <= 1


def test_the_variance_of_the_area_is_that_of_a_binomial_with_uniform_lambda():
    """Var = Var(lambda) + E[lambda (1 - lambda)] / g^2. At alpha 1 lambda is uniform."""
    area = draw_maps(GridMix(cells=4), 20_000, (8, 12)).flatten(1).mean(1)
    assert area.mean().item() == pytest.approx(0.5, abs=0.01)
    assert area.var().item() == pytest.approx(1 / 12 + 1 / 6 / 16, rel=0.04)


def test_alpha_concentrates_lambda():
    few, many = (draw_maps(GridMix(alpha=a, cells=4), 4000, (8, 12)).flatten(1).mean(1) for a in (0.1, 50.0))
    assert few.var() > 0.19
    assert many.var().item() == pytest.approx(0.25 / 16 + 0.25 / 101, rel=0.1)


@pytest.mark.parametrize("kept", [0.0, 1.0])
@pytest.mark.parametrize("size", [(24, 40), (5,), (3, 4, 5)], ids=str)
def test_lambda_0_gives_the_partner_and_lambda_1_the_own_image(
    size: tuple[int, ...], kept: float, fix_lambda: Callable[[float], None]
):
    fix_lambda(kept)
    assert draw_maps(GridMix(), 300, size).eq(kept).all()
