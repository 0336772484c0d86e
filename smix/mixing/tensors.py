"""Base class of plans, targets and moves, which are frozen dataclasses of tensors."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar, cast

import torch
from jaxtyping import Int
from torch import Tensor

# Not typing.Self: beartype, which checks the shapes in the tests, refuses it on single methods.
_T = TypeVar("_T", bound="Tensors")


class Tensors:
    """Base class of dataclasses whose tensors are moved and pinned together. Fields that are None stay None."""

    def map(self: _T, change: Callable[[Any], Any]) -> _T:
        """Return a copy with `change` applied to every tensor."""
        values = (getattr(self, field.name) for field in fields(cast(Any, self)))
        return type(self)(*(None if value is None else change(value) for value in values))

    def to(self: _T, device: torch.device | str, non_blocking: bool = False) -> _T:
        """Return a copy on another device; see torch.Tensor.to."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self: _T) -> _T:
        """Return a copy in pinned memory; DataLoader(pin_memory=True) calls this method."""
        return self.map(lambda tensor: tensor.pin_memory())


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Return values of shape (B,), shaped to broadcast over a tensor of shape (B, ...)."""
    return values.view(-1, *[1] * (like.ndim - 1))


CPU_CHUNK = 2**18
"""Number of values to process at once: intermediate results stay in the processor's cache, and are small compared with a batch."""
GPU_CHUNK = 64 * CPU_CHUNK


def batch_slices(count: int, values: int, device: torch.device) -> list[slice]:
    """Return slices of a batch of `count` samples with `values` numbers each, to be processed one after the other."""
    if torch.compiler.is_compiling():  # it would compile a graph for every number of slices
        return [slice(None)]
    chunk = CPU_CHUNK if device.type == "cpu" else GPU_CHUNK
    step = max(1, chunk // max(1, values))
    return [slice(start, start + step) for start in range(0, max(1, count), step)]


def unravel(index: Int[Tensor, "n"], size: tuple[int, ...]) -> list[Int[Tensor, "n"]]:
    """Return the coordinates of flat indices. Unlike torch.unravel_index, this never synchronises with the device."""
    coordinates = []
    for length in reversed(size):
        coordinates.append(index % length)
        index = index // length
    return coordinates[::-1]
