"""Test biased-digits: the background of each digit depends on its class, and masks and digits are those of digits-on-photos."""

from types import SimpleNamespace

import numpy as np
import pytest
import sklearn.datasets
from sklearn.datasets import load_digits

from smix import load_data
from smix.data.biased import BIAS, REGION_SIZE, REGIONS, biased_digits

pytestmark = pytest.mark.slow

make = biased_digits.__wrapped__  # without the cache, which would keep images of replaced photographs
BORDER = (..., slice(None, None, 31), slice(None, None, 31), 0)
"""Corners of images, which digits rarely cover."""


@pytest.fixture
def numbered_places(monkeypatch) -> None:
    """Replace the photographs by black ones in which the place of class k has the value 20 (k + 1)."""
    photos = [np.zeros((427, 640, 3), np.uint8) for _ in range(2)]
    for number, (photo, top, left) in enumerate(REGIONS):
        photos[photo][top : top + REGION_SIZE, left : left + REGION_SIZE] = 20 * (number + 1)
    monkeypatch.setattr(sklearn.datasets, "load_sample_images", lambda: SimpleNamespace(images=photos))


def place_of_each_image(images: np.ndarray) -> np.ndarray:
    """Return the place behind each image. Photographs are dimmed by half, and no digit covers all four corners."""
    return images[BORDER].reshape(len(images), -1).min(1) // 10 - 1


@pytest.mark.parametrize(("split", "count"), [("train", 1297), ("test", 500)])
def test_shapes_types_and_classes(split, count):
    data = load_data("biased-digits", split=split)
    assert (data.images.shape, data.images.dtype) == ((count, 32, 32, 3), np.uint8)
    assert (data.masks.shape, data.masks.dtype) == ((count, 32, 32), np.bool_)
    assert (data.name, data.split, data.classes) == ("biased-digits", split, tuple("0123456789"))


def test_places_are_in_the_photographs_and_do_not_overlap(numbered_places):
    photos = sklearn.datasets.load_sample_images().images
    values, pixels = np.unique(np.stack(photos)[..., 0], return_counts=True)
    assert values.tolist() == [0, *range(20, 220, 20)]
    assert (pixels[1:] == REGION_SIZE**2).all()


@pytest.mark.parametrize("bias", [BIAS, 0.0, 1.0])
def test_backgrounds_determine_the_class_in_train_but_not_in_test(numbered_places, bias):
    images, labels, _ = make("train", 0, bias)
    # A background drawn from all places is that of the own class one time in ten.
    assert (place_of_each_image(images) == labels).mean() == pytest.approx(bias + (1 - bias) / 10, abs=0.03)
    images, labels, _ = make("test", 0, bias)
    assert (place_of_each_image(images) == labels).mean() == pytest.approx(0.1, abs=0.04)
    assert np.bincount(place_of_each_image(images), minlength=10).min() > 25


def test_train_and_test_share_no_digit_and_use_each_once(monkeypatch):
    """Each digit is labelled by its number, so that it can be traced. Without bias no class needs its own place."""
    digits, _ = load_digits(return_X_y=True)
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda return_X_y: (digits, np.arange(len(digits))))
    used = np.concatenate([make(split, 1, 0.0)[1] for split in ("train", "test")])
    assert np.array_equal(np.sort(used), np.arange(1797))


def test_each_seed_draws_other_images():
    assert np.array_equal(make("test", 1)[0], make("test", 1)[0])
    assert not np.array_equal(make("test", 1)[0], make("test", 2)[0])
