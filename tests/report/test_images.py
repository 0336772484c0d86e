import numpy as np
import pytest
from matplotlib.figure import Figure

from smix.masks.lookup import stretch
from smix.plots.pictures import PIXELS, paint, show_image
from smix.report.pictures import thumbnail
from tests.conftest import make_set


def test_paint_colours_only_the_mask():
    image, mask = np.full((4, 6, 1), 100, np.uint8), np.zeros((4, 6), bool)
    mask[1, 2] = True
    painted = paint(image, mask)
    assert painted.shape == (4, 6, 3)
    assert (painted[~mask] == 100).all()
    assert painted[1, 2].tolist() == [185, 56, 126]  # 45 % of the image, 55 % of (255, 20, 147), rounded


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(5, 9), (9, 5)])
def test_an_image_is_shown_as_it_is_as_large_as_fits(size, channels):
    image = np.random.default_rng(0).integers(0, 256, (*size, channels), np.uint8)
    figure = Figure(figsize=(4, 4))
    show_image(figure, 1, 0.5, 1.8, 0.9, image)
    (axes,) = figure.axes
    assert (axes.images[0].get_array() == image).all()
    box = axes.get_position()
    width, height = 4 * box.width, 4 * box.height
    assert width / height == pytest.approx(size[1] / size[0])
    assert (width, height) == pytest.approx((1.62, 0.9) if size == (5, 9) else (0.5, 0.9))
    assert (4 * box.x0, 4 * (1 - box.y1)) == pytest.approx((1, 0.5))


def test_a_large_image_is_made_as_small_as_can_be_seen_by_means():
    image = np.zeros((600, 900, 3), np.uint8)
    image[:, ::2] = 200
    figure = Figure(figsize=(4, 4))
    show_image(figure, 0, 0, 1, 1, image)
    shown = figure.axes[0].images[0].get_array()
    assert shown.shape == (PIXELS * 2 // 3, PIXELS, 3)
    assert (shown == 100).all()


def test_thumbnails_keep_the_shape_and_masks_follow():
    data = make_set(8, size=(20, 20))
    made = make_set(2, size=(90, 40))
    assert thumbnail(made, 1, 64).shape == (64, 28, 3)
    assert (thumbnail(data, 3, 20) == data.images[3]).all()
    grey = type(data)(data.images[..., :1], data.labels, data.classes, name="grey", split="train")
    assert (thumbnail(grey, 3, 20) == data.images[3][..., :1]).all()
    mask = np.zeros((10, 10), bool)
    mask[:5] = True
    assert (stretch(mask[None], (64, 28))[0] == (np.arange(64) < 32)[:, None]).all()
