"""Networks from torchvision with random weights, for any number of channels, and first layers for small images."""

from collections import OrderedDict

from torch import nn
from torchvision.models import VisionTransformer, resnet18, resnet34, resnet50
from torchvision.models.mobilenetv3 import MobileNetV3, mobilenet_v3_large, mobilenet_v3_small
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.models.vgg import cfgs, make_layers

from smix.errors import OptionError
from smix.models.small import init_he

SMALL = 96
"""Maximum side of small images, in pixels: networks for them have a first convolution of stride 1."""

RESNETS = {
    10: lambda num_classes: ResNet(BasicBlock, [1, 1, 1, 1], num_classes),
    18: resnet18,
    34: resnet34,
    50: resnet50,
}


def small_resnet(depth: int, num_classes: int, channels: int) -> ResNet:
    """Build ResNet-10, 18 or 34 (He et al., CVPR 2016, table 1) with a 3x3 first convolution of stride 1 and no max-pool.

    ResNet-18 has 11,173,962 parameters for 10 classes.
    """
    model = RESNETS[depth](num_classes=num_classes)
    model.conv1 = nn.Conv2d(channels, 64, kernel_size=3, stride=1, padding=1, bias=False)
    init_he(model.conv1)
    model.maxpool = nn.Identity()
    return model


def imagenet_resnet(depth: int, num_classes: int, channels: int) -> ResNet:
    """Build torchvision's ResNet, with a 7x7 convolution of stride 2 and a max-pool at the start."""
    model = RESNETS[depth](num_classes=num_classes)
    if channels != 3:
        model.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        init_he(model.conv1)
    return model


def vgg16(num_classes: int, channels: int) -> nn.Module:
    """Build VGG-16 for CIFAR.

    It has the convolutions of Simonyan and Zisserman (ICLR 2015, table 1 D) with batch norm, global average pooling, and one linear
    layer; the paper has three. Max-pools round up, so that at least one pixel is left of images smaller than 32 pixels.
    """
    features = make_layers(cfgs["D"], batch_norm=True)
    for place, layer in enumerate(features):
        if isinstance(layer, nn.MaxPool2d):
            features[place] = nn.MaxPool2d(kernel_size=2, stride=2, ceil_mode=True)
    if channels != 3:
        features[0] = nn.Conv2d(channels, 64, kernel_size=3, padding=1)
    init_he(features)
    head = {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "classify": nn.Linear(512, num_classes)}
    return nn.Sequential(OrderedDict(features=features, **head))


def mobilenetv3(large: bool, num_classes: int, channels: int, size: tuple[int, ...]) -> MobileNetV3:
    """Build MobileNetV3 (Howard et al., ICCV 2019, tables 1 and 2); for small images the first convolution has stride 1."""
    model = (mobilenet_v3_large if large else mobilenet_v3_small)(num_classes=num_classes)
    first = model.features[0][0]
    if channels != 3:
        model.features[0][0] = nn.Conv2d(channels, 16, kernel_size=3, stride=first.stride, padding=1, bias=False)
        init_he(model.features[0][0])
    if max(size) <= SMALL:
        model.features[0][0].stride = (1, 1)
    return model


def vit_tiny(num_classes: int, channels: int, size: tuple[int, ...]) -> VisionTransformer:
    """Build a small Vision Transformer (Dosovitskiy et al., ICLR 2021) of 6 layers of width 192 with 3 heads.

    DeiT-Ti (Touvron et al., ICML 2021, table 1) has 12 such layers. Patches have a side of 4 pixels for images of up to 64 pixels, 16 for
    larger ones.

    Raises:
        OptionError: The images are not square, or their side is not a multiple of the patch size.
    """
    patch = 4 if max(size) <= 64 else 16
    if size[0] != size[1] or size[0] % patch:
        raise OptionError(
            f"model: expected square images whose side is a multiple of {patch} pixels for vit-tiny, got {size[0]} x {size[1]}; "
            "crop them, or choose another model"
        )
    model = VisionTransformer(
        size[0], patch, num_layers=6, num_heads=3, hidden_dim=192, mlp_dim=768, num_classes=num_classes
    )
    if channels != 3:
        model.conv_proj = nn.Conv2d(channels, 192, kernel_size=patch, stride=patch)
        nn.init.trunc_normal_(model.conv_proj.weight, std=(channels * patch**2) ** -0.5)
        nn.init.zeros_(model.conv_proj.bias)
    return model
