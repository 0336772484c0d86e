"""Test `smix evaluate` end to end: output and files for runs, folders of runs and weight files; one line for bad input."""

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from smix import evaluate
from smix.cli.evaluation_tables import evaluation_parts, evaluations_parts
from smix.evaluation import robustness
from smix.evaluation.corruptions.suite import CORRUPTIONS
from smix.evaluation.predict import predict
from smix.evaluation.records import Evaluation, read_evaluation, write_evaluation
from smix.lab import suites
from smix.report.terminal import show
from tests.lab.conftest import data_name, finished, full_evaluation, read_here, run  # noqa: F401
from tests.lab.trained import SIZE, TEST, relabel, sets, write_sets
from tests.sealed import reseal

pytestmark = pytest.mark.usefixtures("read_here")
QUIET = ["--quiet", "--device", "cpu", "--threads", "1"]


def show_at_80_columns(monkeypatch, capsys, parts) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    show(*parts)
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)  # colours


@pytest.mark.slow
def test_an_evaluation_of_a_run_is_shown_and_saved(smix, run):  # noqa: F811
    code, out, err = smix("evaluate", run, "--masks", "carried", "--attacks", *QUIET)
    assert code == 0
    assert err == ""
    evaluation = read_evaluation(run / "evaluation" / "test.json")
    assert f"{TEST} test images" in out
    for value in (evaluation.numbers["accuracy"], evaluation.numbers["overconfidence"], evaluation.objects.swapped):
        assert f"{100 * value:.2f}" in out
    for attack, row in zip(evaluation.attacks, [line for line in out.splitlines() if "/255" in line], strict=True):
        assert row.split()[:3] == [
            f"{attack.name.upper()}{'-10' if attack.name == 'pgd' else ''},",
            f"{round(255 * attack.eps)}/255",
            f"{100 * attack.accuracy:.2f}",
        ]
    assert f"Written: {run}/evaluation/test.json" in out


@pytest.mark.slow
def test_corruptions_are_a_table_with_the_error_of_a_named_reference(smix, run, full_evaluation):  # noqa: F811
    reference, evaluation = full_evaluation
    write_evaluation(run / "evaluation" / "test.json", evaluation)  # of the same model
    code, out, _ = smix("evaluate", run, "--corruptions", "--reference", reference, *QUIET)
    assert code == 0
    assert "Corrupted images: own corruptions, CIFAR-C severities" in out
    (suite,) = evaluation.corruptions
    for name in CORRUPTIONS:
        row = next(line for line in out.splitlines() if line.strip().startswith(name.replace("_", " ")))
        each = [f"{100 * value:.2f}" for value in suite.accuracy[name]]
        assert row.split()[-6:] == [*each, f"{100 * sum(suite.accuracy[name]) / 5:.2f}"]
    assert f"{100 * suite.mean:.2f}" in out
    assert "Mean corruption error: 100.0 % of the error of vanilla-0" in out
    code, out, _ = smix("evaluate", run, "--reference", reference / "evaluation" / "test.json", *QUIET)
    assert "100.0 % of the error of test" in out


def test_output_fits_80_columns(full_evaluation, monkeypatch, capsys):  # noqa: F811
    evaluation = replace(
        full_evaluation[1], left_out=12_345, provenance={**full_evaluation[1].provenance, "resized": True}
    )
    out = show_at_80_columns(
        monkeypatch, capsys, evaluation_parts(evaluation, {evaluation.corruptions[0].suite: 0.876}, "vanilla-0")
    )
    assert max(map(len, out.splitlines())) <= 80
    assert "12,345 more images, of classes that the network does not have, are excluded." in out
    assert "Images are resized to 28 x 36, the size that the network was trained on." in out
    assert "87.6 % of the error of vanilla-0" in out
    rows = [line for line in out.splitlines() if line.strip().startswith(("gaussian noise", "elastic transform"))]
    assert [len(row.split()) for row in rows] == [8, 8]
    both = replace(
        evaluation, corruptions=(*evaluation.corruptions, replace(evaluation.corruptions[0], suite="official CIFAR-C"))
    )
    paths = {Path(f"smix-alpha-0.7-labels-area+fmix-{seed}"): both for seed in range(3)}
    errors = {path: {one.suite: 0.5 for one in both.corruptions} for path in paths}
    out = show_at_80_columns(monkeypatch, capsys, evaluations_parts(paths, errors, "vanilla-0"))
    assert max(map(len, out.splitlines())) <= 80
    for head in ("Accuracy", "ECE", "Corrupted", "mCE", "PGD-10", "Swapped", "Official CIFAR-C"):
        assert head in out
    assert out.count("Corrupted") == 2


def test_names_in_data_are_not_interpreted_as_markup(monkeypatch, capsys):
    odd = Evaluation("npz:[red]a[/red].npz", "f", 3, "0", {"accuracy": 0.5, "ece": 0.1})
    out = show_at_80_columns(
        monkeypatch, capsys, [*evaluation_parts(odd), *evaluations_parts({Path("[b]run"): odd}, {})]
    )
    assert "npz:[red]a[/red].npz: 3 test images" in out
    assert "[b]run" in out


@pytest.mark.slow
def test_all_runs_of_a_folder_are_evaluated(smix, run, tmp_path):  # noqa: F811
    cut = Path(shutil.copytree(run, tmp_path / "mixup-0"))
    (cut / "result.json").unlink()
    other = Path(shutil.copytree(run, tmp_path / "vanilla-1"))
    weights = safetensors.torch.load_file(other / "weights.safetensors")
    weights["classify.weight"] *= -1
    (other / "weights.safetensors").write_bytes(safetensors.torch.save(weights))
    reseal(other)
    code, out, err = smix("evaluate", tmp_path, "--masks", "carried", *QUIET)
    assert code == 0
    both = [read_evaluation(path / "evaluation" / "test.json") for path in (run, other)]
    assert both[0].numbers["accuracy"] != both[1].numbers["accuracy"]
    for path, one in zip((run, other), both, strict=True):
        row = next(line for line in out.splitlines() if line.strip().startswith(path.name))
        shares = (one.numbers["accuracy"], one.numbers["ece"], one.objects.swapped)
        assert row.split()[1:] == [f"{100 * share:.2f}" for share in shares]
    assert f"Written: {tmp_path}/RUN/evaluation/test.json" in out
    lines = err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{other}: test accuracy")
    assert lines[1].startswith(f"smix: {cut}: expected a finished run, got 3 of 3 epochs")


def test_a_folder_of_runs_is_compared_with_a_reference(smix, run, full_evaluation, tmp_path):  # noqa: F811
    write_evaluation(run / "evaluation" / "test.json", full_evaluation[1])
    code, out, _ = smix("evaluate", tmp_path, "--reference", run, *QUIET)
    assert code == 0
    assert "mCE: mean corruption error, in % of the error of vanilla-0" in out
    assert "100.0" in next(line for line in out.splitlines() if line.strip().startswith("vanilla-0"))


def test_a_checkpoint_is_evaluated_on_other_data(smix, finished, tmp_path):  # noqa: F811
    weights = safetensors.torch.load_file(finished / "weights.safetensors")
    file = tmp_path / "model.pth"
    torch.save({"state_dict": {f"module.{name}": value for name, value in weights.items()}}, file)
    classes = ["dim", "bright"]
    name = write_sets(tmp_path, *(relabel(data, classes, [0, 0, 0, 1, 1, 1]) for data in sets()), "two")
    (tmp_path / "map.json").write_text(json.dumps({"dim": [0, 1, 2], "bright": [3, 4, 5]}))
    words = ["--model", "resnet8", "--data", name, "--label-map", tmp_path / "map.json", "--limit", "10"]
    code, out, _ = smix("evaluate", file, *words, "--mean", "0.4", "0.4", "0.4", "--std", "0.2", "0.2", "0.2", *QUIET)
    assert code == 0
    (written,) = tmp_path.glob("model.pth.evaluation/*.json")
    assert f"Written: {written}" in out
    evaluation = read_evaluation(written)
    assert evaluation.images == 10
    assert evaluation.provenance["normalisation"]["mean"] == [0.4] * 3
    assert evaluation.provenance["label_map"]["bright"] == ["3", "4", "5"]


def test_out_in_the_folder_of_the_run_is_accepted(smix, run, tmp_path):  # noqa: F811
    assert smix("evaluate", run, "--out", tmp_path / "here", *QUIET)[0] == 0
    assert (tmp_path / "here" / "test.json").is_file()
    assert not (run / "evaluation").exists()


BAD = {
    "no path": (["evaluate"], ["PATH"]),
    "nothing there": (["evaluate", "{tmp}/none"], ["expected a run, a folder of runs or a weights file, got none"]),
    "unknown data": (["evaluate", "{run}", "--data", "cifar11"], ["cifar11", 'did you mean "cifar']),
    "classes of other names": (
        ["evaluate", "{run}", "--data", "digits-on-photos"],
        ["10 of 10 classes", "--label-map"],
    ),
    "no label map": (["evaluate", "{run}", "--data", "digits-on-photos", "--label-map", "{tmp}/n.json"], ["n.json"]),
    "broken label map": (
        ["evaluate", "{run}", "--data", "digits-on-photos", "--label-map", "{tmp}/broken.json"],
        ["broken.json", "expected JSON such as"],
    ),
    "unknown class": (
        ["evaluate", "{run}", "--data", "digits-on-photos", "--label-map", "{tmp}/unknown.json"],
        ["unknown.json", 'got "class 66"', 'did you mean "class'],
    ),
    "no images": (["evaluate", "{run}", "--limit", "0"], ["limit", "1 or more"]),
    "too many images": (["evaluate", "{run}", "--limit", "99"], ["limit must be from 1 to 24 images, got 99"]),
    "model of a run": (["evaluate", "{run}", "--model", "resnet8"], ["a run has its own model; omit --model"]),
    "mean alone": (
        ["evaluate", "{run}", "--mean", "0.5"],
        ["expected one number per channel for both, got 0.5 and none"],
    ),
    "no deviation": (["evaluate", "{run}", "--mean", "0.5", "--std", "0"], ["std: expected numbers above 0, got 0.0"]),
    "no number": (["evaluate", "{run}", "--mean", "nan", "--std", "1"], ["mean: expected finite numbers, got nan"]),
    "seed": (["evaluate", "{run}", "--seed", "-1"], ["seed", "0 or more"]),
    "no masks": (["evaluate", "{run}", "--masks", "{tmp}/none"], ["none", "smix masks build"]),
    "no arrays": (["evaluate", "{run}", "--official", "{tmp}"], ["expected a .npy file of CIFAR-10-C"]),
    "no reference": (["evaluate", "{run}", "--reference", "{tmp}/none"], ["reference: expected a run or a JSON file"]),
    "reference without corruptions": (
        ["evaluate", "{run}", "--reference", "{run}"],
        ["evaluate it with the same options first"],
    ),
    "weights without model": (
        ["evaluate", "{run}/weights.safetensors"],
        ["--model and --data must be given with a weights file"],
    ),
    "no weights": (
        ["evaluate", "{run}/config.json", "--model", "resnet8", "--data", "digits-on-photos"],
        ["expected a weights file"],
    ),
    "out with a folder of runs": (["evaluate", "{tmp}", "--out", "{tmp}/o"], ["out: the results of"]),
    "out is a file": (
        ["evaluate", "{run}", "--out", "{run}/config.json"],
        ["cannot write to this folder: it is a file"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_a_one_line_error_with_exit_code_2(smix, run, tmp_path, name):  # noqa: F811
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "unknown.json").write_text(json.dumps({"0": "class 66"}))
    words, parts = BAD[name]
    filled = [word.format(tmp=tmp_path, run=run) for word in words]
    code, out, err = smix(*filled, *(QUIET if len(words) > 1 else []))
    assert code == 2
    assert out == ""
    assert err.startswith("smix: ")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err


# Memory


def out_of_memory() -> RuntimeError:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity ...")


@pytest.mark.slow
def test_out_of_memory_advises_smaller_batches_of_the_evaluation(smix, run, monkeypatch):  # noqa: F811
    def predict_with_little_memory(model, batches):
        def check_batch_sizes():
            for images, labels in batches:
                if len(images) > 8:
                    raise out_of_memory()
                yield images, labels

        return predict(model, check_batch_sizes())

    code, _, _ = smix("evaluate", run, *QUIET)
    before = read_evaluation(run / "evaluation" / "test.json")
    (run / "evaluation" / "test.json").unlink()
    monkeypatch.setattr(suites, "predict", predict_with_little_memory)
    advised: list[str] = []
    for batch_size in (TEST, TEST // 2):
        code, _, errors = smix("evaluate", run, *advised, *QUIET)
        assert code == 75
        assert errors.startswith("smix: batch_size: out of memory on CPU")
        assert errors.endswith(f"with {batch_size} images at once; use --batch-size {batch_size // 2}\n")
        advised = ["--batch-size", str(batch_size // 2)]
    code, _, errors = smix("evaluate", run, *advised, *QUIET)
    assert (code, errors) == (0, "")
    evaluation = read_evaluation(run / "evaluation" / "test.json")
    assert evaluation.numbers == pytest.approx(before.numbers, rel=1e-4)
    assert evaluation.images == before.images


@pytest.mark.parametrize(
    ("words", "values", "advice"),
    [
        ([], 5, "with 5 images at once; use --batch-size 2"),
        (["--batch-size", "3"], 5, "with 3 images at once; use --batch-size 1"),
        (["--batch-size", "1"], 5, "with 1 image at once; choose another --device"),
        ([], 1, "with 1 image at once; choose another --device"),
    ],
)
def test_out_of_memory_in_an_attack_counts_the_images_that_are_attacked_at_once(
    smix,
    run,  # noqa: F811
    monkeypatch,
    words,
    values,
    advice,
):
    def raise_out_of_memory(*args):
        raise out_of_memory()

    monkeypatch.setattr(robustness, "on_attacked", raise_out_of_memory)
    monkeypatch.setattr(robustness, "MAX_VALUES", values * math.prod(SIZE) * 3)
    code, _, errors = smix("evaluate", run, "--attacks", *words, *QUIET)
    assert (code, errors.endswith(f"{advice}\n")) == (75, True)


def test_other_torch_errors_in_an_evaluation_are_not_hidden(run, monkeypatch):  # noqa: F811
    def raise_error(*args):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(suites, "predict", raise_error)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        evaluate(run)
