"""Frozen dataclasses of tensors: what plans, targets and moves have in common."""

from dataclasses import fields
from typing import Any, TypeVar, cast

import torch

# Not typing.Self: beartype, which checks the shapes in the tests, refuses it on single methods.
_T = TypeVar("_T", bound="Tensors")


class Tensors:
    """Can be moved and pinned, field by field; absent fields (None) stay absent."""

    def each(self: _T, change: Any) -> _T:
        values = (getattr(self, field.name) for field in fields(cast(Any, self)))
        return type(self)(*(None if value is None else change(value) for value in values))

    def to(self: _T, device: torch.device | str, non_blocking: bool = False) -> _T:
        return self.each(lambda value: value.to(device, non_blocking=non_blocking))

    def pin_memory(self: _T) -> _T:
        return self.each(lambda value: value.pin_memory())


def per_sample(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """(B,) shaped to broadcast over the (B, ...) of another tensor."""
    return values.view(-1, *[1] * (like.ndim - 1))


AT_ONCE = 2**18
"""Values that are worked on at once: what lies between two steps stays in a processor's cache, and small beside a batch."""
MORE_ON_GPU = 64


def parts(count: int, values: int, device: torch.device) -> list[slice]:
    """The slices of a batch of `count` samples of so many values, to be worked on one after the other."""
    if torch.compiler.is_compiling():  # which would make a graph for every number of them
        return [slice(None)]
    most = AT_ONCE if device.type == "cpu" else AT_ONCE * MORE_ON_GPU
    step = max(1, most // max(1, values))
    return [slice(start, start + step) for start in range(0, max(1, count), step)]
