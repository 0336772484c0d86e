"""Test evaluations of runs: same results as after training, no repeated work, cost messages, folders of runs."""

import json
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from smix import EvaluateConfig, evaluate, load_data
from smix.errors import DataError, OptionError, RunError
from smix.evaluation import robustness
from smix.evaluation.corruptions.suite import LABEL
from smix.evaluation.records import evaluations_of, mean_corruption_errors, read_evaluation, write_evaluation
from smix.evaluation.robustness import ATTACKS
from smix.evaluation.scores import compute_scores
from smix.lab import evaluate as module
from smix.lab import suites
from smix.lab.evaluate import evaluate_all, file_of
from smix.lab.target import load_target
from tests.lab.trained import ALL, CLASSES, QUIET, SIZE, TEST
from tests.sealed import reseal
from tests.training.small import arrays

pytestmark = pytest.mark.usefixtures("read_here")


# A run on its own images


def test_clean_images_give_the_results_of_the_end_of_training(run, capsys):
    evaluation = evaluate(run, options=QUIET)
    result = json.loads((run / "result.json").read_text())
    assert evaluation.numbers["accuracy"] == result["test_accuracy"]
    assert 0.3 < evaluation.numbers["accuracy"] < 0.99
    tested, validation = (
        (torch.from_numpy(kept["logits"]), torch.from_numpy(kept["labels"]))
        for kept in (arrays(run / f"{name}.npz") for name in ("predictions", "validation"))
    )
    assert evaluation.numbers == compute_scores(*tested, validation).numbers()
    assert "ece_scaled" in evaluation.numbers
    assert capsys.readouterr().err == ""


def test_the_written_record_is_the_returned_one_and_names_its_inputs(full_evaluation, data_name):
    run, evaluation = full_evaluation
    assert read_evaluation(run / "evaluation" / "test.json") == evaluation
    assert evaluations_of(run) == [evaluation]
    assert file_of(run, evaluation) == run / "evaluation" / "test.json"
    assert (evaluation.data, evaluation.images, evaluation.own, evaluation.left_out) == (data_name, TEST, True, 0)
    assert evaluation.fingerprint == load_data(data_name, split="test").fingerprint
    assert evaluation.provenance["model"] == "resnet8"
    assert evaluation.provenance["size"] == list(SIZE)
    assert evaluation.provenance["seed"] == 0
    assert evaluation.provenance["label_map"] is None
    assert not evaluation.provenance["resized"]
    assert evaluation.versions["torch"] == torch.__version__


@pytest.mark.slow
def test_another_seed_is_another_evaluation(run, full_evaluation, capsys):
    evaluation = evaluate(run, EvaluateConfig(corruptions=True, seed=1), QUIET)
    assert evaluation.numbers == full_evaluation[1].numbers
    assert evaluation.corruptions[0].accuracy["snow"] != full_evaluation[1].corruptions[0].accuracy["snow"]
    assert evaluate(run, EvaluateConfig(), QUIET).corruptions == ()
    assert "test.json: replaced, since it was computed with a different seed" in capsys.readouterr().err


# Repeated evaluations


def test_existing_parts_are_not_computed_again_and_other_parts_are_added(run, monkeypatch):
    first = evaluate(run, EvaluateConfig(masks="carried"), QUIET)
    file = run / "evaluation" / "test.json"
    before = file.stat().st_mtime_ns
    monkeypatch.setattr(suites, "predict", None)
    monkeypatch.setattr(robustness, "on_objects", None)
    assert evaluate(run, EvaluateConfig(masks="carried"), QUIET) == first
    assert evaluate(run, EvaluateConfig(), QUIET) == first
    assert file.stat().st_mtime_ns == before
    monkeypatch.setattr(robustness, "on_attacked", lambda *rest: (0.5, 0.25, 0.125, 0.0))
    added = evaluate(run, EvaluateConfig(attacks=True), QUIET)
    assert [one.accuracy for one in added.attacks] == [0.5, 0.25, 0.125, 0.0]
    assert replace(added, attacks=()) == first
    monkeypatch.setattr(robustness, "on_attacked", None)
    monkeypatch.setattr(robustness, "on_corrupted", lambda *rest: {"fog": (0.5, 0.25)})
    both = evaluate(run, ALL, QUIET)
    assert both.attacks == added.attacks
    assert both.corruptions[0].accuracy == {"fog": (0.5, 0.25)}


def test_each_part_is_kept_when_the_next_one_is_interrupted(run, monkeypatch):
    def interrupt(*rest):
        raise KeyboardInterrupt

    monkeypatch.setattr(robustness, "on_objects", interrupt)
    with pytest.raises(KeyboardInterrupt):
        evaluate(run, EvaluateConfig(attacks=True, masks="carried", limit=4), QUIET)
    assert len(read_evaluation(run / "evaluation" / "test.json").attacks) == len(ATTACKS)


def test_other_weights_replace_existing_results(run, capsys):
    evaluate(run, EvaluateConfig(masks="carried"), QUIET)
    weights = safetensors.torch.load_file(run / "weights.safetensors")
    weights["classify.bias"] += torch.arange(float(CLASSES))
    (run / "weights.safetensors").write_bytes(safetensors.torch.save(weights))
    reseal(run)
    evaluation = evaluate(run, EvaluateConfig(), QUIET)
    assert evaluation.objects is None
    messages = capsys.readouterr().err
    assert "test.json: replaced, since it was computed with different weights" in messages
    assert f"test accuracy {100 * evaluation.numbers['accuracy']:.2f} %, in result.json" in messages
    assert "computed in float32 on CPU" in messages


def test_more_images_replace_fewer_and_fewer_are_refused(run, tmp_path, capsys):
    few = evaluate(run, EvaluateConfig(limit=9), QUIET)
    assert few.images == 9
    assert few.own
    assert "replaced" not in capsys.readouterr().err
    evaluate(run, EvaluateConfig(), QUIET)
    assert "replaced, since it was computed with 9 images" in capsys.readouterr().err
    with pytest.raises(
        OptionError, match=r"results for 24 images, more than --limit 9; raise --limit, or choose another --out"
    ):
        evaluate(run, EvaluateConfig(limit=9), QUIET)
    assert evaluate(run, EvaluateConfig(limit=9), QUIET, tmp_path / "few") == few
    assert (tmp_path / "few" / "test.json").is_file()


def test_a_broken_file_is_not_an_evaluation(run):
    evaluate(run, options=QUIET)
    file = run / "evaluation" / "test.json"
    file.write_text(file.read_text()[:50])
    with pytest.raises(
        RunError,
        match=r"test.json: expected an evaluation written by this version of smix, .* remove it and evaluate again",
    ):
        evaluate(run, options=QUIET)


def test_a_diverged_network_is_a_one_line_error(run, tmp_path):
    weights = safetensors.torch.load_file(run / "weights.safetensors")
    weights["classify.weight"][0] = torch.nan
    (run / "weights.safetensors").write_bytes(safetensors.torch.save(weights))
    reseal(run)
    with pytest.raises(DataError, match=r"vanilla-0: logits: expected finite numbers, got nan in sample 0"):
        evaluate(run, ALL, QUIET)
    assert not (run / "evaluation" / "test.json").exists()


def test_a_read_only_folder_is_refused_at_once(run, data_name, monkeypatch):
    monkeypatch.setattr(suites, "predict", None)
    with pytest.raises(RunError, match="cannot write to this folder: it is a file"):
        evaluate(run, EvaluateConfig(), QUIET, Path(data_name.removeprefix("npz:")))


# Folders of runs, cost, mCE


def test_finished_runs_are_evaluated_and_the_others_are_named(run, tmp_path, capsys):
    cut = Path(shutil.copytree(run, tmp_path / "mixup-0"))
    (cut / "result.json").unlink()
    broken = Path(shutil.copytree(run, tmp_path / "cutmix-0"))
    (broken / "weights.safetensors").write_bytes(b"cut")
    again = Path(shutil.copytree(run, tmp_path / "vanilla-1"))
    evaluations, problems = evaluate_all(tmp_path, EvaluateConfig(), QUIET)
    assert list(evaluations) == [run, again]
    assert evaluations[run] == evaluate(again, options=QUIET)
    assert problems.keys() == {broken, cut}
    assert "expected a finished run" in problems[cut]
    assert "weights.safetensors: expected the file listed in result.json" in problems[broken]


def test_if_no_run_can_be_evaluated_the_first_reason_is_reported(run, tmp_path):
    with pytest.raises(RunError, match="expected a run, a folder of runs or a weights file, got none"):
        evaluate_all(run, options=QUIET)
    (run / "result.json").unlink()
    with pytest.raises(RunError, match="vanilla-0: expected a finished run"):
        evaluate_all(tmp_path, options=QUIET)


@pytest.mark.slow
def test_long_work_states_its_cost_once(run, tmp_path, monkeypatch, capsys):
    shutil.copytree(run, tmp_path / "vanilla-1")
    monkeypatch.setattr(robustness, "on_attacked", lambda *rest: (0.0,) * len(ATTACKS))
    monkeypatch.setattr(robustness, "on_corrupted", lambda *rest: {"fog": (0.5, 0.25)})
    loud = replace(QUIET, quiet=False)
    evaluate_all(tmp_path, EvaluateConfig(attacks=True), loud)
    assert "about" not in capsys.readouterr().err
    monkeypatch.setattr(module, "ANNOUNCED_SECONDS", 0.0)
    evaluate_all(tmp_path, ALL, loud)
    messages = capsys.readouterr().err
    assert messages.count("about") == 1
    assert "2 runs, 15 corruptions x 5 severities, objects and backgrounds, 24 images: about 1 min" in messages
    evaluate(run, EvaluateConfig(), loud)
    assert "about" not in capsys.readouterr().err


@pytest.mark.slow
def test_progress_counts_every_forward_pass_once(run, monkeypatch):
    totals, shown = [], []

    @contextmanager
    def bar(title: str, total: int, quiet: bool = False):
        totals.append(total)
        yield lambda count, name: shown.append((count, name))

    monkeypatch.setattr(module.progress, "bar", bar)
    evaluate(run, replace(ALL, limit=5), QUIET)
    counts = [count for count, _ in shown]
    assert counts == sorted(set(counts))
    assert counts[-1] == totals[0] == 5 * (1 + 75 + 2 * (1 + 3) + 2 * (1 + 30) + 4)
    assert list(dict.fromkeys(name for _, name in shown)) == [
        "clean images",
        "15 corruptions x 5 severities",
        "4 attacks",
        "objects and backgrounds",
    ]


def test_the_cost_counts_passes_and_corruptions(finished, monkeypatch):
    """The clock advances by a second whenever it is read."""
    ticks = iter(range(100))
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(ticks)))
    target = load_target(finished, EvaluateConfig(corruptions=True), QUIET)
    loader = target.loader()
    missing = suites.requested_suites(target, loader)
    # A second for 24 images, once clean and 75 times corrupted, and a second for the 15 corruptions of each.
    assert module._expected_seconds(target, loader, missing) == pytest.approx(76 + 75 / 15)


def test_corruption_errors_are_relative_to_a_named_reference(full_evaluation, run, tmp_path):
    path, evaluation = full_evaluation
    assert mean_corruption_errors(evaluation, path) == {LABEL: pytest.approx(1.0)}
    (suite,) = evaluation.corruptions
    half = {name: tuple(1 - (1 - value) / 2 for value in values) for name, values in suite.accuracy.items()}
    better = replace(evaluation, corruptions=(replace(suite, accuracy=half),))
    assert mean_corruption_errors(better, path / "evaluation" / "test.json")[LABEL] == pytest.approx(0.5)
    with pytest.raises(RunError, match=r"no accuracy on these 24 corrupted images of npz:.*; evaluate it"):
        mean_corruption_errors(evaluation, run)
    with pytest.raises(RunError, match="no accuracy on these 23 corrupted images"):
        mean_corruption_errors(replace(evaluation, images=23), path)
    perfect = replace(evaluation, corruptions=(replace(suite, accuracy=dict.fromkeys(half, (1.0,) * 5)),))
    write_evaluation(tmp_path / "perfect" / "evaluation" / "test.json", perfect)
    with pytest.raises(DataError, match=r"the reference perfect makes no errors on .*; choose another reference"):
        mean_corruption_errors(evaluation, tmp_path / "perfect")


def test_the_same_data_at_another_path_gives_the_same_evaluation(full_evaluation, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = replace(full_evaluation[1], own=False, data="npz:other.npz")
    first = file_of(tmp_path / "run", other)
    first.parent.mkdir(parents=True)
    write_evaluation(first, other)
    for data in ("npz:./other.npz", f"npz:{tmp_path / 'other.npz'}"):
        assert file_of(tmp_path / "run", replace(other, data=data)) == first
    assert file_of(tmp_path / "run", replace(other, data="npz:third.npz")) != first
