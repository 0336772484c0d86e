"""PyramidNet: residual networks whose width grows gradually with every block instead of doubling at a few of them.

Han, Kim and Kim, CVPR 2017, arXiv:1610.02915: additive growth (section 2), blocks with batch norm after the last convolution and
one fewer ReLU (figure 6 (d)), shortcuts padded with zeros (figure 5), depths and alpha of table 4. As in the authors' code
(dyhan0920/PyramidNet-PyTorch), widths are rounded from their exact sum; the paper's formula rounds down at each block,
so that the width would never grow if alpha is less than the number of blocks.
Difference: images may have any size; half of an odd size is rounded up.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

from smix.models.small import init_he


class PyramidNet(nn.Module):
    """PyramidNet: a 3x3 stem of 16 channels, three stages of blocks, batch norm, ReLU, global average pooling, and a linear layer.

    Args:
        blocks: Number of blocks of each stage.
        alpha: Number of channels that all blocks together add to the first 16.
        bottleneck: Use blocks of 1x1, 3x3 and 1x1 convolutions, the last 4 times as wide, instead of two 3x3 convolutions.
        num_classes: Number of classes.
        channels: Number of channels of the images.
    """

    def __init__(self, blocks: int, alpha: int, bottleneck: bool, num_classes: int, channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 16, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(16))
        pyramid: list[nn.Module] = []
        width = 16
        for place in range(3 * blocks):
            inner = round(16 + alpha * (place + 1) / (3 * blocks))
            wider = 4 * inner if bottleneck else inner
            stride = 2 if place in (blocks, 2 * blocks) else 1
            layers = bottleneck_layers(width, inner, stride) if bottleneck else basic_layers(width, inner, stride)
            pyramid.append(PyramidBlock(layers, stride, wider - width))
            width = wider
        self.blocks = nn.Sequential(*pyramid)
        self.last = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.classify = nn.Linear(width, num_classes)
        init_he(self)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        logits: Tensor = self.classify(self.last(self.blocks(self.stem(x))).mean((2, 3)))
        return logits


class PyramidBlock(nn.Module):
    """Residual block whose shortcut has no weights.

    The shortcut averages 2x2 pixels if the layers halve the image, and appends `extra_channels` channels of zeros.
    """

    def __init__(self, layers: nn.Sequential, stride: int, extra_channels: int) -> None:
        super().__init__()
        self.layers = layers
        self.stride = stride
        self.extra_channels = extra_channels

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        # With ceil_mode half of an odd size is rounded up, as the convolutions do.
        shortcut = avg_pool2d(x, 2, ceil_mode=True) if self.stride == 2 else x
        out: Tensor = self.layers(x)
        return out + pad(shortcut, (0, 0, 0, 0, 0, self.extra_channels))


def basic_layers(width: int, inner: int, stride: int) -> nn.Sequential:
    """Return two 3x3 convolutions with batch norm, the first with a stride."""
    return nn.Sequential(
        nn.BatchNorm2d(width),
        nn.Conv2d(width, inner, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(inner),
        nn.ReLU(inplace=True),
        nn.Conv2d(inner, inner, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(inner),
    )


def bottleneck_layers(width: int, inner: int, stride: int) -> nn.Sequential:
    """Return convolutions of 1x1, 3x3 with a stride, and 1x1 with batch norm, the last 4 times as wide."""
    return nn.Sequential(
        nn.BatchNorm2d(width),
        nn.Conv2d(width, inner, kernel_size=1, bias=False),
        nn.BatchNorm2d(inner),
        nn.ReLU(inplace=True),
        nn.Conv2d(inner, inner, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(inner),
        nn.ReLU(inplace=True),
        nn.Conv2d(inner, 4 * inner, kernel_size=1, bias=False),
        nn.BatchNorm2d(4 * inner),
    )
