"""Read weights from safetensors files or torch checkpoints, to initialise or evaluate a network."""

from dataclasses import dataclass
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
NAMED = 3
"""Number of tensors that a message names."""


@dataclass(frozen=True)
class Loaded:
    """Which initial weights of a network were loaded."""

    file: str
    """Name of their file or source."""
    count: int
    """Number of loaded tensors."""
    left_out: tuple[str, ...] = ()
    """Names of tensors of the file that were not loaded."""
    new: tuple[str, ...] = ()
    """Names of tensors of the network that keep their random values."""
    by_order: bool = False
    """True if the names in the file are others, and the tensors were matched by their order."""

    def describe(self) -> str:
        """Return one to three lines."""
        lines = [f"initial weights: {self.count} tensors of {self.file}"]
        if self.by_order:
            lines[0] += ", matched by order, kind and shape because their names differ"
        if self.left_out:
            lines.append(f"  left out: {_listed(self.left_out)}")
        lines.append(f"  new, with random values: {_listed(self.new) if self.new else 'none'}")
        return "\n".join(lines)


def load_init(model: nn.Module, file: str) -> Loaded:
    """Load weights from a file into a model. The last layer is not loaded if its classes differ, nor are parts that the model lacks.

    Names of another implementation of the same network are matched by order, if kind (weight, bias, ...) and shape agree.

    Raises:
        RunError: The file is missing or damaged, or contains weights of another network.
    """
    state = read_weights(Path(file))
    own, head = model.state_dict(), head_of(model)
    renamed = _by_order(state, own, head)
    state = renamed or state
    modules = {name.partition(".")[0] for name in own}
    chosen, left_out, new = {}, [], []
    for name, tensor in own.items():
        replaced = name.startswith(f"{head}.") and _shape(state, name) != _shape(own, name)
        if replaced or (name.endswith(".num_batches_tracked") and name not in state):
            chosen[name] = tensor
            new.append(name)
    for name, tensor in state.items():
        if name in new or (name not in own and name.partition(".")[0] not in modules):
            left_out.append(name)
        else:
            chosen[name] = tensor
    load_weights(model, chosen, file)
    return Loaded(file, len(own) - len(new), tuple(left_out), tuple(new), renamed is not None)


def describe_pretrained(name: str, model: nn.Module) -> str:
    """Return a description of the pre-trained weights of timm or torchvision that a model was built with."""
    own, head = model.state_dict(), head_of(model)
    new = tuple(key for key in own if key.startswith(f"{head}."))
    config = getattr(model, "pretrained_cfg", None) or {}
    tag = f" ({config['tag']})" if config.get("tag") else ""
    return Loaded(f"the pre-trained weights of {name}{tag}", len(own) - len(new), (), new).describe()


def _by_order(state: dict[str, Tensor], own: dict[str, Tensor], head: str) -> dict[str, Tensor] | None:
    """Return weights under the names of the network if their names are others but they agree in order; else None."""
    if len(state) != len(own) or state.keys() & own.keys():
        return None
    pairs = list(zip(own, state, strict=True))
    for name, other in pairs:
        same_kind = name.rpartition(".")[2] == other.rpartition(".")[2]
        if not same_kind or (own[name].shape != state[other].shape and not name.startswith(f"{head}.")):
            return None
    return {name: state[other] for name, other in pairs}


def _listed(names: tuple[str, ...]) -> str:
    first = ", ".join(names[:NAMED])
    return f"{first} and {len(names) - NAMED} more" if len(names) > NAMED else first


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
