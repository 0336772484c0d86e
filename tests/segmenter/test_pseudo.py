"""Test the masks that a segmenter gives to images without true ones."""

import numpy as np
import torch

from smix.segmenter.crops import UNKNOWN
from smix.segmenter.pseudo import pseudo_masks
from tests.segmenter.test_crops import squares
from tests.segmenter.test_fit import small


def test_masks_images_and_agreement_have_the_expected_sizes_and_values():
    images = squares(6).planes[:, :3, ::3, ::3].transpose(0, 2, 3, 1).copy()
    model = small().eval()
    pictures, masks, agreement = pseudo_masks(model, images, 96, (32, 48))
    assert pictures.shape == (6, 96, 96, 3)
    assert masks.shape == (6, 96, 96)
    assert set(np.unique(masks)) <= {0, 1, UNKNOWN}
    assert ((agreement >= 0) & (agreement <= 1)).all()
    assert np.abs(pictures[:, ::3, ::3].astype(float) - images).mean() < 25


def test_a_network_that_is_sure_of_everything_agrees_with_itself():
    model = small().eval()
    torch.nn.init.constant_(model.heads[0].bias, 50.0)
    _, masks, agreement = pseudo_masks(model, np.zeros((2, 32, 32, 3), np.uint8), 96, (32, 48))
    assert (masks == 1).all()
    assert agreement.tolist() == [1, 1]
