"""Crops and flips: masks follow, every offset is reached, and nothing but whole pixels moves."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from smix.data.transforms import draw_crops_and_flips

SIZES = [(7,), (5, 9), (3, 4, 5)]


def crop_and_flip(images, masks, crop_padding, hflip, draws):
    return draw_crops_and_flips(len(images), images.ndim - 2, crop_padding, hflip, draws).apply(images, masks)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(size: tuple[int, ...], count: int) -> torch.Tensor:
    """Copies of one image whose pixels are all different and none 0: an output tells where each came from."""
    one = torch.arange(1, 1 + int(np.prod(size)), dtype=torch.uint8).view(size)
    return one[..., None].expand(count, *size, 1).clone()


def moved(image: NDArray, crop_padding: int, offsets: tuple[int, ...], hflip: bool) -> NDArray:
    """What the docstring says, by numpy's own pad and slices: padded, cut out at `offsets`, mirrored."""
    padded = np.pad(image, [*[(crop_padding, crop_padding)] * (image.ndim - 1), (0, 0)])
    cut = padded[tuple(slice(start, start + length) for start, length in zip(offsets, image.shape, strict=False))]
    return cut if not hflip else np.flip(cut, -2)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("crop_padding", "hflip"), [(2, True), (0, True), (1, False)])
def test_an_image_whose_channels_are_its_mask_still_is_after_200_draws(size, crop_padding, hflip):
    masks = torch.rand(8, *size, generator=generator()) < 0.5
    images = masks[..., None].expand(*masks.shape, 3).to(torch.uint8) * 255
    draws, different = generator(1), 0
    for _ in range(200):
        images_out, masks_out = crop_and_flip(images, masks, crop_padding, hflip, draws)
        assert (images_out.dtype, masks_out.dtype) == (torch.uint8, torch.bool)
        assert images_out.shape == images.shape
        assert torch.equal(images_out, masks_out[..., None].expand_as(images_out).to(torch.uint8) * 255)
        different += int(not torch.equal(masks_out, masks))
    assert different > 190


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("crop_padding", "hflip"), [(0, True), (1, False), (1, True), (2, True)])
def test_every_offset_and_mirror_image_is_reached_equally_often_and_nothing_else(size, crop_padding, hflip):
    variants = list(
        product(product(range(2 * crop_padding + 1), repeat=len(size)), (False, True) if hflip else (False,))
    )
    count = 100 * len(variants)
    images = numbered(size, count)
    image = images[0].numpy()
    known = {
        moved(image, crop_padding, offsets, mirrored).tobytes(): (offsets, mirrored) for offsets, mirrored in variants
    }
    assert len(known) == len(variants)
    found, _ = crop_and_flip(images, None, crop_padding, hflip, generator())
    seen = Counter(known[one.tobytes()] for one in found.numpy())
    assert set(seen) == set(variants)
    # Chi-square with as many degrees of freedom: mean k, standard deviation sqrt(2 k).
    chi_square = sum((number - 100) ** 2 / 100 for number in seen.values())
    freedom = len(variants) - 1
    assert chi_square < freedom + 4 * np.sqrt(2 * freedom) + 1


@pytest.mark.parametrize("masked", [True, False])
def test_without_crop_and_flip_nothing_moves(masked):
    images = numbered((5, 9), 6)
    masks = images[..., 0] % 2 == 0 if masked else None
    images_out, masks_out = crop_and_flip(images, masks, 0, False, generator())
    assert torch.equal(images_out, images)
    assert (masks_out is None) == (masks is None)
    assert masks is None or torch.equal(masks_out, masks)


def test_samples_of_a_batch_are_drawn_each_for_itself():
    found, _ = crop_and_flip(numbered((5, 9), 64), None, 4, True, generator())
    assert len(np.unique(found.numpy().reshape(64, -1), axis=0)) > 40


def test_the_same_generator_gives_the_same_and_the_input_is_untouched():
    images = numbered((5, 9), 32)
    masks = images[..., 0] % 2 == 0
    before = images.clone(), masks.clone()
    one, again, other = (crop_and_flip(images, masks, 2, True, generator(seed)) for seed in (5, 5, 6))
    assert torch.equal(images, before[0])
    assert torch.equal(masks, before[1])
    assert torch.equal(one[0], again[0])
    assert torch.equal(one[1], again[1])
    assert not torch.equal(one[0], other[0])


def test_masks_do_not_change_what_is_drawn():
    """Runs with and without masks see the same crops."""
    images = numbered((5, 9), 32)
    with_masks, _ = crop_and_flip(images, images[..., 0] > 9, 2, True, generator())
    without, _ = crop_and_flip(images, None, 2, True, generator())
    assert torch.equal(with_masks, without)
