"""Test `--init-weights`: weights of runs and of other checkpoints, with another last layer, and without running code of a file."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from smix.errors import RunError
from smix.models import build_model, head_of
from smix.training.runs import train
from smix.training.weights import load_init
from tests.training.small import OPTIONS, metrics, small_config, stop_after, train_command


def network(seed: int = 0, classes: int = 4, name: str = "resnet8") -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_model(name, classes, 3, (10, 14))


def states_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Path:
    """Return the folder of a run of one epoch. Tests must not change it."""
    out = tmp_path_factory.mktemp("run") / "run"
    train(small_config(data, epochs=1, ema_decay=0.5), out, OPTIONS)
    return out


def test_the_weights_of_a_run_are_loaded(run):
    model = network()
    load_init(model, str(run / "weights.safetensors"))
    assert states_equal(model.state_dict(), safetensors.torch.load_file(run / "weights.safetensors"))


def test_the_checkpoint_of_a_run_gives_its_evaluated_weights(run):
    model, again = network(), network(seed=1)
    load_init(model, str(run / "checkpoint.pt"))
    load_init(again, str(run / "weights.safetensors"))
    assert states_equal(model.state_dict(), again.state_dict())


def add_prefix(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("inside", [None, "model", "state_dict", "model_state_dict", "net"])
def test_prefixes_of_wrappers_are_removed_from_names(tmp_path, prefix, inside):
    source, model = network(seed=1), network()
    state: dict[str, Any] = add_prefix(prefix, source.state_dict())
    torch.save(state if inside is None else {inside: state, "epoch": 7, "optimizer": {"lr": 1}}, tmp_path / "c.pt")
    assert not states_equal(model.state_dict(), source.state_dict())
    load_init(model, str(tmp_path / "c.pt"))
    assert states_equal(model.state_dict(), source.state_dict())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_prefixes_in_safetensors_are_removed(tmp_path, prefix):
    source, model = network(seed=1), network()
    state = {name: tensor.contiguous() for name, tensor in add_prefix(prefix, source.state_dict()).items()}
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    load_init(model, str(tmp_path / "w.safetensors"))
    assert states_equal(model.state_dict(), source.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet8", "resnet18", "wrn-10-1", "mobilenetv3-small", "vgg16"])
def test_a_last_layer_for_other_classes_is_not_loaded(tmp_path, name):
    source, model, fresh = network(1, 6, name), network(0, 4, name), network(0, 4, name)
    torch.save(source.state_dict(), tmp_path / "w.pt")
    load_init(model, str(tmp_path / "w.pt"))
    head = {f"{head_of(model)}.weight", f"{head_of(model)}.bias"}
    assert head <= model.state_dict().keys()
    for key, tensor in model.state_dict().items():
        expected = fresh if key in head else source
        assert torch.equal(tensor, expected.state_dict()[key]), key


def test_a_last_layer_for_the_same_number_of_classes_is_kept(tmp_path):
    source, model = network(seed=1), network()
    torch.save(source.state_dict(), tmp_path / "w.pt")
    load_init(model, str(tmp_path / "w.pt"))
    head = f"{head_of(model)}.weight"
    assert torch.equal(model.state_dict()[head], source.state_dict()[head])


def refusal_of(model: nn.Module, path: Path) -> str:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(RunError) as info:
        load_init(model, str(path))
    assert states_equal(model.state_dict(), before)
    assert str(info.value).startswith(f"{path}: expected ")
    assert "\n" not in str(info.value)
    assert len(str(info.value)) < 1600
    return str(info.value)


@pytest.mark.slow
def test_weights_of_another_network_are_refused_in_one_line(tmp_path):
    torch.save(network(name="resnet18").state_dict(), tmp_path / "w.pt")
    assert "expected weights of this network, but " in refusal_of(network(), tmp_path / "w.pt")
    assert "choose the --model that they belong to" in refusal_of(network(name="resnet14"), tmp_path / "w.pt")


def test_a_different_shape_outside_of_the_last_layer_is_named(tmp_path):
    torch.save(network(name="resnet18-w8").state_dict(), tmp_path / "w.pt")
    said = refusal_of(network(name="resnet18-w16"), tmp_path / "w.pt")
    assert "8" in said
    assert "instead of 16" in said


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 and nothing more", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_broken_file_is_a_one_line_error(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refusal_of(network(), tmp_path / name)


@pytest.mark.parametrize("content", [{}, [1, 2], 3, {"model": 1}, {"a": "text"}, {"model": {}}, torch.zeros(3)])
def test_a_file_without_weights_is_a_one_line_error(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    assert "expected a weights file (safetensors or a torch checkpoint), got " in refusal_of(
        network(), tmp_path / "w.pt"
    )


def test_a_missing_file_is_a_one_line_error(tmp_path):
    assert "No such file" in refusal_of(network(), tmp_path / "none.pt")
    assert "none.safetensors" in refusal_of(network(), tmp_path / "none.safetensors")


class RunsCode:
    """Object that creates a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_file_cannot_run_code(tmp_path):
    path, trap = tmp_path / "w.pt", tmp_path / "trap"
    torch.save({**network().state_dict(), "trap": RunsCode(trap)}, path)
    refusal_of(network(), path)
    assert not trap.exists()
    torch.load(path, weights_only=False)
    assert trap.exists(), "the trap does not work"


# In a run


def test_a_run_starts_from_the_weights_and_stores_their_checksum(data, run, tmp_path):
    file = run / "weights.safetensors"
    config = small_config(data, epochs=1, init_weights=str(file), lr=1e-12, weight_decay=0.0)
    train(config, tmp_path, OPTIONS)
    made = json.loads((tmp_path / "config.json").read_text())
    assert made["config"]["init_weights"] == str(file)
    assert made["data"]["init_weights"] == hashlib.sha256(file.read_bytes()).hexdigest()
    weights, trained = (safetensors.torch.load_file(path) for path in (file, tmp_path / "weights.safetensors"))
    for name in weights:
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(trained[name], weights[name])


@pytest.mark.slow
def test_a_run_is_not_resumed_with_another_file_of_the_same_name(data, tmp_path):
    file = tmp_path / "w.pt"
    torch.save(network(seed=1).state_dict(), file)
    config = small_config(data, init_weights=str(file))
    with pytest.MonkeyPatch.context() as patch:
        stop_after(5, patch)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "run", OPTIONS)
    before, content = metrics(tmp_path / "run"), file.read_bytes()
    torch.save(network(seed=2).state_dict(), file)
    with pytest.raises(
        RunError, match=r"this run was started with data init-weights [0-9a-f]{64} instead of [0-9a-f]{64}; "
    ) as info:
        train(config, tmp_path / "run", OPTIONS)
    assert "\n" not in str(info.value)
    assert metrics(tmp_path / "run") == before
    file.write_bytes(content)
    train(config, tmp_path / "run", OPTIONS)


def test_unusable_weights_are_reported_before_a_folder_is_created(smix, data, tmp_path):
    words = ["train", "--data", data, "--model", "resnet8", "--method", "vanilla", "--quiet", "--out", tmp_path / "run"]
    (tmp_path / "w.pt").write_bytes(b"none")
    for file in ("w.pt", "none.pt"):
        code, out, err = smix(*words, "--init-weights", tmp_path / file)
        assert (code, out) == (2, "")
        assert err.startswith(f"smix: {tmp_path / file}: expected a weights file")
        assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


# What was loaded


def test_the_same_network_is_loaded_whole(run):
    loaded = load_init(network(), str(run / "weights.safetensors"))
    count = len(network().state_dict())
    assert loaded.describe() == (
        f"initial weights: {count} tensors of {run / 'weights.safetensors'}\n  new, with random values: none"
    )


def test_a_last_layer_for_other_classes_is_named_as_left_out_and_new(tmp_path):
    torch.save(network(1, 6).state_dict(), tmp_path / "w.pt")
    loaded = load_init(network(), str(tmp_path / "w.pt"))
    assert loaded.left_out == loaded.new == ("classify.weight", "classify.bias")
    assert loaded.describe().splitlines() == [
        f"initial weights: {len(network().state_dict()) - 2} tensors of {tmp_path / 'w.pt'}",
        "  left out: classify.weight, classify.bias",
        "  new, with random values: classify.weight, classify.bias",
    ]


def test_a_file_without_last_layer_and_with_other_heads_is_loaded(tmp_path):
    state = {name: tensor for name, tensor in network(1).state_dict().items() if not name.startswith("classify.")}
    heads = {f"projector.{place}.weight": torch.zeros(2) for place in range(5)}
    torch.save({**state, **heads}, tmp_path / "w.pt")
    model = network()
    loaded = load_init(model, str(tmp_path / "w.pt"))
    assert loaded.new == ("classify.weight", "classify.bias")
    assert loaded.left_out == tuple(heads)
    assert "left out: projector.0.weight, projector.1.weight, projector.2.weight and 2 more\n" in loaded.describe()
    own = model.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in state.items())
    assert torch.equal(own["classify.weight"], network().state_dict()["classify.weight"])


def test_a_deeper_network_is_refused_although_all_layers_are_in_the_file(tmp_path):
    torch.save(network(name="resnet14").state_dict(), tmp_path / "w.pt")
    assert "instead of " in refusal_of(network(), tmp_path / "w.pt")


def test_counters_of_batch_normalisation_may_be_missing(tmp_path):
    """Torch before 0.4.1 saved none."""
    state = {name: tensor for name, tensor in network(1).state_dict().items() if "num_batches" not in name}
    torch.save(state, tmp_path / "w.pt")
    model = network()
    assert all(name.endswith("num_batches_tracked") for name in load_init(model, str(tmp_path / "w.pt")).new)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("classes", [4, 6])
def test_other_names_of_the_same_network_are_matched_by_order(tmp_path, classes):
    source, model = network(1, classes), network()
    renamed = {
        f"_layer{place}.{name.rpartition('.')[2]}": tensor
        for place, (name, tensor) in enumerate(source.state_dict().items())
    }
    torch.save(renamed, tmp_path / "w.pt")
    loaded = load_init(model, str(tmp_path / "w.pt"))
    assert loaded.by_order
    assert "matched by order, kind and shape because their names differ" in loaded.describe().splitlines()[0]
    for name, tensor in source.state_dict().items():
        if classes == 4 or not name.startswith("classify."):
            assert torch.equal(model.state_dict()[name], tensor), name


def test_other_names_in_another_order_are_refused(tmp_path):
    items = list(network(1).state_dict().items())
    items[1], items[2] = items[2], items[1]  # weight and bias of a batch normalisation
    torch.save(
        {f"x{place}.{name.rpartition('.')[2]}": tensor for place, (name, tensor) in enumerate(items)}, tmp_path / "w.pt"
    )
    refusal_of(network(), tmp_path / "w.pt")


def test_a_run_says_what_it_starts_from_once(smix, data, run, tmp_path):
    words = [*train_command(data), "--init-weights", run / "weights.safetensors", "--out", tmp_path / "run"]
    words.remove("--quiet")
    with pytest.MonkeyPatch.context() as patch:
        stop_after(5, patch)
        code, _, err = smix(*words)
    assert code == 130
    assert f"initial weights: {len(network().state_dict())} tensors of {run / 'weights.safetensors'}\n" in err
    code, _, err = smix(*words)
    assert code == 0
    assert "initial weights" not in err
