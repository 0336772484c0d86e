"""Residual networks with batch norm and ReLU before each convolution: PreActResNet-18 and Wide ResNets.

Block: He et al., ECCV 2016, "Identity Mappings in Deep Residual Networks", arXiv:1603.05027, figure 1(b). Where the shape
changes, the shortcut is a 1x1 convolution of the activated input, as in both papers' code.
Wide ResNets: Zagoruyko and Komodakis, BMVC 2016, arXiv:1605.07146, table 1; dropout between the convolutions, section 2.4.
Difference: the linear layer keeps PyTorch's default initialisation.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import relu

from smix.models.small import init_he


def preactresnet18(num_classes: int, channels: int = 3) -> nn.Module:
    """Build PreActResNet-18 as in kuangliu/pytorch-cifar, the network used for mixup and its follow-ups.

    It has 11,171,146 parameters for 10 classes and, unlike the networks of He et al., no batch norm and ReLU after the last block.
    Difference from kuangliu/pytorch-cifar: convolutions are initialised by `init_he`.
    """
    return PreActResNet(64, (64, 128, 256, 512), 2, num_classes, channels, last_norm=False)


def wide_resnet(depth: int, widen: int, dropout: float, num_classes: int, channels: int = 3) -> nn.Module:
    """Build a Wide ResNet: a stem of 16 channels and three stages of (depth - 4) / 6 blocks with 16, 32 and 64 times `widen` channels."""
    widths = (16 * widen, 32 * widen, 64 * widen)
    return PreActResNet(16, widths, (depth - 4) // 6, num_classes, channels, dropout=dropout)


class PreActResNet(nn.Module):
    """Pre-activation residual network.

    It has a 3x3 stem of stride 1, stages of pre-activation blocks, of which all but the first halve the image, global average pooling,
    and a linear layer.

    Args:
        stem: Number of channels after the stem.
        widths: Number of channels of each stage.
        blocks: Number of blocks of each stage.
        num_classes: Number of classes.
        channels: Number of channels of the images.
        dropout: Probability of dropout between the convolutions of a block, in [0, 1).
        last_norm: Append batch norm and ReLU to the last block.
    """

    def __init__(
        self,
        stem: int,
        widths: Sequence[int],
        blocks: int,
        num_classes: int,
        channels: int = 3,
        *,
        dropout: float = 0.0,
        last_norm: bool = True,
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, stem, kernel_size=3, padding=1, bias=False)
        stages: list[nn.Module] = []
        width = stem
        for stage, wider in enumerate(widths):
            for place in range(blocks):
                stages.append(PreActBlock(width, wider, 2 if stage and not place else 1, dropout))
                width = wider
        self.blocks = nn.Sequential(*stages)
        self.last = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(inplace=True)) if last_norm else nn.Identity()
        self.classify = nn.Linear(width, num_classes)
        init_he(self)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        logits: Tensor = self.classify(self.last(self.blocks(self.stem(x))).mean((2, 3)))
        return logits


class PreActBlock(nn.Module):
    """Residual block of batch norm, ReLU and 3x3 convolution, twice, and a shortcut."""

    def __init__(self, width: int, wider: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, wider, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(wider)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(wider, wider, kernel_size=3, padding=1, bias=False)
        self.shortcut = None
        if stride != 1 or width != wider:
            self.shortcut = nn.Conv2d(width, wider, kernel_size=1, stride=stride, bias=False)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        active = relu(self.bn1(x))
        out: Tensor = self.conv2(self.dropout(relu(self.bn2(self.conv1(active)))))
        return out + (x if self.shortcut is None else self.shortcut(active))
