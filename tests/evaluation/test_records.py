"""Test records of evaluations: round trips, and one line for broken files."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smix.errors import RunError
from smix.evaluation.records import (
    FOLDER,
    Attacked,
    Corrupted,
    Evaluation,
    ObjectAccuracies,
    evaluations_of,
    read_evaluation,
    write_evaluation,
)
from tests.sealed import edit

FULL = Evaluation(
    data="npz:some folder/Zoë.npz",
    fingerprint="f" * 64,
    images=100,
    weights="0" * 64,
    numbers={"accuracy": 1 / 3, "ece": 5e-324},
    own=False,
    corruptions=(
        Corrupted("own", 100, 1 / 3, {"fog": (0.3, 0.2, 0.1), "snow": (0.25, 0.2, 0.15)}),
        Corrupted("official", 100, 1 / 3, {"fog": (1.0,)}),
    ),
    attacks=(Attacked("pgd", 8 / 255, 2 / 255, 10, 100, 1 / 3, 0.0),),
    objects=ObjectAccuracies("carried", 90, 10, 0.5, 0.4, 0.3, 0.2, "1" * 64),
    versions={"torch": "2.0"},
    left_out=7,
    provenance={"model": "resnet8", "size": [28, 36], "label_map": {"cat": ["a", "b"], "sea": None}, "seed": 3},
)
LEAST = Evaluation("cifar10", "f", 1, "0", {"accuracy": 0.0})


@pytest.mark.parametrize("evaluation", [FULL, LEAST, replace(FULL, objects=None), replace(FULL, numbers={})])
def test_a_record_survives_a_round_trip(tmp_path, evaluation):
    write_evaluation(tmp_path / "provenance" / "test.json", evaluation)
    found = read_evaluation(tmp_path / "provenance" / "test.json")
    assert found == evaluation
    assert isinstance(found.corruptions, tuple)
    assert all(isinstance(each, tuple) for one in found.corruptions for each in one.accuracy.values())


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5), st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=40, deadline=None)
def test_numbers_are_kept_to_the_last_bit(tmp_path_factory, rates, number):
    path = tmp_path_factory.mktemp("provenance") / "test.json"
    evaluation = replace(LEAST, numbers={"nll": number}, corruptions=(Corrupted("own", 1, 0.5, {"fog": tuple(rates)}),))
    write_evaluation(path, evaluation)
    assert read_evaluation(path) == evaluation


@pytest.mark.parametrize("name", ["left_out", "provenance", "versions", "own", "objects"])
def test_every_key_is_required(tmp_path, name):
    write_evaluation(tmp_path / "test.json", LEAST)
    edit(tmp_path / "test.json", **{name: ...})
    with pytest.raises(RunError, match=f'got an unknown, missing or altered field "{name}"; remove it'):
        read_evaluation(tmp_path / "test.json")


def test_every_corruption_has_the_same_weight():
    one = Corrupted("own", 10, 0.9, {"fog": (0.2, 0.4), "snow": (0.9,)})
    assert one.mean == pytest.approx((0.3 + 0.9) / 2)


def test_evaluations_of_a_run_are_found_by_name(tmp_path):
    assert evaluations_of(tmp_path) == []
    write_evaluation(tmp_path / FOLDER / "test.json", LEAST)
    write_evaluation(tmp_path / FOLDER / "cifar100.json", FULL)
    (tmp_path / FOLDER / ".lock").touch()
    assert evaluations_of(tmp_path) == [FULL, LEAST]


def test_a_file_truncated_anywhere_is_a_one_line_error(tmp_path):
    path = tmp_path / "test.json"
    write_evaluation(path, FULL)
    content = path.read_bytes()
    for length in range(0, len(content.rstrip()), 7):
        path.write_bytes(content[:length])
        with pytest.raises(
            RunError, match=r"test.json: expected an evaluation written by this version of smix, got .*; remove it and"
        ) as caught:
            read_evaluation(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"corruptions": None},
        {"corruptions": [{"suite": "own"}]},
        {"corruptions": [{"suite": "own", "images": 1, "clean": 1.0, "accuracy": [1]}]},
        {"corruptions": [{"suite": "own", "images": 1, "clean": 1.0, "accuracy": {"fog": 0.5}}]},
        {"attacks": 3},
        {"attacks": [{"name": "pgd"}]},
        {"objects": {"masks": "carried"}},
        {"objects": 5},
        {"a field of another version": 1},
        {"numbers": None},
        {"numbers": {"accuracy": "high"}},
        {"numbers": [1]},
        {"images": "many"},
        {"provenance": 1},
        {"numbers": {"accuracy": None}},
        {"numbers": {"accuracy": True}},
        {"corruptions": [{"suite": "own", "images": 1, "clean": 1.0, "accuracy": {"fog": ["high"]}}]},
        {"corruptions": [{"suite": "own", "images": 1, "clean": 1.0, "accuracy": {"fog": []}}]},
        {"corruptions": [{"suite": "own", "images": 1, "clean": 1.0, "accuracy": {}}]},
        {"corruptions": [{"suite": "own", "images": 1, "clean": None, "accuracy": {"fog": [1.0]}}]},
        {"left_out": "7"},
        {"data": None},
    ],
)
def test_a_file_of_another_kind_is_a_one_line_error(tmp_path, change):
    path = tmp_path / "test.json"
    write_evaluation(path, FULL)
    edit(path, **change)
    with pytest.raises(RunError, match="expected an evaluation written by this version of smix"):
        read_evaluation(path)


@pytest.mark.parametrize("content", [b"[]", b"3", b"null", b"\xff\xfe", b"NaN"])
def test_a_value_that_is_not_a_record_is_a_one_line_error(tmp_path, content):
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "test.json").write_bytes(content)
    with pytest.raises(RunError, match="expected an evaluation written by this version of smix"):
        evaluations_of(tmp_path)


def test_a_missing_file_is_a_one_line_error(tmp_path):
    with pytest.raises(
        RunError, match=r"none.json: expected an evaluation written by this version of smix, got No such file"
    ):
        read_evaluation(tmp_path / "none.json")
