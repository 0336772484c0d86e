"""Predict logits."""

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@torch.inference_mode()
def predict(
    model: nn.Module, batches: Iterable[tuple[Float[Tensor, "b C *S"], Int[Tensor, "b"]]]
) -> tuple[Float[Tensor, "N K"], Int[Tensor, "N"]]:
    """Logits and true labels of all batches, on the CPU. The model is in evaluation mode meanwhile; its mode is restored."""
    was_training = model.training
    model.eval()
    try:
        pairs = [(model(images).float().cpu(), labels.cpu()) for images, labels in batches]
    finally:
        model.train(was_training)
    logits, labels = zip(*pairs, strict=True)
    return torch.cat(logits), torch.cat(labels)
