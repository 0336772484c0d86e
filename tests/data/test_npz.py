"""Test images of types other than uint8 in npz files: one linear mapping for both splits."""

import numpy as np
import pytest
from numpy.typing import NDArray

from smix import load_data
from smix.errors import DataError


@pytest.fixture
def write(tmp_path):
    def write(train: NDArray, test: NDArray | None) -> str:
        arrays = {"x_train": train, "y_train": np.arange(len(train)) % 2}
        if test is not None:
            arrays |= {"x_test": test, "y_test": np.arange(len(test)) % 2}
        np.savez(tmp_path / "set.npz", **arrays)
        return f"npz:{tmp_path / 'set.npz'}"

    return write


def draw_values(dtype: type, count: int, least: float, greatest: float) -> NDArray:
    return np.random.default_rng(count).uniform(least, greatest, (count, 5, 7, 2)).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "least", "greatest"),
    [
        (np.float16, -3, 5),
        (np.float32, 0, 1),
        (np.float64, -1e6, 1e6),
        (np.int16, -(2**15), 2**15 - 1),
        (np.uint16, 100, 4000),
        (np.int8, -100, 100),
        (np.int64, 0, 10**12),
        (np.uint64, 0, 2**63),
    ],
)
def test_values_are_mapped_by_the_range_of_the_train_split(write, dtype, least, greatest):
    train, test = draw_values(dtype, 12, least, greatest), draw_values(dtype, 6, least, greatest)
    name = write(train, test)
    low, high = float(train.min()), float(train.max())
    for split, values in (("train", train), ("test", test)):
        data = load_data(name, split=split)
        assert data.value_range == (low, high)
        expected = np.clip((values.astype(np.float64) - low) * 255 / (high - low), 0, 255)
        assert data.images.dtype == np.uint8
        assert np.abs(data.images - expected).max() <= 0.5 + 1e-9
    train_images = load_data(name).images
    assert (train_images.min(), train_images.max()) == (0, 255)


def test_test_values_outside_the_train_range_are_clipped(write):
    train = np.linspace(0, 1, 70).reshape(1, 5, 7, 2)
    test = np.stack([np.full((5, 7, 2), value) for value in (-1, 0, 0.5, 1, 9)])
    images = load_data(write(np.concatenate([train, train]), test), split="test").images
    assert images[:, 0, 0, 0].tolist() == [0, 0, 128, 255, 255]


def test_booleans_become_0_and_255(write):
    images = np.random.default_rng(0).random((8, 5, 7, 1)) < 0.5
    data = load_data(write(images, images))
    assert np.array_equal(data.images, images * np.uint8(255))
    assert data.value_range == (0, 1)


def test_uint8_is_unchanged(write):
    images = np.random.default_rng(0).integers(100, 110, (8, 5, 7, 1)).astype(np.uint8)
    data = load_data(write(images, images))
    assert np.array_equal(data.images, images)
    assert data.value_range is None


def test_constant_images_become_0(write):
    assert not load_data(write(np.full((4, 5, 7, 1), 3.5), np.ones((4, 5, 7, 1)))).images.any()


def test_nan_in_train_does_not_affect_the_test_split_which_needs_the_range_of_train(write):
    train = np.linspace(0, 1, 140).reshape(4, 5, 7, 1)
    broken = train.copy()
    broken[2, 3, 4, 0] = np.nan
    assert np.array_equal(
        load_data(write(broken, train), split="test").images, load_data(write(train, train), split="test").images
    )
    with pytest.raises(DataError, match="contain NaN or infinity"):
        load_data(write(broken, train))


def test_a_test_split_without_train_split_has_no_range(write, tmp_path):
    np.savez(tmp_path / "test.npz", x_test=np.ones((2, 5, 7, 1)), y_test=np.arange(2))
    with pytest.raises(
        DataError, match="the file contains no x_train, but its range is needed to scale float64 images; add it"
    ):
        load_data(f"npz:{tmp_path / 'test.npz'}", split="test")
    assert len(load_data(write(np.ones((2, 5, 7, 1)), None))) == 2


@pytest.mark.parametrize("shape", [(4, 30, 2), (4, 18, 20), (4, 3, 4, 5, 1)])
def test_signals_grey_images_and_volumes_are_scaled(write, shape):
    values = np.random.default_rng(0).random(shape)
    images = load_data(write(values, values)).images
    assert np.abs(images.reshape(shape) - (values - values.min()) / np.ptp(values) * 255).max() <= 0.5 + 1e-9


def test_the_fingerprint_is_that_of_the_loaded_images_and_is_pinned(write):
    values = np.random.default_rng(0).random((4, 5, 7, 1))
    one = load_data(write(values, values)).fingerprint
    assert load_data(write(values * 2, values)).fingerprint == one  # the same images
    values[0, 0, 0, 0] = 1 - values[0, 0, 0, 0]
    assert load_data(write(values, values)).fingerprint != one
