"""Files of weights."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from smix.arrays import check_stored
from smix.errors import MaskError
from smix.untrusted import UnreadableError, one_line, open_file

NO_WEIGHTS = (
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    ImportError,
    LookupError,
    TypeError,
    ValueError,
    OSError,
)
"""Errors of a file that holds no weights or others; see Python's documentation of pickle."""


@contextmanager
def expecting(name: str, path: Path, advice: str) -> Iterator[None]:
    """Inside the block the network `name` is made of the weights in a file. Raises MaskError if they are not its own."""
    try:
        yield
    except MaskError:
        raise
    except NO_WEIGHTS as error:
        raise MaskError(f"weights: expected the weights of {name} in {path}, got {one_line(error)}; {advice}") from None


def load_weights(path: Path) -> dict[str, Tensor]:
    """A state_dict, from safetensors or by torch.load of weights alone.

    Raises:
        MaskError: no such file.
        Exception: one of `NO_WEIGHTS`: something else is in it.
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
