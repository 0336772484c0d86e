"""Test the mixed sample images of a run folder."""

import numpy as np
import pytest
import torch

from smix.mixing import CutMix, Mixup, SMix, Validity, Vanilla, parse_method
from smix.training.samples import draw_samples
from tests.conftest import make_set

DATA = make_set(8)


def test_without_mixing_samples_equal_the_images():
    samples = draw_samples(Vanilla(), DATA, seed=0)
    assert np.array_equal(samples.mixed, DATA.images)
    assert samples.partner.tolist() == list(range(8))
    assert (samples.weight == 1).all()
    assert (samples.share == 1).all()


@pytest.mark.parametrize("method", ["mixup", "cutmix", "fmix", "smix(labels=area)", "smix(labels=area)+fmix"])
def test_samples_are_mixed_with_their_weights(method):
    samples = draw_samples(parse_method(method), DATA, 0, DATA.masks)
    weight = samples.weight.astype(float)[..., None]
    expected = weight * DATA.images + (1 - weight) * DATA.images[samples.partner]
    assert np.abs(samples.mixed - expected).max() <= 0.5 + 1e-3
    assert samples.share == pytest.approx(samples.weight.mean((1, 2)), abs=1e-6)
    assert (samples.mixed != DATA.images).any()


def test_smix_samples_follow_the_masks():
    samples = draw_samples(SMix(alpha=0.5), DATA, 0, DATA.masks)
    mixed = samples.partner != np.arange(8)
    assert mixed.any()
    assert np.array_equal(samples.weight[mixed], 0.5 * DATA.masks[mixed])
    assert (samples.share[mixed] == 0.5).all()


def test_samples_fall_back_if_a_mask_is_not_valid():
    valid = np.arange(8) % 2 == 0
    samples = draw_samples(parse_method("smix(alpha=1)+vanilla"), DATA, 0, DATA.masks, valid)
    good = valid & Validity()(torch.from_numpy(DATA.masks)[:, None].float()).numpy()
    assert (good != valid).any()
    partnered = samples.fell_back | (samples.partner != np.arange(8))
    assert np.array_equal(samples.fell_back[partnered], ~good[partnered])
    assert samples.fell_back.any()
    assert not samples.fell_back.all()


def test_the_same_seed_draws_the_same_samples_and_another_seed_other_samples():
    one, again, other = (draw_samples(CutMix(), DATA, seed) for seed in (0, 0, 1))
    assert np.array_equal(one.mixed, again.mixed)
    assert not np.array_equal(one.mixed, other.mixed)


def test_drawing_samples_does_not_change_images_or_the_global_generator():
    images, state = DATA.images.copy(), torch.random.get_rng_state()
    draw_samples(Mixup(), DATA, seed=0)
    assert np.array_equal(DATA.images, images)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_samples_of_grey_images():
    grey = make_set(8)
    samples = draw_samples(
        Mixup(), type(grey)(grey.images[..., :1], grey.labels, grey.classes, name="grey", split="train"), seed=0
    )
    assert samples.mixed.shape == (8, 10, 14, 1)
