"""Generate logits and labels for the tests of this folder."""

import numpy as np
import torch
from torch import Tensor


def random_predictions(
    count: int, classes: int, seed: int = 0, scale: float = 3.0, help: float = 3.0
) -> tuple[Tensor, Tensor]:
    """Return logits of a network that is right more often than not, with logits of the given scale, and labels."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count)
    logits = generator.normal(0, scale, (count, classes))
    logits[np.arange(count), labels] += help
    return torch.from_numpy(logits.astype(np.float32)), torch.from_numpy(labels)


def with_confidence(confidence: list[float], correct: list[bool]) -> tuple[Tensor, Tensor]:
    """Return confidences as float64 and correctness as bool, as the metrics take them."""
    return torch.tensor(confidence, dtype=torch.float64), torch.tensor(correct)
