"""Test segmenting images of any size, and the guided filter."""

import numpy as np
import pytest
import torch

from smix.models.guided import guided_filter
from smix.models.segmenting import WORKING, WORKING_SMALL, pad, scaled_size, segment


def ramp(*size: int) -> torch.Tensor:
    return torch.arange(3.0 * size[0] * size[1]).view(1, 3, *size)


def edges(side: int, blur: int = 0) -> torch.Tensor:
    """A bright square on a dark ground, whose edges are blurred."""
    image = torch.zeros(1, 3, side, side)
    image[..., side // 4 : -side // 4, side // 4 : -side // 4] = 1
    if blur:
        image = torch.nn.functional.avg_pool2d(image, 2 * blur + 1, 1, blur, count_include_pad=False)
    return image


@pytest.mark.parametrize(
    ("size", "expected"), [((32, 28), (32, 32)), ((8, 9), (8, 16)), ((1, 1), (8, 8)), ((4, 30), (8, 32))]
)
def test_images_are_padded_to_multiples_of_8(size, expected):
    padded = pad(ramp(*size))
    assert tuple(padded.shape[2:]) == expected
    assert torch.equal(padded[..., : size[0], : size[1]], ramp(*size))


@pytest.mark.parametrize(
    ("size", "expected"), [((200, 100), (64, 32)), ((97, 97), (64, 64)), ((1, 1000), (1, 64)), ((20, 32), (40, 64))]
)
def test_images_are_resized_with_their_aspect_ratio(size, expected):
    assert scaled_size(size, 64) == expected


@pytest.mark.parametrize(("side", "working"), [(16, WORKING_SMALL), (32, WORKING_SMALL), (64, WORKING), (150, WORKING)])
def test_images_are_segmented_at_the_working_size_and_maps_have_their_own(side, working):
    sizes = []

    def forward(images: torch.Tensor) -> torch.Tensor:
        sizes.append(tuple(images.shape[2:]))
        return 8 * images[:, :1]

    maps, views = segment(forward, 255 * edges(side))
    assert sizes == [(working, working)] * 2
    assert tuple(maps.shape) == (1, side, side)
    assert tuple(views.shape) == (2, 1, working, working)
    truth = edges(side)[:, 0] > 0.5
    assert ((maps > 0.5) & truth).sum() / ((maps > 0.5) | truth).sum() > 0.8


def test_views_are_in_the_order_of_the_image():
    image = torch.zeros(1, 3, 48, 48)
    image[..., :10] = 255
    _, views = segment(lambda images: 4 * images[:, :1], image)
    torch.testing.assert_close(views[0], views[1], atol=1e-4, rtol=0)


def test_the_guided_filter_moves_blurred_edges_to_those_of_the_image():
    blurred, truth = edges(48, blur=4)[:, 0] ** 2, edges(48)[:, 0] > 0.5
    filtered = guided_filter(blurred, edges(48), 4)
    assert ((filtered > 0.5) == truth).float().mean() > ((blurred > 0.5) == truth).float().mean()


def test_the_guided_filter_is_a_least_squares_fit_of_colours_in_each_window():
    """One window that covers the image: the map is a linear function of the colours."""
    rng = np.random.default_rng(0)
    image, values = rng.random((3, 6, 6)), rng.random((6, 6))
    design = np.concatenate([image.reshape(3, -1), np.ones((1, 36))]).T
    expected = design @ np.linalg.lstsq(design, values.ravel(), rcond=None)[0]
    found = guided_filter(torch.from_numpy(values)[None], torch.from_numpy(image)[None], 6, epsilon=1e-9)
    assert np.allclose(found[0].numpy().ravel(), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 3), (32, 32)])
def test_the_guided_filter_takes_images_of_any_size_and_of_one_colour(size):
    image, values = torch.full((2, 3, *size), 0.3), torch.full((2, *size), 0.7)
    torch.testing.assert_close(guided_filter(values, image, 3), values, atol=1e-3, rtol=0)


def test_the_guided_filter_enlarges_a_map_with_the_edges_of_the_large_image():
    small, large = torch.nn.functional.avg_pool2d(edges(64), 4), edges(64)
    enlarged = guided_filter(small[:, 0], small, 2, large)
    assert tuple(enlarged.shape) == (1, 64, 64)
    assert ((enlarged > 0.5) == (large[:, 0] > 0.5)).float().mean() > 0.98
