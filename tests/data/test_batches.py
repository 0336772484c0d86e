"""Test batches that are kept on the device: normalisation, order, resuming, and masks in step with their images."""

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch

from smix.data.batches import Batches, Normalisation
from smix.data.sets import ImageSet
from tests.conftest import make_set

PLAIN = Normalisation((0.0,), (1 / 255,))
"""Normalisation that leaves pixels unchanged, as float."""
CPU = torch.device("cpu")


@pytest.fixture
def data() -> ImageSet:
    return make_set()


def traceable_set(count: int, size: tuple[int, int] = (3, 5)) -> Batches:
    """Return a data set in which image, label, mask and validity of row i all encode i (up to 255)."""
    rows = torch.arange(count)
    images = rows.to(torch.uint8).view(count, 1, 1, 1).expand(count, *size, 1).clone()
    masks = (rows.view(count, 1, 1) >> torch.arange(15).view(size)) % 2 == 1  # the row's binary digits
    return Batches(images, rows, PLAIN, masks, rows % 3 == 0)


def labels_of(batches: Batches, **options) -> list[list[int]]:
    return [
        labels.tolist() for _, labels, _, _ in batches.shuffled(**{"seed": 0, "epoch": 0, "batch_size": 8, **options})
    ]


# Normalisation


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(9,), (5, 9), (3, 4, 5)])
def test_mean_and_std_are_numpys_in_float64(size, channels):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 200, (20, *size, channels)).astype(np.uint8) // np.arange(1, channels + 1).astype(np.uint8)
    found = Normalisation.of(ImageSet(images, np.zeros(20, np.int64), ("a",), name="made", split="train"))
    pixels = images.reshape(-1, channels) / 255
    assert np.allclose(found.mean, pixels.mean(0), rtol=1e-12)
    assert np.allclose(found.std, pixels.std(0), rtol=1e-12)


def test_normalised_images_have_mean_0_and_std_1_and_channels_first(data):
    normal = Normalisation.of(data)
    found = normal(torch.from_numpy(data.images))
    assert (found.dtype, tuple(found.shape)) == (torch.float32, (40, 3, 10, 14))
    expected = ((data.images / 255 - normal.mean) / normal.std).transpose(0, 3, 1, 2)
    assert np.allclose(found, expected, atol=1e-5)
    assert torch.allclose(found.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(found.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5)


@pytest.mark.parametrize("count", [1, 3, 7, 10])
def test_a_constant_channel_has_std_1_at_every_level(count):
    for level in range(256):
        images = np.full((count, 5, 7, 3), level, np.uint8)
        images[0, 0, 0, 1] ^= 1
        found = Normalisation.of(ImageSet(images, np.zeros(count, np.int64), ("a",), name="made", split="train"))
        assert found.std[0] == found.std[2] == 1
        assert 0 < found.std[1] < 1 / 255
        assert found.mean[0] == pytest.approx(level / 255)


# Order


def test_an_epoch_shows_each_image_once_the_last_ones_in_a_smaller_batch():
    batches = traceable_set(83)
    shown = labels_of(batches)
    assert [len(batch) for batch in shown] == [8] * 10 + [3]
    assert batches.steps(8) == 11
    assert batches.images_per_epoch(8) == 83
    assert sorted(chain(*shown)) == list(range(83))


@pytest.mark.parametrize(
    ("count", "world", "sizes"),
    [
        (80, 1, [8] * 10),
        (81, 1, [8] * 10),
        (82, 1, [8] * 10 + [2]),
        (83, 2, [8] * 10),
        (85, 2, [8] * 10 + [4]),
        (87, 4, [8] * 10),
        (87, 1, [8] * 10 + [7]),
        (5, 1, [5]),
    ],
)
def test_the_last_batch_has_two_images_in_each_process_or_is_left_out(count, world, sizes):
    batches = traceable_set(count)
    parts = [[len(batch.labels) for batch in batches.shuffled(0, 0, 8, 0, rank, world)] for rank in range(world)]
    assert [sum(sizes) for sizes in zip(*parts, strict=True)] == sizes
    assert all(len(set(sizes)) == 1 for sizes in zip(*parts, strict=True))
    assert batches.steps(8, world) == len(sizes)
    assert batches.images_per_epoch(8, world) == sum(sizes)


def test_drop_last_leaves_the_last_smaller_batch_out():
    batches = replace(traceable_set(83), drop_last=True)
    shown = labels_of(batches)
    assert [len(batch) for batch in shown] == [8] * 10
    assert batches.steps(8) == 10
    everything = list(chain(*shown))
    assert len(set(everything)) == 80
    assert everything != sorted(everything)
    assert sorted(chain(*labels_of(batches, batch_size=83))) == list(range(83))


def test_images_dropped_in_one_epoch_are_shown_in_another():
    batches = replace(traceable_set(83), drop_last=True)
    assert {row for epoch in range(6) for batch in labels_of(batches, epoch=epoch) for row in batch} == set(range(83))


def test_a_data_set_smaller_than_a_batch_is_one_smaller_batch():
    assert traceable_set(5).steps(8) == 1
    assert [sorted(batch) for batch in labels_of(traceable_set(5))] == [[0, 1, 2, 3, 4]]


def test_the_order_depends_on_epoch_and_seed_and_is_reproducible():
    batches = traceable_set(80)
    orders = [labels_of(batches, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (0, 1, 2)]
    assert len({str(order) for order in orders}) == 6
    assert orders == [labels_of(batches, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (0, 1, 2)]


def test_the_order_does_not_depend_on_crops_flips_or_masks():
    """Methods and recipes are compared on the same batches."""
    batches = traceable_set(80)
    bare = replace(batches, masks=None, valid=None)
    assert labels_of(batches) == labels_of(replace(batches, crop_padding=1, hflip=True)) == labels_of(bare)


# What a batch holds


@pytest.mark.parametrize(("crop_padding", "hflip"), [(0, False), (0, True)])
def test_masks_labels_and_validity_stay_with_their_images(crop_padding, hflip):
    for images, labels, masks, valid in replace(traceable_set(80), crop_padding=crop_padding, hflip=hflip).shuffled(
        0, 0, 8
    ):
        assert images.shape == (8, 1, 3, 5)
        assert torch.equal(images[:, 0, 0, 0].long(), labels)
        assert torch.equal(valid, labels % 3 == 0)
        upright = (masks.flatten(1) * 2 ** torch.arange(15)).sum(1)
        mirrored = (masks.flip(-1).flatten(1) * 2 ** torch.arange(15)).sum(1)
        assert ((upright == labels) | (hflip & (mirrored == labels))).all()


def test_crops_and_flips_move_masks_with_their_images(data):
    """The image equals its mask and must stay equal, and some images must have moved."""
    masked = replace(data, images=data.masks[..., None].repeat(3, -1).astype(np.uint8) * 255, fingerprint="")
    batches = Batches.of(masked, PLAIN, CPU, masked.masks, crop_padding=2, hflip=True)
    moved = 0
    for epoch in range(5):
        for images, _, masks, valid in batches.shuffled(0, epoch, 8):
            assert torch.equal(images, masks[:, None].expand_as(images).float() * 255)
            assert valid is None
            moved += int(masks.sum())
    assert moved < 5 * data.masks.sum()  # padding pushed some object pixels out


def test_batches_of_data_without_masks_have_no_masks(data):
    for _, _, masks, valid in Batches.of(data, Normalisation.of(data), CPU, crop_padding=1, hflip=True).shuffled(
        0, 0, 8
    ):
        assert masks is None
        assert valid is None


def test_crops_differ_between_steps_epochs_and_seeds():
    batches = traceable_set(16, (5, 3))
    batches = replace(
        batches,
        images=torch.arange(1, 16, dtype=torch.uint8).view(1, 5, 3, 1).expand(16, 5, 3, 1).clone(),
        masks=None,
        crop_padding=2,
        hflip=True,
    )
    seen = [
        images.numpy().tobytes()
        for seed in (0, 1)
        for epoch in (0, 1)
        for images, *_ in batches.shuffled(seed, epoch, 8)
    ]
    assert len(set(seen)) == 8


@pytest.mark.parametrize("first_step", [0, 1, 6, 9, 10])
def test_an_epoch_that_resumes_at_a_step_gives_identical_batches(data, first_step):
    batches = Batches.of(
        make_set(83),
        Normalisation.of(data),
        CPU,
        make_set(83).masks,
        np.arange(83) % 2 == 0,
        crop_padding=2,
        hflip=True,
    )
    whole = list(batches.shuffled(3, 2, 8))
    rest = list(batches.shuffled(3, 2, 8, first_step=first_step))
    assert len(whole) == 11
    assert len(rest) == 11 - first_step
    for one, other in zip(whole[first_step:], rest, strict=True):
        for expected, got in zip(one, other, strict=True):
            assert torch.equal(expected, got)


@pytest.mark.parametrize("batch_size", [7, 40, 500])
def test_in_order_yields_all_images_unchanged_and_in_order(data, batch_size):
    normal = Normalisation.of(data)
    images, labels = zip(*replace(Batches.of(data, normal, CPU), at_once=batch_size).in_order(), strict=True)
    assert torch.equal(torch.cat(images), normal(torch.from_numpy(data.images)))
    assert torch.cat(labels).tolist() == data.labels.tolist()


@pytest.mark.parametrize("masks", [True, False])
def test_pixels_are_the_images_before_normalisation_in_any_order(data, masks):
    normal = Normalisation.of(data)
    batches = replace(Batches.of(data, normal, CPU, data.masks if masks else None), at_once=7)
    parts = list(batches.pixels())
    for part, (images, labels) in zip(parts, batches.in_order(), strict=True):
        assert torch.equal(normal(part.images), images)
        assert torch.equal(part.labels, labels)
    assert torch.equal(torch.cat([part.images for part in parts]), batches.images)
    rows = torch.tensor([9, 3, 39, 3, 0, 21, 5, 30])
    chosen = list(batches.pixels(rows))
    assert [len(part.images) for part in chosen] == [7, 1]
    assert torch.equal(torch.cat([part.images for part in chosen]), batches.images[rows])
    assert torch.equal(torch.cat([part.labels for part in chosen]), batches.labels[rows])
    if masks:
        assert torch.equal(torch.cat([part.masks for part in chosen]), batches.masks[rows])
    else:
        assert all(part.masks is None for part in chosen)


def test_the_data_set_is_copied_so_that_training_cannot_change_it(data):
    batches = Batches.of(data, Normalisation.of(data), CPU, data.masks)
    before = data.images.copy(), data.masks.copy()
    batches.images.zero_()
    batches.masks.zero_()
    assert np.array_equal(data.images, before[0])
    assert np.array_equal(data.masks, before[1])
