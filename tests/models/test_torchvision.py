"""Test networks of torchvision: the changes to them, and that everything else is unchanged."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from smix.errors import OptionError
from smix.models import build_model
from tests.models.networks import build, copy_in_order, images, parameters, randomise_norms


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_imagenet_sizes_use_torchvision_unchanged(name: str):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected = torchvision.models.get_model(name, num_classes=10)
    model = build(f"{name}-imagenet", size=(224, 224))
    assert str(model) == str(expected)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), expected.parameters(), strict=True))


@pytest.mark.parametrize(("name", "size"), [("small", 128), ("large", 128), ("small", 32)])
def test_mobilenet_equals_torchvision_except_for_the_first_stride(name: str, size: int):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected = torchvision.models.get_model(f"mobilenet_v3_{name}", num_classes=10)
    model = build(f"mobilenetv3-{name}", size=(size, size))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), expected.parameters(), strict=True))
    assert model.features[0][0].stride == ((1, 1) if size == 32 else (2, 2))
    model.features[0][0].stride = (2, 2)
    x = images(3, 48, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), expected.eval()(x))


def test_mobilenets_have_the_parameters_of_torchvision():
    """2,542,856 and 5,483,032 with 1000 classes, according to the documentation of torchvision."""
    assert parameters("mobilenetv3-small", 1000) == 2_542_856
    assert parameters("mobilenetv3-large", 1000) == 5_483_032


def test_vgg16_has_its_known_parameters():
    """14,714,688 of VGG-16 without its head (13 convolutions with biases), 2 x 4,224 of the norms, 5,130 of the linear layer."""
    assert parameters("vgg16") == 14_714_688 + 2 * 4_224 + 5_130


@pytest.mark.slow
def test_vgg16_has_the_features_of_torchvision():
    with torch.device("meta"):
        whole = torchvision.models.vgg16_bn()
    expected = whole.features.to_empty(device="cpu").eval()
    model = build("vgg16").eval()
    randomise_norms(model)
    copy_in_order(model.features, expected)
    x = images(3, 64, 32)
    with torch.no_grad():
        features = expected(x)
        assert features.shape == (2, 512, 2, 1)
        torch.testing.assert_close(model(x), model.classify(features.mean((2, 3))))


@pytest.mark.slow
@pytest.mark.parametrize(("size", "places"), [((28, 28), (1, 1)), ((33, 64), (2, 2)), ((1, 5), (1, 1))])
def test_vgg16_accepts_images_of_any_size(size: tuple[int, int], places: tuple[int, int]):
    with torch.no_grad():
        assert build("vgg16").eval().features(images(1 + 2, *size)).shape[2:] == places


@pytest.mark.parametrize(("size", "patch"), [(28, 4), (32, 4), (64, 4), (96, 16), (224, 16)])
def test_the_patch_size_of_vit_depends_on_the_size_of_the_images(size: int, patch: int):
    model = build("vit-tiny", size=(size, size))
    assert model.conv_proj.kernel_size == (patch, patch)
    assert model.encoder.pos_embedding.shape == (1, (size // patch) ** 2 + 1, 192)


def test_vit_has_the_parameters_of_timm():
    with torch.device("meta"):
        theirs = timm.models.vision_transformer.VisionTransformer(
            img_size=32, patch_size=4, num_classes=10, embed_dim=192, depth=6, num_heads=3
        )
    assert parameters("vit-tiny") == sum(parameter.numel() for parameter in theirs.parameters()) == 2_693_578


@pytest.mark.parametrize(
    ("size", "patch"), [((30, 30), 4), ((32, 28), 4), ((2, 2), 4), ((100, 100), 16), ((224, 208), 16), ((224, 32), 16)]
)
def test_vit_refuses_other_images_with_advice(size: tuple[int, int], patch: int):
    with pytest.raises(OptionError) as error:
        build_model("vit-tiny", 10, size=size)
    assert str(error.value) == (
        f"model: expected square images whose side is a multiple of {patch} pixels for vit-tiny, got {size[0]} x {size[1]}; "
        "crop them, or choose another model"
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet18-imagenet", "vgg16", "mobilenetv3-small", "vit-tiny"])
def test_other_channels_change_only_the_first_convolution(name: str):
    """Its initial weights follow those for 3 channels, in proportional number and with the variance for their fan."""
    three, one = build(name), build(name, channels=1)
    changed = [key for key, value in three.state_dict().items() if value.shape != one.state_dict()[key].shape]
    assert len(changed) == 1
    first, other = three.state_dict()[changed[0]], one.state_dict()[changed[0]]
    assert first.shape == (other.shape[0], 3, *other.shape[2:])
    # The variance of He depends on the output channels, that of the patches of ViT on the input channels.
    expected = 3**0.5 if name == "vit-tiny" else 1
    assert (other.std() / first.std()).item() == pytest.approx(expected, rel=0.15)
    biases = [module.bias for module in one.modules() if isinstance(module, nn.Conv2d) and module.bias is not None]
    assert all((bias == 0).all() for bias in biases)
