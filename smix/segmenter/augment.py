"""Random changes of the colour, sharpness and texture of crops. Functions take and return images (B, 3, h, w) of values from 0 to 1."""

import io

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor

Images = Float[Tensor, "B 3 h w"]


def augment(images: Images, generator: torch.Generator, blurred: float = 0.3) -> Images:
    """Blur a share of the images, compress some, and change their colours."""
    images = blur(images, blurred, generator)
    images = compress(images, 0.25, generator)
    return change_colours(images, generator)


def _chosen(images: Images, share: float, generator: torch.Generator) -> Tensor:
    return torch.nonzero(torch.rand(len(images), generator=generator) < share)[:, 0]


def blur(images: Images, share: float, generator: torch.Generator) -> Images:
    """Shrink a share of the images to one smaller size and enlarge them again."""
    chosen, size = _chosen(images, share, generator), images.shape[-1]
    smaller = max(12, int(size * (0.45 + 0.5 * float(torch.rand((), generator=generator)))))
    if len(chosen):
        shrunk = F.interpolate(images[chosen], size=(smaller, smaller), mode="bilinear", antialias=True)
        blurred = F.interpolate(shrunk, size=images.shape[-2:], mode="bicubic", align_corners=False)
        images = images.index_copy(0, chosen, blurred.clamp(0, 1))
    return images


def compress(images: Images, share: float, generator: torch.Generator) -> Images:
    """Compress a share of the images as JPEG of quality 35 to 95."""
    chosen = _chosen(images, share, generator)
    qualities = torch.randint(35, 96, (len(chosen),), generator=generator).tolist()
    decoded = []
    for image, quality in zip(images[chosen].mul(255).byte().movedim(1, -1).numpy(), qualities, strict=True):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        decoded.append(torch.from_numpy(np.array(Image.open(file))))
    if decoded:
        images = images.index_copy(0, chosen, torch.stack(decoded).movedim(-1, 1).float() / 255)
    return images


def change_colours(images: Images, generator: torch.Generator) -> Images:
    """Change colour balance, contrast, saturation and brightness, add noise, turn some images grey, and change some textures."""
    count = len(images)

    def uniform() -> Tensor:
        return torch.rand(count, 1, 1, 1, generator=generator)

    def normal(channels: int = 1) -> Tensor:
        return torch.randn(count, channels, 1, 1, generator=generator)

    on = (uniform() < 0.8).float()
    images = images * (1 + on * normal(3) * 0.08) * torch.exp(on * normal() * 0.2)
    images = torch.lerp(images.mean((1, 2, 3), keepdim=True), images, torch.exp(on * normal() * 0.2))
    images = torch.lerp(images.mean(1, keepdim=True), images, torch.exp(on * normal() * 0.35).clamp(max=1.8))
    images = (images + on * normal() * 0.05).clamp(0, 1)
    images = torch.where(uniform() < 0.1, images.mean(1, keepdim=True), images)
    images = change_textures(images, 0.1, generator)
    noise = torch.randn(images.shape, generator=generator)
    return (images + (uniform() < 0.15) * uniform() * 0.05 * noise).clamp(0, 1)


def change_textures(images: Images, share: float, generator: torch.Generator) -> Images:
    """Blend a share of the images with a random 3x3 convolution of them, which changes textures and keeps shapes (Xu et al., 2021)."""
    chosen = _chosen(images, share, generator)
    if not len(chosen):
        return images
    kernels = torch.randn(3 * len(chosen), 3, 3, 3, generator=generator)
    padded = F.pad(images[chosen], (1, 1, 1, 1), mode="reflect").flatten(0, 1)[None]
    mixed = F.conv2d(padded, kernels, groups=len(chosen)).unflatten(1, (-1, 3))[0]
    spread, mean = torch.std_mean(mixed, (1, 2, 3), keepdim=True)
    weight = torch.rand(len(chosen), 1, 1, 1, generator=generator)
    return images.index_copy(
        0, chosen, torch.lerp((mixed - mean) / (spread + 1e-3) * 0.22 + 0.5, images[chosen], weight).clamp(0, 1)
    )
