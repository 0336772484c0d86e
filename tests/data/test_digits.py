"""Test digits-on-photos: labels, masks and backgrounds, by replacing the digits or the photographs."""

from types import SimpleNamespace

import numpy as np
import pytest
import sklearn.datasets
from sklearn.datasets import load_digits

from smix import load_data
from smix.data.digits import SIDE, digits_on_photos

pytestmark = pytest.mark.slow

SPLITS = ("train", "test")
make = digits_on_photos.__wrapped__  # the cache would return the true digits instead of the replaced ones


@pytest.fixture
def replace_digits(monkeypatch):
    def replace(images: np.ndarray, labels: np.ndarray) -> None:
        monkeypatch.setattr(sklearn.datasets, "load_digits", lambda return_X_y: (images, labels))

    return replace


@pytest.fixture
def plain_photos(monkeypatch) -> np.ndarray:
    """Replace the photographs by a single one of grey level 120, dimmed to 60: any other grey level is ink."""
    grey = np.full((427, 640, 3), 120, np.uint8)
    monkeypatch.setattr(sklearn.datasets, "load_sample_images", lambda: SimpleNamespace(images=[grey]))
    return np.full(3, 60)


@pytest.mark.parametrize(("split", "count"), [("train", 1297), ("test", 500)])
def test_shapes_types_and_classes(split, count):
    data = load_data("digits-on-photos", split=split)
    assert (data.images.shape, data.images.dtype) == ((count, 32, 32, 3), np.uint8)
    assert (data.labels.shape, data.labels.dtype) == ((count,), np.int64)
    assert (data.masks.shape, data.masks.dtype) == ((count, 32, 32), np.bool_)
    assert data.classes == tuple("0123456789")
    assert (data.name, data.split) == ("digits-on-photos", split)
    assert np.bincount(data.labels).min() > 0.8 * count / 10
    assert np.bincount(data.labels).max() < 1.2 * count / 10


@pytest.mark.parametrize("seed", [0, 1])
def test_train_and_test_share_no_digit_and_use_each_once(replace_digits, seed):
    """Each digit is labelled by its number, so that it can be traced."""
    digits, _ = load_digits(return_X_y=True)
    replace_digits(digits, np.arange(len(digits)))
    used = np.concatenate([make(split, seed)[1] for split in SPLITS])
    assert np.array_equal(np.sort(used), np.arange(1797))


def test_each_image_shows_the_digit_of_its_label(replace_digits):
    """Digits have three shapes, tall, square and flat, which the labels name."""
    order = np.arange(1797)
    digits = np.zeros((1797, 8, 8))
    digits[order % 3 == 0, :, :4] = digits[order % 3 == 1] = digits[order % 3 == 2, :4] = 16
    replace_digits(digits.reshape(1797, 64), order % 3)
    for split in SPLITS:
        _, labels, masks = make(split, 0)
        tall, wide = masks.any(2).sum(1), masks.any(1).sum(1)
        assert np.array_equal(labels, np.where(tall > 1.5 * wide, 0, np.where(wide > 1.5 * tall, 2, 1)))


def test_the_mask_is_the_square_of_the_digit_and_all_other_pixels_are_photograph(replace_digits, plain_photos):
    replace_digits(np.full((1797, 64), 16.0), np.arange(1797) % 10)
    images, _, masks = make("train", 0)
    sides, places = set(), set()
    for image, mask in zip(images, masks, strict=True):
        rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
        side = len(rows)
        assert side == len(columns) == np.ptp(rows) + 1 == np.ptp(columns) + 1
        assert mask.sum() == side**2
        assert (image[~mask] == plain_photos).all()
        assert (image[mask] == image[mask][0]).all()
        sides.add(side)
        places.update({(side, rows[0]), (side, columns[0])})
    assert sides == set(range(20, 29))
    assert places == {(side, place) for side in sides for place in range(SIDE - side + 1)}


def test_the_mask_is_where_a_real_digit_covers_at_least_half_of_the_photograph(plain_photos):
    """On a constant grey the ink of each pixel can be computed; rounding to uint8 leaves an uncertainty near one half."""
    for image, mask in zip(*(part[:200] for part in make("test", 0)[::2]), strict=True):
        difference = np.abs(image - plain_photos.astype(float)).sum(-1)
        ink = difference / difference[mask].max()
        sure = np.abs(ink - 0.5) > 0.1
        assert np.array_equal(mask[sure], ink[sure] > 0.5)
        assert sure.mean() > 0.8


def test_masks_have_a_size_that_the_validity_criteria_accept():
    for split in SPLITS:
        coverage = load_data("digits-on-photos", split=split).masks.mean((1, 2))
        assert coverage.min() > 0.01
        assert coverage.max() < 0.5


def test_backgrounds_are_crops_of_both_photographs():
    """Pixels far from the object take all grey levels, and no two corners are alike."""
    images, _, masks = make("train", 0)
    background = images[~masks]
    assert np.all(np.percentile(background, 5, axis=0) < 60)
    assert np.all(np.percentile(background, 95, axis=0) > 90)
    assert len(np.unique(images[:, :4, :4].reshape(len(images), -1), axis=0)) > 0.99 * len(images)


@pytest.mark.parametrize("split", SPLITS)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_bytes(split):
    one, again, other = make(split, 0), make(split, 0), make(split, 1)
    for first, second, third in zip(one, again, other, strict=True):
        assert np.array_equal(first, second)
        assert not np.array_equal(first, third)


def test_every_digit_is_brighter_than_the_photograph():
    images, _, masks = make("train", 0)
    for image, mask in zip(images.astype(float), masks, strict=True):
        ink, photograph = image[mask], image[~mask]
        assert np.quantile(ink, 0.75, axis=0).min() > 150
        assert (ink.mean(0) - photograph.mean(0)).sum() > 75
