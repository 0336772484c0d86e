"""Residual networks for small images, for signals (1 spatial dimension) and for volumes (3).

He et al., CVPR 2016, arXiv:1512.03385: basic blocks (figure 5, left), 6n + 2 layers for CIFAR (section 4.2), and the layers of
ResNet-10, 18 and 34 (table 1; 10 has one block per stage). Difference: where the width changes, the shortcut is a 1x1
convolution with batch norm (their option B), also in the networks for CIFAR, where the paper pads with zeros.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class SmallResNet(nn.Module):
    """Residual network of basic blocks for images of any size, in 1, 2 or 3 dimensions.

    It has a 3x3 stem of stride 1, stages of basic blocks (every stage but the first halves the spatial size), global average pooling, and a
    linear layer.

    Args:
        blocks: Number of blocks of each stage.
        widths: Number of channels of each stage; the stem has as many as the first.
        num_classes: Number of classes.
        channels: Number of channels of the images.
        dimensions: Number of spatial dimensions: 1, 2 or 3.
    """

    def __init__(
        self, blocks: Sequence[int], widths: Sequence[int], num_classes: int, channels: int = 3, dimensions: int = 2
    ) -> None:
        super().__init__()
        width = widths[0]
        self.stem = nn.Sequential(
            CONVOLUTIONS[dimensions](channels, width, kernel_size=3, padding=1, bias=False),
            NORMS[dimensions](width),
            nn.ReLU(inplace=True),
        )
        stages: list[nn.Module] = []
        for stage, (count, wider) in enumerate(zip(blocks, widths, strict=True)):
            for place in range(count):
                stages.append(Block(width, wider, 2 if stage and not place else 1, dimensions))
                width = wider
        self.blocks = nn.Sequential(*stages)
        self.classify = nn.Linear(width, num_classes)
        init_he(self)

    def forward(self, x: Float[Tensor, "B C *size"]) -> Float[Tensor, "B K"]:
        logits: Tensor = self.classify(self.blocks(self.stem(x)).mean(tuple(range(2, x.ndim))))
        return logits


class Block(nn.Module):
    """BasicBlock of torchvision in 1, 2 or 3 dimensions, with the same names in its state dict."""

    def __init__(self, width: int, wider: int, stride: int, dimensions: int) -> None:
        super().__init__()
        convolution, norm = CONVOLUTIONS[dimensions], NORMS[dimensions]
        shortcut = None
        # Created first: a seed then gives the same weights as with torchvision's block.
        if stride != 1 or width != wider:
            shortcut = nn.Sequential(convolution(width, wider, kernel_size=1, stride=stride, bias=False), norm(wider))
        self.conv1 = convolution(width, wider, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = norm(wider)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = convolution(wider, wider, kernel_size=3, padding=1, bias=False)
        self.bn2 = norm(wider)
        self.downsample = shortcut

    def forward(self, x: Float[Tensor, "B C *size"]) -> Float[Tensor, "B D *half"]:
        out: Tensor = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        out = self.relu(out)
        return out


def init_he(model: nn.Module) -> None:
    """Initialise all convolutions from a normal distribution of variance 2 / (kernel size x output channels), and their biases with 0.

    He et al., ICCV 2015, eq. 14.
    """
    for module in model.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
