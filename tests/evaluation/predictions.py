"""Logits and labels that tests of several files share."""

import numpy as np
import torch
from torch import Tensor


def made(count: int, classes: int, seed: int = 0, scale: float = 3.0, help: float = 3.0) -> tuple[Tensor, Tensor]:
    """Logits of a network that is right more often than not, with a scale of its own."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count)
    logits = generator.normal(0, scale, (count, classes))
    logits[np.arange(count), labels] += help
    return torch.from_numpy(logits.astype(np.float32)), torch.from_numpy(labels)


def of_confidence(confidence: list[float], correct: list[bool]) -> tuple[Tensor, Tensor]:
    return torch.tensor(confidence, dtype=torch.float64), torch.tensor(correct)
