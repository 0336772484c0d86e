"""Choose and describe the device to compute on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from smix.errors import OptionError


def find_device(name: Literal["auto", "cpu", "cuda", "mps"] = "auto") -> torch.device:
    """The device of this name; auto: CUDA, else MPS, else the CPU.

    Raises:
        OptionError: this machine has none.
    """
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if here[kind])
    if not here[name]:
        raise OptionError(f"device: expected one of this machine, got {name}, which is not here; leave --device out")
    return torch.device(name)


def in_words(device: torch.device, threads: int | None = None) -> str:
    """Describe a device in words, such as "CPU with 2 threads". threads: None, those of this process."""
    if device.type == "cuda":
        return f"GPU {torch.cuda.get_device_name(device)}"
    if device.type == "mps":
        return "Apple GPU"
    count = threads or torch.get_num_threads()
    return f"CPU with {count} thread{'s' if count > 1 else ''}"


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether this is torch's error of a tensor that does not fit in the memory of a GPU or of the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in ("allocate memory", "out of memory")
    )


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Inside the block torch uses this many CPU threads; None: as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
