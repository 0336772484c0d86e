"""Read weights files."""

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
"""Errors that PyTorch raises for a file without weights, or with those of another network; see Python's documentation of pickle."""


@contextmanager
def expect_weights_of(name: str, path: Path, advice: str) -> Iterator[None]:
    """Turn errors raised while the block loads a weights file into a MaskError.

    Args:
        name: Name of the network.
        path: Weights file.
        advice: Advice for the user if the file contains other weights.

    Raises:
        MaskError: The file does not contain the weights of this network.
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
            state: dict[str, Tensor] = load_file(path)
        except SafetensorError as error:
            raise ValueError(str(error)) from None
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
    return state
