"""Test that every mask which is not valid has its reason."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from smix.data.sets import ImageSet
from smix.masks import build_masks, invalid_reasons, load_source
from smix.masks.criteria import StoreValidity
from smix.masks.names import NO_MASK, problem_of, says_no_mask
from smix.masks.reasons import SHAPE_REASONS, TEXTS, Reason, explanation, reasons_of_masks, reasons_of_rows
from smix.mixing import Validity
from tests.conftest import make_set
from tests.masks.stores import SourceWithMissingRows

SIDE = 20


def shape(kind: str) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    y, x = np.mgrid[:SIDE, :SIDE]
    drawn = {
        "object": (np.abs(y - 10) < 5) & (np.abs(x - 10) < 4),
        "nothing": mask,
        "speck": (y == 3) & (np.abs(x - 9) < 2),
        "everything": y >= 0,
        "chessboard": (y + x) % 2 == 0,
        "frame": (np.minimum(y, x) < 2) | (np.maximum(y, x) > SIDE - 3),
        "two": ((np.abs(y - 10) < 5) & (np.abs(x - 4) < 3)) | ((np.abs(y - 10) < 5) & (np.abs(x - 15) < 3)),
    }
    return drawn[kind]


EXPECTED = {
    "object": Reason.VALID,
    "nothing": Reason.EMPTY,
    "speck": Reason.TOO_SMALL,
    "everything": Reason.NEARLY_ALL,
    "chessboard": Reason.TOO_ROUGH,
    "frame": Reason.ON_BORDER,
    "two": Reason.VALID,
}


def test_each_shape_has_its_reason():
    masks = np.stack(list(map(shape, EXPECTED)))
    assert reasons_of_masks(masks).tolist() == list(EXPECTED.values())
    assert reasons_of_masks(masks[:0]).tolist() == []


def test_a_score_below_the_threshold_and_too_many_pieces_are_reasons():
    masks = np.stack([shape("object"), shape("two"), shape("nothing")])
    criteria = StoreValidity(max_pieces=1, min_score=0.8)
    score = np.array([0.7, 0.9, 0.1], np.float32)
    assert reasons_of_masks(masks, score, criteria).tolist() == [Reason.UNSURE, Reason.MANY_PIECES, Reason.EMPTY]
    assert reasons_of_masks(masks, None, criteria).tolist() == [Reason.VALID, Reason.MANY_PIECES, Reason.EMPTY]


@pytest.mark.parametrize(
    "criteria", [Validity(), Validity.published(), Validity.figure14(), Validity(min_edges=0.05, min_entropy=0.1)]
)
def test_masks_without_a_reason_are_the_valid_ones(criteria):
    rng = np.random.default_rng(0)
    masks = np.stack([*map(shape, EXPECTED), *(rng.random((30, SIDE, SIDE)) < rng.random((30, 1, 1)) ** 3)])
    score = np.ones(len(masks), np.float32)
    valid = StoreValidity(criteria)(masks, score) & masks.any((1, 2))
    codes = reasons_of_masks(masks, score, StoreValidity(criteria))
    assert np.array_equal(codes == Reason.VALID, valid)
    assert 0 < valid.sum() < len(masks)


def test_every_criterion_has_a_reason_and_every_reason_a_text():
    assert set(SHAPE_REASONS) == set(Validity.__dataclass_fields__)
    assert set(TEXTS) == set(Reason)
    assert len(set(TEXTS.values())) == len(TEXTS)
    assert all(explanation(reason, StoreValidity()) for reason in Reason if reason)
    assert Reason.TOO_SMALL.text == "too small"


def drawn() -> ImageSet:
    data = make_set(40, size=(SIDE, SIDE))
    kinds = list(EXPECTED)
    masks = np.stack([shape(kinds[row % len(kinds)]) for row in range(40)])
    return replace(data, masks=masks)


def test_a_store_names_the_reason_of_every_mask(tmp_path, small_shards):
    data = drawn()
    store = build_masks(data, load_source("carried"), tmp_path / "store", refine="none", limit=30)
    reasons = invalid_reasons(store)
    kinds = list(EXPECTED)
    for row in range(40):
        expected = EXPECTED[kinds[row % len(kinds)]] if store.built[row] else Reason.NOT_BUILT
        assert reasons.get(row, "valid") == expected.text
    assert Counter(reasons.values())["not built"] == 10
    assert set(invalid_reasons(store, StoreValidity(Validity.figure14())).values()) == {
        "not built",
        "empty",
        "too small",
    }


def test_rows_are_judged_in_parts(tmp_path, monkeypatch):
    store = build_masks(drawn(), load_source("carried"), tmp_path / "store", refine="none")
    whole = reasons_of_rows(store, np.arange(40))
    monkeypatch.setattr("smix.masks.reasons.PIXELS", 3 * SIDE * SIDE)
    assert np.array_equal(reasons_of_rows(store, np.arange(40)), whole)
    assert np.array_equal(reasons_of_rows(store, np.array([7, 3])), whole[[7, 3]])


def test_images_without_a_mask_and_those_that_cannot_be_used_differ(tmp_path):
    class Source(SourceWithMissingRows):
        def __call__(self, data, index):
            found = super().__call__(data, index)
            texts = {3: "no mask", 5: "a.png: expected a readable picture, got none"}
            return replace(found, problems={place: texts[int(data.index[index[place]])] for place in found.problems})

    store = build_masks(make_set(8), Source(3, 5), tmp_path / "store", refine="none")
    reasons = invalid_reasons(store)
    assert (reasons[3], reasons[5]) == ("no mask", "unusable")
    assert store.problems[5] == "000005: a.png: expected a readable picture, got none"


@pytest.mark.parametrize(
    ("image", "reason", "problem"),
    [
        ("a/a10", "a10.json: cat: far outside", "a/a10.json: cat: far outside"),
        ("a/a10", "a/a10.json: cat: far outside", "a/a10.json: cat: far outside"),
        ("a/10", "train/a/10.jpg: the image cannot be read", "train/a/10.jpg: the image cannot be read"),
        ("10", "10.png: unreadable", "10.png: unreadable"),
        ("a/10", "110.png: unreadable", "a/10: 110.png: unreadable"),
        ("a/10", "10_mask.png: unreadable", "a/10: 10_mask.png: unreadable"),
        ("a/10", "not finite", "a/10: not finite"),
        ("10", "b10.png", "10: b10.png"),
    ],
)
def test_a_message_names_its_image_once(image, reason, problem):
    assert problem_of(image, reason) == problem
    assert not says_no_mask(problem)


def test_a_missing_mask_is_recognised_by_the_words_that_sources_use():
    assert says_no_mask(problem_of("a/10", NO_MASK))
    assert Reason.NO_MASK.text == NO_MASK
