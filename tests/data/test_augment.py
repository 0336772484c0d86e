"""Test augmentation by torchvision: masks move with their images, erased areas leave them, and draws depend on the image alone."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from smix.data.augment import (
    GEOMETRIC,
    SMALLEST,
    Augmentation,
    RandAugment,
    TrivialAugment,
    augmentation_keys,
    still_valid,
)
from smix.data.batches import Batches, Normalisation, balanced_draws, epoch_batches
from smix.data.streaming import Reader, Streamed
from tests.conftest import make_set

SIDE = 96
CPU = torch.device("cpu")


def disc(side: int = SIDE) -> tuple[Tensor, Tensor]:
    """Return a bright disc on a dark image (H, W, 3), and its mask (H, W)."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    mask = (rows - 0.45 * side) ** 2 + (columns - 0.55 * side) ** 2 < (0.2 * side) ** 2
    image = torch.full((side, side, 3), 20, dtype=torch.uint8)
    image[mask] = 220
    return image, mask


def iou(image: Tensor, mask: Tensor) -> float:
    bright = image.float().mean(-1) > 120
    return float((bright & mask).sum() / (bright | mask).sum().clamp(min=1)) if (bright | mask).any() else 1.0


@pytest.mark.parametrize("kind", [TrivialAugment, RandAugment])
@pytest.mark.parametrize("operation", GEOMETRIC)
def test_a_mask_stays_on_its_object_at_every_magnitude_of_every_geometric_operation(kind, operation):
    image, mask = disc()
    magnitudes, signed = kind._AUGMENTATION_SPACE[operation]
    moved = 0
    for magnitude in magnitudes(31, SIDE, SIDE).tolist():
        for sign in (1, -1) if signed else (1,):
            transform = kind()
            transform.mask = mask.to(torch.uint8)[None]
            out = transform._apply_image_or_video_transform(
                image.movedim(-1, 0), operation, sign * magnitude, transform.interpolation, transform._fill
            )
            assert iou(out.movedim(0, -1), transform.mask[0].bool()) > 0.9, (operation, sign * magnitude)
            moved += not torch.equal(transform.mask[0].bool(), mask)
    assert moved >= 20, "the operation moves nothing"


@pytest.mark.parametrize("kind", [TrivialAugment, RandAugment])
def test_every_other_operation_leaves_the_mask_in_place(kind):
    image, mask = disc()
    others = set(kind._AUGMENTATION_SPACE) - set(GEOMETRIC)
    assert others == {
        *(
            "Identity",
            "Brightness",
            "Color",
            "Contrast",
            "Sharpness",
            "Posterize",
            "Solarize",
            "AutoContrast",
            "Equalize",
        ),
    }
    for operation in others:
        magnitudes = kind._AUGMENTATION_SPACE[operation][0](31, SIDE, SIDE)
        for magnitude in [0.0] if magnitudes is None else magnitudes.tolist():
            transform = kind()
            transform.mask = mask.to(torch.uint8)[None]
            transform._apply_image_or_video_transform(
                image.movedim(-1, 0), operation, magnitude, transform.interpolation, transform._fill
            )
            assert torch.equal(transform.mask[0].bool(), mask)


@pytest.mark.parametrize("name", ["trivialaugment", "randaugment"])
def test_masks_stay_on_their_objects_over_many_draws_and_the_image_is_that_of_torchvision(name):
    """A photometric operation may hide the disc; the IoU counts only where it is brighter than its surroundings."""
    image, mask = disc(64)
    counted = 0
    for key in range(150):
        out, moved = (tensors[0] for tensors in Augmentation(name).batch(image[None], mask[None], [key]))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key)
            theirs = {"trivialaugment": v2.TrivialAugmentWide, "randaugment": v2.RandAugment}[name]()
            assert torch.equal(out.movedim(-1, 0), theirs(image.movedim(-1, 0)))
        inside, outside = out[moved].float().mean(-1), out[~moved].float().mean(-1)
        if moved.sum() > 50 and inside.median() > 120 > outside.quantile(0.9):
            counted += 1
            assert iou(out, moved) > 0.8  # a blurred edge that is equalised afterwards costs 0.17
    assert counted > 75


def test_torchvision_does_not_move_masks():
    """These classes exist because of this; if it fails, they can go."""
    image, mask = disc(32)
    pair = (tv_tensors.Image(image.movedim(-1, 0)), tv_tensors.Mask(mask))
    with pytest.raises(TypeError, match="Mask"):
        v2.TrivialAugmentWide()(*pair)
    with torch.random.fork_rng(devices=[]), pytest.warns(UserWarning, match="passing through inputs of type"):
        _, after = v2.RandomErasing(p=1.0)(*pair)
    assert torch.equal(after, mask)


def test_an_erased_rectangle_has_the_mean_colour_and_no_object():
    image, mask = disc()
    shares = []
    for key in range(30):
        out, left = (
            tensors[0] for tensors in Augmentation("none", 1.0, (1, 2, 3)).batch(image[None], mask[None], [key])
        )
        erased = (out == torch.tensor([1, 2, 3], dtype=torch.uint8)).all(-1)
        rows, columns = erased.any(1).sum(), erased.any(0).sum()
        assert erased.sum() == rows * columns > 0
        assert torch.equal(out[~erased], image[~erased])
        assert torch.equal(left, mask & ~erased)
        shares.append(float(erased.float().mean()))
    assert 0.015 < min(shares) < 0.08
    assert 0.2 < max(shares) < 0.35


def test_erasing_has_its_probability():
    image, _ = disc(16)
    images = image.expand(400, -1, -1, -1)
    out, masks = Augmentation("none", 0.25, (1, 2, 3)).batch(images, None, list(range(400)))
    assert masks is None
    assert 70 < (out != images).flatten(1).any(1).sum() < 130


def test_augmentation_leaves_the_global_generator_alone():
    image, mask = disc(32)
    before = torch.get_rng_state()
    Augmentation("randaugment", 0.5, (0, 0, 0)).batch(image[None], mask[None], [5])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_mask_that_left_its_image_is_not_valid():
    masks = torch.zeros(3, 20, 20, dtype=torch.bool)
    masks[0, :10], masks[1, 0, :3], masks[2, 0, :4] = True, True, True
    assert SMALLEST * 400 == 4
    assert still_valid(masks, None).tolist() == [True, False, True]
    assert still_valid(masks, torch.tensor([False, True, True])).tolist() == [False, False, True]


def loaders(augmentation: Augmentation, balanced: bool = False) -> list:
    """Return a loader on the device and one that reads the images, without crops."""
    data = make_set(12, size=(16, 16))
    normalise = Normalisation((0.0,) * 3, (1 / 255,) * 3)
    resident = Batches.of(data, normalise, CPU, data.masks, augmentation=augmentation, balanced=balanced)
    reader = Reader(data, (16, 16), masks=data.masks, augmentation=augmentation)
    return [resident, Streamed(reader, normalise, CPU, 0, balanced=balanced)]


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("name", ["trivialaugment", "randaugment"])
def test_both_loaders_give_the_same_images_masks_and_flags(name, balanced):
    one, other = loaders(Augmentation(name, 0.3, (9, 9, 9)), balanced)
    plain, _ = loaders(Augmentation(), balanced)
    changed = 0
    for mine, theirs, before in zip(*(loader.shuffled(0, 2, 4) for loader in (one, other, plain)), strict=True):
        assert torch.equal(mine.images, theirs.images)
        assert torch.equal(mine.labels, theirs.labels)
        assert torch.equal(mine.masks, theirs.masks)
        assert torch.equal(mine.valid, theirs.valid)
        assert torch.equal(mine.labels, before.labels)
        changed += not torch.equal(mine.images, before.images)
    assert changed == 3


@pytest.mark.parametrize("kind", [0, 1])
def test_parts_of_two_processes_and_resumed_epochs_are_those_of_one_process(kind):
    loader = loaders(Augmentation("trivialaugment", 0.5, (0, 0, 0)), balanced=True)[kind]
    whole = list(loader.shuffled(1, 0, 4))
    parts = [list(loader.shuffled(1, 0, 4, 0, rank, 2)) for rank in (0, 1)]
    for step, batch in enumerate(whole):
        assert torch.equal(batch.images, torch.cat([part[step].images for part in parts]))
        assert torch.equal(batch.masks, torch.cat([part[step].masks for part in parts]))
    assert torch.equal(next(iter(loader.shuffled(1, 0, 4, 2))).images, whole[2].images)
    assert not torch.equal(next(iter(loader.shuffled(1, 1, 4))).images, whole[0].images)


# Balanced sampling


def test_balanced_draws_have_every_class_equally_often():
    labels = np.array([5] * 900 + [2] * 90 + [7] * 10)
    draws = balanced_draws(labels, torch.Generator().manual_seed(0))
    assert len(draws) == 1000
    counts = np.bincount(labels[draws.numpy() % 1000], minlength=8)
    assert counts.sum() == counts[[2, 5, 7]].sum()
    for count in counts[[2, 5, 7]]:
        assert abs(count - 1000 / 3) < 4 * math.sqrt(1000 * 2 / 9)
    assert len(set(draws.tolist())) == 1000, "a row that is drawn again has another number"
    rows = np.bincount(draws.numpy() % 1000, minlength=1000)[990:]
    assert rows.min() > 15
    for row in range(990, 1000):
        times = sorted(draw // 1000 for draw in draws.tolist() if draw % 1000 == row)
        assert times == list(range(len(times)))


def test_an_image_that_is_drawn_again_is_augmented_differently():
    keys = augmentation_keys(0, 0, 10, torch.tensor([3, 13, 23, 4]))
    assert len(set(keys)) == 4
    assert augmentation_keys(0, 1, 10, torch.tensor([3]))[0] not in keys


def test_without_balance_the_order_is_unchanged():
    order = torch.cat([batch for _, batch, _ in epoch_batches(12, 0, 3, 4, range(3), 0, 1, CPU)])
    assert sorted(order.tolist()) == list(range(12))
