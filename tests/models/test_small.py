"""Networks by name: layers, parameters, shapes."""

import pytest
import torch
from torch import nn

from smix.errors import OptionError
from smix.models import MODELS, build_model


def build(name: str, classes: int = 10, channels: int = 3, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_model(name, classes, channels)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def sizes_of(model: nn.Module, x: torch.Tensor) -> list[tuple[int, ...]]:
    """Spatial sizes after each convolution along the main path, in order."""
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
    """All but the shortcuts, which are 1 x 1."""
    return [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)]


def test_resnet18_has_the_parameters_of_the_report():
    assert parameters(build("resnet18")) == 11_173_962


def test_resnet18_has_the_stem_for_small_images_and_no_max_pool():
    model = build("resnet18")
    stem = model.conv1
    assert (stem.kernel_size, stem.stride, stem.padding, stem.out_channels) == ((3, 3), (1, 1), (1, 1), 64)
    assert stem.bias is None
    assert not any(isinstance(module, nn.MaxPool2d) for module in model.modules())
    sizes = sizes_of(model, torch.zeros(2, 3, 24, 40))
    # Stem and first stage at full size, then a stage at each of 1/2, 1/4, 1/8: four convolutions each.
    assert sizes == [(24, 40)] * 5 + [(12, 20)] * 4 + [(6, 10)] * 4 + [(3, 5)] * 4


@pytest.mark.parametrize(("name", "layers"), [("resnet8", 8), ("resnet14", 14), ("resnet20", 20), ("resnet18", 18)])
def test_the_name_says_how_many_layers(name: str, layers: int):
    model = build(name)
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert len(main_convolutions(model)) + len(linear) == layers


@pytest.mark.parametrize(("name", "n"), [("resnet8", 1), ("resnet14", 2), ("resnet20", 3)])
def test_networks_for_cifar_have_three_stages_of_widths_16_32_64(name: str, n: int):
    model = build(name)
    widths = [module.out_channels for module in main_convolutions(model)]
    assert widths == [16] * (2 * n + 1) + [32] * 2 * n + [64] * 2 * n
    sizes = sizes_of(model, torch.zeros(2, 3, 24, 40))
    assert sizes == [(24, 40)] * (2 * n + 1) + [(12, 20)] * 2 * n + [(6, 10)] * 2 * n


def test_resnet20_has_its_known_parameters_with_option_b_shortcuts():
    """269,722 with the padded shortcuts of the paper; two 1 x 1 projections and their batch norms add 2,752."""
    assert parameters(build("resnet20")) == 269_722 + 2_752


def test_the_last_layer_sees_the_mean_over_all_places():
    model = build("resnet8").eval()
    x = torch.randn(2, 3, 24, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = model.blocks(model.stem(x))
        expected = model.classify(features.flatten(2).sum(2) / (6 * 10))
        torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("classes", "channels", "size"), [(10, 3, (24, 40)), (7, 1, (9, 13))])
def test_logits_have_one_column_a_class(name: str, classes: int, channels: int, size: tuple[int, int]):
    model = build(name, classes, channels)
    x = torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(x)
    assert logits.shape == (2, classes)
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", MODELS)
def test_weights_lie_channels_last_and_come_from_the_global_generator(name: str):
    one, again, other = build(name, seed=0), build(name, seed=0), build(name, seed=1)
    weights = [torch.cat([p.flatten() for p in model.parameters()]) for model in (one, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert all(conv.weight.is_contiguous(memory_format=torch.channels_last) for conv in main_convolutions(one))


@pytest.mark.parametrize("name", MODELS)
def test_convolutions_start_with_hes_variance(name: str):
    for conv in main_convolutions(build(name)):
        assert conv.weight.std().item() == pytest.approx((2 / (conv.out_channels * 9)) ** 0.5, rel=0.15)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet9", 'did you mean "resnet8"?'),
        ("restnet18", 'did you mean "resnet18"?'),
        ("vit", "choose one of: resnet8, resnet14, resnet20, resnet18"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(name: str, hint: str):
    with pytest.raises(OptionError) as error:
        build_model(name, 10)
    assert str(error.value) == f'model: expected a known name, got "{name}"; {hint}'
