"""Adversarial attacks that change each pixel value by at most eps (L-infinity norm): FGSM and PGD.

Goodfellow et al., "Explaining and Harnessing Adversarial Examples", ICLR 2015 (FGSM); Madry et al., "Towards Deep Learning
Models Resistant to Adversarial Attacks", ICLR 2018 (PGD). Images are in [0, 1], where `eps` = 8/255 is typical for CIFAR;
the model must normalise them itself (`NormalisedModel`).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from smix.data.batches import Normalisation
from smix.errors import DataError, OptionError
from smix.evaluation.corruptions.draws import Draws, as_index
from smix.evaluation.predict import evaluation_mode


class NormalisedModel(nn.Module):
    """Model that normalises its input, so that it takes images in [0, 1].

    Args:
        model: Model that takes normalised images (B, C, *S).
        normalise: Mean and standard deviation of each channel.

    >>> from smix.data.batches import Normalisation
    >>> model = smix.evaluation.NormalisedModel(torch.nn.Flatten(), Normalisation((0.5,), (0.25,)))
    >>> model(torch.full((1, 1, 2, 2), 0.75))
    tensor([[1., 1., 1., 1.]])
    """

    def __init__(self, model: nn.Module, normalise: Normalisation) -> None:
        super().__init__()
        self.model = model
        self.normalise = normalise

    def forward(self, images: Float[Tensor, "B C *S"]) -> Float[Tensor, "B K"]:
        check_scale(images)
        ones = [1] * (images.ndim - 2)
        mean, std = (images.new_tensor(values).view(-1, *ones) for values in (self.normalise.mean, self.normalise.std))
        logits: Tensor = self.model((images - mean) / std)
        return logits


def fgsm(
    model: nn.Module, images: Float[Tensor, "B C *S"], labels: Int[Tensor, "B"], eps: float = 8 / 255
) -> Float[Tensor, "B C *S"]:
    """Return adversarial images by the fast gradient sign method (FGSM).

    It takes one step of `eps` along the sign of the loss gradient, clipped to [0, 1] (Goodfellow et al., ICLR 2015, section 4).

    Args:
        model: Model that takes images in [0, 1]. It runs in evaluation mode; its mode, gradients and running statistics are
            left unchanged.
        images: Images in [0, 1].
        labels: Class numbers.
        eps: Size of the step, in (0, 1].

    Raises:
        DataError: An image is outside of [0, 1]; most likely the images are normalised.
        OptionError: `eps` is out of its range.

    >>> images, labels = torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 3])
    >>> attacked = smix.evaluation.fgsm(torch.nn.Flatten(), images, labels, eps=0.25)
    >>> attacked[0].flatten()  # the pixel of the true class becomes darker, the others brighter
    tensor([0.2500, 0.7500, 0.7500, 0.7500])
    """
    return pgd(model, images, labels, eps, step_size=eps, steps=1)


def pgd(
    model: nn.Module,
    images: Float[Tensor, "B C *S"],
    labels: Int[Tensor, "B"],
    eps: float = 8 / 255,
    step_size: float = 2 / 255,
    steps: int = 10,
    index: Sequence[int] | Int[Tensor, "B"] | None = None,
    seed: int = 0,
) -> Float[Tensor, "B C *S"]:
    """Return adversarial images by projected gradient descent (PGD).

    It takes `steps` steps of `step_size` along the sign of the loss gradient, each clipped to at most `eps` from the images and to
    [0, 1] (Madry et al., ICLR 2018, section 2.1).

    Args:
        model: Model that takes images in [0, 1]. It runs in evaluation mode; its mode, gradients and running statistics are
            left unchanged.
        images: Images in [0, 1].
        labels: Class numbers.
        eps: Maximum change of a pixel value, in (0, 1].
        step_size: Size of a step, in (0, 1].
        steps: Number of steps, 1 or more.
        index: Index of each image in its data set: the start is drawn within `eps` of the image, by seed and index. Default: the
            attack starts at the images themselves.
        seed: Random seed for the starting points.

    Raises:
        DataError: An image is outside of [0, 1], or there is not one index per image.
        OptionError: `eps`, `step_size` or `steps` is out of its range.

    >>> images, labels = torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 3])
    >>> attacked = smix.evaluation.pgd(torch.nn.Flatten(), images, labels, eps=8 / 255, index=range(2))
    >>> attacked.shape, bool((attacked - images).abs().max() <= 8 / 255 + 1e-6)
    (torch.Size([2, 1, 2, 2]), True)
    """
    _check_numbers(eps, step_size, steps)
    check_scale(images)
    # Gradients are needed, also under no_grad and inference_mode.
    with torch.inference_mode(False), torch.enable_grad(), evaluation_mode(model):
        images, labels = images.detach().clone(), labels.clone()
        lowest, highest = (images - eps).clamp(min=0), (images + eps).clamp(max=1)
        attacked = images
        if index is not None:
            attacked = torch.clamp(images + eps * _start(images, index, seed), lowest, highest)
        for _ in range(steps):
            attacked.requires_grad_()
            # Summed, so that the gradient of an image does not depend on the batch size.
            loss = F.cross_entropy(model(attacked), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, attacked)
            attacked = torch.clamp(attacked.detach() + step_size * gradient.sign(), lowest, highest)
    return attacked


def check_scale(images: Float[Tensor, "B C *S"]) -> None:
    """Raise DataError if an image is outside of [0, 1]."""
    if not images.numel():
        return
    low, high = images.detach().aminmax()
    if not (low >= 0 and high <= 1):
        raise DataError(
            f"attack: expected images in [0, 1], got {low.item():.3g} to {high.item():.3g}; "
            "pass them before normalisation, and wrap the model in NormalisedModel"
        )


def _check_numbers(eps: float, step_size: float, steps: int) -> None:
    for name, number in (("eps", eps), ("step_size", step_size)):
        if not 0 < number <= 1:
            raise OptionError(f"attack: expected {name} above 0 and at most 1, got {number}; eps=8/255 is typical")
    if steps < 1:
        raise OptionError(f"attack: expected 1 or more steps, got {steps}; steps=10 is typical")


def _start(images: Tensor, index: Sequence[int] | Tensor, seed: int) -> Tensor:
    """Return uniform draws from [-1, 1), shaped as the images."""
    draws = Draws(seed, "attack", as_index(index, len(images), "attack"), images.device)
    return 2 * draws.uniform("start", *images.shape[1:]) - 1
