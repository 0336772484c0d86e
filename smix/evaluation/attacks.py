"""Images that are changed as little as possible to be mistaken: FGSM and PGD, within a distance of each value.

Goodfellow et al., "Explaining and Harnessing Adversarial Examples", ICLR 2015 (FGSM); Madry et al., "Towards Deep Learning
Models Resistant to Adversarial Attacks", ICLR 2018 (PGD). Images are on the 0..1 scale, where `eps` = 8/255 is usual for CIFAR;
the network must normalise them itself (`Normalised`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from smix.data.batches import Normalisation
from smix.errors import DataError, OptionError
from smix.evaluation.corruptions.draws import Draws


class Normalised(nn.Module):
    """A network with its normalisation in front: takes images on the 0..1 scale."""

    def __init__(self, model: nn.Module, normalise: Normalisation) -> None:
        super().__init__()
        self.model = model
        self.normalise = normalise

    def forward(self, images: Float[Tensor, "B C *S"]) -> Float[Tensor, "B K"]:
        check_scale(images)
        ones = [1] * (images.ndim - 2)
        mean, std = (images.new_tensor(each).view(-1, *ones) for each in (self.normalise.mean, self.normalise.std))
        return self.model((images - mean) / std)


def fgsm(
    model: nn.Module, images: Float[Tensor, "B C *S"], labels: Int[Tensor, "B"], eps: float = 8 / 255
) -> Float[Tensor, "B C *S"]:
    """One step of `eps` along the sign of the loss's gradient, cut to 0..1.

    Args:
        model: Takes images on the 0..1 scale. It is asked in evaluation mode and left as it was: mode, gradients, statistics.
        images: In [0, 1].

    Raises:
        DataError: images outside of [0, 1]; normalised ones, most likely.
        OptionError: `eps` outside of (0, 1].
    """
    return pgd(model, images, labels, eps, step=eps, steps=1)


def pgd(
    model: nn.Module,
    images: Float[Tensor, "B C *S"],
    labels: Int[Tensor, "B"],
    eps: float = 8 / 255,
    step: float = 2 / 255,
    steps: int = 10,
    index: Sequence[int] | Int[Tensor, "B"] | None = None,
    seed: int = 0,
) -> Float[Tensor, "B C *S"]:
    """`steps` steps of `step` along the sign of the loss's gradient, each cut to at most `eps` from the images and to 0..1.

    Args:
        model, images: As for `fgsm`.
        index: Of each image in its data set: the start is drawn within `eps` of the image, by seed and index. None: the attack
            starts at the images themselves.

    Raises:
        DataError: images outside of [0, 1], or more or fewer indices than images.
        OptionError: `eps` or `step` outside of (0, 1], or less than one step.
    """
    _check_numbers(eps, step, steps)
    check_scale(images)
    # Inside, so that it works under no_grad and inference_mode, too.
    with torch.inference_mode(False), torch.enable_grad(), _in_evaluation(model):
        images, labels = images.detach().clone(), labels.clone()
        lowest, highest = (images - eps).clamp(min=0), (images + eps).clamp(max=1)
        attacked = images
        if index is not None:
            attacked = torch.clamp(images + eps * _start(images, index, seed), lowest, highest)
        for _ in range(steps):
            attacked.requires_grad_()
            # The sum: no image's gradient depends on how many others there are.
            loss = F.cross_entropy(model(attacked), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, attacked)
            attacked = torch.clamp(attacked.detach() + step * gradient.sign(), lowest, highest)
    return attacked


def check_scale(images: Float[Tensor, "B C *S"]) -> None:
    """Raises:
    DataError: images outside of [0, 1].
    """
    if not images.numel():
        return
    low, high = images.detach().aminmax()
    if not (low >= 0 and high <= 1):
        raise DataError(
            f"attack: expected images from 0 to 1, got {low.item():.3g} to {high.item():.3g}; "
            "give them before they are normalised, and the network as Normalised"
        )


def _check_numbers(eps: float, step: float, steps: int) -> None:
    for name, number in (("eps", eps), ("step", step)):
        if not 0 < number <= 1:
            raise OptionError(f"attack: expected {name} above 0 and at most 1, got {number}; 8/255 is usual for eps")
    if steps < 1:
        raise OptionError(f"attack: expected 1 or more steps, got {steps}; 10 is usual")


def _start(images: Tensor, index: Sequence[int] | Tensor, seed: int) -> Tensor:
    rows = tuple(index.tolist() if isinstance(index, Tensor) else index)
    if len(rows) != len(images):
        raise DataError(
            f"attack: expected an index for each of {len(images)} images, got {len(rows)}; give all of them"
        )
    return 2 * Draws(seed, "attack", rows, images.device).uniform("start", *images.shape[1:]) - 1


@contextmanager
def _in_evaluation(model: nn.Module) -> Iterator[None]:
    """The mode of each module is restored: some parts of a network may have been frozen by their own."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
