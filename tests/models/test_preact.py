"""Test PreActResNet-18 and Wide ResNets: parameters of the papers, and blocks against an independent implementation."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, batch_norm, conv2d, linear, relu

from tests.models.networks import build, images, parameters, randomise_norms


@pytest.mark.parametrize(
    ("name", "millions"),
    # Zagoruyko and Komodakis, table 4; 16-4 from papers on distillation that use it.
    [
        ("wrn-40-1", 0.6),
        ("wrn-40-2", 2.2),
        ("wrn-40-4", 8.9),
        ("wrn-16-8", 11.0),
        ("wrn-28-10", 36.5),
        ("wrn-16-4", 2.8),
    ],
)
def test_wide_resnets_have_the_parameters_of_the_paper(name: str, millions: float):
    assert parameters(name) / 1e6 == pytest.approx(millions, abs=0.06)


def test_preactresnet18_has_the_parameters_of_its_source():
    assert parameters("preactresnet18") == 11_171_146


def forward_by_hand(model: nn.Module, x: Tensor, blocks: int, last_norm: bool) -> Tensor:
    """Compute the network in evaluation mode from its state dict alone."""
    state = model.state_dict()

    def apply_norm(x: Tensor, name: str) -> Tensor:
        numbers = [state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return relu(batch_norm(x, *numbers))

    x = conv2d(x, state["stem.weight"], padding=1)
    stages = len([name for name in state if name.endswith("bn1.weight")]) // blocks
    for place in range(stages * blocks):
        block = f"blocks.{place}"
        stride = 2 if place and place % blocks == 0 else 1
        active = apply_norm(x, f"{block}.bn1")
        shortcut = f"{block}.shortcut.weight"
        identity = conv2d(active, state[shortcut], stride=stride) if shortcut in state else x
        out = conv2d(active, state[f"{block}.conv1.weight"], stride=stride, padding=1)
        x = conv2d(apply_norm(out, f"{block}.bn2"), state[f"{block}.conv2.weight"], padding=1) + identity
    if last_norm:
        x = apply_norm(x, "last.0")
    x = avg_pool2d(x, x.shape[2:]).flatten(1)
    return linear(x, state["classify.weight"], state["classify.bias"])


@pytest.mark.parametrize(
    ("name", "blocks", "last_norm"), [("wrn-16-2", 2, True), ("wrn-10-1", 1, True), ("preactresnet18", 2, False)]
)
def test_the_network_equals_that_of_the_paper(name: str, blocks: int, last_norm: bool):
    model = build(name).eval()
    randomise_norms(model)
    x = images(3, 16, 12)
    with torch.no_grad():
        torch.testing.assert_close(model(x), forward_by_hand(model, x, blocks, last_norm))


def test_shortcuts_have_weights_only_where_the_shape_changes():
    """With a width of 1 x 16 the first stage is as wide as the stem."""
    assert [name for name in build("wrn-16-1").state_dict() if "shortcut" in name] == [
        "blocks.2.shortcut.weight",
        "blocks.4.shortcut.weight",
    ]
    assert [name for name in build("wrn-10-2").state_dict() if "shortcut" in name] == [
        f"blocks.{place}.shortcut.weight" for place in range(3)
    ]


def test_dropout_is_between_the_convolutions_and_only_in_training():
    plain, dropping = build("wrn-10-1"), build("wrn-10-1-drop0.3")
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), dropping.parameters(), strict=True))
    rates = [module.p for module in dropping.modules() if isinstance(module, nn.Dropout)]
    assert rates == [0.3] * 3
    x = images(3, 16, 16)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        assert torch.equal(dropping.eval()(x), plain.eval()(x))
        first, second = dropping.train()(x), dropping(x)
        assert not torch.equal(first, second)
        # Without dropout nothing is drawn, so runs with and without dropout see the same images.
        before = torch.random.get_rng_state()
        plain.train()(x)
        assert torch.equal(torch.random.get_rng_state(), before)
    seen: list[tuple[Tensor, Tensor]] = []
    block = dropping.blocks[0]
    block.dropout.register_forward_hook(lambda _m, inputs, output: seen.append((inputs[0], output)))
    block.conv2.register_forward_pre_hook(lambda _m, inputs: seen.append((inputs[0], inputs[0])))
    with torch.random.fork_rng(), torch.no_grad():
        dropping(x)
    assert (seen[0][0] >= 0).all()
    assert seen[1][0] is seen[0][1]
