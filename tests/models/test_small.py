"""Test residual networks for small images, signals and volumes: layers, widths, weights, and the block of torchvision."""

from functools import partial

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock

from smix.models.small import Block, SmallResNet
from tests.models.networks import build, copy_in_order, images, parameters, randomise_norms


def sizes_of(model: nn.Module, x: torch.Tensor) -> list[tuple[int, ...]]:
    """Return the spatial sizes after each convolution along the main path, in order."""
    found: list[tuple[int, ...]] = []
    hooks = [
        module.register_forward_hook(lambda _m, _i, out: found.append(tuple(out.shape[2:])))
        for module in main_convolutions(model)
    ]
    with torch.no_grad():
        model.eval()(x)
    for hook in hooks:
        hook.remove()
    return found


def main_convolutions(model: nn.Module) -> list[nn.Conv2d]:
    """Return all convolutions except the 1 x 1 shortcuts."""
    return [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)]


def test_resnet18_has_the_parameters_of_the_report():
    assert parameters("resnet18") == 11_173_962


def test_resnet18_has_the_stem_for_small_images_and_no_max_pool():
    model = build("resnet18")
    stem = model.conv1
    assert (stem.kernel_size, stem.stride, stem.padding, stem.out_channels) == ((3, 3), (1, 1), (1, 1), 64)
    assert stem.bias is None
    assert not any(isinstance(module, nn.MaxPool2d) for module in model.modules())
    sizes = sizes_of(model, torch.zeros(2, 3, 24, 40))
    # Stem and first stage at full size, then stages at 1/2, 1/4 and 1/8, with four convolutions each.
    assert sizes == [(24, 40)] * 5 + [(12, 20)] * 4 + [(6, 10)] * 4 + [(3, 5)] * 4


LAYERS = {
    **{f"resnet{depth}": depth for depth in (8, 14, 20, 32, 44, 56, 110, 10, 18, 34)},
    **{"resnet10-w8": 10, "resnet18-w16": 18, "resnet34-w8": 34},
}


@pytest.mark.parametrize(("name", "layers"), LAYERS.items())
def test_the_name_contains_the_number_of_layers(name: str, layers: int):
    model = build(name)
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert len(main_convolutions(model)) + len(linear) == layers


@pytest.mark.parametrize(("name", "n"), [("resnet8", 1), ("resnet14", 2), ("resnet20", 3), ("resnet32", 5)])
def test_networks_for_cifar_have_three_stages_of_widths_16_32_64(name: str, n: int):
    model = build(name)
    widths = [module.out_channels for module in main_convolutions(model)]
    assert widths == [16] * (2 * n + 1) + [32] * 2 * n + [64] * 2 * n
    sizes = sizes_of(model, torch.zeros(2, 3, 24, 40))
    assert sizes == [(24, 40)] * (2 * n + 1) + [(12, 20)] * 2 * n + [(6, 10)] * 2 * n


def test_resnet20_has_its_known_parameters_with_option_b_shortcuts():
    """269,722 with the zero-padded shortcuts of the paper; two 1 x 1 projections and their batch norms add 2,752."""
    assert parameters("resnet20") == 269_722 + 2_752


def test_the_last_layer_receives_the_mean_over_all_positions():
    model = build("resnet8").eval()
    x = torch.randn(2, 3, 24, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = model.blocks(model.stem(x))
        expected = model.classify(features.flatten(2).sum(2) / (6 * 10))
        torch.testing.assert_close(model(x), expected)


def resnet_for_cifar_with_torchvisions_block(n: int, num_classes: int, channels: int) -> nn.Module:
    """Return resnet8, 14 and 20 as they were before they supported signals and volumes."""
    layers: list[nn.Module] = [nn.Conv2d(channels, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    width = 16
    for stage, wider in enumerate((16, 32, 64)):
        for place in range(n):
            shortcut = None
            if stage and not place:
                shortcut = nn.Sequential(nn.Conv2d(width, wider, 1, stride=2, bias=False), nn.BatchNorm2d(wider))
            layers.append(BasicBlock(width, wider, 1 if shortcut is None else 2, shortcut))
            width = wider
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, num_classes))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


def resnet18_of_torchvision(num_classes: int, channels: int) -> nn.Module:
    """Return resnet18 built from the parts of torchvision, as it has always been."""
    model = torchvision.models.resnet18(num_classes=num_classes)
    model.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
    return model


REFERENCES = {
    "resnet8": partial(resnet_for_cifar_with_torchvisions_block, 1),
    "resnet20": partial(resnet_for_cifar_with_torchvisions_block, 3),
    "resnet18": resnet18_of_torchvision,
}


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", REFERENCES)
def test_a_seed_gives_the_same_weights_as_earlier_versions(name: str, channels: int):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        expected = REFERENCES[name](7, channels)
    model = build(name, 7, channels, seed=5)
    found = list(model.state_dict().values())
    assert len(found) == len(expected.state_dict())
    assert all(torch.equal(one, other) for one, other in zip(found, expected.state_dict().values(), strict=True))
    x = images(channels, 16, 12)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), expected.eval()(x))


def test_names_of_weights_in_old_checkpoints_are_valid():
    names = set(build("resnet8").state_dict())
    assert {"stem.0.weight", "stem.1.running_mean", "blocks.1.downsample.0.weight", "blocks.2.bn2.bias"} <= names
    assert {"blocks.0.conv1.weight", "classify.weight", "classify.bias"} <= names


@pytest.mark.slow
def test_resnet18_of_width_64_equals_torchvision():
    wide, narrow = build("resnet18").eval(), build("resnet18-w64", seed=1).eval()
    randomise_norms(wide)
    copy_in_order(wide, narrow)
    x = images(3, 16, 12)
    with torch.no_grad():
        torch.testing.assert_close(narrow(x), wide(x))


@pytest.mark.parametrize(("name", "widths"), [("resnet18-w16", [16, 32, 64, 128]), ("resnet10-w5", [5, 10, 20, 40])])
def test_w_is_the_width_of_the_first_stage(name: str, widths: list[int]):
    found = [module.out_channels for module in main_convolutions(build(name))]
    each = 4 if "18" in name else 2
    assert found == [widths[0]] + [width for width in widths for _ in range(each)]


@pytest.mark.parametrize("dimensions", [1, 3])
def test_networks_for_signals_and_volumes_agree_with_those_for_images(dimensions: int):
    """Weights that use only the middle of the extra dimensions, on inputs of size one in those, give the same logits."""
    plane = build("resnet8").eval()
    other = build("resnet8", size=(9,) * dimensions).eval()
    state = plane.state_dict()
    if dimensions == 3:
        for name, weight in plane.state_dict().items():
            if weight.ndim == 4:
                state[name] = torch.zeros(other.state_dict()[name].shape)
                state[name][:, :, state[name].shape[2] // 2] = weight
        other.load_state_dict(state)
        x = images(3, 9, 13)
        sheet = x[:, :, None]
    else:
        for name, weight in plane.state_dict().items():
            if weight.ndim == 4:
                state[name] = weight[:, :, weight.shape[2] // 2].contiguous()
        other.load_state_dict(state)
        x = images(3, 1, 13)
        sheet = x[:, :, 0]
    with torch.no_grad():
        torch.testing.assert_close(other(sheet), plane(x))


@pytest.mark.parametrize("size", [(1,), (40,), (17,), (7, 5, 9), (8, 8, 8), (1, 1, 1)])
def test_signals_and_volumes_of_any_size_are_halved_twice(size: tuple[int, ...]):
    model = build("resnet8", 4, 2, size).eval()
    x = images(2, *size)
    with torch.no_grad():
        assert model(x).shape == (2, 4)
        assert model.blocks(model.stem(x)).shape == (2, 64, *(-(-length // 4) for length in size))


def test_the_block_equals_that_of_torchvision():
    with torch.random.fork_rng():
        shortcut = nn.Sequential(nn.Conv2d(3, 8, 1, stride=2, bias=False), nn.BatchNorm2d(8))
        theirs = BasicBlock(3, 8, 2, shortcut).eval()
        ours = Block(3, 8, 2, 2).eval()
    randomise_norms(theirs)
    ours.load_state_dict(theirs.state_dict())
    x = images(3, 9, 12)
    torch.testing.assert_close(ours(x), theirs(x))


def test_the_numbers_of_stages_and_widths_must_agree():
    with pytest.raises(ValueError, match="zip"), torch.random.fork_rng():
        SmallResNet((1, 1), (8, 16, 32), 10)
