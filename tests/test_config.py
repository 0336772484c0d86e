"""Test every option: range, conversion to JSON and command lines and back, and its effect on the fingerprint."""

import json
import math
import os
import tempfile
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smix import config as module
from smix.config import EvaluateConfig, MaskConfig, RunOptions, SharedConfig, TrainConfig, arguments, cores
from smix.errors import OptionError
from smix.lab.sweep import read_sweep, write_sweep
from smix.paths import same_value
from tests.words import names, read_words

CHANGED = {
    "data": "npz:some folder/made.npz",
    "train_limit": 100,
    "test_limit": 50,
    "val_fraction": 0.25,
    "image_size": 48,
    "masks": "masks/cifar 10",
    "model": "resnet8",
    "init_weights": "some folder/weights.safetensors",
    "epochs": 9,
    "mix_off_epochs": 2,
    "batch_size": 32,
    "grad_accum_steps": 4,
    "drop_last": True,
    "lr": 0.05,
    "schedule": "cosine",
    "warmup_epochs": 1.5,
    "milestones": (3, 6),
    "momentum": 0.8,
    "nesterov": True,
    "weight_decay": 1e-5,
    "decay_norm_and_bias": False,
    "label_smoothing": 0.1,
    "ema_decay": 0.99,
    "hflip": False,
    "crop_padding": 2,
    "method": "smix(alpha=0.7,labels=area)+fmix",
    "seed": 3,
    "freeze": ("stem", "layer1"),
    "freeze_epochs": 3,
    "balanced_sampling": True,
    "class_weights": "balanced",
    "optimizer": "rmsprop",
    "layer_decay": 0.7,
    "clip_grad": 1.5,
    "patience": 4,
    "augment": "randaugment",
    "random_erasing": 0.2,
}
"""A value other than the default for every option. New options must be added here."""
TOGETHER = {**CHANGED, "schedule": "multistep", "nesterov": False, "class_weights": "none"}
"""Values that are valid together: milestones require the multistep schedule, Nesterov momentum SGD."""
CHANGED_OPTIONS = {
    "data_root": Path("some folder"),
    "device": "cpu",
    "threads": 2,
    "workers": 3,
    "compile": True,
    "track": "tensorboard,mlflow:sqlite:///runs.db",
    "quiet": True,
}


@st.composite
def values(draw: st.DrawFn) -> dict[str, Any]:
    """Return the values of every option. Configurations are created inside the tests, because type checks of fields draw random numbers."""
    epochs = draw(st.integers(1, 500))
    positive = st.floats(0, 1e6, exclude_min=True)
    part = st.floats(0, 1, exclude_max=True)
    schedule = draw(st.sampled_from(["multistep", "cosine", "onecycle"]))
    limit = st.none() | st.integers(1, 10**6)
    text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1)
    optimizer = draw(st.sampled_from(["sgd", "adamw", "adam", "rmsprop"]))
    val_fraction, balanced = draw(part), draw(st.booleans())
    return {
        "data": draw(text),
        "train_limit": draw(limit),
        "test_limit": draw(limit),
        "val_fraction": val_fraction,
        "image_size": draw(limit),
        "masks": draw(text),
        "model": draw(text),
        "init_weights": draw(st.none() | text),
        "epochs": epochs,
        "mix_off_epochs": draw(st.integers(0, epochs)),
        "batch_size": draw(st.integers(100, 10**5)),
        "grad_accum_steps": draw(st.integers(1, 100)),
        "lr": draw(positive.filter(lambda lr: lr != 0.1)),
        "schedule": schedule,
        "warmup_epochs": 0.0 if schedule == "onecycle" else draw(st.floats(0, epochs)),
        "milestones": tuple(sorted(draw(st.sets(st.integers(1, epochs - 1), max_size=4))))
        if epochs > 1 and schedule == "multistep"
        else (),
        "momentum": draw(positive) if optimizer in ("sgd", "rmsprop") else 0.9,
        "nesterov": optimizer == "sgd" and draw(st.booleans()),
        "weight_decay": draw(positive),
        "decay_norm_and_bias": draw(st.booleans()),
        "label_smoothing": draw(part),
        "ema_decay": draw(part),
        "hflip": draw(st.booleans()),
        "crop_padding": draw(st.integers(0, 100)),
        "method": draw(text),
        "seed": draw(st.integers(0, 2**63)),
        "freeze": tuple(draw(st.lists(text, max_size=3))),
        "freeze_epochs": draw(st.integers(0, epochs)),
        "balanced_sampling": balanced,
        "class_weights": "none" if balanced else draw(st.sampled_from(["none", "balanced"])),
        "optimizer": optimizer,
        "layer_decay": draw(st.floats(0, 1, exclude_min=True)),
        "clip_grad": draw(st.none() | positive),
        "patience": draw(st.none() | st.integers(1, 100)) if val_fraction else None,
        "augment": draw(st.sampled_from(["none", "trivialaugment", "randaugment", "augmix"])),
        "random_erasing": draw(st.floats(0, 1)),
    }


# The options


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"limit": 0}, "limit: expected 1 or more, got 0"),
        ({"seed": -1}, "seed: expected 0 or more, got -1"),
        ({"mean": (0.5, 0.5), "std": (1,)}, "expected one number per channel for both, got 0.5, 0.5 and 1.0"),
        ({"std": (1,)}, "expected one number per channel for both, got none and 1.0"),
        ({"mean": (0.5,), "std": (-1,)}, "std: expected numbers above 0, got -1.0"),
        ({"mean": (math.inf,), "std": (1,)}, "mean: expected finite numbers, got inf"),
        ({"mean": (0,), "std": (math.nan,)}, "std: expected finite numbers, got nan"),
    ],
)
def test_options_that_a_network_does_not_support_are_refused(values, message):
    with pytest.raises(OptionError) as caught:
        EvaluateConfig(**values)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"optimizer": "adamw"}, "lr: 0.1, the default, is for sgd; set --lr for adamw, such as --lr 0.001"),
        ({"optimizer": "adam", "lr": 0.1}, "lr: 0.1, the default, is for sgd; set --lr for adam, such as --lr 0.001"),
        ({"optimizer": "adam", "lr": 0.01, "momentum": 0.5}, "momentum: --optimizer adam has none; omit --momentum"),
        (
            {"optimizer": "rmsprop", "lr": 0.01, "nesterov": True},
            "nesterov: only --optimizer sgd has Nesterov momentum, got rmsprop; omit --nesterov",
        ),
        (
            {"balanced_sampling": True, "class_weights": "balanced"},
            "class_weights: --balanced-sampling already balances the classes; use one of the two",
        ),
        (
            {"patience": 3, "val_fraction": 0},
            "patience: early stopping needs validation images; set --val-fraction above 0",
        ),
    ],
)
def test_options_of_another_optimizer_or_purpose_are_refused(values, message):
    with pytest.raises(OptionError) as caught:
        SharedConfig(**values)
    assert str(caught.value) == message


def test_these_tests_cover_every_option():
    assert CHANGED.keys() == names(TrainConfig)
    assert CHANGED_OPTIONS.keys() == names(RunOptions)
    assert names(TrainConfig) - names(SharedConfig) == {"method", "seed"}
    for changed, default in ((CHANGED, TrainConfig()), (CHANGED_OPTIONS, RunOptions())):
        assert all(getattr(default, name) != value for name, value in changed.items())


@pytest.mark.parametrize("kind", [SharedConfig, TrainConfig, RunOptions, EvaluateConfig])
def test_every_option_has_a_help_text_below_it(kind):
    source = Path(module.__file__).read_text().split(f"class {kind.__name__}")[1].split("\nclass ")[0]
    own = {name for name in names(kind) if f"\n    {name}: " in source}
    assert own
    for name in own:
        below = source.split(f"\n    {name}: ")[1].split("\n")[1]
        assert below.startswith('    """'), f"{name} has no help text"


@pytest.mark.parametrize("kind", [SharedConfig, TrainConfig, RunOptions, EvaluateConfig])
def test_options_cannot_be_changed_in_place(kind):
    options = kind()
    for field in fields(kind):
        with pytest.raises(FrozenInstanceError):
            setattr(options, field.name, getattr(options, field.name))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("train_limit", 0, "1 or more"),
        ("test_limit", -5, "1 or more"),
        ("val_fraction", -0.1, "a fraction in [0, 1)"),
        ("val_fraction", 1.0, "a fraction in [0, 1)"),
        ("val_fraction", math.nan, "a fraction in [0, 1)"),
        ("label_smoothing", 1.0, "a fraction in [0, 1)"),
        ("ema_decay", math.nan, "a fraction in [0, 1)"),
        ("image_size", 0, "1 or more"),
        ("mix_off_epochs", -1, "0 or more"),
        ("mix_off_epochs", 11, "at most 10, the number of epochs"),
        ("grad_accum_steps", 0, "1 or more"),
        ("grad_accum_steps", 129, "at most 128, the batch size"),
        ("warmup_epochs", -1.0, "0 or more"),
        ("warmup_epochs", math.nan, "0 or more"),
        ("warmup_epochs", 10.5, "at most 10, the number of epochs"),
        ("epochs", 0, "1 or more"),
        ("batch_size", 1, "2 or more"),
        ("lr", 0.0, "a finite learning rate above 0"),
        ("lr", -0.1, "a finite learning rate above 0"),
        ("lr", math.nan, "a finite learning rate above 0"),
        ("lr", math.inf, "a finite learning rate above 0"),
        ("weight_decay", math.inf, "0 or more"),
        ("layer_decay", 0.0, "a factor above 0 and at most 1"),
        ("layer_decay", 1.5, "a factor above 0 and at most 1"),
        ("layer_decay", math.nan, "a factor above 0 and at most 1"),
        ("clip_grad", 0.0, "a finite norm above 0"),
        ("clip_grad", math.nan, "a finite norm above 0"),
        ("patience", 0, "1 or more"),
        ("freeze_epochs", -1, "0 or more"),
        ("freeze_epochs", 11, "at most 10, the number of epochs"),
        ("random_erasing", 1.1, "a probability in [0, 1]"),
        ("random_erasing", math.nan, "a probability in [0, 1]"),
        ("momentum", -0.1, "0 or more"),
        ("momentum", math.nan, "0 or more"),
        ("weight_decay", -1e-9, "0 or more"),
        ("weight_decay", math.nan, "0 or more"),
        ("milestones", (0,), "increasing epochs between 0 and 10"),
        ("milestones", (10,), "increasing epochs between 0 and 10"),
        ("milestones", (3, 3), "increasing epochs between 0 and 10"),
        ("milestones", (6, 3), "increasing epochs between 0 and 10"),
        ("crop_padding", -1, "0 or more"),
        ("seed", -1, "0 or more"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_name_and_the_range(name, value, expected):
    with pytest.raises(OptionError) as info:
        TrainConfig(**{"epochs": 10, name: value})
    came = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    assert str(info.value) == f"{name}: expected {expected}, got {came}"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"schedule": "cosine", "milestones": (3,)}, "milestones: --schedule cosine has none; omit --milestones"),
        ({"schedule": "onecycle", "warmup_epochs": 1}, "warmup_epochs: --schedule onecycle has its own warm-up"),
        (
            {"nesterov": True, "momentum": 0},
            "nesterov: Nesterov momentum needs a momentum above 0; set --momentum or use --no-nesterov",
        ),
    ],
)
def test_options_that_contradict_each_other_are_refused(values, message):
    with pytest.raises(OptionError, match=f"^{message}"):
        TrainConfig(**values)


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_out_of_range_are_refused(threads):
    with pytest.raises(OptionError, match=f"^threads: expected 1 or more, got {threads}$"):
        RunOptions(threads=threads)


@pytest.mark.parametrize(
    "values",
    [
        {"train_limit": 1, "test_limit": 1, "epochs": 1, "batch_size": 2, "seed": 0, "crop_padding": 0},
        {"momentum": 0.0, "weight_decay": 0.0, "lr": 1e-12, "val_fraction": 0.0, "ema_decay": 0.0},
        {"epochs": 3, "milestones": (1, 2)},
    ],
)
def test_the_ends_of_the_ranges_are_allowed(values):
    assert {name: getattr(TrainConfig(**values), name) for name in values} == values


@pytest.mark.parametrize(
    ("epochs", "milestones", "drops"),
    [(150, (), (50, 100)), (3, (), (1, 2)), (10, (), (3, 7)), (2, (), (1,)), (1, (), ()), (10, (9,), (9,))],
)
def test_the_learning_rate_drops_after_thirds_by_default(epochs, milestones, drops):
    assert TrainConfig(epochs=epochs, milestones=milestones).drops == drops


# JSON and fingerprint


@pytest.mark.slow
@settings(deadline=None)
@given(values())
def test_a_configuration_survives_a_round_trip_through_json(values):
    config = TrainConfig(**values)
    text = json.dumps(config.to_json(), allow_nan=False)
    again = TrainConfig.from_json(json.loads(text))
    assert again == config
    assert again.fingerprint() == config.fingerprint()
    assert isinstance(again.milestones, tuple)


def test_json_contains_every_option_by_name():
    assert TrainConfig(**TOGETHER).to_json() == {**TOGETHER, "milestones": [3, 6], "freeze": ["stem", "layer1"]}


def change_one(name: str) -> TrainConfig:
    """Return a configuration with one changed option; another optimizer needs another learning rate as well."""
    return replace(TrainConfig(), **{"lr": 0.01} if name == "optimizer" else {}, **{name: CHANGED[name]})


@pytest.mark.parametrize("name", CHANGED)
def test_every_option_changes_the_fingerprint(name):
    assert change_one(name).fingerprint() not in (TrainConfig().fingerprint(), TrainConfig(lr=0.01).fingerprint())


def test_all_single_changes_have_different_fingerprints():
    prints = {change_one(name).fingerprint() for name in CHANGED}
    assert len(prints) == len(CHANGED)


def test_the_fingerprint_is_stable_across_versions_and_processes():
    """The fingerprint decides whether a checkpoint may be resumed. A new option changes it, and requires a change of this test."""
    assert TrainConfig().fingerprint() == "bc0638c39272e588"


def test_options_of_another_version_are_refused_by_name():
    with pytest.raises(OptionError, match=r"the options rise, swa are unknown to this version; update smix$"):
        TrainConfig.from_json({**TrainConfig().to_json(), "swa": 5, "rise": 0.9})


def test_json_with_a_value_out_of_range_is_refused():
    with pytest.raises(OptionError, match=r"^epochs: expected 1 or more, got 0$"):
        TrainConfig.from_json({**TrainConfig().to_json(), "epochs": 0})


# Command line


def test_options_with_their_default_are_omitted_from_a_command_line():
    assert arguments(RunOptions()) == []
    assert arguments(MaskConfig(data="cifar10", source="carried")) == ["--data=cifar10", "--source=carried"]


def test_a_command_line_names_every_other_option():
    assert arguments(RunOptions(**CHANGED_OPTIONS)) == [
        "--data-root=some folder",
        "--device=cpu",
        "--threads=2",
        "--quiet",
        "--workers=3",
        "--compile",
        "--track=tensorboard,mlflow:sqlite:///runs.db",
    ]
    assert arguments(MaskConfig(data="--odd", source="masks:a b", classes=("cat", "--dog"))) == [
        "--data=--odd",
        "--source=masks:a b",
        "--classes=cat",
        "--classes=--dog",
    ]


def test_a_command_line_brings_options_back():
    options = RunOptions(**CHANGED_OPTIONS)
    assert read_words(arguments(options), RunOptions) == [options]


@pytest.mark.slow
@settings(deadline=None)
@given(values())
def test_a_sweep_file_brings_a_configuration_back(values):
    config = TrainConfig(**values)
    with tempfile.TemporaryDirectory() as folder:
        write_sweep(Path(folder) / "sweep.jsonl", {"run": config})
        assert read_sweep(Path(folder) / "sweep.jsonl") == {"run": config}


# Comparisons


def test_a_run_of_a_comparison_has_the_shared_options_its_method_and_its_seed():
    shared = {name: value for name, value in TOGETHER.items() if name not in ("method", "seed")}
    run = SharedConfig(**shared).run("cutmix", 7)
    assert run == TrainConfig(**shared, method="cutmix", seed=7)
    assert TrainConfig(**TOGETHER).run("cutmix", 7) == run


def test_available_cores_are_those_of_this_process(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 5, 6}, raising=False)
    assert cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


def test_equal_values_in_any_notation_are_equal_configurations():
    assert TrainConfig(lr=1).fingerprint() == TrainConfig(lr=1.0).fingerprint()


# Paths of data, masks and weights


@pytest.mark.parametrize(
    ("name", "text", "kept"),
    [
        ("data", "npz:./made.npz", "npz:made.npz"),
        ("data", "npz:some//folder/./made.npz", "npz:some/folder/made.npz"),
        ("data", "folder:birds/", "folder:birds"),
        ("data", "folder:.", "folder:."),
        ("data", "folder:../birds", "folder:../birds"),
        ("data", "npz:/tmp/../made.npz", "npz:/tmp/../made.npz"),  # another file if /tmp is a link
        ("data", "npz:", "npz:"),
        ("data", "cifar10", "cifar10"),
        ("data", "./cifar10", "./cifar10"),  # not a name of a data set
        ("data", "hf:./saved/", "hf:./saved/"),  # "saved" could be a name on the hub
        ("masks", "./masks/", "masks"),
        ("masks", "carried", "carried"),
        ("masks", "./carried", "./carried"),
        ("init_weights", "./weights.pt", "weights.pt"),
        ("init_weights", "pretrained", "pretrained"),
        ("init_weights", "./pretrained", "./pretrained"),
        ("init_weights", None, None),
    ],
)
def test_paths_are_stored_in_their_shortest_form(name, text, kept):
    config = TrainConfig(**{name: text})
    assert getattr(config, name) == kept
    assert config == TrainConfig(**{name: kept})
    assert config.fingerprint() == TrainConfig(**{name: kept}).fingerprint()
    if name != "init_weights":
        assert getattr(EvaluateConfig(**{name: text}), name) == kept


@pytest.mark.parametrize(
    ("name", "one", "other", "expected"),
    [
        ("data", "npz:made.npz", "npz:{here}/made.npz", True),
        ("data", "npz:made.npz", "npz:./made.npz", True),
        ("data", "npz:made.npz", "npz:inner/../made.npz", True),
        ("data", "npz:made.npz", "npz:link.npz", True),
        ("data", "npz:gone.npz", "npz:{here}/gone.npz", True),
        ("data", "folder:birds", "folder:{here}/birds/", True),
        ("data", "npz:made.npz", "npz:inner/made.npz", False),
        ("data", "npz:birds", "folder:birds", False),
        ("data", "cifar10", "cifar100", False),
        ("data", "hf:saved", "hf:./saved", False),
        ("masks", "masks", "{here}/masks", True),
        ("masks", "carried", "{here}/carried", False),
        ("masks", "carried", "./carried", False),
        ("init_weights", "weights.pt", "{here}/weights.pt", True),
        ("init_weights", None, "weights.pt", False),
        ("init_weights", None, None, True),
        ("method", "a/../b", "b", False),
        ("milestones", [1, 2], (1, 2), True),
        ("lr", 0.1, 0.2, False),
    ],
)
def test_equal_paths_in_any_notation_are_equal_configurations(name, one, other, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").mkdir()
    (tmp_path / "link.npz").symlink_to("made.npz")
    other = other.format(here=tmp_path) if isinstance(other, str) else other
    assert same_value(name, one, other) is expected
    assert same_value(name, other, one) is expected
