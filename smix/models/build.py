"""Build networks by name, from a table of networks and families of networks."""

import re
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from smix.errors import OptionError, unknown
from smix.models.preact import preactresnet18, wide_resnet
from smix.models.pretrained import TORCHVISION, load_torchvision
from smix.models.pyramidnet import PyramidNet
from smix.models.small import SmallResNet
from smix.models.timm import timm_model
from smix.models.torchvision import imagenet_resnet, mobilenetv3, small_resnet, vgg16, vit_tiny

Size = tuple[int, ...]
Builder = Callable[[int, int, Size], nn.Module]
"""Function that builds a network, given the number of classes, the number of channels and the spatial size."""


def cifar_resnet(n: int, num_classes: int, channels: int, size: Size) -> nn.Module:
    """Build a ResNet of 6n + 2 layers for CIFAR (He et al., CVPR 2016, section 4.2)."""
    return SmallResNet((n, n, n), (16, 32, 64), num_classes, channels, len(size))


MODELS: dict[str, Builder] = {
    **{f"resnet{6 * n + 2}": partial(cifar_resnet, n) for n in (1, 2, 3, 5, 7, 9, 18)},
    "resnet10": lambda classes, channels, size: small_resnet(10, classes, channels),
    "resnet18": lambda classes, channels, size: small_resnet(18, classes, channels),
    "resnet34": lambda classes, channels, size: small_resnet(34, classes, channels),
    "resnet18-imagenet": lambda classes, channels, size: imagenet_resnet(18, classes, channels),
    "resnet50-imagenet": lambda classes, channels, size: imagenet_resnet(50, classes, channels),
    "preactresnet18": lambda classes, channels, size: preactresnet18(classes, channels),
    "vgg16": lambda classes, channels, size: vgg16(classes, channels),
    "mobilenetv3-small": partial(mobilenetv3, False),
    "mobilenetv3-large": partial(mobilenetv3, True),
    "vit-tiny": vit_tiny,
}


def narrow_resnet(name: re.Match[str], num_classes: int, channels: int, size: Size) -> nn.Module:
    """Build resnetD-wW: a ResNet of D layers whose first stage has W channels, for 1 to 3 spatial dimensions."""
    depth, width = int(name["depth"]), int(name["width"])
    blocks = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
    if depth not in blocks:
        raise OptionError(f"model: expected 10, 18 or 34 layers for resnetD-wW, got {depth}; choose one of these")
    return SmallResNet(blocks[depth], (width, 2 * width, 4 * width, 8 * width), num_classes, channels, len(size))


def wrn(name: re.Match[str], num_classes: int, channels: int, size: Size) -> nn.Module:
    """Build wrn-D-K or wrn-D-K-dropP: a Wide ResNet of D layers with widening factor K and dropout P."""
    depth, widen, dropout = int(name["depth"]), int(name["widen"]), float(name["dropout"] or 0)
    if depth < 10 or (depth - 4) % 6:
        raise OptionError(f"model: expected 6n + 4 layers for wrn-D-K, got {depth}; choose 16, 22, 28, 34 or 40")
    return wide_resnet(depth, widen, dropout, num_classes, channels)


def pyramidnet(name: re.Match[str], num_classes: int, channels: int, size: Size) -> nn.Module:
    """Build pyramidnet-D-aALPHA: a PyramidNet of D layers whose width grows by ALPHA channels in total."""
    depth, alpha = int(name["depth"]), int(name["alpha"])
    # The paper's choice (table 4): blocks of two layers up to 110, of three from 164 on.
    bottleneck = depth >= 164
    layers = 9 if bottleneck else 6
    if depth < 8 or (depth - 2) % layers:
        raise OptionError(
            f"model: expected {layers}n + 2 layers for pyramidnet-D-aALPHA of {'164 and more' if bottleneck else 'less than 164'}, "
            f"got {depth}; choose 110, 164, 200, 236 or 272"
        )
    return PyramidNet((depth - 2) // layers, alpha, bottleneck, num_classes, channels)


FAMILIES: dict[str, tuple[str, Callable[[re.Match[str], int, int, Size], nn.Module]]] = {
    "resnetD-wW": (r"resnet(?P<depth>\d+)-w(?P<width>[1-9]\d*)", narrow_resnet),
    "wrn-D-K": (r"wrn-(?P<depth>\d+)-(?P<widen>[1-9]\d*)(?P<dropout>)", wrn),
    "wrn-D-K-dropP": (r"wrn-(?P<depth>\d+)-(?P<widen>[1-9]\d*)-drop(?P<dropout>0\.\d+)", wrn),
    "pyramidnet-D-aALPHA": (r"pyramidnet-(?P<depth>\d+)-a(?P<alpha>[1-9]\d*)", pyramidnet),
    "timm:NAME": (r"timm:(?P<name>.*)", lambda match, *options: timm_model(match["name"], *options)),
}
"""Pattern of the names of each family, and the function that builds such a network."""

ANY_DIMENSIONS = r"resnet(8|14|20|32|44|56|110|\d+-w\d+)"
"""Pattern of the names of networks that also take signals and volumes."""


def model_names() -> list[str]:
    """Return the names of all networks, and the form of the names of each family."""
    return [*MODELS, *FAMILIES]


def build_model(
    name: str, num_classes: int, channels: int = 3, size: Size = (32, 32), pretrained: bool = False
) -> nn.Module:
    """Build a network by its name.

    Args:
        name: One of `MODELS`, or of a family, such as wrn-28-10, resnet18-w16, pyramidnet-110-a48 or timm:resnet26.
        num_classes: Number of classes.
        channels: Number of channels of the images.
        size: Spatial size of the images, of 1, 2 or 3 numbers.
        pretrained: Download and use the weights of timm or torchvision; for timm:NAME and the networks of `TORCHVISION`.

    Returns:
        The network in training mode, with weights from PyTorch's global generator unless `pretrained`. For images of 2 or 3 dimensions,
        its weights are channels last in memory.

    Raises:
        OptionError: The name is unknown, or the network cannot take images of this size.

    >>> import torch
    >>> model = build_model("resnet8", 10)
    >>> model(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    build = _builder(name)
    shown = " x ".join(map(str, size))
    if not 1 <= len(size) <= 3 or min(size) < 1:
        raise OptionError(
            f"model: expected images of 1, 2 or 3 spatial dimensions, got {shown or 'none'}; give their size"
        )
    if len(size) != 2 and not re.fullmatch(ANY_DIMENSIONS, name):
        raise OptionError(
            f"model: expected images of 2 spatial dimensions for {name}, got {shown}; "
            "choose resnet8 to resnet110, or resnet18-w64"
        )
    if pretrained:
        if name in TORCHVISION:
            model = build(num_classes, channels, size)
            load_torchvision(model, name, head_of(model))
        elif name.startswith("timm:"):
            model = timm_model(name.removeprefix("timm:"), num_classes, channels, size, pretrained)
        else:
            raise OptionError(
                f"init_weights: {name} has no pretrained weights, only timm:NAME, {', '.join(TORCHVISION)} have; "
                "pass a weights file instead"
            )
    else:
        model = build(num_classes, channels, size)
    layout = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d}[len(size)]
    return model.to(memory_format=layout)


def head_of(model: nn.Module) -> str:
    """Return the name of the last linear layer, which computes the logits.

    Its weights are NAME.weight and NAME.bias in the state dict.

    Raises:
        OptionError: The network has no linear layer.
    """
    names: list[str] = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not names:
        raise OptionError(f"model: {type(model).__name__} has no linear layer for the logits; choose another model")
    return names[-1]


def _builder(name: str) -> Builder:
    if name in MODELS:
        return MODELS[name]
    for pattern, build in FAMILIES.values():
        if match := re.fullmatch(pattern, name):
            return partial(build, match)
    raise unknown("model", name, model_names())
