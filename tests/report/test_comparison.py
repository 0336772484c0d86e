"""Test reading a comparison: broken, missing and different runs are named, and the others are reported."""

import json
import random
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from smix import files
from smix.errors import RunError
from smix.evaluation.records import FOLDER, Evaluation, write_evaluation
from smix.evaluation.scores import compute_scores
from smix.paths import data_name
from smix.report.comparison import ReportAssets
from smix.report.reading import comparison_of, read_comparison, read_comparisons
from smix.report.runs import options, versions
from smix.training.records import Result, read_run
from smix.untrusted import with_checksum
from tests.report.evaluations import evaluation
from tests.report.runs import CLASSES, made_samples, predictions, write_run, write_runs
from tests.sealed import edit, reseal

RESULT = Result(0.5, 1.0, 0.5, 3, 300, 60.0, "CPU with 1 thread")
METHODS = {"vanilla": [1.0, 1.5, 0.5], "smix": [2.0, 2.5, 1.5]}


def named(folder: Path) -> dict[str, str]:
    return {one.path.name: one.why for one in read_comparison(folder).problems}


def test_complete_runs_are_all_read(tmp_path):
    actual = read_comparison(write_runs(tmp_path, METHODS))
    assert (actual.name, list(actual.by_method), actual.problems) == (
        "digits-on-photos",
        ["vanilla", "smix"],
        [],
    )
    assert actual.classes == CLASSES
    assert list(actual.scores["smix"]) == [0, 1, 2]
    expected = compute_scores(*map(torch.from_numpy, predictions(2.5, 101)))
    assert repr(actual.scores["smix"][1].calibration) == repr(expected.calibration)
    assert actual.scores["smix"][1].temperature is not None
    assert actual.select(metric="images") == []


def test_without_validation_images_there_is_no_temperature(tmp_path):
    write_run(tmp_path, "vanilla", 0, validation=False)
    assert read_comparison(tmp_path).scores["vanilla"][0].temperature is None


def test_unfinished_runs_are_named_and_count_as_missing(tmp_path):
    actual = read_comparison(write_runs(tmp_path, {**METHODS, "cutmix": [1.0, None, 2.0]}))
    assert [one.path.name for one in actual.problems] == ["cutmix-1"]
    assert "expected a finished run, got 3 of 3 epochs" in actual.problems[0].why
    assert str(tmp_path) not in actual.problems[0].why
    assert actual.labels(actual.scores) == {"vanilla": "vanilla", "cutmix": "cutmix (2 of 3)", "smix": "smix"}


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
    actual = read_comparison(tmp_path)
    assert [one.path.name for one in actual.problems] == ["smix-1"]
    assert "expected" in actual.problems[0].why
    assert "\n" not in actual.problems[0].why
    assert list(actual.scores["smix"]) == [0, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"test_accuracy": 61.5},
            "result.json: expected a run file written by this version of smix, got test_accuracy: expected",
        ),
        ({"test_loss": None}, "got test_loss: expected float, got null"),
        ({"seconds": 0.0}, "got seconds: expected float > 0.0"),
        ({"seconds": -1.0}, "got seconds: expected float > 0.0"),
        ({"seconds": 10**400}, "got seconds: Number out of range"),
        ({"seconds": 1.0}, "expected 62.0 seconds in result.json, the sum over all epochs of metrics.jsonl, got 1.0"),
        ({"images_seen": 0}, "got images_seen: expected int >= 1"),
        ({"val_accuracy": 0.1}, "expected val_accuracy 0.61"),
        ({"val_accuracy": -0.1}, "got val_accuracy: expected float >= 0.0"),
        ({"epochs": 2}, "3 epochs, as config.json says, got 2 in result.json and 3 in metrics.jsonl"),
    ],
)
def test_a_run_with_impossible_numbers_is_left_out(tmp_path, change, message):
    write_runs(tmp_path, METHODS)
    edit(tmp_path / "smix-1" / "result.json", **change)
    actual = read_comparison(tmp_path)
    assert message in {one.path.name: one.why for one in actual.problems}["smix-1"]
    assert [run.config.seed for run in actual.runs if run.config.method == "smix"] == [0, 2]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_result_that_is_not_finite_is_left_out(tmp_path, number):
    write_runs(tmp_path, METHODS)
    path = tmp_path / "smix-1" / "result.json"
    path.write_text(path.read_text().replace('"test_loss": 1.0', f'"test_loss": {number}'))
    assert (
        f"result.json: expected a run file written by this version of smix, got the number {number}"
        in named(tmp_path)["smix-1"]
    )


def test_a_run_with_nan_in_its_metrics_is_left_out(tmp_path):
    write_runs(tmp_path, METHODS)
    path = tmp_path / "smix-0" / "metrics.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0].replace('"train_loss": 2.0', '"train_loss": NaN'), *lines[1:]]) + "\n")
    reseal(path.parent)
    assert (
        "metrics.jsonl: expected a run file written by this version of smix, got the number NaN"
        in named(tmp_path)["smix-0"]
    )


@pytest.mark.parametrize("name", ["predictions.npz", "validation.npz"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_truncated_predictions_are_named_and_the_accuracy_stays(tmp_path, name, share):
    write_runs(tmp_path, METHODS)
    path = tmp_path / "vanilla-2" / name
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    reseal(path.parent)
    actual = read_comparison(tmp_path)
    assert list(actual.scores["vanilla"]) == [0, 1]
    assert all(run.result is not None for run in actual.runs)
    assert f"{name}: expected arrays, got" in {one.path.name: one.why for one in actual.problems}["vanilla-2"]


def test_contradictory_or_infinite_predictions_are_left_out(tmp_path):
    write_runs(tmp_path, METHODS)
    logits, labels = predictions(1.0, 100)
    np.savez(tmp_path / "vanilla-0" / "predictions.npz", logits=-logits, labels=labels)
    np.savez(tmp_path / "smix-0" / "predictions.npz", logits=logits * np.float32(np.nan), labels=labels)
    np.savez(tmp_path / "smix-1" / "predictions.npz", logits=logits.astype(int), labels=labels)
    np.savez(tmp_path / "smix-2" / "predictions.npz", logits=np.array([{}], object), labels=labels)
    np.savez(tmp_path / "vanilla-1" / "predictions.npz", logits=logits, labels=labels)
    for name in ("vanilla-0", "smix-0", "smix-1", "smix-2"):
        reseal(tmp_path / name)
    actual = named(tmp_path)
    assert "expected predictions.npz to have the test accuracy of result.json" in actual["vanilla-0"]
    assert "predictions.npz: expected the file listed in result.json" in actual["vanilla-1"]
    assert "expected finite numbers, got nan" in actual["smix-0"]
    assert "expected logits as floats" in actual["smix-1"]
    assert "predictions.npz: expected arrays, got an array of type object" in actual["smix-2"]


def test_runs_of_other_options_are_named_with_both_values_and_left_out(tmp_path):
    write_runs(tmp_path, METHODS)
    write_run(tmp_path, "cutmix", 0, lr=0.05)
    actual = read_comparison(tmp_path)
    assert list(actual.by_method) == ["vanilla", "smix"]
    assert "got one with lr 0.05 where most have 0.1; it is left out" in named(tmp_path)["cutmix-0"]


def test_other_images_or_masks_are_other_options(tmp_path):
    write_runs(tmp_path, METHODS)
    for name, part, change in (
        ("vanilla-1", "data", {"fingerprint_train": "dd" * 32}),
        ("smix-2", "masks", {"fingerprint": "ee" * 32}),
    ):
        made = json.loads((tmp_path / name / "config.json").read_text())
        edit(tmp_path / name / "config.json", **{part: {**made[part], **change}})
    actual = named(tmp_path)
    assert "fingerprint-train" in actual["vanilla-1"]
    assert "got one with masks" in actual["smix-2"]


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
    with pytest.raises(RunError, match=r"got 0 of 1: vanilla-0: vanilla-0/config\.json: expected a run file"):
        read_comparison(tmp_path)


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(RunError, match="expected a folder of runs"):
        read_comparison(tmp_path)


def test_runs_never_started_count_as_missing(tmp_path):
    write_runs(tmp_path, {"vanilla": [1.0]})
    waiting = read_run(write_run(tmp_path / "elsewhere", "smix", 0, None))
    actual = comparison_of(
        [read_run(tmp_path / "vanilla-0"), waiting.__class__(tmp_path / "smix-0", waiting.config, {}, [], None)],
        tmp_path,
    )
    assert [one.path.name for one in actual.problems] == ["smix-0"]
    assert actual.classes == CLASSES


def test_evaluations_are_found_by_run_and_broken_ones_named(tmp_path):
    write_runs(tmp_path, METHODS)
    one = Evaluation("other", "ff", 10, "00", {"accuracy": 0.5}, own=False)
    write_evaluation(tmp_path / "smix-1" / FOLDER / "other.json", one)
    (tmp_path / "smix-2" / FOLDER).mkdir()
    (tmp_path / "smix-2" / FOLDER / "test.json").write_text("{}")
    actual = read_comparison(tmp_path)
    assert actual.values("accuracy", data="other") == {"smix": {1: 0.5}}
    assert {record.data for record in actual.records} == {"", "other"}
    assert "expected an evaluation written by this version of smix" in named(tmp_path)["smix-2"]


@pytest.mark.parametrize(
    ("data", "name"), [("cifar10", "cifar10"), ("npz:/a/b/cifar10.npz", "cifar10"), ("folder:birds", "birds")]
)
def test_names_of_data_have_no_paths(data, name):
    assert data_name(data) == name


def edit_config(path: Path, part: str, **changes) -> None:
    made = json.loads((path / "config.json").read_text())
    edit(path / "config.json", **{part: {**made[part], **changes}})


@pytest.mark.parametrize(
    ("name", "part", "changes", "message"),
    [
        ("vanilla-1", "data", {"classes": "cats"}, "data.classes: expected array, got str"),
        ("vanilla-1", "data", {"classes": [1, 2, 3, 4]}, "data.classes[0]: expected str, got int"),
        ("vanilla-1", "data", {"images": {"training": 5}}, "data.images: no validation"),
        (
            "vanilla-1",
            "data",
            {"images": {"training": 5, "validation": 1, "test": "61"}},
            "data.images.test: expected int",
        ),
        ("vanilla-1", "data", {"fingerprint_test": None}, "data.fingerprint_test: expected str, got null"),
        ("vanilla-1", "data", {"init_weights": 5}, "data.init_weights: expected str, got int"),
        ("smix-1", "masks", {"source": None}, "masks.source: expected object, got null"),
        ("smix-1", "masks", {"empty": 1.5}, "masks.empty: expected float <= 1.0"),
    ],
)
def test_a_configuration_without_provenance_is_named(tmp_path, name, part, changes, message):
    write_runs(tmp_path, METHODS)
    edit_config(tmp_path / name, part, **changes)
    assert f"config.json: expected a run file written by this version of smix, got {message}" in named(tmp_path)[name]


@pytest.mark.parametrize("lost", ["masks", "versions", "data", "config", "normalisation"])
def test_a_configuration_without_a_part_is_named(tmp_path, lost):
    write_runs(tmp_path, METHODS)
    edit(tmp_path / "vanilla-0" / "config.json", **{lost: ...})
    assert list(named(tmp_path)) == ["vanilla-0"]
    assert (
        f"config.json: expected a run file written by this version of smix, got no {lost}"
        in named(tmp_path)["vanilla-0"]
    )


ODD = (None, 0, -1, 1.5, 10**400, float("nan"), "", "text", True, [], [None], {}, {"a": [{}]})


def mutated(value, draws: random.Random):
    """Return a copy in which one value, at any depth, is dropped or replaced."""
    if isinstance(value, dict | list) and value and draws.random() < 0.85:
        key = draws.choice(list(value) if isinstance(value, dict) else range(len(value)))
        copy = value.copy()
        if draws.random() < 0.3:
            del copy[key]
        else:
            copy[key] = mutated(value[key], draws)
        return copy
    return draws.choice(ODD)


@pytest.mark.slow
def test_a_broken_run_does_not_prevent_the_report_of_the_others(tmp_path):
    write_runs(tmp_path, {"smix": [1.0, 1.5, 2.0]})
    edit(tmp_path / "smix-0" / "config.json", threads=1, processes=1, compile=False)  # the one whose options are shown
    draws, complete = random.Random(3), {}
    for file in ("config.json", "result.json", "metrics.jsonl"):
        complete[file] = (tmp_path / "smix-0" / file).read_text()
    for _ in range(120):
        file = draws.choice(list(complete))
        lines = complete[file].splitlines() if file == "metrics.jsonl" else [complete[file]]
        place = draws.randrange(len(lines))
        value = mutated({key: one for key, one in json.loads(lines[place]).items() if key != "sha256"}, draws)
        try:  # half of the changes come with a checksum that fits
            lines[place] = (json.dumps(value) if file == "metrics.jsonl" else with_checksum(value).decode()).strip()
        except (ValueError, TypeError):
            lines[place] = json.dumps(value)
        (tmp_path / "smix-0" / file).write_text("\n".join(lines) + "\n")
        if file != "result.json" and draws.random() < 0.5:
            reseal(tmp_path / "smix-0")
        actual = read_comparison(tmp_path)
        assert {run.config.seed for run in actual.runs if run.result is not None} >= {1, 2}
        assert {one.path.name for one in actual.problems} <= {"smix-0"}
        assert all("expected" in one.why or "out of range" in one.why for one in actual.problems)
        assert options(actual, ReportAssets({})).rows
        assert versions(actual, ReportAssets({})).rows
        for one, content in complete.items():
            (tmp_path / "smix-0" / one).write_text(content)
    assert named(tmp_path) == {}


def save_predictions(path: Path, logits, labels) -> None:
    np.savez(path / "predictions.npz", logits=logits, labels=labels)
    reseal(path)
    edit(path / "result.json", test_accuracy=float((logits.argmax(1) == labels).mean()))


def test_predictions_of_other_classes_other_rows_or_another_order_are_left_out(tmp_path):
    write_runs(tmp_path, METHODS)
    logits, labels = predictions(1.0, 100)
    save_predictions(tmp_path / "vanilla-0", logits[:, :3], labels)
    save_predictions(tmp_path / "vanilla-1", logits[:50], labels[:50])
    save_predictions(tmp_path / "vanilla-2", logits[::-1], labels[::-1])
    np.savez(tmp_path / "smix-0" / "predictions.npz", logits=logits, labels=labels + 1)
    np.savez(tmp_path / "smix-1" / "validation.npz", logits=logits[:5] * np.float32(np.nan), labels=labels[:5])
    for seed in (0, 1):
        reseal(tmp_path / f"smix-{seed}")
    actual = named(tmp_path)
    assert "expected logits of 61 images and 4 classes and their labels, got shapes" in actual["vanilla-0"]
    assert "got shapes (50, 4) and (50,)" in actual["vanilla-1"]
    assert "expected predictions of the same test images as the other runs, got different labels" in actual["vanilla-2"]
    assert "predictions.npz: expected labels from 0 to 3, got 1 to 4" in actual["smix-0"]
    assert "expected finite" in actual["smix-1"]
    assert {m: list(seeds) for m, seeds in read_comparison(tmp_path).scores.items()} == {"smix": [2]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.array([0, 1, 4])}, "that fit each other"),
        ({"partner": np.array([0, 1, -1])}, "that fit each other"),
        ({"weight": np.ones((3, 5), np.float32)}, "that fit each other"),
        ({"share": np.full(3, np.nan, np.float32)}, "that fit each other"),
        ({"images": np.array(3)}, "that fit each other"),
        ({"more": np.ones(3)}, "that fit each other"),
        (made_samples(seed=1), "expected mixes of the same images as the other runs"),
    ],
)
def test_damaged_mixes_are_named_and_not_shown(tmp_path, changes, message):
    write_runs(tmp_path, METHODS)
    for name, arrays in (("smix-0", made_samples()), ("vanilla-0", made_samples() | changes)):
        np.savez(tmp_path / name / "samples.npz", **arrays)
    write_run(tmp_path, "cutmix", 0)
    (tmp_path / "cutmix-0").rename(tmp_path / "a-first")
    np.savez(tmp_path / "a-first" / "samples.npz", **made_samples())
    actual = read_comparison(tmp_path)
    assert message in {one.path.name: one.why for one in actual.problems}["vanilla-0"]
    assert sorted(actual.samples) == ["cutmix", "smix"]


@pytest.mark.parametrize(("channels", "shown"), [(1, ["smix"]), (2, []), (3, ["smix"])])
def test_mixes_of_other_channels_are_not_shown(tmp_path, channels, shown):
    np.savez(write_run(tmp_path, "smix", 0) / "samples.npz", **made_samples(channels=channels))
    actual = read_comparison(tmp_path)
    assert (list(actual.samples), actual.problems) == (shown, [])


def test_evaluations_on_the_same_data_under_another_path_are_of_the_same_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_runs(tmp_path / "runs", {"vanilla": [1.0, 2.0, 3.0, 4.0]})
    names = ["npz:away.npz", f"npz:{tmp_path}/away.npz", "npz:./away.npz", "npz:other.npz"]
    for seed, name in enumerate(names):
        away = replace(evaluation(0.4), data=name, own=False)
        write_evaluation(tmp_path / "runs" / f"vanilla-{seed}" / FOLDER / "away.json", away)
    actual = read_comparison(tmp_path / "runs")
    assert list(actual.values("accuracy", data="npz:away.npz")["vanilla"]) == [0, 1, 2]
    assert list(actual.values("accuracy", data="npz:other.npz")["vanilla"]) == [3]


@pytest.mark.slow
def test_evaluations_of_other_images_or_options_are_left_out(tmp_path):
    write_runs(tmp_path, METHODS)
    changes = {
        "smix-0": {"images": 50, "left_out": 11},
        "smix-1": {"fingerprint": "dd" * 32},
        "vanilla-0": {"provenance": {"seed": 5}},
    }
    for path in tmp_path.iterdir():
        write_evaluation(path / FOLDER / "test.json", replace(evaluation(0.5), **changes.get(path.name, {})))
    away = replace(evaluation(0.4), data="npz:/some/where/away.npz", own=False, fingerprint="ab")
    write_evaluation(tmp_path / "smix-0" / FOLDER / "away.json", away)
    actual, message = read_comparison(tmp_path), named(tmp_path)
    own = actual.values("accuracy", suite="objects", condition="clean")
    assert {method: list(seeds) for method, seeds in own.items()} == {"vanilla": [1, 2], "smix": [2]}
    assert list(actual.values("accuracy", data=away.data)["smix"]) == [0], "another data set is another question"
    assert (
        "got one with images 50 where most have 61, left-out 11 where most have 0; it is left out" in message["smix-0"]
    )
    assert "got one with fingerprint dddd" in message["smix-1"]
    assert "got one with seed 5 where most have None" in message["vanilla-0"]


@pytest.mark.slow
def test_an_evaluation_of_other_weights_is_left_out(tmp_path):
    write_runs(tmp_path, METHODS)
    path = tmp_path / "smix-0"
    (path / "weights.safetensors").write_bytes(b"new")
    write_evaluation(path / FOLDER / "test.json", evaluation(0.5))
    write_evaluation(path / FOLDER / "again.json", evaluation(0.5, weights=files.sha256(path / "weights.safetensors")))
    assert read_comparison(tmp_path).values("accuracy", suite="objects", condition="clean") == {"smix": {0: 0.5}}
    assert "test.json: expected an evaluation of the run's weights (" in named(tmp_path)["smix-0"]
    assert str(tmp_path) not in named(tmp_path)["smix-0"]


@pytest.mark.slow
def test_the_same_data_and_weights_elsewhere_are_no_other_option(tmp_path):
    write_runs(tmp_path, METHODS, data="npz:/here/a.npz", init_weights="/here/w.pt")
    for path in tmp_path.iterdir():
        edit_config(path, "data", init_weights="ab" * 32)
    edit_config(tmp_path / "smix-1", "config", data="npz:/there/b.npz", init_weights="/there/v.pt")
    assert named(tmp_path) == {}
    edit_config(tmp_path / "smix-1", "data", init_weights="cd" * 32)
    edit_config(tmp_path / "smix-2", "data", classes=["a", "b", "c", "d"])
    assert "got one with init-weights cdcd" in named(tmp_path)["smix-1"]
    assert "got one with classes ['a', 'b', 'c', 'd']" in named(tmp_path)["smix-2"]


def test_pretrained_and_random_weights_are_different_options(tmp_path):
    write_runs(tmp_path, METHODS)
    edit_config(tmp_path / "smix-1", "config", init_weights="pretrained")
    assert "got one with init-weights pretrained where most have None" in named(tmp_path)["smix-1"]


def test_folders_of_runs_next_to_runs_are_reported(tmp_path):
    write_runs(tmp_path, {"vanilla": [1.0]})
    write_runs(tmp_path / "below", {"smix": [1.0, 2.0]})
    write_run(tmp_path / "vanilla-0", "cutmix", 0)  # in a run: not a comparison
    actual, problems = read_comparisons([tmp_path])
    assert [one.folder for one in actual] == [tmp_path, tmp_path / "below"]
    assert problems == []


def test_no_path_of_the_comparison_is_in_a_problem(tmp_path):
    write_runs(tmp_path, METHODS)
    path = write_run(tmp_path, "cutmix", 0, None)
    (path / "log.txt").write_text(f"smix: {path}/weights: expected finite numbers, got nan\n")
    assert "got nan (cutmix-0/log.txt)" in named(tmp_path)["cutmix-0"]
    assert str(tmp_path) not in named(tmp_path)["cutmix-0"]
