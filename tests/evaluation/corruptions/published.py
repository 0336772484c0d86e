"""Published form of the corruptions, one image of 32 x 32 pixels at a time.

Uses numpy, scipy, OpenCV and scikit-image, and takes the random numbers as arguments. Written after ImageNet-C/create_c/make_cifar_c.py
of
hendrycks/robustness.
"""

import math

import cv2
import numpy as np
from scipy import ndimage
from skimage.filters import gaussian


def disk(radius: float, alias_blur: float) -> np.ndarray:
    grid = np.arange(-8, 9)
    x, y = np.meshgrid(grid, grid)
    points = np.array((x**2 + y**2) <= radius**2, dtype=np.float32)
    return cv2.GaussianBlur(points / points.sum(), ksize=(3, 3), sigmaX=alias_blur)


def defocus_blur(x: np.ndarray, radius: float, alias_blur: float) -> np.ndarray:
    kernel = disk(radius, alias_blur)
    return np.stack([cv2.filter2D(x[..., d], -1, kernel) for d in range(x.shape[-1])], -1)


def clipped_zoom(image: np.ndarray, factor: float) -> np.ndarray:
    side = image.shape[0]
    part = math.ceil(side / factor)
    top = (side - part) // 2
    image = ndimage.zoom(image[top : top + part, top : top + part], (factor, factor, 1), order=1)
    trim = (image.shape[0] - side) // 2
    return image[trim : trim + side, trim : trim + side]


def zoom_blur(x: np.ndarray, factors: np.ndarray) -> np.ndarray:
    return (x + sum(clipped_zoom(x, factor) for factor in factors)) / (len(factors) + 1)


def glass_blur(x: np.ndarray, sigma: float, reach: int, shifts: list[np.ndarray]) -> np.ndarray:
    """Swap pixels and blur. shifts: for each round (2, H, W), down and right. Swaps views, as published."""
    x = np.uint8(np.round(gaussian(x, sigma=sigma, channel_axis=-1) * 255))
    side = len(x)
    for some in shifts:
        for h in range(side - reach, reach, -1):
            for w in range(side - reach, reach, -1):
                dy, dx = some[:, h, w]
                h_prime, w_prime = h + dy, w + dx
                x[h, w], x[h_prime, w_prime] = x[h_prime, w_prime], x[h, w]
    return gaussian(x / 255.0, sigma=sigma, channel_axis=-1)


def motion_blur(x: np.ndarray, radius: float, sigma: float, degrees: float) -> np.ndarray:
    """Blur like MotionBlurImage of ImageMagick, pixel by pixel."""
    width = 2 * math.ceil(radius) + 1
    kernel = np.exp(-(np.arange(width) ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    run, rise = width * math.cos(math.radians(degrees)), width * math.sin(math.radians(degrees))
    height, length = x.shape[:2]
    out = np.zeros_like(x)
    for i, weight in enumerate(kernel):
        dx = math.ceil(i * run / math.hypot(run, rise) - 0.5)
        dy = math.ceil(i * rise / math.hypot(run, rise) - 0.5)
        rows = np.clip(np.arange(height) + dy, 0, height - 1)
        columns = np.clip(np.arange(length) + dx, 0, length - 1)
        out += weight * x[rows][:, columns]
    return out


def plasma_fractal(random: np.ndarray, wibbledecay: float) -> np.ndarray:
    """Return a plasma fractal. random: (side, side) in [-1, 1), one number per pixel, used once."""
    side = len(random)
    heights = np.zeros((side, side))
    step, wibble = side, 100.0
    while step >= 2:
        half = step // 2
        for y in range(half, side, step):
            for x in range(half, side, step):
                corners = [heights[(y + a) % side, (x + b) % side] for a in (-half, half) for b in (-half, half)]
                heights[y, x] = sum(corners) / 4 + wibble * random[y, x] * wibble
        for y in range(0, side, half):
            for x in range(0 if (y // half) % 2 else half, side, step):
                around = [
                    heights[(y + a * half) % side, (x + b * half) % side] for a, b in ((0, 1), (1, 0), (0, -1), (-1, 0))
                ]
                heights[y, x] = sum(around) / 4 + wibble * random[y, x] * wibble
        step, wibble = half, wibble / wibbledecay
    heights -= heights.min()
    return heights / heights.max()


def fog(x: np.ndarray, thickness: float, decay: float, random: np.ndarray) -> np.ndarray:
    cloud = plasma_fractal(random, decay)[: len(x), : len(x)]
    return (x + thickness * cloud[..., None]) * x.max() / (x.max() + thickness)


def snow(x: np.ndarray, c: tuple[float, ...], noise: np.ndarray, degrees: float) -> np.ndarray:
    layer = clipped_zoom((c[0] + c[1] * noise)[..., None], c[2])
    layer[layer < c[3]] = 0
    layer = motion_blur(np.clip(layer, 0, 1), c[4], c[5], degrees)
    grey = cv2.cvtColor(x.astype(np.float32), cv2.COLOR_RGB2GRAY)[..., None]
    return c[6] * x + (1 - c[6]) * np.maximum(x, grey * 1.5 + 0.5) + layer + np.rot90(layer, k=2)


def elastic_transform(x: np.ndarray, c: tuple[float, ...], points: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Deform an image. points: (3, 2), shifts: (2, H, W), both between -1 and 1."""
    side = len(x)
    strength, smoothness, affine = (number * side for number in c)
    centre, third = np.float32((side, side)) // 2, side // 3
    before = np.float32([centre + third, [centre[0] + third, centre[1] - third], centre - third])
    after = before + (affine * points).astype(np.float32)
    matrix = cv2.getAffineTransform(before, after)
    x = cv2.warpAffine(x.astype(np.float32), matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)
    if strength == 0:
        return x
    dx, dy = (gaussian(some, smoothness, mode="reflect", truncate=3) * strength for some in shifts)
    columns, rows = np.meshgrid(np.arange(side), np.arange(side))
    places = [rows + dy, columns + dx]
    return np.stack([ndimage.map_coordinates(x[..., d], places, order=1, mode="reflect") for d in range(3)], -1)
