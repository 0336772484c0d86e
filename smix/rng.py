"""Random numbers by key: the same (seed, purpose, step, rank) gives the same numbers, wherever and whenever it is asked.

Nothing is carried from step to step, so a resumed run needs no saved generator state, and two purposes never share a stream.
"""

import hashlib

import torch


def key(seed: int, purpose: str, step: int = 0, rank: int = 0) -> int:
    """A stable 63-bit hash of its arguments."""
    text = f"{seed}/{purpose}/{step}/{rank}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(
    seed: int, purpose: str, step: int = 0, rank: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A torch generator on `device` for this key."""
    return torch.Generator(device).manual_seed(key(seed, purpose, step, rank))


def seed(number: int, device: torch.device | str = "cpu") -> None:
    """Seed torch's own generators, of the CPU and of `device`: dropout and torchvision's transforms draw from them.

    torch.manual_seed seeds those of all devices, and where CUDA is not in use it takes a third of a millisecond to note that.
    """
    torch.default_generator.manual_seed(number)
    if torch.device(device).type == "cuda":
        torch.cuda.manual_seed(number)
    if torch.device(device).type == "mps":
        torch.mps.manual_seed(number)
