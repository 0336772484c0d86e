"""Test that at 32 pixels each corruption equals the published one, by independent implementations with the same random numbers."""

import numpy as np
import pytest
import torch
from PIL import Image

from smix.evaluation.corruptions.draws import Draws
from smix.evaluation.corruptions.suite import CORRUPTIONS, corrupt
from tests.evaluation.corruptions.photographs import photographs

cv2 = pytest.importorskip("cv2")
color = pytest.importorskip("skimage.color")

from tests.evaluation.corruptions import published  # noqa: E402

SEVERITIES = range(1, 6)


def numbers(name: str, severity: int) -> tuple[float, ...]:
    return CORRUPTIONS[name][1][severity - 1]


def draws_of(name: str, severity: int) -> Draws:
    return Draws(0, f"corruption/{name}/{severity}", (0, 1, 2, 3), torch.device("cpu"))


def assert_near(name: str, severity: int, expected: list[np.ndarray], most: float = 0.51, mean: float = 0.51) -> None:
    """Check equality up to rounding to grey levels. expected: values in 0..1."""
    found = corrupt(photographs(), name, severity, [0, 1, 2, 3]).numpy().astype(float)
    off = np.abs(found - np.clip(np.stack(expected), 0, 1) * 255)
    assert off.max() <= most
    assert off.mean() <= mean


def clean() -> list[np.ndarray]:
    return list(photographs().numpy() / 255)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_brightness_changes_v_of_hsv(severity):
    (more,) = numbers("brightness", severity)
    expected = []
    for image in clean():
        hsv = color.rgb2hsv(image)
        hsv[..., 2] = np.clip(hsv[..., 2] + more, 0, 1)
        expected.append(color.hsv2rgb(hsv))
    assert_near("brightness", severity, expected)


def test_black_becomes_grey():
    black = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    assert corrupt(black, "brightness", 5, [0]).unique().tolist() == [round(0.3 * 255)]


@pytest.mark.parametrize("severity", SEVERITIES)
def test_contrast_is_around_the_mean_of_each_channel(severity):
    (factor,) = numbers("contrast", severity)
    means = [image.mean((0, 1), keepdims=True) for image in clean()]
    expected = [(image - mean) * factor + mean for image, mean in zip(clean(), means, strict=True)]
    assert_near("contrast", severity, expected)


@pytest.mark.parametrize("side", [28, 32, 45, 64])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_pixelate_equals_pillow(severity, side):
    (share,) = numbers("pixelate", severity)
    images = photographs(side)
    found = corrupt(images, "pixelate", severity, range(4))
    small = (int(side * share),) * 2
    for image, ours in zip(images, found, strict=True):
        theirs = Image.fromarray(image.numpy()).resize(small, Image.Resampling.BOX)
        theirs = np.array(theirs.resize((side, side), Image.Resampling.BOX))
        off = np.abs(theirs.astype(int) - ours.numpy())
        assert off.max() <= 1  # Pillow's weights have 22 bits: halves of grey levels may be rounded differently
        assert (off > 0).mean() < 0.02


@pytest.mark.parametrize("side", [28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_jpeg_equals_opencv(severity, channels, side):
    (quality,) = numbers("jpeg_compression", severity)
    images = photographs(side, channels)
    found = corrupt(images, "jpeg_compression", severity, range(4))
    for image, ours in zip(images.numpy(), found.numpy(), strict=True):
        # OpenCV orders channels as BGR
        _, file = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        theirs = cv2.imdecode(file, cv2.IMREAD_UNCHANGED).reshape(image.shape)[..., ::-1]
        off = np.abs(theirs.astype(int) - ours)
        assert off.max() <= 3  # different builds of libjpeg
        assert off.mean() < 0.1


@pytest.mark.parametrize("severity", SEVERITIES)
def test_defocus_blur_equals_the_published_one(severity):
    c = numbers("defocus_blur", severity)
    assert_near("defocus_blur", severity, [published.defocus_blur(image, *c) for image in clean()])


@pytest.mark.parametrize("severity", SEVERITIES)
def test_zoom_blur_equals_the_published_one(severity):
    factors = np.arange(1, *numbers("zoom_blur", severity), 0.01)
    assert_near("zoom_blur", severity, [published.zoom_blur(image, factors) for image in clean()])


@pytest.mark.parametrize("severity", SEVERITIES)
def test_glass_blur_swaps_views_as_published(severity):
    sigma, reach, rounds = numbers("glass_blur", severity)
    draws = draws_of("glass_blur", severity)
    shifts = [(draws.uniform(f"shifts {turn}", 2, 32, 32) * 2 * reach).long().numpy() - reach for turn in range(rounds)]
    expected = [
        published.glass_blur(image, sigma, reach, [some[i] for some in shifts]) for i, image in enumerate(clean())
    ]
    assert_near("glass_blur", severity, expected)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_motion_blur_equals_imagemagick(severity):
    degrees = (90 * draws_of("motion_blur", severity).uniform("angle") - 45).tolist()
    assert max(map(abs, degrees)) <= 45
    expected = [
        published.motion_blur(image, *numbers("motion_blur", severity), angle)
        for image, angle in zip(clean(), degrees, strict=True)
    ]
    assert_near("motion_blur", severity, expected, most=0.55)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_fog_is_a_plasma_fractal(severity):
    random = (2 * draws_of("fog", severity).uniform("cloud", 32, 32) - 1).double().numpy()
    expected = [published.fog(image, *numbers("fog", severity), random[i]) for i, image in enumerate(clean())]
    assert_near("fog", severity, expected)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_snow_equals_the_published_one(severity):
    draws = draws_of("snow", severity)
    noise, degrees = draws.normal("flakes", 32, 32).double().numpy(), 90 * draws.uniform("angle") - 135
    expected = [
        published.snow(image, numbers("snow", severity), noise[i], degrees[i].item()) for i, image in enumerate(clean())
    ]
    assert_near("snow", severity, expected, most=0.6)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_elastic_transform_equals_the_published_one(severity):
    draws = draws_of("elastic_transform", severity)
    points = (2 * draws.uniform("points", 3, 2) - 1).double().numpy()
    shifts = (2 * draws.uniform("shifts", 2, 32, 32) - 1).double().numpy()
    expected = [
        published.elastic_transform(image, numbers("elastic_transform", severity), points[i], shifts[i])
        for i, image in enumerate(clean())
    ]
    # OpenCV rounds positions to 1/32 pixel.
    assert_near("elastic_transform", severity, expected, most=6, mean=0.7)
