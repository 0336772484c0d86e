"""Test networks by name: properties of all networks, and errors."""

import copy
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from smix.errors import OptionError
from smix.models import MODELS, build_model, head_of, model_names
from smix.models.build import FAMILIES
from tests.models.networks import build, images, parameters

# A small network of each family; resnet32 to 110 are resnet20 with more blocks, and take seconds.
FAMILY = ["resnet10-w8", "wrn-10-1", "wrn-10-2-drop0.3", "pyramidnet-8-a9", "timm:test_resnet"]
NAMES = [name for name in MODELS if name not in ("resnet32", "resnet44", "resnet56", "resnet110", "resnet34")] + FAMILY


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    """Return networks of 7 classes for images of 32 x 32 pixels. Tests must not change them."""
    return {name: build(name, 7).eval() for name in NAMES}


SHAPES = [(3, (32, 32)), (1, (28, 28)), (4, (9, 13)), (3, (64, 64))]
TAKEN = [
    (name, channels, size)
    for channels, size in SHAPES
    for name in NAMES
    if name != "vit-tiny" or size[0] == size[1]  # it accepts only square images of whole patches, as its errors say
]


@pytest.mark.parametrize(("name", "channels", "size"), TAKEN)
def test_logits_have_one_column_per_class(networks, name: str, channels: int, size: tuple[int, int]):
    keep = channels == 3 and name not in ("vit-tiny", "timm:test_resnet")
    model = networks[name] if keep else build(name, 7, channels, size).eval()
    with torch.no_grad():
        logits = model(images(channels, *size))
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_weights_come_from_the_global_generator(networks, name: str):
    again, other = build(name, 7, seed=0), build(name, 7, seed=1)
    weights = [list(model.parameters()) for model in (networks[name], again, other)]
    assert all(torch.equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights[0], weights[2], strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_channels_last(networks, name: str):
    weights = [weight for weight in networks[name].parameters() if weight.ndim == 4]
    assert weights
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


def test_weights_for_volumes_are_channels_last_and_those_for_signals_contiguous():
    volume = [weight for weight in build("resnet8", size=(8, 8, 8)).parameters() if weight.ndim == 5]
    assert volume
    assert all(weight.is_contiguous(memory_format=torch.channels_last_3d) for weight in volume)
    assert all(weight.is_contiguous() for weight in build("resnet8", size=(8,)).parameters())


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in ("vit-tiny", "mobilenetv3-small", "mobilenetv3-large")]
)
def test_initial_convolutions_have_the_variance_of_he(networks, name: str):
    for conv in networks[name].modules():
        if isinstance(conv, nn.Conv2d) and conv.weight.numel() > 1000:
            fan_out = conv.out_channels * conv.kernel_size[0] * conv.kernel_size[1]
            assert conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"), [(name, (32, 32)) for name in NAMES] + [("resnet8", (9,)), ("resnet8", (8, 9, 7))]
)
def test_gradients_reach_every_parameter(name: str, size: tuple[int, ...]):
    model = build(name, 7, size=size)
    # torchvision's ViT starts with a head of zeros, timm's ResNets with norms of zeros, which block gradients at first.
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.1, generator=generator)
    with torch.random.fork_rng():
        loss = nn.functional.cross_entropy(model(images(3, *size, count=4)), torch.tensor([0, 1, 2, 3]))
    loss.backward()
    without = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert without == []
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_head_of_returns_the_layer_of_the_logits(networks, name: str):
    model = copy.deepcopy(networks[name])
    head = model.get_submodule(head_of(model))
    assert {f"{head_of(model)}.weight", f"{head_of(model)}.bias"} <= set(model.state_dict())
    assert head.out_features == 7
    nn.init.zeros_(head.weight)
    head.bias.data = torch.arange(7.0)
    with torch.no_grad():
        assert torch.equal(model(images(3, 32, 32)), torch.arange(7.0).expand(2, 7))


def test_a_network_without_a_linear_layer_has_no_head():
    with pytest.raises(OptionError, match="Conv2d has no linear layer for the logits; choose another"):
        head_of(nn.Conv2d(3, 10, 1, device="meta"))


def test_names_are_those_of_the_table_and_of_the_families():
    assert model_names() == [*MODELS, "resnetD-wW", "wrn-D-K", "wrn-D-K-dropP", "pyramidnet-D-aALPHA", "timm:NAME"]
    assert set(FAMILIES) <= set(model_names())


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet9", 'did you mean "resnet8"?'),
        ("restnet18", 'did you mean "resnet18"?'),
        ("vit", 'did you mean "vit-tiny"?'),
        ("resnet18-w0", 'did you mean "resnet18"?'),
        ("wrn28-10", 'did you mean "wrn-D-K"?'),
        ("wrn-28-10-drop1.5", 'did you mean "wrn-D-K-dropP"?'),
        ("pyramidnet-110", 'did you mean "pyramidnet-D-aALPHA"?'),
        ("xyz", f"choose one of: {', '.join(model_names())}"),
        ("", f"choose one of: {', '.join(model_names())}"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(name: str, hint: str):
    with pytest.raises(OptionError) as error:
        build_model(name, 10)
    assert str(error.value) == f'model: expected a known name, got "{name}"; {hint}'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("resnet12-w16", "expected 10, 18 or 34 layers for resnetD-wW, got 12; choose one of these"),
        ("wrn-29-10", "expected 6n + 4 layers for wrn-D-K, got 29; choose 16, 22, 28, 34 or 40"),
        ("wrn-4-1", "expected 6n + 4 layers for wrn-D-K, got 4; choose 16, 22, 28, 34 or 40"),
        (
            "pyramidnet-111-a48",
            "expected 6n + 2 layers for pyramidnet-D-aALPHA of less than 164, got 111; choose 110, 164, 200, 236 or 272",
        ),
        (
            "pyramidnet-199-a48",
            "expected 9n + 2 layers for pyramidnet-D-aALPHA of 164 and more, got 199; choose 110, 164, 200, 236 or 272",
        ),
    ],
)
def test_a_depth_that_does_not_give_whole_blocks_is_refused(name: str, text: str):
    with pytest.raises(OptionError) as error:
        build_model(name, 10)
    assert str(error.value) == f"model: {text}"


@pytest.mark.parametrize("size", [(100,), (8, 9, 7)])
@pytest.mark.parametrize("name", ["resnet18", "resnet50-imagenet", "wrn-28-10", "vit-tiny", "timm:resnet18", "vgg16"])
def test_networks_for_images_refuse_signals_and_volumes(name: str, size: tuple[int, ...]):
    with pytest.raises(OptionError) as error:
        build_model(name, 10, size=size)
    assert str(error.value) == (
        f"model: expected images of 2 spatial dimensions for {name}, got {' x '.join(map(str, size))}; "
        "choose resnet8 to resnet110, or resnet18-w64"
    )


@pytest.mark.parametrize(("size", "shown"), [((), "none"), ((2, 2, 2, 2), "2 x 2 x 2 x 2"), ((0, 5), "0 x 5")])
def test_a_size_has_one_to_three_numbers(size: tuple[int, ...], shown: str):
    with pytest.raises(OptionError) as error:
        build_model("resnet8", 10, size=size)
    assert str(error.value) == f"model: expected images of 1, 2 or 3 spatial dimensions, got {shown}; give their size"


@pytest.mark.slow
def test_the_documentation_lists_every_model_with_its_parameters():
    page = (Path(__file__).parents[2] / "docs/models.md").read_text()
    rows = dict(re.findall(r"^\| `(.+?)` \| ([\d,]+) \|", page, re.MULTILINE))
    assert set(MODELS) <= set(rows)
    assert {name: f"{parameters(name):,}" for name in rows} == rows
    assert all(f"`{form}`" in page for form in FAMILIES)
