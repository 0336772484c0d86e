"""Files of weights."""

import pickle
from pathlib import Path

import torch
from torch import Tensor

from smix.errors import MaskError

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
"""What comes out of a file that holds no weights, or others; see Python's documentation of pickle."""


def load_weights(path: Path) -> dict[str, Tensor]:
    """A state_dict, from safetensors or by torch.load of weights alone.

    Raises:
        MaskError: no such file.
        Exception: one of `NO_WEIGHTS`: something else is in it.
    """
    if not path.is_file():
        raise MaskError(f"weights: expected a file {path}, got none; check the path")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(str(error)) from None
    return torch.load(path, map_location="cpu", weights_only=True)
