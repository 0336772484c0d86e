"""A small U-Net that finds the main object of an image, for images of 28 to 96 pixels."""

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

STRIDE = 8
"""Factor by which the encoder shrinks an image."""
MEAN, STD = 0.45 * 255, 0.25 * 255
"""Mean that is subtracted and standard deviation that is divided by, of every channel, on the 0..255 scale."""


@dataclass(frozen=True, eq=False)
class SegmenterOutput:
    """Output of `Segmenter` during training. Stage s has images that are shrunk by 2**s."""

    logits: tuple[Float[Tensor, "B 1 _ _"], ...]
    """Logits of the object at stages 0, 1 and 2."""
    features: tuple[Float[Tensor, "B _ _ _"], ...]
    """Features of the encoder at stages 0 to 3; the last ones after attention."""


class ConvNormReLU(nn.Sequential):
    """A 3x3 convolution, batch normalisation and ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
        )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a skip connection (He et al., 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = ConvNormReLU(width, width)
        norm = nn.BatchNorm2d(width)
        nn.init.zeros_(norm.weight)  # the block starts as the identity
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), norm)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """Apply the block."""
        return F.relu(x + self.second(self.first(x)))


class GlobalContext(nn.Module):
    """Add what the whole image shows to each position: a projection of the mean, then self-attention.

    Args:
        width: Number of channels.
        heads: Number of heads of the attention.
    """

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.mean = nn.Linear(width, width)
        self.norm = nn.GroupNorm(1, width)
        self.query_key_value = nn.Conv2d(width, 3 * width, 1)
        self.output = nn.Conv2d(width, width, 1)
        for parameter in self.output.parameters():  # attention starts without an effect
            nn.init.zeros_(parameter)
        self.heads = heads

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """Add the context."""
        batch, width, height, breadth = x.shape
        x = x + self.mean(x.mean((2, 3)))[:, :, None, None]
        split = self.query_key_value(self.norm(x)).view(batch, 3, self.heads, width // self.heads, height * breadth)
        query, key, value = split.transpose(-1, -2).unbind(1)
        context = F.scaled_dot_product_attention(query, key, value).transpose(-1, -2)
        added: Tensor = x + self.output(context.reshape(x.shape))
        return added


class Segmenter(nn.Module):
    """A U-Net with residual blocks and self-attention at its coarsest stage.

    Args:
        widths: Number of channels of the four stages.
        blocks: Number of residual blocks of the four stages.

    Shape:
        Input (B, 3, h, w), normalised by `MEAN` and `STD`; h and w are multiples of 8. Output (B, 1, h, w): logits of the object.
    """

    def __init__(
        self,
        widths: tuple[int, int, int, int] = (16, 48, 96, 112),
        blocks: tuple[int, int, int, int] = (0, 1, 2, 1),
    ) -> None:
        super().__init__()
        self.widths, self.blocks = widths, blocks
        first = nn.Sequential(ConvNormReLU(3, widths[0]), ConvNormReLU(widths[0], widths[0]))
        first.extend(ResidualBlock(widths[0]) for _ in range(blocks[0]))
        coarser = [
            nn.Sequential(
                ConvNormReLU(widths[stage - 1], widths[stage], 2),
                *(ResidualBlock(widths[stage]) for _ in range(blocks[stage])),
            )
            for stage in (1, 2, 3)
        ]
        self.encoder = nn.ModuleList([first, *coarser])
        self.context = GlobalContext(widths[3])
        self.lateral = nn.ModuleList([nn.Conv2d(widths[stage + 1], widths[stage], 1) for stage in range(3)])
        self.decoder = nn.ModuleList([ConvNormReLU(widths[stage], widths[stage]) for stage in range(3)])
        self.heads = nn.ModuleList([nn.Conv2d(widths[stage], 1, 1) for stage in range(3)])

    def forward(self, images: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B 1 h w"]:
        """Return the logits of the object."""
        logits: Tensor = self.heads[0](self._decode(self._encode(images))[0])
        return logits

    def all_stages(self, images: Float[Tensor, "B 3 h w"]) -> SegmenterOutput:
        """Return the logits of stages 0 to 2, and the features of the encoder, for training."""
        features = self._encode(images)
        logits = tuple(head(x) for head, x in zip(self.heads, self._decode(features), strict=True))
        return SegmenterOutput(logits, tuple(features))

    def _encode(self, x: Tensor) -> list[Tensor]:
        features = []
        for stage in self.encoder:
            x = stage(x)
            features.append(x)
        return [*features[:3], self.context(x)]

    def _decode(self, features: list[Tensor]) -> list[Tensor]:
        decoded = []
        x = features[3]
        for stage in (2, 1, 0):
            x = F.interpolate(self.lateral[stage](x), scale_factor=2.0, mode="bilinear", align_corners=False)
            x = self.decoder[stage](x + features[stage])
            decoded.append(x)
        return decoded[::-1]


def normalise(images: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B 3 h w"]:
    """Return images of values from 0 to 255 as the segmenter takes them."""
    return ((images - MEAN) / STD).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, eq=False)
class ScoreModel:
    """Logistic regression of the probability that a mask has an IoU over 0.5 with the object, from `map_statistics`."""

    weight: Float[Tensor, "F"]
    bias: Float[Tensor, ""]

    def __call__(self, maps: Float[Tensor, "V B h w"]) -> Float[Tensor, "B"]:
        """Return the probability for each image; 0 where no pixel is object.

        Args:
            maps: Probability of the object in each pixel, by view.
        """
        empty = (maps.mean(0) <= 0.5).flatten(1).all(1)
        return torch.sigmoid(map_statistics(maps) @ self.weight + self.bias).masked_fill(empty, 0.0)


STATISTICS = 6
"""Number of values that `map_statistics` returns for an image."""


def map_statistics(maps: Float[Tensor, "V B h w"]) -> Float[Tensor, "B F"]:
    """Return what maps of an image and of its mirror image, both in the image's own order, tell about the quality of the mask.

    These are the logit of the expected IoU, the agreement of the views, the mean probability on the mask, its coverage and the
    coverage's logarithm, and the share of uncertain pixels.
    """
    mean = maps.mean(0).flatten(1)
    # Sums of floats are faster than those of booleans.
    masks, both, either = (
        (values > 0.5).float() for values in (mean, maps.amin(0).flatten(1), maps.amax(0).flatten(1))
    )
    area, inside = masks.sum(1), (mean * masks).sum(1)
    expected = inside / (area + mean.sum(1) - inside).clamp(min=1e-6)
    agreement = both.sum(1) / either.sum(1).clamp(min=1)
    coverage = area / masks.shape[1]
    uncertain = ((mean - 0.5).abs() < 0.3).float().mean(1)
    statistics = [
        *(expected.clamp(0.01, 0.99).logit(), agreement, inside / area.clamp(min=1), coverage),
        *(coverage.clamp(min=0.001).log(), uncertain),
    ]
    return torch.stack(statistics, 1)


def fuse(model: Segmenter) -> Segmenter:
    """Return a copy for inference, in which batch normalisation is part of the convolutions."""
    fused = copy.deepcopy(model).eval()
    for block in fused.modules():
        if isinstance(block, nn.Sequential) and len(block) > 1:
            convolution, norm = block[0], block[1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                block[0], block[1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
    return fused
