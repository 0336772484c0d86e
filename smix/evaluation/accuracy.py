"""Accuracy and cross-entropy of predictions, over all samples at once: a mean of batch means would be biased."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def accuracy(logits: Float[Tensor, "N K"], labels: Int[Tensor, "N"]) -> float:
    """Share of the samples whose largest logit is that of their label, in [0, 1]."""
    return (logits.argmax(1) == labels).double().mean().item()


def cross_entropy(logits: Float[Tensor, "N K"], labels: Int[Tensor, "N"]) -> float:
    """Mean of -log softmax(logits)[label], in nats."""
    return F.cross_entropy(logits.double(), labels).item()
