"""Load the state dict of a network from a file."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from smix.arrays import check_stored
from smix.errors import MaskError
from smix.untrusted import UnreadableError, one_line, open_file

INVALID_WEIGHTS = (
    *(RuntimeError, pickle.UnpicklingError, EOFError, AttributeError, ImportError, LookupError),
    *(TypeError, ValueError, OSError),
)
"""Errors that PyTorch raises for a file that contains no weights, or weights of another network."""


@contextmanager
def expect_weights_of(name: str, path: Path, advice: str) -> Iterator[None]:
    """Convert errors that are raised while the block loads a weights file to a MaskError.

    Args:
        name: Name of the network.
        path: Weights file.
        advice: End of the message, which says what to do if the file contains other weights.

    Raises:
        MaskError: The file does not contain the weights of this network.
    """
    try:
        yield
    except MaskError:
        raise
    except INVALID_WEIGHTS as error:
        raise MaskError(
            f"weights: {path} does not contain the weights of {name} ({one_line(error)}); {advice}"
        ) from None


def load_weights(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a safetensors or PyTorch file, without running code from it.

    Raises:
        MaskError: The file is missing or compressed.
        Exception: One of `INVALID_WEIGHTS`, if the file contains no weights.
    """
    try:
        with open_file(path) as file:
            check_stored(file)
    except UnreadableError as error:
        raise MaskError(f"weights: {path} cannot be used ({error}); check the path") from None
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            state: dict[str, Tensor] = load_file(path)
        except SafetensorError as error:
            raise ValueError(str(error)) from None
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
    return state
