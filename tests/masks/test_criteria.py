"""Test that pieces are counted as by OpenCV, and that a mask is valid if it meets all criteria."""

import cv2
import numpy as np
import pytest
import torch

from smix.errors import OptionError
from smix.masks.criteria import StoreValidity, pieces
from smix.mixing import Validity


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random(shape) < rng.random((shape[0], *(1,) * (len(shape) - 1)))


@pytest.mark.parametrize("size", [(9, 13), (32, 32), (1, 6), (2, 2)], ids=str)
def test_pieces_equal_opencv(size):
    masks = noise((60, *size))
    expected = [cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1 for mask in masks]
    assert pieces(masks).tolist() == expected


def test_pieces_of_signals_volumes_and_empty_masks():
    signals = np.array([[1, 1, 0, 1, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]], bool)
    assert pieces(signals).tolist() == [3, 0, 1]
    volume = np.zeros((1, 4, 4, 4), bool)
    volume[0, 0, 0, 0] = volume[0, 1, 1, 1] = volume[0, 3, 3, 3] = True  # the first two touch at a corner
    assert pieces(volume).tolist() == [2]
    assert pieces(np.zeros((0, 5, 5), bool)).tolist() == []


def bars(count: int) -> np.ndarray:
    """Return a mask of 12 x 30 pixels with this number of bars of 8 x 3 pixels."""
    mask = np.zeros((12, 30), bool)
    for place in range(count):
        mask[2:10, 4 * place + 1 : 4 * place + 4] = True
    return mask


def test_by_default_validity_depends_only_on_the_mask():
    masks = np.concatenate([noise((40, 20, 31)), np.stack([np.pad(bars(n), ((4, 4), (0, 1))) for n in range(7)])])
    score = np.zeros(len(masks), np.float32)
    expected = Validity()(torch.from_numpy(masks)[:, None].float()).numpy()
    assert 0 < expected.sum() < len(expected)
    assert np.array_equal(StoreValidity()(masks, score), expected)


def test_every_criterion_must_hold():
    masks = np.stack([bars(1), bars(2), bars(3), bars(3), bars(0), bars(2)])
    score = np.array([0.9, 0.8, 0.9, 0.7, 0.9, 0.79], np.float32)
    rule = StoreValidity(max_pieces=2, min_score=0.75)
    assert rule(masks, score).tolist() == [True, True, False, False, False, True]
    assert StoreValidity(min_score=0.75)(masks, score).tolist() == [
        True,
        True,
        True,
        False,
        False,
        True,
    ]
    assert StoreValidity(max_pieces=1)(masks, score).tolist() == [True] + 5 * [False]


@pytest.mark.parametrize("options", [{"max_pieces": -1}, {"min_score": 1.1}, {"min_score": float("nan")}])
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(OptionError, match="max_pieces must be 0 or more and min_score from 0 to 1"):
        StoreValidity(**options)
