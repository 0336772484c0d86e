"""Enlarge images before they are segmented, with any single-image super-resolution network that spandrel reads, such as ESRGAN
(Wang et al., 2018)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from smix.data.optional import import_optional
from smix.errors import MaskError, unknown
from smix.files import sha256
from smix.untrusted import one_line


@dataclass(frozen=True, eq=False)
class Upscaler:
    """A network that enlarges images (B, 3, h, w) with values in [0, 255]."""

    name: str
    sha256: str
    scale: int
    """Factor of the height and the width."""
    forward: Callable[[Float[Tensor, "B 3 h w"]], Tensor]
    """Function that enlarges images in [0, 1]."""

    def describe(self) -> dict[str, Any]:
        """Return the description for the manifest of a store."""
        return {"name": self.name, "sha256": self.sha256, "scale": self.scale}

    def __call__(self, images: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B 3 H W"]:
        return (self.forward(images / 255) * 255).clamp(0, 255)


def load_upscaler(text: str, device: torch.device) -> Upscaler:
    """Load a super-resolution network.

    Args:
        text: `esrgan:FILE`.
        device: Device of the network.

    Raises:
        OptionError: `text` has a different form.
        MaskError: spandrel is not installed, or the file is missing or does not contain a network that enlarges RGB images.
    """
    kind, _, place = text.partition(":")
    if kind != "esrgan" or not place:
        raise unknown("upscale", text, ["esrgan:FILE"])
    path = Path(place)
    if not path.is_file():
        raise MaskError(f"upscale: there is no file {path}; check the path")
    spandrel = import_optional("spandrel", "esrgan", MaskError)
    try:
        with torch.random.fork_rng(devices=()):  # the initial weights are random, then overwritten
            model = spandrel.ModelLoader(device=device).load_from_file(path)
    except Exception as error:  # pickle, safetensors and spandrel each have their own errors
        raise MaskError(
            f"upscale: expected a super-resolution network in {path}, got {one_line(error)}; check the file"
        ) from None
    if not isinstance(model, spandrel.ImageModelDescriptor) or model.purpose != "SR" or model.input_channels != 3:
        raise MaskError(
            f"upscale: expected a super-resolution network for RGB images in {path}, got {model.architecture.name}; "
            "choose another file"
        )
    model.eval()
    return Upscaler(f"esrgan:{path.name}", sha256(path), model.scale, model)
