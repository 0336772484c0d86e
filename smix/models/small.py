"""Classifiers for small images: ResNet-18 with a small-image stem, and the residual networks for CIFAR."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock
from torchvision.models.resnet import resnet18 as torchvision_resnet18

from smix.errors import unknown


def resnet18(num_classes: int, channels: int = 3) -> nn.Module:
    """ResNet-18 (He et al., CVPR 2016) with a 3x3 first convolution of stride 1 and no max-pool: 11,173,962 parameters for
    10 classes."""
    model = torchvision_resnet18(num_classes=num_classes)
    model.conv1 = nn.Conv2d(channels, 64, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
    return model


class CifarResNet(nn.Module):
    """6n + 2 layers, widths 16, 32, 64 (He et al., CVPR 2016, section 4.2). Differs: where the width changes, the shortcut
    is a 1x1 convolution (their option B), not padding with zeros."""

    def __init__(self, n: int, num_classes: int, channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, 16, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)
        )
        blocks: list[nn.Module] = []
        width = 16
        for stage, wider in enumerate((16, 32, 64)):
            for place in range(n):
                stride = 2 if stage and not place else 1
                shortcut = None
                if stride == 2:
                    shortcut = nn.Sequential(
                        nn.Conv2d(width, wider, kernel_size=1, stride=2, bias=False), nn.BatchNorm2d(wider)
                    )
                blocks.append(BasicBlock(width, wider, stride, shortcut))
                width = wider
        self.blocks = nn.Sequential(*blocks)
        self.classify = nn.Linear(width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        return self.classify(self.blocks(self.stem(x)).mean((2, 3)))


MODELS: dict[str, Callable[[int, int], nn.Module]] = {
    "resnet8": lambda classes, channels: CifarResNet(1, classes, channels),
    "resnet14": lambda classes, channels: CifarResNet(2, classes, channels),
    "resnet20": lambda classes, channels: CifarResNet(3, classes, channels),
    "resnet18": resnet18,
}


def build_model(name: str, num_classes: int, channels: int = 3) -> nn.Module:
    """A network with fresh weights from torch's global generator, channels last in memory.

    Raises:
        OptionError: no such name.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return MODELS[name](num_classes, channels).to(memory_format=torch.channels_last)
