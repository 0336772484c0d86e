"""Test frozen layers: their weights and the statistics of their batch normalisation stay as they are."""

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from smix.config import SharedConfig
from smix.errors import OptionError
from smix.models import build_model, head_of
from smix.training import loop
from smix.training.distributed import ALONE
from smix.training.freeze import freeze, set_training
from smix.training.learner import Learner
from smix.training.runs import train
from tests.training.small import OPTIONS, small_config


def network(name: str = "resnet8", size: tuple[int, int] = (10, 14), seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_model(name, 4, 3, size)


def fixed(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


def test_a_prefix_freezes_whole_layers_only():
    model = network("resnet18")
    freeze(model, SharedConfig(freeze=("conv1", "layer1.0", "layer2")))
    expected = {name for name, _ in model.named_parameters() if name.startswith(("conv1.", "layer1.0.", "layer2."))}
    assert fixed(model) == expected
    assert "layer1.1.conv1.weight" not in expected


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("layer",),
            'freeze: expected the beginning of the name of a layer, got "layer"; did you mean layer4, layer3, layer2?',
        ),
        (("conv1", "xyz"), "choose from conv1, bn1, layer1, layer2, layer3, layer4, fc"),
        (("",), 'got ""; choose from conv1'),
        (
            ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"),
            "freeze: no layer is left to train; name fewer layers",
        ),
    ],
)
def test_unknown_layers_and_too_many_are_refused(names, message):
    with pytest.raises(OptionError) as caught:
        freeze(network("resnet18"), SharedConfig(freeze=names))
    assert message in str(caught.value)


def test_frozen_epochs_need_a_last_layer_that_is_not_frozen():
    with pytest.raises(
        OptionError, match=r"no layer is left to train in the first 2 epochs, which train only classify; name"
    ):
        freeze(network(), SharedConfig(freeze=("classify",), freeze_epochs=2))


def test_batch_normalisation_of_frozen_layers_is_in_evaluation_mode():
    config = SharedConfig(freeze=("stem", "blocks.0"), freeze_epochs=1)
    model = network()
    freeze(model, config)
    learner = Learner.of(model, config, ALONE)
    norms = {name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    set_training(learner, config, 0)
    assert {name for name in norms if model.get_submodule(name).training} == set()
    assert fixed(model) == {name for name, _ in model.named_parameters() if not name.startswith(head_of(model))}
    set_training(learner, config, 1)
    expected = {name for name in norms if not name.startswith(("stem", "blocks.0"))}
    assert {name for name in norms if model.get_submodule(name).training} == expected
    assert fixed(model) == {name for name, _ in model.named_parameters() if name.startswith(("stem.", "blocks.0."))}


def test_parameters_that_the_network_fixes_itself_stay_fixed():
    model = network()
    model.stem[0].weight.requires_grad_(False)
    config = SharedConfig(freeze_epochs=1)
    learner = Learner.of(model, config, ALONE)
    set_training(learner, config, 0)
    set_training(learner, config, 1)
    assert fixed(model) == {"stem.0.weight"}


def weights(folder) -> dict[str, Tensor]:
    return safetensors.torch.load_file(folder / "weights.safetensors")


def test_frozen_layers_of_a_run_end_as_they_began(data, tmp_path):
    torch.save(network(seed=3).state_dict(), tmp_path / "w.pt")
    init = {"init_weights": str(tmp_path / "w.pt"), "epochs": 1, "optimizer": "adamw", "lr": 0.01}
    train(small_config(data, freeze=("stem", "blocks.0"), **init), tmp_path / "run", OPTIONS)
    before, after = network(seed=3).state_dict(), weights(tmp_path / "run")
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {name for name in before if name.startswith(("stem.", "blocks.0."))}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_frozen_epochs_train_only_the_last_layer_and_then_all(data, tmp_path, optimizer, monkeypatch):
    torch.save(network(seed=3).state_dict(), tmp_path / "w.pt")
    seen: list[set[str]] = []
    before = network(seed=3).state_dict()
    real = loop.predictions

    def record(learner, *others):
        state = learner.model.state_dict()
        seen.append({name for name in before if not torch.equal(before[name], state[name])})
        return real(learner, *others)

    monkeypatch.setattr(loop, "predictions", record)
    config = small_config(
        data,
        init_weights=str(tmp_path / "w.pt"),
        freeze_epochs=2,
        epochs=3,
        optimizer=optimizer,
        lr=0.01,
        weight_decay=0.1,
    )
    train(config, tmp_path / "run", OPTIONS)
    head = {name for name in before if name.startswith("classify.")}
    assert seen == [head, head, set(before)]
