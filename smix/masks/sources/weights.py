"""Read files of weights, and the JSON files next to them that say how images are prepared."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import torch
from msgspec import Meta
from torch import Tensor

from smix.arrays import check_stored
from smix.errors import MaskError
from smix.untrusted import UnreadableError, one_line, open_file

INVALID_WEIGHTS = (
    *(RuntimeError, pickle.UnpicklingError, EOFError, AttributeError, ImportError, LookupError),
    *(TypeError, ValueError, OSError),
)
"""Errors that PyTorch raises for a file that holds no weights, or those of another network; see Python's documentation of pickle."""

Side = Annotated[int, Meta(ge=1)]
Channels = tuple[float, float, float]
Positive = Annotated[float, Meta(gt=0)]


class NetworkCard(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the JSON file next to a network. Keys that are not listed are ignored."""

    mean: Channels
    """Mean of red, green and blue that is subtracted, on the 0..255 scale."""
    std: tuple[Positive, Positive, Positive]
    """Standard deviation of red, green and blue that is divided by, on the 0..255 scale."""
    input_size: tuple[Side, Side]
    """Height and width of the images that the network was trained on."""
    classes: tuple[str, ...] = ()
    """Names of the classes, the background included."""


@contextmanager
def expect_weights_of(name: str, path: Path, advice: str) -> Iterator[None]:
    """Translate errors in the block, which loads the weights in a file into a network.

    Args:
        name: Name of the network.
        path: File of the weights.
        advice: What to do if the file holds other weights.

    Raises:
        MaskError: The file does not hold the weights of this network.
    """
    try:
        yield
    except MaskError:
        raise
    except INVALID_WEIGHTS as error:
        raise MaskError(f"weights: expected the weights of {name} in {path}, got {one_line(error)}; {advice}") from None


def load_weights(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a file of safetensors, or in one of PyTorch without running code from it.

    Raises:
        MaskError: The file is missing or compressed.
        Exception: One of `INVALID_WEIGHTS`: the file has another content.
    """
    try:
        with open_file(path) as file:
            check_stored(file)
    except UnreadableError as error:
        raise MaskError(f"weights: expected a file {path}, got {error}; check the path") from None
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(str(error)) from None
    return torch.load(path, map_location="cpu", weights_only=True)
