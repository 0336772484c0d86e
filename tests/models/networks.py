"""What the tests of networks share."""

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
    """Counted without making the weights."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_model(name, classes, channels, size).parameters())


def images(channels: int, *size: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, channels, *size, generator=torch.Generator().manual_seed(0))


def copy_in_order(source: nn.Module, target: nn.Module) -> None:
    """The weights and statistics of one network for another that lists the same in the same order, by other names."""
    tensors = list(source.state_dict().values())
    names = list(target.state_dict())
    target.load_state_dict(dict(zip(names, tensors, strict=True)))


def randomise_norms(model: nn.Module) -> None:
    """Weights, biases and statistics as after training, so that a norm in the wrong place is seen."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5, generator=generator)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(0, 0.2, generator=generator)
