"""Test the random changes of crops."""

import torch

from smix.segmenter.augment import augment, blur, change_colours, change_textures, compress


def images(count: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_values_stay_between_0_and_1_and_the_input_is_unchanged():
    before = images()
    after = augment(before, torch.Generator().manual_seed(0))
    assert after.shape == before.shape
    assert after.min() >= 0
    assert after.max() <= 1
    assert not torch.equal(after, before)
    assert torch.equal(before, images())


def test_augmentation_is_reproducible():
    first, second = (augment(images(), torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(first, second)


def test_a_share_of_0_changes_nothing():
    generator = torch.Generator().manual_seed(0)
    for change in (blur, compress, change_textures):
        assert torch.equal(change(images(), 0.0, generator), images())


def test_blurred_images_are_smoother():
    def roughness(x: torch.Tensor) -> torch.Tensor:
        return (x.diff(dim=-1) ** 2).mean((1, 2, 3))

    assert (roughness(blur(images(), 1.0, torch.Generator().manual_seed(0))) < roughness(images())).all()


def test_compressed_images_are_close_to_the_original():
    smooth = torch.nn.functional.interpolate(images()[..., :4, :4], size=(32, 32), mode="bilinear")
    changed = compress(smooth, 1.0, torch.Generator().manual_seed(0))
    assert 0 < (changed - smooth).abs().mean() < 0.05


def test_some_images_turn_grey():
    changed = change_colours(images(200), torch.Generator().manual_seed(0))
    noisy_grey = (changed - changed.mean(1, keepdim=True)).abs().mean((1, 2, 3)) < 0.03
    assert 5 <= noisy_grey.sum() <= 45
