"""Test the selection of the largest values of each row against selection one by one, on both paths: sampled brackets, and a sort."""

import functools
from collections.abc import Callable

import numpy as np
import pytest
import torch

from smix.mixing import select
from smix.mixing.select import mark_largest
from tests.mixing.cases import new_generator
from tests.reference import fmix as reference

pytestmark = pytest.mark.usefixtures("without_type_checks")

LENGTHS = [1, 2, 3, 31, 256, 257, 511, 512, 1000, 2309, 5000]
ROWS = 16


def select_one_by_one(row: list[float]) -> list[int]:
    """Return all positions in order of selection: the largest first, ties by position."""
    return sorted(range(len(row)), key=lambda place: -row[place])


def expected(field: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    marks = torch.zeros(field.shape, dtype=torch.bool)
    for mark, row, count in zip(marks, field.tolist(), counts.tolist(), strict=True):
        mark[select_one_by_one(row)[:count]] = True
    return marks


def smooth(length: int) -> torch.Tensor:
    """Return random walks, similar to clouds of FMix along a line."""
    return torch.randn(ROWS, length, generator=new_generator(length)).cumsum(1)


def far_from_the_sample(length: int) -> torch.Tensor:
    """Return values of which the sampled ones (every n-th) lie far from all others."""
    step = length // select.SAMPLE | 1
    seen = torch.arange(length) % step == 0
    field = torch.randn(ROWS, length, generator=new_generator(length))
    field[: ROWS // 2, seen] -= 100
    field[ROWS // 2 :, seen] += 100
    return field


FIELDS: dict[str, Callable[[int], torch.Tensor]] = {
    "random": lambda length: torch.randn(ROWS, length, generator=new_generator(length)),
    "smooth": smooth,
    "ties": lambda length: torch.randint(-2, 3, (ROWS, length), generator=new_generator(length)).float(),
    "few ties": lambda length: torch.randint(0, length, (ROWS, length), generator=new_generator(length)).float(),
    "constant": lambda length: torch.full((ROWS, length), -0.25),
    "signed zeros": lambda length: torch.randint(0, 2, (ROWS, length), generator=new_generator(length)) * -1.0 * 0.0,
    "zeros and others": lambda length: (
        torch.randint(-1, 2, (ROWS, length), generator=new_generator(length)).float()
        * torch.randn(ROWS, 1, generator=new_generator(1)).sign()
    ),
    "rising": lambda length: torch.arange(float(length)).repeat(ROWS, 1),
    "falling": lambda length: -torch.arange(float(length)).repeat(ROWS, 1),
    "far from the sample": far_from_the_sample,
    "huge and tiny": lambda length: torch.randn(ROWS, length, generator=new_generator(length)) ** 7 * 1e30,
}


def representative_counts(length: int) -> torch.Tensor:
    """Return 0, 1, N - 1, N, and random counts."""
    ends = torch.tensor([0, 1, length - 1, length])
    others = torch.randint(0, length + 1, (ROWS - 4,), generator=new_generator(length))
    return torch.cat([ends, others])[torch.randperm(ROWS, generator=new_generator(0))]


@functools.cache
def expected_marks(kind: str, length: int) -> torch.Tensor:
    return expected(FIELDS[kind](length), representative_counts(length))


@pytest.mark.parametrize("path", ["brackets", "sort"])
@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("length", LENGTHS)
def test_the_largest_values_are_marked(length: int, kind: str, path: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: path == "sort")
    field, counts = FIELDS[kind](length), representative_counts(length)
    before = field.clone()
    assert torch.equal(mark_largest(field, counts), expected_marks(kind, length))
    assert torch.equal(field, before)


@pytest.mark.parametrize("kind", FIELDS)
def test_selection_in_order_of_rank_equals_selection_one_by_one(kind: str):
    row = FIELDS[kind](40)[5].tolist()
    for count in range(41):
        marks = reference.largest(row, count)
        assert {place for place in range(40) if marks[place]} == set(select_one_by_one(row)[:count])


@pytest.mark.parametrize("length", [40, 300])
def test_every_count_is_correct(length: int):
    row = torch.randn(1, length, generator=new_generator(2)).round(decimals=1)
    counts = torch.arange(length + 1)
    field = row.expand(length + 1, length).contiguous()
    assert torch.equal(mark_largest(field, counts), expected(field, counts))


@pytest.mark.parametrize("kind", FIELDS)
def test_a_single_row_is_correct_for_every_count(kind: str):
    row = FIELDS[kind](40)[5]
    for count in range(41):
        marks = select._mark_row(row.numpy(), count)
        assert marks.tolist() == expected(row[None], torch.tensor([count]))[0].tolist()


def test_most_rows_are_selected_from_brackets_and_the_others_by_a_sort(monkeypatch: pytest.MonkeyPatch):
    """Otherwise the tests above would cover only one path."""
    alone: list[int] = []
    one_row = select._mark_row

    def spy(row: np.ndarray, count: int) -> np.ndarray:
        alone.append(count)
        return one_row(row, count)

    monkeypatch.setattr(select, "_mark_row", spy)
    length = 5000
    counts = torch.full((ROWS,), length // 5)
    for kind, few, many in (("random", 0, 4), ("smooth", 0, 4), ("far from the sample", ROWS // 2, ROWS)):
        alone.clear()
        mark_largest(FIELDS[kind](length), counts)
        assert few <= len(alone) <= many
