"""Test runs with augmentation and class weights: what is refused before anything is written, and frozen epochs in two processes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from smix.config import RunOptions
from smix.training import loop
from smix.training.inputs import prepare
from smix.training.runs import train
from tests.conftest import make_set, write_npz
from tests.training.processes import in_processes
from tests.training.small import OPTIONS, small_config


def write(folder: Path, shape: tuple[int, ...]) -> str:
    """Write a data set of images of this shape (*S, C)."""
    rng = np.random.default_rng(0)
    arrays = {f"x_{split}": rng.integers(0, 256, (20, *shape), dtype=np.uint8) for split in ("train", "test")}
    labels = {f"y_{split}": np.arange(20) % 2 for split in ("train", "test")}
    np.savez(folder / "odd.npz", **arrays, **labels)
    return f"npz:{folder / 'odd.npz'}"


@pytest.mark.parametrize(
    ("shape", "words", "message"),
    [
        ((8, 9, 3), ["--augment", "augmix", "--method", "smix+fmix"], "smix: augment: augmix blends several moved copies of an image, "
         "so smix+fmix has no mask for it; choose trivialaugment or randaugment, or a method without masks\n"),
        ((8, 9, 5), ["--augment", "trivialaugment"], "smix: augment: expected images with 2 spatial dimensions and 1 or 3 channels, got "
         "8 x 9 with 5 channels; omit --augment\n"),
        ((30, 1), ["--augment", "randaugment"], "smix: augment: expected images with 2 spatial dimensions and 1 or 3 channels, got 30 "
         "with 1 channels; omit --augment\n"),
        ((30, 1), ["--random-erasing", "0.5"], "smix: random_erasing: expected images with 2 spatial dimensions, got 30 with 1 channels; "
         "omit --random-erasing\n"),
        ((8, 9, 3), ["--freeze", "layer9"], "smix: freeze: expected the beginning of the name of a layer, got \"layer9\"; choose from "
         "stem, blocks, classify\n"),
    ],
)  # fmt: skip
def test_what_cannot_be_augmented_or_frozen_is_refused_before_anything_is_written(
    smix, tmp_path, shape, words, message
):
    data = write(tmp_path, shape)
    options = ["--model", "resnet8", "--batch-size", "4", "--quiet", "--device", "cpu"]
    command = ["train", "--data", data, *options, *([] if "--method" in words else ["--method", "vanilla"])]
    code, out, err = smix(*command, *words, "--out", tmp_path / "run")
    assert (code, out, err) == (2, "", message)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_random_erasing_takes_any_number_of_channels(tmp_path, channels):
    data = write(tmp_path, (8, 9, channels))
    loader = prepare(
        small_config(data, method="vanilla", random_erasing=1.0, crop_padding=0, hflip=False), OPTIONS
    ).training_loader(torch.device("cpu"), OPTIONS)
    batch = next(iter(loader.shuffled(0, 0, 8)))
    erased = batch.images.abs().amax(1) < 0.02  # the mean colour is 0 after normalisation
    assert erased.flatten(1).any(1).all()


def test_class_weights_are_those_of_scikit_learn(tmp_path):
    from sklearn.utils.class_weight import compute_class_weight

    data = make_set(80)
    labels = np.array([0] * 40 + [1] * 20 + [2] * 12 + [3] * 8)
    object.__setattr__(data, "labels", labels)
    name = f"npz:{write_npz(tmp_path / 'made.npz', data, make_set(24, seed=1, split='test'))}"
    inputs = prepare(small_config(name, method="vanilla", class_weights="balanced"), RunOptions(device="cpu"))
    expected = compute_class_weight("balanced", classes=np.arange(4), y=inputs.training.labels)
    found = inputs.class_weight(torch.device("cpu"))
    assert found is not None
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-6)
    assert float(found[inputs.training.labels].mean()) == pytest.approx(1)
    assert prepare(small_config(name, method="vanilla"), OPTIONS).class_weight(torch.device("cpu")) is None


@pytest.mark.slow
def test_frozen_epochs_and_early_stopping_in_two_processes(data, tmp_path):
    changes = {
        "freeze": ("stem",),
        "freeze_epochs": 1,
        "patience": 1,
        "epochs": 3,
        "grad_accum_steps": 2,
        "clip_grad": 1.0,
    }
    config = small_config(data, method="mixup", optimizer="adamw", lr=0.01, augment="trivialaugment", **changes)

    def act(rank: int) -> tuple[int, float, list[list[str]]]:
        changed: list[list[str]] = []
        before: dict[str, torch.Tensor] = {}
        real = loop.set_training

        def record(learner, *others):
            state = {name: tensor.detach().clone() for name, tensor in learner.model.named_parameters()}
            if before:
                changed.append([name for name in state if not torch.equal(state[name], before[name])])
            before.update(state)
            real(learner, *others)

        loop.set_training = record
        result = train(config, tmp_path / "run", OPTIONS)
        return result.epochs, result.val_accuracy, changed

    ended = in_processes(2, tmp_path / "logs", act)
    assert [one.code for one in ended] == [0, 0], ended[0].err + ended[1].err
    first, second = (one.value for one in ended)
    assert first == second
    assert first[2][0] == ["classify.weight", "classify.bias"]
    if len(first[2]) > 1:
        assert not [name for name in first[2][1] if name.startswith("stem.")]
        assert "blocks.0.conv1.weight" in first[2][1]
