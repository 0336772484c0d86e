"""Test the boxes of CutMix against the list of all legal boxes in tests/reference/cutmix.py."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch

from smix.mixing import CutMix
from tests.mixing.cases import new_generator, within
from tests.reference import cutmix as reference

LEGAL = {"clip": reference.clipped_boxes, "inside": reference.boxes_inside}


def draw_maps(method: CutMix, count: int, size: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Return the maps (n, *size) of the mixed samples of one batch."""
    plan = method.plan(torch.zeros(count, 1, *size), generator=new_generator(seed))
    return plan.weight[plan.mixed, 0]


def count_boxes(maps: torch.Tensor) -> Counter[bytes]:
    return Counter(row.tobytes() for row in maps.to(torch.uint8).numpy())


@pytest.mark.parametrize("edge", ["clip", "inside"])
@pytest.mark.parametrize("kept", [0.05, 0.37, 0.9])
@pytest.mark.parametrize("size", [(8, 8), (6, 11), (11, 6), (14,), (4, 5, 6)], ids=str)
def test_legal_boxes_are_drawn_as_often_as_in_the_paper_and_no_others(
    size: tuple[int, ...], kept: float, edge: str, fix_lambda: Callable[[float], None]
):
    fix_lambda(kept)
    total = 4000
    found = count_boxes(draw_maps(CutMix(edge=edge), total, size))  # type: ignore[arg-type]
    legal = Counter(keep.tobytes() for keep in LEGAL[edge](size, kept))
    assert set(found) == set(legal)
    places, boxes = legal.total(), found.total()
    assert boxes >= total - 10
    for box, ways in legal.items():
        assert within(found[box], boxes, ways / places, sigmas=5)


@pytest.mark.parametrize("edge", ["clip", "inside"])
@pytest.mark.parametrize(("kept", "side"), [(0.0, (6, 10)), (1.0, (0, 0))])
def test_lambda_0_cuts_the_largest_box_and_lambda_1_no_box(
    kept: float, side: tuple[int, int], edge: str, fix_lambda: Callable[[float], None]
):
    fix_lambda(kept)
    cut = 1 - draw_maps(CutMix(edge=edge), 500, (6, 10))  # type: ignore[arg-type]
    assert (int(cut.amax(2).sum(1).max()), int(cut.amax(1).sum(1).max())) == side


@pytest.mark.slow
@pytest.mark.parametrize(("size", "published"), [((32, 32), 0.299), ((64, 64), 0.310), ((24, 40), 0.298)], ids=str)
def test_the_clipped_form_covers_about_three_tenths_at_alpha_1(size: tuple[int, int], published: float):
    expected = reference.mean_cut(size)
    assert expected == pytest.approx(published, abs=0.002)
    cut = 1 - draw_maps(CutMix(), 6000, size).flatten(1).mean(1)
    assert cut.mean().item() == pytest.approx(expected, abs=4 * cut.std().item() / len(cut) ** 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(500,), (48, 80), (24, 32, 40)], ids=str)
def test_the_inside_form_covers_one_half_in_any_number_of_dimensions(size: tuple[int, ...]):
    """Rounding down loses less than d / side. With a square root in all dimensions 1-D would lose two thirds, and 3-D 40 %."""
    cut = 1 - draw_maps(CutMix(edge="inside"), 1500, size).flatten(1).mean(1)
    assert 0.45 < cut.mean() < 0.52


def test_the_position_does_not_depend_on_the_size():
    """Boxes inside the image: for boxes of the same height every top row is equally likely."""
    height = 9
    cut = 1 - draw_maps(CutMix(edge="inside"), 20_000, (height, 6))
    cut = cut[cut.flatten(1).any(1)]
    rows = cut.amax(2)
    sides, tops = rows.sum(1).long(), rows.argmax(1)
    for side in range(2, height):
        of_this = tops[sides == side]
        places = height - side + 1
        counts = torch.bincount(of_this, minlength=places)
        assert len(counts) == places
        assert all(within(count, len(of_this), 1 / places, sigmas=4.5) for count in counts.tolist())


def test_boxes_are_independent_within_a_batch_and_shared_per_batch():
    assert len(count_boxes(draw_maps(CutMix(), 64, (24, 40)))) > 50
    for seed in range(5):
        assert len(count_boxes(draw_maps(CutMix(per_batch=True), 64, (24, 40), seed))) == 1


def test_rows_and_columns_are_independent(fix_lambda: Callable[[float], None]):
    fix_lambda(0.75)
    cut = 1 - draw_maps(CutMix(edge="inside"), 4000, (24, 24))
    tops, lefts = cut.amax(2).argmax(1), cut.amax(1).argmax(1)
    assert abs(np.corrcoef(tops.numpy(), lefts.numpy())[0, 1]) < 4 / 4000**0.5


def test_alpha_concentrates_the_area():
    wide, narrow = (draw_maps(CutMix(alpha=a, edge="inside"), 2000, (24, 40)).flatten(1).mean(1) for a in (0.2, 50.0))
    assert narrow.std() < 0.08
    assert wide.std() > 0.3
