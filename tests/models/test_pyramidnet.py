"""Test PyramidNet: parameters, widths, and an independent implementation of the network."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, batch_norm, conv2d, linear, relu

from smix.models import build_model
from tests.models.networks import build, images, parameters, randomise_norms


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count", "millions", "features"),
    # Counts of pytorchcv 0.0.74, whose networks follow the authors' code; millions and features before the linear layer of Han et
    # al., table 4, and of the page of jhkim89/PyramidNet. The counts are 0.6 to 4.3 % above those millions.
    [
        ("pyramidnet-110-a48", 1_772_706, 1.7, 64),
        ("pyramidnet-110-a270", 28_485_477, 28.3, 286),
        ("pyramidnet-200-a240", 26_752_702, 26.6, 1024),
        ("pyramidnet-272-a200", 26_210_842, 26.0, 864),
    ],
)
def test_parameters_equal_those_of_the_authors_code_and_are_near_those_of_the_paper(
    name: str, count: int, millions: float, features: int
):
    assert parameters(name) == count
    assert count / 1e6 == pytest.approx(millions, rel=0.045)
    with torch.device("meta"):
        assert build_model(name, 10).classify.in_features == features


def convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize(("name", "layers"), [("pyramidnet-110-a48", 110), ("pyramidnet-164-a48", 164)])
def test_the_name_contains_the_number_of_layers(name: str, layers: int):
    model = build(name)
    assert len(convolutions(model)) + 1 == layers


def test_every_block_adds_the_same_width_until_alpha():
    widths = [layer.out_channels for layer in convolutions(build("pyramidnet-20-a90"))]
    assert widths == [16] + [16 + 10 * block for block in range(1, 10) for _ in range(2)]
    bottleneck = [layer.out_channels for layer in convolutions(build("pyramidnet-164-a54"))]
    assert bottleneck == [16] + [width for k in range(1, 55) for width in (16 + k, 16 + k, 4 * (16 + k))]


def test_an_alpha_below_the_number_of_blocks_still_adds_width():
    assert convolutions(build("pyramidnet-110-a48"))[-1].out_channels == 64


def test_no_shortcut_has_weights():
    assert all(name.split(".")[2] == "layers" for name in build("pyramidnet-20-a9").state_dict() if "blocks" in name)


def forward_by_hand(model: nn.Module, x: Tensor, blocks: int, bottleneck: bool) -> Tensor:
    """Compute the network in evaluation mode from its state dict alone. Shortcuts are padded with zero channels at the end."""
    state = model.state_dict()

    def apply_norm(x: Tensor, name: str) -> Tensor:
        return batch_norm(x, *(state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")))

    x = apply_norm(conv2d(x, state["stem.0.weight"], padding=1), "stem.1")
    for place in range(3 * blocks):
        stride = 2 if place in (blocks, 2 * blocks) else 1
        name = f"blocks.{place}.layers"
        out = apply_norm(x, f"{name}.0")
        if bottleneck:
            out = relu(apply_norm(conv2d(out, state[f"{name}.1.weight"]), f"{name}.2"))
            out = relu(apply_norm(conv2d(out, state[f"{name}.4.weight"], stride=stride, padding=1), f"{name}.5"))
            out = apply_norm(conv2d(out, state[f"{name}.7.weight"]), f"{name}.8")
        else:
            out = relu(apply_norm(conv2d(out, state[f"{name}.1.weight"], stride=stride, padding=1), f"{name}.2"))
            out = apply_norm(conv2d(out, state[f"{name}.4.weight"], padding=1), f"{name}.5")
        shortcut = avg_pool2d(x, 2) if stride == 2 else x
        out[:, : x.shape[1]] += shortcut
        x = out
    x = relu(apply_norm(x, "last.0")).mean(3).mean(2)
    return linear(x, state["classify.weight"], state["classify.bias"])


@pytest.mark.parametrize(
    ("name", "blocks", "bottleneck"), [("pyramidnet-20-a20", 3, False), ("pyramidnet-164-a9", 18, True)]
)
def test_the_network_equals_that_of_the_paper(name: str, blocks: int, bottleneck: bool):
    model = build(name).eval()
    randomise_norms(model)
    # The sum of 54 branches is so large that rounding to 24 bits hides the first ones.
    model.double()
    x = images(3, 16, 12).double()
    with torch.no_grad():
        torch.testing.assert_close(model(x), forward_by_hand(model, x, blocks, bottleneck))


@pytest.mark.parametrize("size", [(7, 9), (1, 1), (28, 28), (5, 64)])
def test_odd_sizes_are_rounded_up_when_halved(size: tuple[int, int]):
    model = build("pyramidnet-8-a9").eval()
    with torch.no_grad():
        features = model.blocks(model.stem(images(3, *size)))
    assert features.shape == (2, 25, -(-size[0] // 4), -(-size[1] // 4))
