"""Test recipes: the numbers of their sources, their methods, and the precedence of explicit options."""

import dataclasses
import json
from pathlib import Path

import pytest

from smix import cli
from smix.cli.mix import METHODS
from smix.config import SharedConfig, TrainConfig
from smix.errors import OptionError
from smix.mixing import parse_method
from smix.training.recipes import RECIPES, methods_of, recipe

SETS = ("cifar10", "cifar100", "tiny-imagenet")


def changed_options(name: str, data: str) -> dict[str, object]:
    """Return the options of a recipe that differ from the defaults."""
    found = dataclasses.asdict(recipe(name, data))
    return {key: value for key, value in found.items() if value != getattr(SharedConfig(), key)}


@pytest.mark.parametrize("data", SETS)
def test_the_recipe_of_the_report_follows_section_3_of_the_method(data):
    found = recipe("report", data)
    tiny = data == "tiny-imagenet"
    assert (found.model, found.schedule, found.lr, found.momentum, found.batch_size) == (
        "resnet18",
        "multistep",
        0.1,
        0.9,
        128,
    )
    assert (found.epochs, found.drops) == ((200, (100, 150)) if tiny else (150, (50, 100)))
    assert (found.weight_decay, found.hflip, found.crop_padding) == (0, False, 0)
    assert (found.nesterov, found.warmup_epochs, found.label_smoothing, found.ema_decay, found.mix_off_epochs) == (
        False,
        0,
        0,
        0,
        0,
    )
    assert (found.val_fraction, found.train_limit, found.data) == (0, None, data)


@pytest.mark.parametrize("data", SETS)
def test_the_augmented_report_differs_only_in_crops_flips_and_weight_decay(data):
    plain, augmented = recipe("report", data), recipe("report-augmented", data)
    assert augmented == dataclasses.replace(plain, crop_padding=4, hflip=True, weight_decay=5e-4)


@pytest.mark.parametrize("data", SETS)
def test_the_recipe_of_openmixup_follows_its_tables(data):
    found = recipe("openmixup", data)
    tiny = data == "tiny-imagenet"
    assert (found.model, found.schedule, found.momentum, found.batch_size) == ("resnet18", "cosine", 0.9, 100)
    assert (found.epochs, found.lr) == ((400, 0.2) if tiny else (200, 0.1))
    assert (found.weight_decay, found.decay_norm_and_bias, found.nesterov, found.warmup_epochs) == (
        1e-4,
        True,
        False,
        0,
    )
    assert (found.hflip, found.crop_padding, found.val_fraction) == (True, 4, 0)


@pytest.mark.parametrize("data", SETS)
def test_the_modern_recipe_is_pinned_and_leaves_other_options_off(data):
    found = recipe("modern", data)
    assert (found.schedule, found.warmup_epochs > 0, found.hflip, found.crop_padding) == ("cosine", True, True, 4)
    assert (found.weight_decay, found.decay_norm_and_bias) == (5e-4, False)
    assert (found.label_smoothing, found.ema_decay, found.mix_off_epochs) == (0, 0, 0)
    assert found.val_fraction > 0
    for changes in (
        {"schedule": "onecycle", "warmup_epochs": 0},
        {"ema_decay": 0.999},
        {"mix_off_epochs": 10},
        {"label_smoothing": 0.1},
    ):
        assert dataclasses.replace(found, **changes) != found


def options(method: str) -> dict[str, object]:
    return {field.name: getattr(parse_method(method), field.name) for field in dataclasses.fields(parse_method(method))}


@pytest.mark.parametrize("data", SETS)
@pytest.mark.parametrize("name", RECIPES)
def test_the_methods_of_a_recipe_are_valid_distinct_and_begin_with_vanilla(name, data):
    methods = methods_of(name, data)
    assert methods[0] == "vanilla"
    assert len({parse_method(method) for method in methods}) == len(methods)
    assert all(recipe(name, data).run(method, 0).method == method for method in methods)


def test_the_methods_of_the_report_have_its_alphas_and_the_official_spectrum():
    found = {method.partition("(")[0]: options(method) for method in methods_of("report", "cifar10")}
    assert list(found) == ["vanilla", "mixup", "cutmix", "fmix", "smix"]
    assert found["mixup"]["alpha"] == 0.2
    assert (found["cutmix"]["alpha"], found["fmix"]["alpha"], found["fmix"]["decay"]) == (1, 1, 3)
    assert found["fmix"]["spectrum"] == "official"
    assert found["smix"]["alpha"] == 0.4
    assert methods_of("report", "cifar10") == methods_of("report-augmented", "tiny-imagenet")


@pytest.mark.parametrize(("data", "alpha"), [("cifar10", 0.2), ("cifar100", 0.2), ("tiny-imagenet", 1.0)])
def test_the_methods_of_openmixup_have_the_alphas_of_its_tables(data, alpha):
    found = {method.partition("(")[0]: options(method) for method in methods_of("openmixup", data)}
    assert list(found) == ["vanilla", "mixup", "cutmix", "fmix", "saliencymix", "gridmix", "resizemix"]
    assert found["mixup"]["alpha"] == 1
    assert {found[name]["alpha"] for name in ("cutmix", "fmix", "saliencymix")} == {alpha}
    assert found["gridmix"]["alpha"] == 0.2
    assert found["fmix"]["spectrum"] == "official"
    assert all(values["per_batch"] for name, values in found.items() if name != "vanilla")


@pytest.mark.parametrize("epochs", [None, 5, 20])
def test_the_recipes_for_pretrained_networks_are_pinned(epochs):
    found = recipe("finetune", "folder:x", epochs)
    assert (found.init_weights, found.image_size, found.epochs, found.batch_size) == (
        "pretrained",
        224,
        epochs or 20,
        32,
    )
    assert (found.optimizer, found.lr, found.layer_decay, found.weight_decay, found.clip_grad) == (
        "adamw",
        5e-4,
        0.9,
        0.05,
        1.0,
    )
    assert (found.schedule, found.warmup_epochs, found.freeze_epochs) == (
        "cosine",
        found.epochs / 20,
        found.epochs // 10,
    )
    small = recipe("small-data", "folder:x", epochs)
    assert small.epochs == (epochs or 60)
    assert small == dataclasses.replace(
        recipe("finetune", "folder:x", small.epochs),
        batch_size=16,
        balanced_sampling=True,
        augment="trivialaugment",
        random_erasing=0.25,
    )


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(OptionError, match=r'^recipe: expected a known name, got "modren"; did you mean "modern"\?$'):
        recipe("modren", "cifar10")


# On the command line


@pytest.fixture
def config_of_train(monkeypatch) -> list[TrainConfig]:
    """Return a function that returns the configuration that `smix train` would use."""
    from smix.training import runs

    found: list[TrainConfig] = []

    def train(config: TrainConfig, *others: object) -> None:
        found.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "train", train)
    return found


@pytest.mark.parametrize("data", ["cifar10", "tiny-imagenet"])
@pytest.mark.parametrize("name", RECIPES)
def test_train_takes_omitted_options_from_the_recipe(smix, config_of_train, tmp_path, name, data):
    smix("train", "--data", data, "--recipe", name, "--method", "cutmix", "--out", tmp_path)
    assert config_of_train == [recipe(name, data).run("cutmix", 0)]


def test_the_recipe_may_precede_or_follow_the_data(smix, config_of_train, tmp_path):
    smix("train", "--recipe", "openmixup", "--data", "tiny-imagenet", "--out", tmp_path)
    smix("train", "--data=tiny-imagenet", "--out", tmp_path, "--recipe=openmixup")
    assert config_of_train[0] == config_of_train[1]
    assert (config_of_train[0].epochs, config_of_train[0].lr) == (400, 0.2)


GIVEN = {
    "--lr 0.03": {"lr": 0.03},
    "--epochs 12 --milestones 4 --milestones 8": {"epochs": 12, "milestones": (4, 8)},
    "--hflip": {"hflip": True},
    "--crop-padding 4": {"crop_padding": 4},
    "--val-fraction 0.1": {"val_fraction": 0.1},
    "--weight-decay 0.0005": {"weight_decay": 5e-4},
    "--model resnet8 --seed 3": {"model": "resnet8", "seed": 3},
}
"""Explicit options and their values, including the defaults, which also override a recipe."""


@pytest.mark.parametrize("words", GIVEN)
def test_explicit_options_override_the_recipe_even_with_their_default(smix, config_of_train, tmp_path, words):
    smix("train", "--data", "cifar10", "--recipe", "report", *words.split(), "--out", tmp_path)
    assert config_of_train == [dataclasses.replace(recipe("report", "cifar10").run("smix", 0), **GIVEN[words])]


def test_options_that_are_switched_off_override_the_recipe(smix, config_of_train, tmp_path):
    smix("train", "--recipe", "modern", "--no-nesterov", "--decay-norm-and-bias", "--no-hflip", "--out", tmp_path)
    assert (config_of_train[0].nesterov, config_of_train[0].decay_norm_and_bias, config_of_train[0].hflip) == (
        False,
        True,
        False,
    )
    assert config_of_train[0].schedule == "cosine"


def test_without_a_recipe_options_have_their_defaults(smix, config_of_train, tmp_path):
    smix("train", "--out", tmp_path)
    assert config_of_train == [TrainConfig()]


@pytest.mark.parametrize("name", RECIPES)
def test_compare_takes_options_and_methods_from_the_recipe(smix, monkeypatch, tmp_path, name):
    from smix.lab import run_all

    calls = []

    def record_call(config: SharedConfig, methods: tuple[str, ...], *others: object) -> None:
        calls.append((config, tuple(methods)))
        raise KeyboardInterrupt

    monkeypatch.setattr(run_all, "compare", record_call)
    words = ["compare", "--data", "cifar100", "--recipe", name, "--batch-size", "64", "--out", tmp_path]
    smix(*words)
    smix(*words, "--methods", "vanilla,hmix")
    expected = dataclasses.replace(recipe(name, "cifar100"), batch_size=64)
    assert calls == [(expected, methods_of(name, "cifar100")), (expected, ("vanilla", "hmix"))]


@pytest.mark.parametrize("command", ["train", "compare"])
def test_an_unknown_recipe_is_a_one_line_error_with_exit_code_2(smix, tmp_path, command):
    code, out, err = smix(command, "--recipe", "opnmixup", "--out", tmp_path / "run")
    assert (code, out) == (2, "")
    assert err == 'smix: recipe: expected a known name, got "opnmixup"; did you mean "openmixup"?\n'
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_named_in_the_help(smix, name):
    for command in ("train", "compare"):
        assert name in " ".join(smix(command, "--help")[1].replace("│", " ").split())


def test_a_run_stores_the_options_but_not_the_name_of_its_recipe(smix, npz, tmp_path):
    small_config = ["--model", "resnet8"]
    words = [
        "train",
        "--data",
        npz,
        "--recipe",
        "openmixup",
        *small_config,
        "--epochs",
        "1",
        "--batch-size",
        "16",
        "--quiet",
    ]
    code, _, err = smix(*words, "--method", "vanilla", "--out", tmp_path)
    assert code == 0, err
    made = json.loads((Path(tmp_path) / "config.json").read_text())
    expected = dataclasses.replace(recipe("openmixup", npz), model="resnet8", epochs=1, batch_size=16)
    assert made["config"] == expected.run("vanilla", 0).to_json()
    assert made["data"]["validated_on"] == "training images"


def test_the_default_methods_of_the_command_line_are_those_of_the_modern_recipe():
    assert METHODS.split(",") == list(methods_of("modern", "cifar10"))


@pytest.mark.parametrize(("written", "warmup_epochs"), [("+40", 1.0), ("40", 1.0), ("040", 1.0)])
def test_epochs_are_parsed_for_the_recipe_as_for_other_commands(written, warmup_epochs):
    bound = cli.app.parse_args(["train", "--recipe", "modern", "--epochs", written, "--out", "run"])[1]
    assert (bound.arguments["config"].epochs, bound.arguments["config"].warmup_epochs) == (40, warmup_epochs)


@pytest.mark.parametrize(
    ("recipe", "schedule"), [("report", "cosine"), ("modern", "onecycle"), ("modern", "multistep")]
)
def test_another_schedule_drops_milestones_and_warm_up_of_the_recipe(recipe, schedule):
    bound = cli.app.parse_args(["train", "--recipe", recipe, "--schedule", schedule, "--out", "run"])[1]
    config = bound.arguments["config"]
    assert (config.schedule, config.milestones, config.warmup_epochs) == (schedule, (), 0.0)


def test_a_grid_of_options_that_determine_the_recipe_is_refused(smix, tmp_path):
    words = ["sweep", "write", tmp_path / "s.jsonl", "--recipe", "openmixup", "--grid", "epochs=10,20", "lr=0.1,0.2"]
    code, _, err = smix(*words)
    assert code == 2
    assert err.startswith("smix: grid: other options of --recipe depend on epochs")
    assert not (tmp_path / "s.jsonl").exists()
