"""Reading a comparison: what is broken, missing or different is named, and the others are reported."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from smix.errors import RunError
from smix.evaluation.scores import scores
from smix.lab.evaluations import FOLDER, Evaluation, write_evaluation
from smix.report.comparison import comparison_of, data_name, read_comparison
from smix.training.records import Result, read_run
from tests.report.runs import CLASSES, predictions, write_run, write_runs

RESULT = Result(0.5, 1.0, 0.5, 3, 300, 60.0, "CPU with 1 thread")
METHODS = {"vanilla": [1.0, 1.5, 0.5], "smix": [2.0, 2.5, 1.5]}


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def named(folder: Path) -> dict[str, str]:
    return {one.path.name: one.why for one in read_comparison(folder).problems}


def test_whole_runs_are_all_there(tmp_path):
    found = read_comparison(write_runs(tmp_path, METHODS))
    assert (found.name, found.methods, found.problems) == ("digits-on-photos", ["vanilla", "smix"], [])
    assert found.classes == list(CLASSES)
    assert list(found.scores_of("smix")) == [0, 1, 2]
    expected = scores(*map(torch.from_numpy, predictions(2.5, 101)))
    assert found.scores_of("smix")[1].calibration == expected.calibration
    assert found.scores_of("smix")[1].temperature is not None
    assert found.evaluations_on("smix") == {}


def test_without_validation_images_there_is_no_temperature(tmp_path):
    write_run(tmp_path, "vanilla", 0, validation=False)
    assert read_comparison(tmp_path).scores_of("vanilla")[0].temperature is None


def test_unfinished_runs_are_named_and_count_as_missing(tmp_path):
    found = read_comparison(write_runs(tmp_path, {**METHODS, "cutmix": [1.0, None, 2.0]}))
    assert [one.path.name for one in found.problems] == ["cutmix-1"]
    assert "expected a finished run, got 3 of 3 epochs" in found.problems[0].why
    assert str(tmp_path) not in found.problems[0].why
    assert found.named("cutmix", len(found.scores_of("cutmix"))) == "cutmix (2 of 3)"
    assert found.named("smix", 3) == "smix"


def test_the_error_of_a_failed_run_is_in_its_line(tmp_path):
    write_runs(tmp_path, METHODS)
    path = write_run(tmp_path, "cutmix", 0, None)
    (path / "log.txt").write_text("smix: loss: expected finite numbers, got nan in step 3\n")
    assert "expected finite numbers, got nan in step 3" in named(tmp_path)["cutmix-0"]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", b"{"),
        ("config.json", b'{"config": {}, "data": 5}'),
        ("config.json", b'{"config": {"method": 5}}'),
        ("config.json", b'{"config": {"method": "<script>"}}'),
        ("result.json", b"{"),
        ("result.json", json.dumps({**asdict(RESULT), "test_accuracy": "high"}).encode()),
        ("result.json", json.dumps({**asdict(RESULT), "seconds": None}).encode()),
        ("metrics.jsonl", b"[1, 2]\n"),
    ],
)
def test_a_run_with_a_broken_file_is_named_and_the_others_are_reported(tmp_path, file, content):
    write_runs(tmp_path, METHODS)
    (tmp_path / "smix-1" / file).write_bytes(content)
    found = read_comparison(tmp_path)
    assert [one.path.name for one in found.problems] == ["smix-1"]
    assert "expected" in found.problems[0].why
    assert "\n" not in found.problems[0].why
    assert list(found.scores_of("smix")) == [0, 2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"test_accuracy": float("nan")}, "finite numbers in result.json"),
        ({"test_accuracy": 61.5}, "test accuracy from 0 to 1"),
        ({"test_loss": float("inf")}, "finite numbers in result.json"),
        ({"seconds": float("nan")}, "finite numbers in result.json"),
    ],
)
def test_numbers_that_cannot_be_make_a_run_count_as_missing(tmp_path, change, said):
    write_runs(tmp_path, METHODS)
    edit(tmp_path / "smix-1" / "result.json", **change)
    found = read_comparison(tmp_path)
    assert said in {one.path.name: one.why for one in found.problems}["smix-1"]
    assert [run.result is None for run in found.runs if run.config.method == "smix"] == [False, True, False]


def test_nan_in_the_metrics_does_too(tmp_path):
    write_runs(tmp_path, METHODS)
    path = tmp_path / "smix-0" / "metrics.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0].replace('"train_loss": 2.0', '"train_loss": NaN'), *lines[1:]]) + "\n")
    assert "finite numbers in metrics.jsonl" in named(tmp_path)["smix-0"]


@pytest.mark.parametrize("name", ["predictions.npz", "validation.npz"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_truncated_predictions_are_named_and_the_accuracy_stays(tmp_path, name, share):
    write_runs(tmp_path, METHODS)
    path = tmp_path / "vanilla-2" / name
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    found = read_comparison(tmp_path)
    assert list(found.scores_of("vanilla")) == [0, 1]
    assert all(run.result is not None for run in found.runs)
    assert f"expected arrays in {name}" in {one.path.name: one.why for one in found.problems}["vanilla-2"]


def test_predictions_that_are_not_of_the_result_or_not_finite_are_left_out(tmp_path):
    write_runs(tmp_path, METHODS)
    logits, labels = predictions(1.0, 100)
    np.savez(tmp_path / "vanilla-0" / "predictions.npz", logits=-logits, labels=labels)
    np.savez(tmp_path / "smix-0" / "predictions.npz", logits=logits * np.float32(np.nan), labels=labels)
    np.savez(tmp_path / "smix-1" / "predictions.npz", logits=logits.astype(int), labels=labels)
    np.savez(tmp_path / "smix-2" / "predictions.npz", logits=np.array([{}], object), labels=labels)
    found = named(tmp_path)
    assert "expected predictions with the test accuracy of result.json" in found["vanilla-0"]
    assert "expected finite numbers, got nan" in found["smix-0"]
    assert "expected logits as floats" in found["smix-1"]
    assert "expected arrays in predictions.npz, got ValueError" in found["smix-2"]


def test_runs_of_other_options_are_named_with_both_values_and_left_out(tmp_path):
    write_runs(tmp_path, METHODS)
    write_run(tmp_path, "cutmix", 0, lr=0.05)
    found = read_comparison(tmp_path)
    assert found.methods == ["vanilla", "smix"]
    assert "got one with lr 0.05 where most have 0.1; it is left out" in named(tmp_path)["cutmix-0"]


def test_other_images_or_masks_are_other_options(tmp_path):
    write_runs(tmp_path, METHODS)
    for name, part, change in (
        ("vanilla-1", "data", {"fingerprint_train": "dd" * 32}),
        ("smix-2", "masks", {"fingerprint": "ee" * 32}),
    ):
        made = json.loads((tmp_path / name / "config.json").read_text())
        edit(tmp_path / name / "config.json", **{part: {**made[part], **change}})
    found = named(tmp_path)
    assert "fingerprint-train" in found["vanilla-1"]
    assert "got one with masks" in found["smix-2"]


def test_the_second_run_of_a_method_and_seed_is_left_out(tmp_path):
    write_runs(tmp_path, METHODS)
    (tmp_path / "smix-0").rename(tmp_path / "smix-again")
    write_run(tmp_path, "smix", 0)
    assert "expected one run of each method and seed, got this and smix-0" in named(tmp_path)["smix-again"]


def test_one_good_run_is_a_comparison_and_none_is_one_line(tmp_path):
    write_runs(tmp_path, {"vanilla": [None, 1.0]})
    assert len(read_comparison(tmp_path).scores) == 1
    (tmp_path / "vanilla-1" / "result.json").unlink()
    with pytest.raises(RunError, match="expected a finished run to report, got 0 of 2: vanilla-0: ") as info:
        read_comparison(tmp_path)
    assert "\n" not in str(info.value)


def test_only_broken_runs_are_one_line(tmp_path):
    write_runs(tmp_path, {"vanilla": [1.0]})
    (tmp_path / "vanilla-0" / "config.json").write_text("{")
    with pytest.raises(RunError, match="got 0 of 1: vanilla-0: expected a run of this version"):
        read_comparison(tmp_path)


def test_no_runs(tmp_path):
    with pytest.raises(RunError, match="expected a folder of runs"):
        read_comparison(tmp_path)


def test_runs_that_were_never_begun_count_as_missing(tmp_path):
    write_runs(tmp_path, {"vanilla": [1.0]})
    waiting = read_run(write_run(tmp_path / "elsewhere", "smix", 0, None))
    found = comparison_of(
        [read_run(tmp_path / "vanilla-0"), waiting.__class__(tmp_path / "smix-0", waiting.config, {}, [], None)],
        tmp_path,
    )
    assert [one.path.name for one in found.problems] == ["smix-0"]
    assert found.classes == list(CLASSES)


def test_evaluations_are_found_by_run_and_broken_ones_named(tmp_path):
    write_runs(tmp_path, METHODS)
    one = Evaluation("other", "ff", 10, "00", {"accuracy": 0.5}, own=False)
    write_evaluation(tmp_path / "smix-1" / FOLDER / "other.json", one)
    (tmp_path / "smix-2" / FOLDER).mkdir()
    (tmp_path / "smix-2" / FOLDER / "test.json").write_text("{}")
    found = read_comparison(tmp_path)
    assert found.evaluations_on("smix", "other") == {1: one}
    assert found.evaluations_on("smix") == {}
    assert "expected what smix evaluate wrote" in named(tmp_path)["smix-2"]


@pytest.mark.parametrize(
    ("data", "name"), [("cifar10", "cifar10"), ("npz:/a/b/cifar10.npz", "cifar10"), ("folder:birds", "birds")]
)
def test_names_of_data_have_no_paths(data, name):
    assert data_name(data) == name
