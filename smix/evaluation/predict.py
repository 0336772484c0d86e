"""Compute the logits of a model."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Set evaluation mode inside the block.

    Afterwards the mode of each module is restored, since some modules of a model may have been frozen in evaluation mode.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@torch.inference_mode()
def predict(
    model: nn.Module, batches: Iterable[tuple[Float[Tensor, "_ C *S"], Int[Tensor, "_"]]]
) -> tuple[Float[Tensor, "N K"], Int[Tensor, "N"]]:
    """Return the logits and labels of all batches, on the CPU.

    The model runs in evaluation mode; the mode of each module is restored afterwards.

    Args:
        model: Model that maps images to logits.
        batches: Batches of images and labels on the device of the model, at least one.

    >>> model = torch.nn.Flatten()
    >>> batches = [(torch.zeros(4, 1, 2, 5), torch.arange(4)), (torch.zeros(3, 1, 2, 5), torch.arange(3))]
    >>> logits, labels = smix.evaluation.predict(model, batches)
    >>> logits.shape, labels.shape
    (torch.Size([7, 10]), torch.Size([7]))
    """
    with evaluation_mode(model):
        pairs = [(model(images).float().cpu(), labels.cpu()) for images, labels in batches]
    logits, labels = zip(*pairs, strict=True)
    return torch.cat(logits), torch.cat(labels)
