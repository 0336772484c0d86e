"""Derive random numbers from a key: the same (seed, purpose, step, rank) always gives the same numbers.

No generator state is carried from step to step, so a resumed run needs none, and two purposes never share a stream.
"""

import hashlib

import torch


def key(seed: int, purpose: str, step: int = 0, rank: int = 0) -> int:
    """Return a stable 63-bit hash of the arguments.

    >>> key(0, "mix", step=1) == key(0, "mix", step=1), key(0, "mix", step=1) == key(0, "mix", step=2)
    (True, False)
    """
    text = f"{seed}/{purpose}/{step}/{rank}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(
    seed: int, purpose: str, step: int = 0, rank: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Return a torch generator on `device` for this key."""
    return torch.Generator(device).manual_seed(key(seed, purpose, step, rank))


def seed(number: int, device: torch.device | str = "cpu") -> None:
    """Seed torch's global generators of the CPU and of `device`, from which dropout and torchvision's transforms draw.

    torch.manual_seed seeds the generators of all devices, and takes a third of a millisecond even if CUDA is unused.
    """
    torch.default_generator.manual_seed(number)
    if torch.device(device).type == "cuda":
        torch.cuda.manual_seed(number)
    if torch.device(device).type == "mps":
        torch.mps.manual_seed(number)
