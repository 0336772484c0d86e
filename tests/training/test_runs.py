"""Test `train`: the contents of a run folder, its owner, and values that a run must not read or change."""

import json
import platform
import random
import shutil
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import smix
from smix import files
from smix.config import RunOptions, TrainConfig
from smix.data.batches import Batches
from smix.data.sets import ImageSet, balanced_order, load_data
from smix.errors import DataError, MaskError, OptionError, RunError, SmixError
from smix.evaluation.accuracy import accuracy
from smix.evaluation.predict import predict
from smix.masks import build_masks, load_source
from smix.masks.lookup import masks_of
from smix.mixing import Plan
from smix.models import build_model
from smix.training import loop, runs
from smix.training.inputs import prepare, split
from smix.training.records import Result
from smix.training.runs import train
from tests.conftest import make_set, write_npz
from tests.training.small import (
    EPOCHS,
    FILES,
    OPTIONS,
    STEPS,
    arrays,
    assert_equal_runs,
    at_step,
    contents,
    metrics,
    result,
    small_config,
    stop_after,
    write_data,
)

OTHER = {
    "freeze": ("stem", "blocks.0"),
    "freeze_epochs": 1,
    "balanced_sampling": True,
    "class_weights": "balanced",
    "optimizer": "rmsprop",
    "layer_decay": 0.5,
    "clip_grad": 2.0,
    "patience": 2,
    "augment": "randaugment",
    "random_erasing": 0.25,
    "data": "npz:other.npz",
    "train_limit": 60,
    "test_limit": 20,
    "val_fraction": 0.2,
    "image_size": 32,
    "init_weights": "other.pt",
    "mix_off_epochs": 1,
    "grad_accum_steps": 2,
    "drop_last": True,
    "schedule": "cosine",
    "warmup_epochs": 1.0,
    "nesterov": True,
    "decay_norm_and_bias": False,
    "label_smoothing": 0.1,
    "ema_decay": 0.9,
    "masks": "masks/other",
    "method": "vanilla",
    "seed": 1,
    "model": "resnet14",
    "epochs": 4,
    "batch_size": 8,
    "lr": 0.05,
    "momentum": 0.5,
    "weight_decay": 0.0,
    "milestones": (1,),
    "hflip": False,
    "crop_padding": 0,
}
"""Another value of every option."""


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory) -> tuple[TrainConfig, Path, Result]:
    """Return the folder of a finished run. Tests must not change it."""
    config, out = small_config(data), tmp_path_factory.mktemp("finished") / "run"
    return config, out, train(config, out, OPTIONS)


# Contents of the folder


@pytest.mark.slow
def test_a_run_folder_contains_exactly_the_files_of_the_design(finished):
    _, out, _ = finished
    assert {path.name for path in out.iterdir()} - {".lock"} == FILES


def test_config_json_contains_all_options_and_the_provenance(finished):
    config, out, _ = finished
    made = json.loads((out / "config.json").read_text())
    whole, test = load_data(config.data, split="train"), load_data(config.data, split="test")
    pixels = whole.images.reshape(-1, 3) / 255
    assert list(made) == [
        *("format", "config", "versions", "data", "masks", "normalisation"),
        *("stored_size", "threads", "precision", "memory_format", "compile", "device", "processes", "sha256"),
    ]
    assert TrainConfig.from_json(made["config"]) == config
    assert set(made["config"]) == {field.name for field in fields(TrainConfig)}
    assert made["versions"]["smix"] == smix.__version__
    assert made["versions"]["python"] == platform.python_version()
    assert made["versions"]["torch"] == torch.__version__
    assert made["versions"]["numpy"] == np.__version__
    assert made["data"] == {
        "fingerprint_train": whole.fingerprint,
        "fingerprint_test": test.fingerprint,
        "images": {"training": 72, "validation": 8, "test": 24},
        "size": [10, 14],
        "classes": ["class 0", "class 1", "class 2", "class 3"],
        "read": "kept on the device",
        "validated_on": "validation images",
    }
    assert (made["precision"], made["processes"], made["threads"]) == ("float32", 1, torch.get_num_threads())
    assert made["masks"]["source"]["name"] == "carried"
    assert made["normalisation"]["mean"] == pytest.approx(pixels.mean(0), rel=1e-9)
    assert made["normalisation"]["std"] == pytest.approx(pixels.std(0), rel=1e-9)


def test_a_method_without_masks_loads_no_masks(data, tmp_path):
    train(small_config(data, method="fmix", epochs=1, masks="not/there"), tmp_path, OPTIONS)
    assert json.loads((tmp_path / "config.json").read_text())["masks"] is None


def test_metrics_have_one_line_per_epoch(finished):
    _, out, _ = finished
    lines = metrics(out)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert list(lines[0]) == [*("epoch", "lr", "train_loss", "train_accuracy", "fell_back", "val_loss", "val_accuracy")]
    assert all(0 < line["fell_back"] < 1 for line in lines)


def test_the_result_follows_from_the_predictions_and_the_last_line_of_metrics(finished):
    config, out, told = finished
    predicted = arrays(out / "predictions.npz")
    logits = predicted["logits"].astype(float)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = load_data(config.data, split="test").labels
    assert np.array_equal(predicted["labels"], labels)
    assert told.test_accuracy == (logits.argmax(1) == labels).mean()
    assert told.test_loss == pytest.approx(-np.log(shares[np.arange(24), labels]).mean(), rel=1e-9)
    assert told.val_accuracy == metrics(out)[-1]["val_accuracy"]
    kept = arrays(out / "validation.npz")
    assert (kept["logits"].argmax(1) == kept["labels"]).mean() == told.val_accuracy
    assert len(kept["labels"]) == 8
    assert told.epochs == EPOCHS
    assert told.images_seen == EPOCHS * 72
    assert told.seconds > 0
    assert told.device.startswith("CPU with ")
    said = result(out)
    assert said.pop("format") == 3
    sums = said.pop("files")
    assert {name: files.sha256(out / name) for name in sums} == sums
    assert sums.keys() == FILES - {"checkpoint.pt", "result.json", "metrics.jsonl"}
    assert said == {name: value for name, value in vars(told).items() if name != "seconds"}


def test_without_validation_images_there_are_no_predictions_to_fit_a_temperature(data, tmp_path):
    train(small_config(data, val_fraction=0, epochs=1), tmp_path, OPTIONS)
    assert (tmp_path / "predictions.npz").is_file()
    assert not (tmp_path / "validation.npz").exists()


def test_weights_and_predictions_are_those_of_the_last_epoch(finished):
    config, out, _ = finished
    weights = safetensors.torch.load_file(out / "weights.safetensors")
    checkpoint = torch.load(out / "checkpoint.pt", weights_only=True)
    assert checkpoint["progress"]["epoch"] == EPOCHS
    assert weights.keys() == checkpoint["model"].keys()
    assert all(torch.equal(weights[name], checkpoint["model"][name]) for name in weights)
    with torch.random.fork_rng(devices=[]):
        model = build_model("resnet8", 4, 3, (10, 14))
    model.load_state_dict(weights)
    material = prepare(config, OPTIONS)
    test = Batches.of(load_data(config.data, split="test"), material.normalise, torch.device("cpu"))
    logits, _ = predict(model, test.in_order())
    assert np.array_equal(logits.numpy(), arrays(out / "predictions.npz")["logits"])


@pytest.mark.slow
def test_the_last_epoch_is_reported_and_not_the_best(data, tmp_path, monkeypatch):
    peak_in_the_middle = iter([0.3, 0.9, 0.5])
    monkeypatch.setattr(loop, "accuracy", lambda logits, labels: next(peak_in_the_middle))
    told = train(small_config(data), tmp_path, OPTIONS)
    assert [line["val_accuracy"] for line in metrics(tmp_path)] == [0.3, 0.9, 0.5]
    assert told.val_accuracy == 0.5


@pytest.mark.parametrize("method", ["vanilla", "mixup", "cutmix", "fmix", "smix", "smix(feather=1.0)+fmix"])
def test_stored_plans_of_samples_reproduce_their_mixes(data, tmp_path, method):
    config = small_config(data, method=method, epochs=1)
    train(config, tmp_path, OPTIONS)
    found = arrays(tmp_path / "samples.npz")
    assert set(found) == {"images", "mixed", "labels", "partner", "weight", "share", "fell_back"} | (
        {"masks"} if "smix" in method else set()
    )
    training = prepare(config, OPTIONS).training
    own = {image.tobytes(): int(label) for image, label in zip(training.images, training.labels, strict=True)}
    assert [own[image.tobytes()] for image in found["images"]] == found["labels"].tolist()
    assert sorted(found["labels"]) == [0, 0, 1, 1, 2, 2, 3, 3]
    weight = found["weight"].astype(float)[..., None]
    assert weight.shape == (8, 10, 14, 1)
    expected = weight * found["images"] + (1 - weight) * found["images"][found["partner"]]
    assert np.abs(found["mixed"] - expected).max() <= 0.5 + 1e-3  # rounded to integer levels
    again = Plan(
        torch.from_numpy(found["partner"]),
        torch.from_numpy(found["weight"])[:, None],
        torch.from_numpy(found["share"]),
        torch.from_numpy(found["partner"] != np.arange(8)),
        torch.from_numpy(found["fell_back"]),
    ).blend(torch.from_numpy(found["images"]).float().movedim(-1, 1))
    assert np.abs(again.movedim(1, -1).numpy() - found["mixed"]).max() <= 0.5 + 1e-3
    changed = (found["mixed"] != found["images"]).any()
    assert changed == (method != "vanilla")


# Owner of the folder


def test_a_finished_run_is_only_read(finished, monkeypatch):
    config, out, told = finished
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in out.iterdir() if path.name != ".lock"}

    def refuse(*_: object) -> None:
        raise AssertionError("a finished run was written to")

    monkeypatch.setattr(files, "write_bytes", refuse)
    monkeypatch.setattr(runs, "fit", refuse)
    assert train(config, out, replace(OPTIONS, threads=1)) == told
    after = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in out.iterdir() if path.name != ".lock"}
    assert after == before


def test_these_tests_have_another_value_of_every_option():
    assert OTHER.keys() == {field.name for field in fields(TrainConfig)}


@pytest.mark.parametrize("name", OTHER)
def test_a_folder_of_another_configuration_is_refused_and_unchanged(finished, name):
    config, out, _ = finished
    before, old = contents(out), getattr(config, name)
    with pytest.raises(RunError) as info:
        train(replace(config, **{"lr": 0.01} if name == "optimizer" else {}, **{name: OTHER[name]}), out, OPTIONS)
    values = [list(value) if isinstance(value, tuple) else value for value in (old, OTHER[name])]
    assert str(info.value).startswith(f"{out}: this run was started with ")
    assert f"--{name.replace('_', '-')} {values[0]} instead of {values[1]};" in str(info.value)
    assert "\n" not in str(info.value)
    assert contents(out) == before


def test_a_finished_run_is_read_without_its_data_and_masks(tmp_path):
    name = write_data(tmp_path)
    build_masks(load_data(name), load_source("carried"), tmp_path / "masks")
    config = small_config(name, masks=str(tmp_path / "masks"), epochs=1, method="smix")
    told = train(config, tmp_path / "run", OPTIONS)
    shutil.rmtree(tmp_path / "masks")
    (tmp_path / "made.npz").unlink()
    before = contents(tmp_path / "run")
    assert train(config, tmp_path / "run", OPTIONS) == told
    with pytest.raises(RunError, match=r"--lr 0\.1 instead of 0\.07; choose another --out"):
        train(replace(config, lr=0.07), tmp_path / "run", OPTIONS)
    assert contents(tmp_path / "run") == before


@pytest.mark.slow
@pytest.mark.parametrize("cut", [True, False], ids=["interrupted", "finished"])
def test_the_same_data_and_masks_at_another_path_are_the_same_run(tmp_path, monkeypatch, cut):
    monkeypatch.chdir(tmp_path)
    name = write_data(tmp_path)
    build_masks(load_data(name), load_source("carried"), tmp_path / "masks")
    config = small_config("npz:made.npz", masks="masks", epochs=2, method="smix")
    with pytest.MonkeyPatch.context() as patch:
        if cut:
            stop_after(STEPS + 1, patch)
            with pytest.raises(KeyboardInterrupt):
                train(config, tmp_path / "run", OPTIONS)
        else:
            train(config, tmp_path / "run", OPTIONS)
    told = train(replace(config, data=name, masks=f"{tmp_path}/masks/"), tmp_path / "run", OPTIONS)
    assert train(replace(config, data="npz:.//made.npz", masks="./masks"), tmp_path / "run", OPTIONS) == told
    (tmp_path / "other.npz").write_bytes((tmp_path / "made.npz").read_bytes())
    with pytest.raises(RunError, match=r"--data npz:made\.npz instead of npz:other\.npz; choose another --out"):
        train(replace(config, data="npz:other.npz"), tmp_path / "run", OPTIONS)


def test_a_run_is_not_resumed_with_other_images_of_the_same_name(tmp_path):
    name = write_data(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        stop_after(1, patch)
        with pytest.raises(KeyboardInterrupt):
            train(small_config(name, epochs=1), tmp_path / "run", OPTIONS)
    before = contents(tmp_path / "run")
    fingerprint = load_data(name).fingerprint
    write_npz(tmp_path / "made.npz", make_set(80, seed=7), make_set(24, seed=1, split="test"))
    with pytest.raises(RunError, match=f"fingerprint-train {fingerprint} instead of {load_data(name).fingerprint}"):
        train(small_config(name, epochs=1), tmp_path / "run", OPTIONS)
    assert contents(tmp_path / "run") == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("result.json", b""),
        ("result.json", b'{"test_accuracy": 0.5}'),
        ("result.json", b"[1, 2]"),
        ("result.json", b"\xff\xfe"),
        ("config.json", b""),
        ("config.json", b"{}"),
        ("config.json", b"[]"),
        ("config.json", b"\xff\xfe"),
        ("config.json", b'{"config": {"data": 1}}'),
        ("checkpoint.pt", b""),
        ("checkpoint.pt", b"PK\x03\x04 and nothing more"),
        ("metrics.jsonl", b"{"),
        ("metrics.jsonl", b'{"epoch": 1}\n'),
        ("metrics.jsonl", b"null\n"),
    ],
)
def test_a_broken_file_of_a_run_is_named_in_one_line_and_nothing_is_lost(data, tmp_path, name, content):
    config = small_config(data)
    with pytest.MonkeyPatch.context() as patch:
        stop_after(STEPS + 1, patch)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path, OPTIONS)
    (tmp_path / name).write_bytes(content)
    before = contents(tmp_path)
    with pytest.raises(SmixError) as info:
        train(config, tmp_path, OPTIONS)
    assert str(info.value).startswith(str(tmp_path))
    assert "expected" in str(info.value)
    assert "\n" not in str(info.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"method": "smixx"}, OptionError),
        ({"model": "resnet9"}, OptionError),
        ({"data": "cifar11"}, OptionError),
        ({"data": "npz:not-there.npz"}, DataError),
        ({"masks": "not/there"}, MaskError),
        ({"train_limit": 81}, DataError),
        ({"test_limit": 25}, DataError),
        ({"val_fraction": 0.001}, DataError),
        ({"val_fraction": 0.999}, DataError),
    ],
)
def test_invalid_configurations_are_refused_before_a_folder_is_created(data, tmp_path, changes, error):
    with pytest.raises(error) as info:
        train(small_config(data, **changes), tmp_path / "run", OPTIONS)
    assert "\n" not in str(info.value)
    assert not (tmp_path / "run").exists()


def test_train_and_test_images_of_different_sizes_are_refused(tmp_path):
    other = make_set(24, size=(9, 14), seed=1, split="test")
    write_npz(tmp_path / "two.npz", make_set(80), other)
    with pytest.raises(DataError, match=r"expected test images of shape \(10, 14, 3\) as in train, got \(9, 14, 3\)"):
        train(small_config(f"npz:{tmp_path / 'two.npz'}"), tmp_path / "run", OPTIONS)


@pytest.mark.slow
def test_a_second_run_in_the_same_folder_is_refused(finished, tmp_path):
    config, whole, _ = finished
    refused = []

    def start_second_run() -> None:
        with pytest.raises(RunError, match="in use") as info:
            train(config, tmp_path, OPTIONS)
        refused.append(str(info.value))

    with pytest.MonkeyPatch.context() as patch:
        at_step(STEPS + 1, start_second_run, patch)
        train(config, tmp_path, OPTIONS)
    assert len(refused) == 1
    assert "\n" not in refused[0]
    assert_equal_runs(tmp_path, whole)


# Reproducibility


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run_for_any_state_of_the_global_generators(finished, tmp_path):
    config, whole, _ = finished
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)
        random.seed(123)
        np.random.seed(123)  # noqa: NPY002
        train(config, tmp_path, OPTIONS)
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002
    assert_equal_runs(tmp_path, whole)


@pytest.mark.slow
def test_another_seed_gives_another_run(finished, tmp_path):
    config, whole, _ = finished
    train(replace(config, seed=1), tmp_path, OPTIONS)
    mine, other = arrays(tmp_path / "predictions.npz"), arrays(whole / "predictions.npz")
    assert not np.array_equal(mine["logits"], other["logits"])
    assert np.array_equal(mine["labels"], other["labels"])
    for name in ("weights.safetensors", "samples.npz"):
        assert contents(tmp_path)[name] != contents(whole)[name]


def test_all_methods_of_a_seed_start_from_the_same_weights(data):
    def weights(**changes: object) -> bytes:
        return safetensors.torch.save(
            {
                name: tensor.contiguous()
                for name, tensor in prepare(small_config(data, **changes), OPTIONS).model.state_dict().items()
            }
        )

    assert weights(method="vanilla") == weights(method="smix+fmix")
    assert weights(seed=0) != weights(seed=1)


def run_to_the_end(config: TrainConfig, out: Path, patch: pytest.MonkeyPatch) -> None:
    train(config, out, OPTIONS)


def run_and_stop(config: TrainConfig, out: Path, patch: pytest.MonkeyPatch) -> None:
    stop_after(2, patch)
    with pytest.raises(KeyboardInterrupt):
        train(config, out, OPTIONS)


def run_and_break(config: TrainConfig, out: Path, patch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match="expected a finite loss"):
        train(replace(config, lr=1e30), out, OPTIONS)


@pytest.mark.slow
@pytest.mark.parametrize("run", [run_to_the_end, run_and_stop, run_and_break])
def test_no_global_generator_is_used_or_left_changed(data, tmp_path, monkeypatch, run):
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    run(small_config(data, method="mixup"), tmp_path, monkeypatch)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


def test_a_loss_that_is_not_finite_fails_the_run_and_keeps_its_last_checkpoint(data, tmp_path):
    config = small_config(data, lr=1e30)
    with pytest.raises(
        RunError, match=r"^step \d+ \(epoch \d, learning rate .*\): expected a finite loss, got (nan|inf)"
    ) as info:
        train(config, tmp_path, OPTIONS)
    assert str(info.value).endswith("; lower --lr. No checkpoint was saved")
    assert "result.json" not in contents(tmp_path)
    assert "weights.safetensors" not in contents(tmp_path)
    with files.lock(tmp_path):  # the folder is unlocked again
        pass


def test_a_run_with_default_options_chooses_its_device_and_shows_progress(data, tmp_path, capsys):
    train(small_config(data, epochs=1, method="vanilla"), tmp_path)
    assert contents(tmp_path).keys() == FILES
    assert capsys.readouterr().out == ""


# Splits


def rows(data: ImageSet) -> set[bytes]:
    return {image.tobytes() for image in data.images}


@pytest.mark.parametrize("limit", [None, 40])
def test_training_validation_and_test_images_are_disjoint_and_complete(data, limit):
    material = prepare(small_config(data, train_limit=limit), OPTIONS)
    training, validation, test = rows(material.training), rows(material.validation), rows(material.test)
    assert not training & validation
    assert not (training | validation) & test
    assert training | validation == rows(load_data(data).take(limit))
    assert len(training) + len(validation) == (limit or 80)
    assert test == rows(load_data(data, split="test"))


def test_the_loop_receives_only_training_and_validation_images_and_masks(data, tmp_path, monkeypatch):
    config, got = small_config(data, epochs=1), {}

    def record_call(learner, method, train, validation, *others) -> Iterator[loop.Epoch]:
        got.update(train=train, validation=validation)
        return loop.fit(learner, method, train, validation, *others)

    monkeypatch.setattr(runs, "fit", record_call)
    train(config, tmp_path, OPTIONS)
    material = prepare(config, OPTIONS)
    assert np.array_equal(got["train"].images.numpy(), material.training.images)
    assert np.array_equal(got["train"].labels.numpy(), material.training.labels)
    assert np.array_equal(got["train"].masks.numpy(), masks_of(material.training, "carried").masks)
    assert np.array_equal(got["validation"].images.numpy(), material.validation.images)
    assert got["validation"].masks is None


def test_validation_images_are_the_same_for_all_seeds_and_methods_and_class_balanced(data):
    chosen = [
        prepare(small_config(data, seed=seed, method=method), OPTIONS).validation.index.tolist()
        for seed, method in [(0, "vanilla"), (1, "vanilla"), (0, "mixup"), (7, "smix+fmix")]
    ]
    assert chosen == [chosen[0]] * 4
    assert np.bincount(load_data(data).labels[chosen[0]]).tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize(("count", "fraction", "expected"), [(40, 0.1, 4), (40, 0.5, 20), (10, 0.25, 2), (3, 0.3, 1)])
def test_a_split_holds_out_the_requested_fraction(count, fraction, expected):
    training, validation = split(make_set(count), fraction)
    assert (len(training), len(validation)) == (count - expected, expected)
    assert sorted([*training.index, *validation.index]) == list(range(count))
    assert (np.diff(training.index) > 0).all()


@pytest.mark.parametrize(("count", "fraction"), [(4, 0.1), (2, 0.5), (10, 0.96)])
def test_a_split_that_leaves_too_few_images_is_refused(count, fraction):
    with pytest.raises(DataError, match="expected images for training and validation"):
        split(make_set(count, classes=2), fraction)


def test_the_validation_images_of_a_split_are_not_the_first_of_a_take():
    """Both are drawn in balanced order. With the same random key the validation images would be those of --train-limit."""
    data = make_set(40)
    _, validation = split(data, 0.2)
    assert set(validation.index) != set(balanced_order(data.labels, data.fingerprint)[:8])


# The test split


@pytest.mark.slow
def test_other_test_labels_change_no_file_of_training(tmp_path):
    training, test = make_set(80), make_set(24, seed=1, split="test")
    folders = tmp_path / "one", tmp_path / "other"
    permuted = test.labels[np.random.default_rng(0).permutation(24)]
    assert not np.array_equal(permuted, test.labels)
    for out, labels in zip(folders, (test.labels, permuted), strict=True):
        changed = ImageSet(test.images, labels, test.classes, test.masks, name="made", split="test")
        write_npz(tmp_path / "made.npz", training, changed)
        train(small_config(f"npz:{tmp_path / 'made.npz'}"), out, OPTIONS)
    one, other = map(contents, folders)
    for name in ("checkpoint.pt", "weights.safetensors", "samples.npz"):
        assert one[name] == other[name], f"{name} knows the test labels"
    assert metrics(folders[0]) == metrics(folders[1])
    predictions, relabelled = (arrays(folder / "predictions.npz") for folder in folders)
    assert np.array_equal(predictions["logits"], relabelled["logits"])
    assert np.array_equal(relabelled["labels"], permuted)


@pytest.mark.slow
def test_other_test_images_change_no_file_of_training(tmp_path):
    folders = tmp_path / "one", tmp_path / "other"
    for seed, out in enumerate(folders):
        write_npz(tmp_path / "made.npz", make_set(80), make_set(24, seed=seed + 1, split="test"))
        train(small_config(f"npz:{tmp_path / 'made.npz'}"), out, OPTIONS)
    one, other = map(contents, folders)
    for name in ("checkpoint.pt", "weights.safetensors", "samples.npz"):
        assert one[name] == other[name], f"{name} knows the test images"
    assert one["predictions.npz"] != other["predictions.npz"]
    made = [json.loads(files["config.json"]) for files in (one, other)]
    assert made[0]["normalisation"] == made[1]["normalisation"]


@pytest.mark.slow
def test_the_test_images_are_evaluated_once_and_after_training(data, tmp_path, monkeypatch):
    events: list[str] = []
    real_fit, real_of, real_predictions = runs.fit, Batches.of, runs.predictions

    def record_fit(*args) -> Iterator[loop.Epoch]:
        events.append("fit begins")
        yield from real_fit(*args)
        events.append("fit ends")

    def record_loader(data: ImageSet, *args, **options) -> Batches:
        events.append(data.split)
        return real_of(data, *args, **options)

    def record_predictions(*args):
        events.append("predict")
        return real_predictions(*args)

    monkeypatch.setattr(runs, "fit", record_fit)
    monkeypatch.setattr(Batches, "of", record_loader)
    monkeypatch.setattr(runs, "predictions", record_predictions)
    train(small_config(data), tmp_path, OPTIONS)
    assert events == ["train", "train", "fit begins", "fit ends", "predict", "test", "predict"]


def test_accuracy_on_the_test_split_follows_its_labels(finished):
    _, out, told = finished
    predicted = arrays(out / "predictions.npz")
    wrong = torch.from_numpy((predicted["labels"] + 1) % 4)
    assert accuracy(torch.from_numpy(predicted["logits"]), wrong) != told.test_accuracy
    assert told.test_accuracy > 0.25  # above chance for four classes: the network has learned from the training images


@pytest.mark.slow
def test_execution_options_do_not_change_the_identity_of_a_run(finished, tmp_path):
    config, whole, _ = finished
    with pytest.MonkeyPatch.context() as patch:
        stop_after(STEPS, patch)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path, RunOptions(device="cpu", data_root=tmp_path / "elsewhere"))
    train(config, tmp_path, OPTIONS)
    assert_equal_runs(tmp_path, whole)
