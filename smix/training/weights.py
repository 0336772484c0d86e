"""Read weights from safetensors files or torch checkpoints, to initialise or evaluate a network."""

from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from smix.arrays import check_stored
from smix.errors import RunError
from smix.models import head_of
from smix.untrusted import one_line, open_file

STATE_KEYS = ("model", "state_dict", "model_state_dict", "net", "weights")
"""Keys under which a training checkpoint keeps the weights."""
PREFIXES = ("module.", "_orig_mod.", "model.")
"""Prefixes that DistributedDataParallel, torch.compile and Lightning add to the names of weights."""


def load_init(model: nn.Module, file: str) -> None:
    """Load weights from a file into a model. A last layer for other classes is not loaded.

    Raises:
        RunError: The file is missing or damaged, or contains weights of another network.
    """
    state = read_weights(Path(file))
    own, head = model.state_dict(), head_of(model)
    for name in (f"{head}.weight", f"{head}.bias"):
        if name in state and name in own and state[name].shape != own[name].shape:
            state[name] = own[name]
    load_weights(model, state, file)


def load_weights(model: nn.Module, state: dict[str, Tensor], file: str) -> None:
    """Load all weights into a model.

    Args:
        model: Network, changed in place.
        state: Weights by name.
        file: Name of their file, for messages.

    Raises:
        RunError: The weights belong to another network.
    """
    own = model.state_dict()
    differ = sorted(name for name in own.keys() | state.keys() if _shape(own, name) != _shape(state, name))
    if differ:
        raise RunError(
            f"{file}: expected weights of this network, but {differ[0]} is {_shape(state, differ[0]) or 'missing'} instead of "
            f"{_shape(own, differ[0]) or 'missing'} ({len(differ)} tensors differ); choose the --model that they belong to"
        )
    model.load_state_dict(state)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the weights in a file by name. No code in the file is run.

    Raises:
        RunError: The file is missing or damaged.
    """
    try:
        with open_file(path) as file:
            check_stored(file)
        content: Any = (
            safetensors.torch.load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
        # A checkpoint of smix with a weight average was evaluated with that average.
        if isinstance(content, dict) and isinstance(average := content.get("average"), dict):
            content = {name: value for name, value in average.items() if name != "n_averaged"}
        for name in STATE_KEYS:
            if isinstance(content, dict) and isinstance(content.get(name), dict):
                content = content[name]
        if not content or not all(isinstance(value, Tensor) for value in content.values()):
            raise ValueError("no tensors by name")
    except Exception as error:  # a damaged file raises many kinds of exceptions
        raise RunError(
            f"{path}: expected a weights file (safetensors or a torch checkpoint), got {one_line(error)}; check the path, or save the "
            "state dict again"
        ) from None
    # One wrapper may be inside another, in any order.
    weights: dict[str, Tensor] = content
    while common := next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in weights)), ""):
        weights = {name.removeprefix(common): value for name, value in weights.items()}
    return weights


def _shape(state: dict[str, Any], name: str) -> str:
    return "x".join(map(str, state[name].shape)) or "one number" if name in state else ""
