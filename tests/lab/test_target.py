"""Test the choice of network and images for an evaluation: weight files, other data, label maps, and one line for mismatches."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from smix import EvaluateConfig, evaluate
from smix.data.streaming import Streamed
from smix.errors import DataError, OptionError, RunError, SmixError
from smix.evaluation.accuracy import accuracy
from smix.evaluation.predict import predict
from smix.evaluation.robustness import on_corrupted
from smix.evaluation.scores import compute_scores
from smix.lab.evaluate import file_of
from smix.lab.label_map import label_map
from smix.lab.target import load_target
from tests.conftest import make_set
from tests.lab.trained import CLASSES, QUIET, SIZE, relabel, sets, train_run, write_sets
from tests.sealed import edit
from tests.training.small import arrays

pytestmark = pytest.mark.usefixtures("read_here")


# Weight files


@pytest.mark.parametrize("wrapped", ["state dict", "checkpoint", "DDP in Lightning", "checkpoint of a run"])
def test_a_checkpoint_gives_the_results_of_its_run(finished, full_evaluation, data_name, tmp_path, wrapped):
    weights = safetensors.torch.load_file(finished / "weights.safetensors")
    file = tmp_path / "weights.pth"
    if wrapped == "checkpoint of a run":
        shutil.copy(finished / "checkpoint.pt", file)
    else:
        content = {
            "state dict": weights,
            "checkpoint": {"state_dict": {f"module.{name}": value for name, value in weights.items()}, "epoch": 3},
            "DDP in Lightning": {"state_dict": {f"model.module.{name}": value for name, value in weights.items()}},
        }[wrapped]
        torch.save(content, file)
    evaluation = evaluate(file, EvaluateConfig(model="resnet8", data=data_name), QUIET)
    assert not evaluation.own
    expected = full_evaluation[1].numbers
    assert evaluation.numbers == {name: expected[name] for name in evaluation.numbers}
    assert [path.parent for path in tmp_path.glob("*/*.json")] == [tmp_path / "weights.pth.evaluation"]


def test_mean_and_std_may_be_given(finished, full_evaluation, data_name, tmp_path):
    file = shutil.copy(finished / "weights.safetensors", tmp_path)
    kept = json.loads((finished / "config.json").read_text())["normalisation"]
    config = EvaluateConfig(model="resnet8", data=data_name, mean=tuple(kept["mean"]), std=tuple(kept["std"]))
    assert evaluate(file, config, QUIET).numbers["nll"] == full_evaluation[1].numbers["nll"]
    other = evaluate(file, replace(config, mean=(0.5,) * 3, std=(0.1,) * 3), QUIET)
    assert other.numbers["nll"] != full_evaluation[1].numbers["nll"]
    assert other.provenance["normalisation"] == {"mean": [0.5] * 3, "std": [0.1] * 3}


def test_classes_of_a_weight_file_are_numbers(finished, full_evaluation, data_name, tmp_path):
    file = shutil.copy(finished / "weights.safetensors", tmp_path)
    (tmp_path / "map.json").write_text(json.dumps({f"class {i}": i for i in range(CLASSES)}))
    config = EvaluateConfig(model="resnet8", data=data_name, label_map=tmp_path / "map.json")
    evaluation = evaluate(file, config, QUIET)
    assert evaluation.numbers["accuracy"] == full_evaluation[1].numbers["accuracy"]
    assert evaluation.provenance["label_map"]["class 3"] == ["3"]


# Other data


def test_the_same_images_under_another_name_are_the_images_of_the_run(run, full_evaluation, tmp_path):
    name = write_sets(tmp_path, *sets(), name="copy")
    evaluation = evaluate(run, EvaluateConfig(data=name), QUIET)
    assert evaluation.own
    assert evaluation.numbers == full_evaluation[1].numbers
    assert (run / "evaluation" / "test.json").is_file()


def test_reordered_classes_are_matched_by_name(run, full_evaluation, tmp_path):
    label = [2, 0, 1, 5, 3, 4]
    names = [f"class {label.index(i)}" for i in range(CLASSES)]
    train, test = (relabel(data, names, label) for data in sets())
    name = write_sets(tmp_path, train, test, "turned")
    evaluation = evaluate(run, EvaluateConfig(data=name), QUIET)
    assert not evaluation.own
    assert evaluation.numbers == full_evaluation[1].numbers
    assert file_of(run, evaluation).name.endswith("turned.npz.json")
    assert evaluation.provenance["label_map"]["class 3"] == ["class 3"]


@pytest.mark.slow
def test_a_label_map_groups_and_omits_classes_and_counts_images(run, finished, tmp_path):
    data = relabel(sets()[1], ["dim", "middle", "bright", "none"], [0, 0, 1, 3, 2, 2])
    name = write_sets(tmp_path, relabel(sets()[0], data.classes, [0, 0, 1, 3, 2, 2]), data, "grouped")
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"dim": ["class 0", "class 1"], "middle": "class 2", "bright": [4, 5]}))
    config = EvaluateConfig(data=name, label_map=path, masks="carried")
    evaluation = evaluate(run, config, QUIET)
    assert (evaluation.images, evaluation.left_out) == (20, 4)
    logits = torch.from_numpy(arrays(finished / "predictions.npz")["logits"]).double()
    groups = torch.stack([logits.softmax(1)[:, members].sum(1) for members in ([0, 1], [2], [3], [4, 5])], 1)
    kept = torch.from_numpy(sets()[1].labels != 3)
    labels = torch.tensor([0, 0, 1, -1, 3, 3])[torch.from_numpy(sets()[1].labels)]
    right = (groups.argmax(1) == labels)[kept].double().mean().item()
    assert evaluation.numbers["accuracy"] == right
    assert evaluation.numbers["confidence"] == pytest.approx(groups.amax(1)[kept].mean().item(), abs=1e-6)
    assert evaluation.objects is not None
    assert evaluation.objects.clean == right
    assert evaluation.provenance["label_map"] == {
        "dim": ["class 0", "class 1"],
        "middle": ["class 2"],
        "bright": ["class 4", "class 5"],
        "none": None,
    }
    target = load_target(run, config, QUIET)
    shown = on_corrupted(target.model, target.loader(), target.data.index, 0, lambda count: None, (0,))
    assert {each for values in shown.values() for each in values} == {right}
    assert not target.model.training
    # An evaluation with the same map exists, with another map it does not.
    assert evaluate(run, config, QUIET) == evaluation
    path.write_text(json.dumps({"middle": "class 2", "bright": ["class 5"]}))
    assert evaluate(run, config, QUIET).left_out == 12


def test_the_temperature_is_fitted_to_the_grouped_network(run, tmp_path):
    name = write_sets(tmp_path, *(relabel(each, ["a", "b"], [0, 0, 0, 1, 1, 1]) for each in sets()), "two")
    named = {"a": ["class 0", "class 1", "class 2"], "b": ["class 3", "class 4", "class 5"]}
    (tmp_path / "map.json").write_text(json.dumps(named))
    config = EvaluateConfig(data=name, label_map=tmp_path / "map.json")
    evaluation = evaluate(run, config, QUIET)
    mapped = label_map(named, ("a", "b"), [f"class {i}" for i in range(CLASSES)], "")
    groups = []
    for kept in (arrays(run / f"{name}.npz") for name in ("predictions", "validation")):
        probabilities = torch.from_numpy(kept["logits"]).double().softmax(1)
        both = torch.stack([probabilities[:, list(members)].sum(1) for members in mapped.outputs], 1)
        groups.append((both.log(), torch.from_numpy(kept["labels"] // 3)))
    expected = compute_scores(*groups[0], groups[1]).numbers()
    assert evaluation.numbers == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
def test_a_run_with_fewer_test_images_is_evaluated_on_those(data_name, tmp_path, capsys):
    run = train_run(tmp_path / "run", data_name, epochs=1, test_limit=10)
    evaluation = evaluate(run, EvaluateConfig(), QUIET)
    assert evaluation.images == 10
    assert evaluation.numbers["accuracy"] == json.loads((run / "result.json").read_text())["test_accuracy"]
    few = evaluate(run, EvaluateConfig(limit=3), QUIET, tmp_path / "few")
    assert few.numbers["accuracy"] != evaluation.numbers["accuracy"]
    assert capsys.readouterr().err == ""  # results on other images are not compared with result.json


def test_images_of_another_size_are_resized_and_a_message_says_so(run, tmp_path):
    train, test = sets((50, 40), 8)
    name = write_sets(tmp_path, train, test, "large")
    evaluation = evaluate(run, EvaluateConfig(data=name, masks="carried"), QUIET)
    assert evaluation.provenance["resized"]
    target = load_target(run, EvaluateConfig(data=name), QUIET)
    loader = target.loader()
    assert isinstance(loader, Streamed)
    # 50 x 40 must cover 28 x 36: 45 x 36, of which the middle 28 rows are cut out.
    images = torch.cat([some for some, _ in loader.in_order()])
    large = torch.nn.functional.interpolate(
        torch.from_numpy(test.array).movedim(-1, 1).float(), (45, 36), mode="bilinear", antialias=True
    )
    expected = target.classifier.normalise(large[:, :, 8:36].round().byte().movedim(1, -1))
    assert (images - expected).abs().max() < 0.03  # one grey level
    assert evaluation.numbers["accuracy"] == accuracy(*predict(target.model, loader.in_order()))


# Invalid input


def break_run(message: str, **changes: object):
    return pytest.param(changes, message, id=message[:40])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        break_run('expected a known name, got "cifar11"', data="cifar11"),
        break_run("model: a run has its own model; omit --model", model="resnet8"),
        break_run("mean: a run has its own mean; omit --mean", mean=(0.5,) * 3, std=(0.2,) * 3),
        break_run("the limit must be from 1 to 24 images, got 25", limit=25),
        break_run("label map: there is no file", label_map=Path("none.json")),
        break_run("smix masks build", masks="nowhere"),
    ],
)
def test_arguments_that_do_not_match_a_run_are_one_line_errors(run, changes, message):
    with pytest.raises(SmixError) as caught:
        evaluate(run, EvaluateConfig(**changes), QUIET)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (run / "evaluation").exists()


def test_images_that_do_not_match_are_refused(run, tmp_path):
    grey = [replace(data, images=data.array[..., :1], fingerprint="") for data in sets()]
    with pytest.raises(DataError, match=r"expected images of 3 channels, as .*vanilla-0 was trained on, got 1"):
        evaluate(run, EvaluateConfig(data=write_sets(tmp_path, *grey, "grey")), QUIET)
    lines = [replace(data, images=data.array[:, 0], masks=None, fingerprint="") for data in sets()]
    with pytest.raises(DataError, match=r"size 28 x 36, as .* got 36; only those of 2 dimensions can be resized"):
        evaluate(run, EvaluateConfig(data=write_sets(tmp_path, *lines, "lines")), QUIET)


def test_corruptions_of_small_images_are_refused(tmp_path):
    data = write_sets(tmp_path, *sets((20, 30)))
    run = train_run(tmp_path / "run", data, epochs=1)
    with pytest.raises(DataError, match="corruption: expected sides of 28 pixels or more, got 20 x 30"):
        evaluate(run, EvaluateConfig(corruptions=True), QUIET)
    assert not (run / "evaluation").exists()


def test_changed_images_under_the_name_of_the_run_are_refused(run, finished, data_name, tmp_path):
    moved = json.loads((run / "config.json").read_text())["config"]
    moved["data"] = write_sets(tmp_path, *sets(test=30), "grown")
    edit(run / "config.json", config=moved)
    with pytest.raises(
        RunError, match=r"expected the test images of .*grown.npz that the run was tested on, got different images"
    ):
        evaluate(run, options=QUIET)
    assert not evaluate(run, EvaluateConfig(data=moved["data"]), QUIET).own


def test_an_unfinished_run_is_refused_with_its_progress(run):
    (run / "result.json").unlink()
    with pytest.raises(RunError, match=r"expected a finished run, got 3 of 3 epochs"):
        evaluate(run, options=QUIET)


def test_a_path_that_is_neither_run_nor_weights_is_refused(tmp_path, data_name):
    with pytest.raises(RunError, match="expected a run or a weights file, got none"):
        evaluate(tmp_path / "nothing", options=QUIET)
    file = tmp_path / "weights.pth"
    file.write_bytes(b"no weights")
    with pytest.raises(OptionError, match="--model and --data must be given with a weights file"):
        evaluate(file, options=QUIET)
    with pytest.raises(OptionError, match="--data must be given with a weights file"):
        evaluate(file, EvaluateConfig(model="resnet8"), QUIET)
    with pytest.raises(RunError, match="expected a weights file"):
        evaluate(file, EvaluateConfig(model="resnet8", data=data_name), QUIET)


def test_weights_that_do_not_match_are_refused(finished, data_name, tmp_path):
    file = Path(shutil.copy(finished / "weights.safetensors", tmp_path))
    with pytest.raises(OptionError, match='expected a known name, got "resnet9"'):
        evaluate(file, EvaluateConfig(model="resnet9", data=data_name), QUIET)
    with pytest.raises(RunError, match="expected weights of this network, but"):
        evaluate(file, EvaluateConfig(model="resnet14", data=data_name), QUIET)
    with pytest.raises(OptionError, match=r"one number for each of the 3 channels of npz:.*, got 1"):
        evaluate(file, EvaluateConfig(model="resnet8", data=data_name, mean=(0.5,), std=(0.2,)), QUIET)
    four = write_sets(tmp_path, make_set(20, SIZE, 4), make_set(8, SIZE, 4, split="test"), "four")
    with pytest.raises(
        OptionError, match=r"expected weights for 4 classes, as npz:.*four.npz has, got 6; choose the --data"
    ):
        evaluate(file, EvaluateConfig(model="resnet8", data=four), QUIET)


def test_a_config_of_another_version_is_a_one_line_error(run):
    edit(run / "config.json", normalisation=...)
    with pytest.raises(
        RunError, match=r"config\.json: expected a run file written by this version of smix, got no normalisation"
    ):
        evaluate(run, options=QUIET)


def test_broken_predictions_of_validation_images_are_one_line_errors(run):
    file = run / "validation.npz"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(
        RunError,
        match=r"validation.npz: expected the file listed in result.json \(sha256 \w{8}\), got sha256 \w{8}; restore",
    ):
        evaluate(run, options=QUIET)
    file.unlink()
    with pytest.raises(RunError, match=r"validation.npz: expected the file listed in result.json .* got No such file"):
        evaluate(run, options=QUIET)
