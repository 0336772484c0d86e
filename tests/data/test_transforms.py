"""Test random crops and flips: masks follow, all offsets are reached, and images move by whole pixels."""

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
    """Return copies of one image with distinct pixels, none of them 0, so that each output pixel shows its origin."""
    one = torch.arange(1, 1 + int(np.prod(size)), dtype=torch.uint8).view(size)
    return one[..., None].expand(count, *size, 1).clone()


def pad_crop_flip(image: NDArray, crop_padding: int, offsets: tuple[int, ...], hflip: bool) -> NDArray:
    """Pad, crop at `offsets` and flip with numpy, as the docstring of the function under test describes."""
    padded = np.pad(image, [*[(crop_padding, crop_padding)] * (image.ndim - 1), (0, 0)])
    cut = padded[tuple(slice(start, start + length) for start, length in zip(offsets, image.shape, strict=False))]
    return cut if not hflip else np.flip(cut, -2)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("crop_padding", "hflip"), [(2, True), (0, True), (1, False)])
def test_an_image_that_equals_its_mask_equals_it_after_200_draws(size, crop_padding, hflip):
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
def test_every_offset_and_mirror_image_is_equally_likely(size, crop_padding, hflip):
    variants = list(
        product(product(range(2 * crop_padding + 1), repeat=len(size)), (False, True) if hflip else (False,))
    )
    count = 100 * len(variants)
    images = numbered(size, count)
    image = images[0].numpy()
    known = {
        pad_crop_flip(image, crop_padding, offsets, mirrored).tobytes(): (offsets, mirrored)
        for offsets, mirrored in variants
    }
    assert len(known) == len(variants)
    found, _ = crop_and_flip(images, None, crop_padding, hflip, generator())
    seen = Counter(known[one.tobytes()] for one in found.numpy())
    assert set(seen) == set(variants)
    # Chi-square with k degrees of freedom: mean k, standard deviation sqrt(2 k).
    chi_square = sum((number - 100) ** 2 / 100 for number in seen.values())
    freedom = len(variants) - 1
    assert chi_square < freedom + 4 * np.sqrt(2 * freedom) + 1


@pytest.mark.parametrize("masked", [True, False])
def test_without_crop_and_flip_images_are_unchanged(masked):
    images = numbered((5, 9), 6)
    masks = images[..., 0] % 2 == 0 if masked else None
    images_out, masks_out = crop_and_flip(images, masks, 0, False, generator())
    assert torch.equal(images_out, images)
    assert (masks_out is None) == (masks is None)
    assert masks is None or torch.equal(masks_out, masks)


def test_samples_of_a_batch_are_drawn_independently():
    found, _ = crop_and_flip(numbered((5, 9), 64), None, 4, True, generator())
    assert len(np.unique(found.numpy().reshape(64, -1), axis=0)) > 40


def test_the_same_generator_gives_the_same_result_and_the_input_is_unchanged():
    images = numbered((5, 9), 32)
    masks = images[..., 0] % 2 == 0
    before = images.clone(), masks.clone()
    one, again, other = (crop_and_flip(images, masks, 2, True, generator(seed)) for seed in (5, 5, 6))
    assert torch.equal(images, before[0])
    assert torch.equal(masks, before[1])
    assert torch.equal(one[0], again[0])
    assert torch.equal(one[1], again[1])
    assert not torch.equal(one[0], other[0])


def test_masks_do_not_change_crops_and_flips():
    """Runs with and without masks see the same crops."""
    images = numbered((5, 9), 32)
    with_masks, _ = crop_and_flip(images, images[..., 0] > 9, 2, True, generator())
    without, _ = crop_and_flip(images, None, 2, True, generator())
    assert torch.equal(with_masks, without)
