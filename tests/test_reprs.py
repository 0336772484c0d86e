"""Test that objects with arrays are shown on at most 12 lines that say what they are, their shapes and what to do next."""

import pytest
import torch

import smix
from smix.masks import load_source
from smix.report.reading import read_comparison
from smix.reprs import MAX_FIELDS, describe, short_repr
from tests.report.runs import write_runs


def lines_of(value: object) -> list[str]:
    lines = repr(value).splitlines()
    assert 2 <= len(lines) <= 12
    assert all(len(line) <= 130 for line in lines)
    return lines


def test_an_image_set_names_its_shapes():
    first, *lines = lines_of(smix.load_data("digits-on-photos"))
    assert first == "ImageSet: A split of a classification data set"
    assert lines[:2] == ["  images: uint8 of shape (1297, 32, 32, 3)", "  labels: int64 of shape (1297,)"]
    assert "  classes: 10, '0', '1', '2', ..." in lines
    assert lines[-1].startswith("  next: data.take(n)")


def test_a_plan_and_its_target():
    x = torch.zeros(128, 3, 224, 224)
    plan = smix.CutMix().plan(x, generator=torch.Generator())
    assert "  weight: float32 of shape (128, 1, 224, 224)" in lines_of(plan)
    assert "  y_partner: int64 of shape (128,)" in lines_of(plan.target(torch.arange(128)))


def test_a_store(tmp_path):
    data = smix.load_data("digits-on-photos")
    store = smix.build_masks(data, load_source("carried"), tmp_path / "store", limit=20)
    assert "  masks: 20 of 1,297 built, 20 usable" in lines_of(store)


def test_a_comparison_and_its_parts(tmp_path):
    folder = write_runs(tmp_path, {"vanilla": [1.0] * 5, "mixup": [1.2] * 5})
    comparison = read_comparison(folder)
    assert "  runs: 10, Run, Run, Run, ..." in lines_of(comparison)
    assert "  metrics: 3, Epoch, Epoch, Epoch" in lines_of(comparison.runs[0])
    assert "  confusion: int64 of shape (4, 4)" in lines_of(comparison.scores["mixup"][0])


def test_a_report(tmp_path):
    report = smix.write_report(write_runs(tmp_path, {"vanilla": [1.0, 1.1]}))
    lines = lines_of(report)
    assert f"  page: {tmp_path / 'report' / 'report.html'}" in lines
    assert lines[-1].startswith("  next: open report.page")


def test_many_fields_and_long_values_are_cut():
    class Owner:
        """Something with fields. More about it."""

    first, *lines = describe(Owner(), {f"field{n}": "x" * 500 for n in range(30)}, "owner.use()").splitlines()
    assert first == "Owner: Something with fields"
    assert len(lines) == MAX_FIELDS + 1
    assert lines[-2].startswith("  also: field9, field10")
    assert lines[-1] == "  next: owner.use()"
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("name", ["ImageSet", "Plan", "Target"])
def test_the_repr_is_that_of_the_class_and_not_of_dataclasses(name):
    assert getattr(smix, name).__repr__.__module__ == short_repr.__module__
