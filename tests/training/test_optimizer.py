"""Test the optimizers against torch's own, layers and their learning rates, clipping, and class weights in the loss."""

import copy

import pytest
import timm
import torch
from torch import Tensor, nn

from smix.config import SharedConfig, TrainConfig
from smix.mixing import Mixup, Target
from smix.models import build_model, head_of
from smix.training.distributed import ALONE
from smix.training.learner import Learner
from smix.training.loop import forward_backward, total_weight
from smix.training.optimizer import build_optimizer, layers_of


def network(name: str = "resnet8", classes: int = 4, size: tuple[int, int] = (16, 16)) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_model(name, classes, 3, size)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> list[Tensor]:
    for number in range(steps):
        for place, parameter in enumerate(model.parameters()):
            parameter.grad = torch.full_like(parameter, 0.1 * (number + 1) * (-1) ** place)
        optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.parametrize("name", ["sgd", "adamw", "adam", "rmsprop"])
def test_each_optimizer_is_that_of_torch(name):
    config = SharedConfig(optimizer=name, lr=0.01, weight_decay=0.02)
    mine, theirs = network(), network()
    kinds = {
        "sgd": torch.optim.SGD,
        "adamw": torch.optim.AdamW,
        "adam": torch.optim.Adam,
        "rmsprop": torch.optim.RMSprop,
    }
    momentum = {"momentum": 0.9} if name in ("sgd", "rmsprop") else {}
    optimizer = build_optimizer(mine, config)
    assert type(optimizer) is kinds[name]
    other = kinds[name](theirs.parameters(), lr=0.01, weight_decay=0.02, **momentum)
    for one, two in zip(step(mine, optimizer), step(theirs, other), strict=True):
        assert torch.equal(one, two)


# Layers


def depth(name: str) -> dict[str, int]:
    return layers_of(network(name, size=(32, 32)))


@pytest.mark.parametrize(
    "name", ["resnet8", "resnet18", "wrn-10-1", "vgg16", "mobilenetv3-small", "vit-tiny", "pyramidnet-20-a48"]
)
def test_layers_are_numbered_from_the_input_to_the_head(name):
    model = network(name, size=(32, 32))
    layers, head = layers_of(model), head_of(model)
    assert layers.keys() == dict(model.named_parameters()).keys()
    assert next(iter(layers.values())) == 0
    last = max(layers.values())
    assert set(layers.values()) == set(range(last + 1))
    assert layers[f"{head}.weight"] == layers[f"{head}.bias"] == last
    assert sum(number == last for number in layers.values()) == 2
    assert list(layers.values()) == sorted(layers.values())


def test_the_layers_of_a_resnet_are_stem_blocks_and_head_as_in_timm():
    layers = depth("resnet18")
    assert max(layers.values()) == 9
    numbers = {
        "conv1": 0,
        "bn1": 0,
        "layer1.0.conv1": 1,
        "layer1.1.bn2": 2,
        "layer2.0.downsample.0": 3,
        "layer4.1.conv2": 8,
        "fc": 9,
    }
    assert {name: layers[f"{name}.weight"] for name in numbers} == numbers
    with torch.random.fork_rng(devices=[]):
        theirs = layers_of(timm.create_model("resnet18", num_classes=4))
    assert {name: theirs[f"{name}.weight"] for name in numbers} == numbers


def test_embeddings_are_below_the_blocks_of_a_transformer():
    layers = depth("vit-tiny")
    assert [layers[name] for name in ("class_token", "conv_proj.weight", "encoder.pos_embedding")] == [0, 0, 0]
    assert layers["encoder.layers.encoder_layer_5.mlp.3.weight"] == layers["encoder.ln.weight"] == 6
    assert layers["heads.head.weight"] == 7


@pytest.mark.parametrize("name", ["resnet18", "timm:test_resnet"])
@pytest.mark.parametrize("decay_all", [True, False])
def test_the_learning_rate_decays_by_layer(name, decay_all):
    model = network(name, size=(32, 32))
    config = SharedConfig(lr=0.1, layer_decay=0.5, decay_norm_and_bias=decay_all, weight_decay=0.25)
    learner = Learner.of(model, config, ALONE)
    layers = layers_of(model)
    last = max(layers.values())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    learner.update(0.2)
    found = {id(p): group for group in learner.optimizer.param_groups for p in group["params"]}
    assert len(found) == len(layers)
    for key, parameter in model.named_parameters():
        group = found[id(parameter)]
        assert group["lr"] == pytest.approx(0.2 * 0.5 ** (last - layers[key]))
        assert group["weight_decay"] == (0.25 if decay_all or parameter.ndim > 1 else 0)


def test_layer_decay_equals_the_groups_of_timm():
    from timm.optim import param_groups_layer_decay

    model = network("timm:test_vit", size=(32, 32))
    theirs = {
        id(p): (group["lr_scale"], group["weight_decay"])
        for group in param_groups_layer_decay(model, 0.25, layer_decay=0.5)
        for p in group["params"]
    }
    config = SharedConfig(layer_decay=0.5, decay_norm_and_bias=False, weight_decay=0.25)
    groups = build_optimizer(model, config).param_groups
    assert {id(p): (group["lr_scale"], group["weight_decay"]) for group in groups for p in group["params"]} == theirs


# Clipping and class weights


def mixed_batch(count: int = 6) -> tuple[Tensor, Target]:
    draws = torch.Generator().manual_seed(1)
    x = torch.randn(count, 3, 8, 8, generator=draws)
    return Mixup()(x, torch.tensor([0, 0, 0, 0, 1, 2])[:count], generator=draws)


def gradients(config: TrainConfig, class_weight: Tensor | None = None) -> tuple[list[Tensor], Tensor]:
    learner = Learner.of(network(classes=3, size=(8, 8)), config, ALONE)
    learner.model.eval()  # batch normalisation would see parts
    if class_weight is not None:
        object.__setattr__(learner, "class_weight", class_weight)
    values = forward_backward(learner, *mixed_batch(), config)
    return [parameter.grad.clone() for parameter in learner.model.parameters()], values


def test_gradients_are_clipped_as_torch_does_and_the_norm_is_that_before():
    plain, values = gradients(TrainConfig())
    norm = nn.utils.get_total_norm(plain)
    assert values[3] == norm
    for limit, factor in ((float(norm) / 4, 0.25), (float(norm) * 4, 1.0)):
        clipped, seen = gradients(TrainConfig(clip_grad=limit))
        assert seen[3] == norm
        for one, other in zip(clipped, plain, strict=True):
            torch.testing.assert_close(one, other * factor, rtol=1e-4, atol=1e-8)


def test_each_label_of_a_mixed_sample_is_weighted_by_its_class():
    weight = torch.tensor([0.5, 2.0, 3.0])
    model = network(classes=3, size=(8, 8)).eval()
    mixed, target = mixed_batch()
    log = -model(mixed).log_softmax(1)
    own, other = (weight[y] * log.gather(1, y[:, None])[:, 0] for y in (target.y, target.y_partner))
    total = target.share * weight[target.y] + (1 - target.share) * weight[target.y_partner]
    assert target.share.min() < 0.99
    expected = (target.share * own + (1 - target.share) * other).sum() / total.sum()
    expected.backward()
    found, values = gradients(TrainConfig(), weight)
    assert float(values[0]) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert float(total_weight(target, weight)) == pytest.approx(float(total.sum()))
    for mine, parameter in zip(found, model.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, rtol=1e-4, atol=1e-7)


def test_class_weights_do_not_depend_on_gradient_accumulation():
    weight = torch.tensor([0.5, 2.0, 3.0])
    whole, values = gradients(TrainConfig(), weight)
    for steps in (2, 4):
        parts, again = gradients(TrainConfig(grad_accum_steps=steps), weight)
        torch.testing.assert_close(again, values, rtol=1e-5, atol=1e-6)
        for one, other in zip(parts, whole, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_equal_class_weights_change_nothing():
    plain, _ = gradients(TrainConfig(label_smoothing=0.1))
    weighted, _ = gradients(TrainConfig(label_smoothing=0.1), torch.full((3,), 2.0))
    for one, other in zip(plain, weighted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_the_best_weights_are_those_of_the_average():
    model = network(size=(8, 8))
    learner = Learner.of(model, SharedConfig(ema_decay=0.5), ALONE)
    learner.keep_best()
    before = copy.deepcopy(learner.eval_model.state_dict())
    for average in learner.eval_model.parameters():
        average.data.add_(1)
    learner.restore_best()
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.eval_model.state_dict().items())
