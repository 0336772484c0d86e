"""Test that masks are told from masks of other images, and those of networks with random weights from those of trained ones."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import nn

from smix import load_data
from smix.data.pictures import Pictures
from smix.masks.controls import (
    LONGEST_SIDE,
    MIN_MASKS,
    compare_with_controls,
    images_at,
    masks_at,
    mean_mask,
    other_places,
    outline_contrast,
    wins,
    working_size,
)
from tests.conftest import make_set
from tests.data.photographs import save_photograph

SIDE, COUNT = 32, 120


@pytest.fixture(scope="module")
def photographs() -> tuple[np.ndarray, np.ndarray]:
    """Return parts of a photograph with a disc of another part of it on each, and the discs."""
    rng = np.random.default_rng(0)
    source = np.concatenate([load_sample_image(name)[:420] for name in ("china.jpg", "flower.jpg")], 1)

    def part() -> np.ndarray:
        top, left = rng.integers(0, 420 - 64), rng.integers(0, 1280 - 64)
        picture = Image.fromarray(source[top : top + 64, left : left + 64])
        return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX))

    y, x = np.mgrid[:SIDE, :SIDE]
    images, masks = [], []
    for _ in range(COUNT):
        disc = np.hypot(y - rng.uniform(9, 23), x - rng.uniform(9, 23)) < rng.uniform(4, 9)
        images.append(np.where(disc[..., None], part(), part()))
        masks.append(disc)
    return np.stack(images), np.stack(masks)


def of(controls, name: str) -> tuple[float, float]:
    control = next(control for control in controls.rows if control.name == name)
    return control.passing, control.following


def test_true_masks_follow_their_images(photographs):
    controls = compare_with_controls(*photographs)
    assert controls.follow is True
    assert (controls.images, controls.valid) == (COUNT, COUNT)
    passing, following = of(controls, "these masks")
    assert passing == 1
    assert following > 0.9
    assert of(controls, "masks of other images") == (1, 0.5)
    assert of(controls, "shuffled pixels")[0] == 0


def test_masks_of_other_images_pass_the_criteria_and_do_not_follow(photographs):
    images, masks = photographs
    controls = compare_with_controls(images, np.roll(masks, 1, 0))
    assert of(controls, "these masks")[0] == 1
    assert abs(of(controls, "these masks")[1] - 0.5) < 0.1
    assert controls.follow is False


def test_a_constant_mask_passes_the_criteria_and_does_not_follow(photographs):
    images, masks = photographs
    controls = compare_with_controls(images, np.stack([mean_mask(masks)] * COUNT))
    assert of(controls, "these masks") == of(controls, "the mean mask") == (1, 0.5)
    assert controls.follow is False


@pytest.mark.parametrize("seed", range(3))
def test_a_network_with_random_weights_does_not_follow(photographs, seed):
    """Masks of such a network, cut so that a third of each image is object, are smooth and pass the criteria of the shape."""
    images, _ = photographs
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Sequential(nn.Conv2d(width, 32, 3, 2, 1), nn.ReLU()) for width in (3, 32, 32)]
        network = nn.Sequential(
            *layers, *(nn.Sequential(nn.Conv2d(32, 32, 3, 1, 1), nn.ReLU()) for _ in range(8)), nn.Conv2d(32, 1, 1)
        )
    with torch.inference_mode():
        scores = network(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - 0.5)
        scores = nn.functional.interpolate(scores, (SIDE, SIDE), mode="bilinear")[:, 0].numpy()
    masks = scores > np.quantile(scores, 2 / 3)
    controls = compare_with_controls(images, masks)
    assert controls.follow is not True
    assert controls.valid < MIN_MASKS or of(controls, "these masks")[1] < 0.6


def test_nothing_is_said_about_too_few_masks(photographs):
    images, masks = photographs
    for few in (masks[:10], np.ones_like(masks)):
        controls = compare_with_controls(images[: len(few)], few)
        assert controls.follow is None
        assert np.isnan([control.following for control in controls.rows]).all()
    assert of(compare_with_controls(images, np.ones_like(masks)), "these masks")[0] == 0


def test_contrast_is_1_on_noise_and_higher_along_an_edge():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (1, 64, 64, 3)).astype(np.float32)
    mask = np.zeros((1, 64, 64), bool)
    mask[0, 16:48, 16:48] = True
    assert outline_contrast(noise, mask)[0] == pytest.approx(1, abs=0.1)
    square = mask[..., None] * np.float32(200)
    assert outline_contrast(square, mask)[0] == pytest.approx(2 * 63 * 64 / 128)
    assert outline_contrast(square, np.roll(mask, 3, 1))[0] < outline_contrast(square, mask)[0] / 2
    assert np.isnan(outline_contrast(np.zeros_like(square), mask)[0])
    assert np.isnan(outline_contrast(square, np.zeros_like(mask))[0])


def test_wins_ties_and_unknown_values():
    one, other = np.array([1.0, 2.0, 3.0, np.nan]), np.array([0.0, 2.0, 4.0, 1.0])
    assert wins(one, other) == 0.5
    assert np.isnan(wins(one[3:], other[3:]))


def test_no_place_is_its_own():
    for count in (2, 3, 50):
        places = other_places(count, np.random.default_rng(count))
        assert sorted(places) == list(range(count))
        assert (places != np.arange(count)).all()


def test_the_mean_mask_has_the_mean_size_where_masks_are():
    masks = np.zeros((4, 6, 6), bool)
    masks[:, 2:4, 2:4] = True
    masks[0, 0, :4] = True
    assert mean_mask(masks).sum() == 5
    assert mean_mask(masks)[2:4, 2:4].all()


def test_images_are_resized_to_the_masks(tmp_path):
    for number in (1, 6):
        save_photograph(tmp_path / f"train/a/{number}.png", number)
    (tmp_path / "train/a/7.png").write_bytes(b"none")
    (tmp_path / "test").mkdir()
    data = load_data(f"folder:{tmp_path}")
    images = images_at(data, np.arange(3), (30, 40))
    assert images.shape == (3, 30, 40, 3)
    assert np.array_equal(images[0], images[1])
    assert not images[2].any()
    grey = make_set(4, size=(12, 8))
    assert images_at(grey, np.array([2]), (12, 8)).shape[:3] == (1, 12, 8)
    assert images_at(grey, np.array([2, 3]), (6, 4)).shape == (2, 6, 4, grey.channels)


def test_images_of_one_colour_are_not_compared(photographs, recwarn):
    images, masks = photographs
    controls = compare_with_controls(np.full_like(images, 90), masks)
    assert controls.follow is None
    assert (controls.valid, controls.compared) == (COUNT, 0)
    assert np.isnan([control.following for control in controls.rows]).all()
    some = images.copy()
    some[30:] = 90
    assert compare_with_controls(some, masks).compared == 30
    assert not recwarn.list


def test_large_photographs_are_read_one_by_one_and_compared_at_a_small_size(tmp_path, monkeypatch):
    size, working = (1200, 1600), (192, 256)
    for number in range(3):
        save_photograph(tmp_path / f"train/a/{number}.jpg", 1, size)
    (tmp_path / "test").mkdir()
    data = load_data(f"folder:{tmp_path}")
    monkeypatch.setattr(Pictures, "read", lambda _: pytest.fail("all images were read at once"))

    class Masks(np.ndarray):
        def __getitem__(self, rows):
            assert len(rows) == 1
            return np.asarray(self)[rows]

    drawn = np.zeros((3, *size), bool)
    for number in range(3):
        drawn[number, :600, : 400 * (1 + number)] = True
    assert working_size(size) == working
    assert max(working_size((3, 4000))) == LONGEST_SIDE
    assert min(working_size((3, 4000))) == 1
    assert working_size((32, 20)) == (32, 20)
    rows = np.array([2, 0])
    assert images_at(data, rows, working).shape == (2, *working, 3)
    masks = masks_at(drawn.view(Masks), rows, working)
    assert masks.shape == (2, *working)
    assert masks[:, :96].sum((1, 2)).tolist() == [96 * 192, 96 * 64]
    assert not masks[:, 96:].any()
