"""Corruptions of brightness, contrast and geometry, and by digital processing."""

import io

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from smix.evaluation.corruptions.draws import Draws
from smix.evaluation.corruptions.filters import along_both, box_matrix, gaussian_blur


def brightness(x: Float[Tensor, "B C H W"], draws: Draws, increase: float) -> Float[Tensor, "B C H W"]:
    """Increase the value (V) of HSV by `increase`: all channels grow by the same factor, and black becomes grey."""
    value = x.amax(1, keepdim=True)
    raised = (value + increase).clamp(max=1)
    return torch.where(value > 0, x * (raised / value.clamp(min=1e-6)), raised)


def contrast(x: Float[Tensor, "B C H W"], draws: Draws, factor: float) -> Float[Tensor, "B C H W"]:
    """Scale the deviation of each channel from its mean over the image by `factor`."""
    means = x.double().mean((2, 3), keepdim=True).float()
    return means + (x - means) * factor


def elastic_transform(
    x: Float[Tensor, "B C H W"], draws: Draws, strength: float, smoothness: float, affine: float
) -> Float[Tensor, "B C H W"]:
    """Apply a random affine map, then smooth random shifts. All lengths are fractions of the shorter side.

    Args:
        x: Images in [0, 1].
        draws: Random numbers.
        strength: Factor of the shifts, which are drawn from -1 to 1 and then smoothed.
        smoothness: Standard deviation of the Gaussian that smooths the shifts.
        affine: Maximum shift along each axis of the three central points that define the affine map.
    """
    height, width = x.shape[-2:]
    side, third = min(height, width), min(height, width) // 3
    columns = torch.arange(width, device=x.device).double()
    rows = torch.arange(height, device=x.device).double()[:, None]

    points = torch.tensor([[1, 1], [1, -1], [-1, -1]], device=x.device).double() * third
    points = points + torch.tensor([width // 2, height // 2], device=x.device)
    moved = points + affine * side * (2 * draws.uniform("points", 3, 2) - 1)
    # The map that takes the moved points back gives the source of each pixel of the result. (B, 3, 2)
    back = torch.linalg.solve(F.pad(moved, (0, 1), value=1.0), points.expand(len(x), 3, 2))[..., None, None]
    from_columns, from_rows = (back[:, 0, i] * columns + back[:, 1, i] * rows + back[:, 2, i] for i in (0, 1))
    x = _sample(x, from_columns, from_rows, corners=True)
    if strength == 0:
        return x
    shifts = 2 * draws.uniform("shifts", 2, height, width) - 1
    dx, dy = (gaussian_blur(shifts, smoothness * side, "reflect", truncate=3) * strength * side).unbind(1)
    return _sample(x, columns + dx, rows + dy, corners=False)


def _sample(
    x: Float[Tensor, "B C H W"], columns: Float[Tensor, "B H W"], rows: Float[Tensor, "B H W"], corners: bool
) -> Float[Tensor, "B C H W"]:
    """Interpolate linearly; images are mirrored at the centres of border pixels if `corners`, else at their edges."""
    height, width = x.shape[-2:]
    if corners:
        grid = torch.stack([2 * columns / (width - 1) - 1, 2 * rows / (height - 1) - 1], -1)
    else:
        grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], -1)
    return F.grid_sample(x, grid.float(), padding_mode="reflection", align_corners=corners)


def pixelate(x: Float[Tensor, "B C H W"], draws: Draws, fraction: float) -> Float[Tensor, "B C H W"]:
    """Shrink each side to this fraction by averaging boxes of pixels, and enlarge it again by repeating pixels."""
    height, width = x.shape[-2:]
    small = int(height * fraction), int(width * fraction)
    # Pillow resizes along the rows first, and rounds to grey levels in between, halves upwards.
    shrunk = (x @ box_matrix(width, small[1]).to(x.device).T * 255 + 0.5).floor()
    shrunk = (box_matrix(height, small[0]).to(x.device) @ shrunk + 0.5).floor() / 255
    return along_both(shrunk, box_matrix(small[0], height), box_matrix(small[1], width))


def jpeg_compression(x: Float[Tensor, "B C H W"], draws: Draws, quality: int) -> Float[Tensor, "B C H W"]:
    """Compress as JPEG with this quality and half the colour resolution, using Pillow on the CPU."""
    stored = (x * 255).round().byte().movedim(1, -1).cpu().numpy()
    read = np.stack([_through_jpeg(image, quality) for image in stored])
    return torch.from_numpy(read).to(x.device).movedim(-1, 1).float() / 255


def _through_jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(image if image.shape[-1] == 3 else image[..., 0]).save(file, "JPEG", quality=quality)
    with Image.open(file) as read:
        return np.asarray(read).reshape(image.shape)
