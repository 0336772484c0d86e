"""Test frames around objects and the crops in them."""

import numpy as np
import pytest
import torch

from smix.segmenter.crops import VALIDATION, Frames, Framing, Photographs, cut, draw_frames, photographs


def squares(count: int = 40, side: int = 96, size: int = 30) -> Photographs:
    """Photographs in which a red square is the object, in a picture that is padded above and below."""
    rng = np.random.default_rng(0)
    images, masks = np.full((count, side, side, 3), 100, np.uint8), np.zeros((count, side, side), np.uint8)
    for row in range(count):
        top, left = rng.integers(10, side - size - 10), rng.integers(0, side - size)
        images[row, top : top + size, left : left + size] = (250, 0, 0)
        masks[row, top : top + size, left : left + size] = 1
    return photographs(images, masks, np.tile([10, 0, side - 10, side], (count, 1)))


def test_the_box_of_an_object_is_inside_the_picture():
    masks = np.zeros((2, 20, 20), np.uint8)
    masks[0, 3:8, 4:9] = 1
    data = photographs(np.zeros((2, 20, 20, 3), np.uint8), masks, np.array([[5, 0, 20, 20], [5, 0, 20, 20]]))
    assert data.object_box.tolist() == [[5, 4, 8, 9], [5, 0, 20, 20]]  # the second has no object


def test_a_frame_of_the_whole_photograph_returns_it():
    rng = np.random.default_rng(0)
    images, masks = rng.integers(0, 256, (1, 32, 32, 3), np.uint8), rng.integers(0, 2, (1, 32, 32), np.uint8)
    masks[0, :4] = 255
    data = photographs(images, masks)
    crops = cut(data, Frames(np.array([0]), np.array([[[16.0, 0, 16], [0, 16.0, 16]]])), 32)
    inner = np.s_[1:-1, 1:-1]
    shown = crops.images[0].movedim(0, -1).numpy() * 255
    assert np.abs(shown.mean((0, 1)) - images[0].mean((0, 1))).max() < 2
    assert np.corrcoef(shown[inner].ravel(), images[0][inner].ravel())[0, 1] > 0.9
    assert np.corrcoef(crops.objects[0, 5:].ravel(), masks[0, 5:].ravel())[0, 1] > 0.9
    assert crops.known[0].float().mean() == pytest.approx(28 / 32)


def test_a_mirrored_frame_returns_the_mirror_image():
    data = photographs(
        np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8), np.ones((1, 32, 32), np.uint8)
    )
    plain, mirrored = (
        cut(data, Frames(np.array([0]), np.array([[[scale, 0, 16], [0, 16.0, 16]]])), 16) for scale in (16.0, -16.0)
    )
    torch.testing.assert_close(plain.images.flip(-1), mirrored.images)


def test_objects_fill_the_share_of_the_crop_that_is_asked_for():
    data = squares()
    frames = draw_frames(data, np.arange(40), np.random.default_rng(0), VALIDATION)
    crops = cut(data, frames, 64)
    width = (crops.objects > 0.5).any(1).sum(1) / 64
    assert 0.38 <= width.min() < 0.5
    assert 0.8 < width.max() <= 0.97


def test_frames_stay_inside_the_picture_where_they_fit():
    data = squares()
    assert cut(data, draw_frames(data, np.arange(40), np.random.default_rng(0)), 32).known.float().mean() > 0.97


def test_cut_crops_lose_a_part_of_the_object_and_empty_ones_all_of_it():
    data = squares()
    whole, shown = (
        cut(data, draw_frames(data, np.arange(40), np.random.default_rng(0), framing), 32).objects.mean((1, 2))
        for framing in (Framing(cut=1, empty=0), Framing(cut=0, empty=1))
    )
    assert whole.min() > 0.3
    assert (shown == 0).float().mean() > 0.8


def test_padding_is_not_known():
    data = photographs(np.zeros((1, 32, 32, 3), np.uint8), np.ones((1, 32, 32), np.uint8), np.array([[8, 0, 24, 32]]))
    crops = cut(data, Frames(np.array([0]), np.array([[[32.0, 0, 16], [0, 32.0, 16]]])), 32)
    assert crops.known[0].sum() == 16 // 2 * 32 // 2


def test_frames_are_reproducible():
    data = squares()
    first, second = (draw_frames(data, np.arange(40), np.random.default_rng(3), Framing()).maps for _ in range(2))
    assert np.array_equal(first, second)
