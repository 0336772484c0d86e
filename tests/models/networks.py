"""Helpers of the tests of networks."""

import torch
from torch import nn

from smix.models import build_model


def build(
    name: str, classes: int = 10, channels: int = 3, size: tuple[int, ...] = (32, 32), seed: int = 0
) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_model(name, classes, channels, size)


def parameters(name: str, classes: int = 10, channels: int = 3, size: tuple[int, ...] = (32, 32)) -> int:
    """Return the number of parameters without allocating weights."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_model(name, classes, channels, size).parameters())


def images(channels: int, *size: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, channels, *size, generator=torch.Generator().manual_seed(0))


def copy_in_order(source: nn.Module, target: nn.Module) -> None:
    """Copy weights and statistics of one network to another that has the same tensors in the same order under other names."""
    tensors = list(source.state_dict().values())
    names = list(target.state_dict())
    target.load_state_dict(dict(zip(names, tensors, strict=True)))


def randomise_norms(model: nn.Module) -> None:
    """Give batch norms random weights, biases and statistics, so that a misplaced norm is noticed."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5, generator=generator)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(0, 0.2, generator=generator)
