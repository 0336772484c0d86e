"""Choose and describe the device to compute on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

from smix.errors import OptionError


def find_device(name: Literal["auto", "cpu", "cuda", "mps"] = "auto") -> torch.device:
    """Return the device with this name; "auto": CUDA if available, else MPS, else CPU.

    Raises:
        OptionError: The device is not available on this machine.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
    if not available[name]:
        raise OptionError(f"device: {name} is not available on this machine; omit --device")
    return torch.device(name)


def in_words(device: torch.device, threads: int | None = None) -> str:
    """Return a description of a device, such as "CPU with 2 threads".

    Args:
        device: Device to describe.
        threads: Number of CPU threads. Default: PyTorch's number of threads in this process.
    """
    if device.type == "cuda":
        return f"GPU {torch.cuda.get_device_name(device)}"
    if device.type == "mps":
        return "Apple GPU"
    count = threads or torch.get_num_threads()
    return f"CPU with {count} thread{'s' if count > 1 else ''}"


def best_precision(device: torch.device) -> str:
    """Return the precision of PyTorch networks: 16 bits where the hardware supports it, "float32" elsewhere (docs/decisions.md)."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    if device.type == "cpu":
        capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # not in older versions
        return "bfloat16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "float32"
    return "float32"


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether PyTorch raised this error because a GPU or the CPU ran out of memory."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in ("allocate memory", "out of memory")
    )


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Let PyTorch use `count` CPU threads inside the block; None leaves the number unchanged."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
