"""Test the command line end to end: every command on real input, help, and one line with exit code 2 for bad input."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smix import RunOptions, SharedConfig, TrainConfig, build_masks, cli, compare, load_data
from smix.data.sets import SETS
from smix.lab import engines
from smix.masks import load_source
from smix.training.runs import train as train_one
from tests.conftest import make_set, run_in_this_process, write_npz

TINY = ["--model", "resnet8", "--epochs", "2", "--batch-size", "16", "--threads", "1", "--quiet"]
METHODS = "vanilla,smix+fmix"
"""Options of the comparison that all tests share."""


def in_process(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "smix", *words], capture_output=True, text=True, cwd=cwd, timeout=120)


@pytest.mark.slow
def test_help_imports_no_torch_and_no_numpy():
    code = (
        "import sys; sys.argv = ['smix', '--help']\n"
        "from smix import cli\n"
        "try: cli.main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'torchvision', 'numpy', 'scipy', 'sklearn', 'matplotlib', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "compare" in done.stdout


GOLDEN = Path(__file__).parent / "golden"
COMMANDS = [
    "doctor",
    "data",
    "data split",
    "mix",
    "masks build",
    "masks check",
    "masks export",
    "train",
    "compare",
    "evaluate",
    "predict",
    "export",
    "report",
    "demo",
] + [f"sweep {name}" for name in ("write", "run", "status", "sbatch")]


@pytest.mark.parametrize("command", COMMANDS)
def test_options_of_each_command_are_pinned(smix, command, monkeypatch):
    """A new option must also be added to tests/golden/options.json."""
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = smix(*command.split(), "--help")
    assert code == 0
    panel = " ".join(line.strip("│") for line in out.splitlines() if line.startswith("│"))
    options = sorted({word for word in panel.split() if word.startswith("--")})
    assert options == json.loads((GOLDEN / "options.json").read_text())[command]


def test_every_command_is_listed_and_described(smix):
    _, out, _ = smix("--help")
    for command in {command.split()[0] for command in COMMANDS}:
        line = next(line for line in out.splitlines() if line.startswith(f"│ {command} "))
        assert len(line.strip("│ ").split()) > 3


def test_doctor_lists_features_and_advice(smix, tmp_path):
    code, out, _ = smix("doctor", "--data-root", tmp_path)
    assert code == 0
    assert "digits-on-photos" in out
    assert "--data-root" in out  # advice for cifar10, which does not exist here
    assert "device" in out


def test_data_lists_and_describes(smix, npz):
    code, out, _ = smix("data")
    assert code == 0
    assert all(name in out for name in (*SETS, "npz:FILE", "folder:DIR", "hf:NAME_OR_DIR"))
    code, out, _ = smix("data", npz)
    assert code == 0
    assert "10 x 14 x 3" in out
    assert "class 3" in out


@pytest.mark.slow
def test_mix_shows_every_method(smix, npz, tmp_path):
    out = tmp_path / "mix.png"
    code, output, _ = smix("mix", "--data", npz, "--methods", "vanilla,cutmix,smix(alpha=0.7),smix+fmix", "--out", out)
    assert code == 0
    assert str(out) in output
    with Image.open(out) as picture:
        assert picture.width > 400
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 100


@pytest.mark.slow
def test_masks_build_check_and_train_with_them(smix, npz, tmp_path):
    store, run = tmp_path / "masks" / "made", tmp_path / "run"
    code, out, _ = smix("masks", "build", "--data", npz, "--source", "carried", "--out", store, "--quiet")
    assert code == 0
    assert "80 masks" in out
    code, out, _ = smix("masks", "check", store)
    assert code == 0
    assert "figure14" in out
    assert "published" in out
    for file in (tmp_path / "masks" / "made-check").iterdir():
        if file.suffix == ".png":
            with Image.open(file) as opened:
                opened.verify()
        assert str(file) in out
    code, out, _ = smix("masks", "check", store, "--verify")
    assert code == 0
    assert "all files match their checksums" in out
    code, out, _ = smix("train", "--data", npz, "--masks", store, "--method", "smix+fmix", *TINY, "--out", run)
    assert code == 0
    assert "test accuracy" in out
    assert json.loads((run / "config.json").read_text())["masks"]["source"]["name"] == "carried"


@pytest.mark.slow
def test_check_compares_several_stores(smix, npz, tmp_path):
    smix("masks", "build", "--data", npz, "--source", "carried", "--out", tmp_path / "a", "--quiet")
    smix("masks", "build", "--data", npz, "--source", "carried", "--out", tmp_path / "b", "--limit", "8", "--quiet")
    code, out, _ = smix("masks", "check", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "pictures")
    assert code == 0
    assert "8 of 80" in out
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == [
        "classes.csv",
        "contact-sheet-a.html",
        "contact-sheet-a.png",
        "contact-sheet-b.html",
        "contact-sheet-b.png",
        "coverage.png",
        "invalid.csv",
        "valid.png",
    ]


@pytest.fixture(scope="module")
def comparison(tmp_path_factory) -> tuple[str, Path]:
    """Return the name of a data set and the folder of a comparison of two methods with two seeds. Tests must not change them."""
    folder = tmp_path_factory.mktemp("comparison")
    data = f"npz:{write_npz(folder / 'made.npz', make_set(80), make_set(24, seed=1, split='test'))}"
    config = SharedConfig(data=data, model="resnet8", epochs=2, batch_size=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "run_tasks", run_in_this_process)
        compare(config, METHODS.split(","), 2, folder / "runs", RunOptions(threads=1, quiet=True))
    return data, folder / "runs"


@pytest.fixture
def comparison_copy(comparison, tmp_path) -> tuple[str, Path]:
    """Return a copy of the comparison that a test may change."""
    data, runs = comparison
    return data, shutil.copytree(runs, tmp_path / "runs")


@pytest.mark.slow
def test_compare_trains_missing_runs_and_reports(smix, comparison_copy, comparison, tmp_path):
    data, runs = comparison_copy
    finished = {path: path.stat().st_mtime_ns for path in runs.glob("*/result.json")}
    assert len(finished) == 4
    again = runs / "smix+fmix-0"
    shutil.rmtree(again)
    code, out, _ = smix("compare", "--data", data, "--methods", METHODS, "--seeds", "2", *TINY, "--out", runs)
    assert code == 0
    assert "The methods cannot be ranked: 2 seeds" in out
    assert "Other runs in this folder" not in out
    # The missing run is trained in a separate process, to the same bits as before. The other runs are unchanged.
    for file in ("predictions.npz", "samples.npz", "weights.safetensors"):
        assert (again / file).read_bytes() == (comparison[1] / again.name / file).read_bytes()
    assert {path for path, time in finished.items() if path.stat().st_mtime_ns != time} == {again / "result.json"}
    for name in (
        "report.md",
        "report.html",
        "tables/accuracy.csv",
        "tables/runs.tex",
        "figures/accuracy-per-epoch.svg",
        "figures/accuracy-distribution.png",
        "figures/mixes.png",
    ):
        assert (runs / "report" / name).stat().st_size > 100
    text = (runs / "report" / "report.md").read_text()
    start = "| Method | Mean (%) | Std Dev (%) | Runs | Min (%) | Max (%) | Time per run |"
    assert any(line.startswith(start) for line in text.splitlines())
    code, output, _ = smix("report", runs, "--out", tmp_path / "again")
    assert code == 0
    assert (tmp_path / "again" / "report.md").read_text() == text
    assert "The methods cannot be ranked: 2 seeds" in output


@pytest.mark.slow
@pytest.mark.usefixtures("blank_figures")
def test_report_names_omitted_runs_and_exits_with_0_if_any_run_is_valid(smix, comparison_copy, tmp_path):
    _, runs = comparison_copy
    (runs / "smix+fmix-0" / "result.json").write_text('{"test_accuracy": NaN}')
    code, out, err = smix("report", runs, "--out", tmp_path / "report", "--quiet")
    assert code == 0
    assert f"smix: {runs / 'smix+fmix-0'}: smix+fmix-0/result.json: expected a run file written by this version" in err
    assert str(tmp_path / "report" / "report.html") in out
    before = (tmp_path / "report" / "report.html").read_bytes()
    for name in ("vanilla-0", "vanilla-1", "smix+fmix-1"):
        (runs / name / "result.json").unlink()
    code, _, err = smix("report", runs, "--out", tmp_path / "report", "--quiet")
    assert code == 2
    assert err.count("\n") == 1
    assert "expected a finished run to report, got 0 of 4" in err
    assert (tmp_path / "report" / "report.html").read_bytes() == before


def test_report_of_an_empty_folder_is_a_one_line_error(smix, tmp_path):
    code, _, err = smix("report")
    assert (code, err) == (2, "smix: runs: name a folder of runs, such as smix report runs/cifar10\n")


@pytest.mark.usefixtures("in_this_process")
def test_a_failed_run_is_reported_and_the_others_are_finished(smix, npz, tmp_path):
    words = [
        "compare",
        "--data",
        npz,
        "--methods",
        "vanilla",
        "--seeds",
        "1",
        *TINY,
        "--lr",
        "1e30",
        "--out",
        tmp_path / "runs",
    ]
    code, out, err = smix(*words)
    assert code == 1
    assert "No method has finished" in out
    assert "got 0 of 2 epochs; step" in err
    assert "lower --lr" in err
    assert "log.txt" in err
    assert "expected a finite loss" in (tmp_path / "runs" / "vanilla-0" / "log.txt").read_text()


def test_a_diverged_run_is_not_reported_as_wrong_input(smix, npz, tmp_path):
    code, _, err = smix("train", "--data", npz, "--method", "vanilla", *TINY, "--lr", "1e30", "--out", tmp_path / "run")
    assert code == 1
    assert "expected a finite loss" in err


def test_divergence_in_the_last_step_is_a_one_line_error(smix, npz, tmp_path):
    words = ["--model", "resnet8", "--epochs", "1", "--batch-size", "72", "--threads", "1", "--quiet", "--lr", "1e30"]
    code, _, err = smix("train", "--data", npz, "--method", "vanilla", *words, "--out", tmp_path / "run")
    assert code == 1
    assert "expected finite predictions" in err
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize("number", ["ENOSPC", "EDQUOT", "EFBIG"])
def test_a_full_disk_during_training_is_a_one_line_error(smix, npz, tmp_path, monkeypatch, number):
    import errno
    import os

    from smix import files

    def report_full_disk(*args: object) -> None:
        raise OSError(getattr(errno, number), os.strerror(getattr(errno, number)))

    monkeypatch.setattr(files.os, "fsync", report_full_disk)
    code, _, err = smix("train", "--data", npz, "--method", "vanilla", *TINY, "--out", tmp_path / "run")
    assert code == 2
    assert "free some space and run the same command again" in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_class_names_are_not_interpreted_as_formulas(smix, tmp_path):
    train, names = make_set(80), ("A$\\foo$", "b_1", "$x_1$", "[d]")
    name = f"npz:{write_npz(tmp_path / 'made.npz', replace(train, classes=names), make_set(24, seed=1, split='test'))}"
    assert smix("mix", "--data", name, "--out", tmp_path / "mix.png")[0] == 0
    assert smix("masks", "build", "--data", name, "--source", "carried", "--out", tmp_path / "s", "--quiet")[0] == 0
    assert smix("masks", "check", tmp_path / "s")[0] == 0
    assert "[d]" in smix("data", name)[1]


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process", "blank_figures")
def test_a_method_with_masks_can_be_added_to_a_comparison_and_a_store_can_grow(smix, npz, tmp_path):
    build = ["masks", "build", "--data", npz, "--source", "carried", "--out", tmp_path / "store", "--quiet"]
    config = SharedConfig(data=npz, model="resnet8", epochs=2, batch_size=16, train_limit=40)
    options = RunOptions(threads=1, quiet=True)
    assert smix(*build, "--limit", "40")[0] == 0
    compare(config, ["vanilla"], 1, tmp_path / "runs", options)
    compare(replace(config, masks=str(tmp_path / "store")), ["vanilla", "smix"], 1, tmp_path / "runs", options)
    assert smix(*build, "--limit", "60")[0] == 0
    words = ["compare", "--data", npz, *TINY, "--seeds", "1", "--train-limit", "40", "--out", tmp_path / "runs"]
    code, out, _ = smix(*words, "--methods", "vanilla,smix,smix+fmix", "--masks", tmp_path / "store")
    assert code == 0
    assert "smix+fmix" in out


@pytest.mark.slow
@pytest.mark.usefixtures("blank_figures")
def test_runs_that_are_not_shown_are_named(smix, comparison_copy):
    data, runs = comparison_copy
    code, out, _ = smix("compare", "--data", data, *TINY, "--seeds", "1", "--methods", METHODS, "--out", runs)
    assert code == 0
    assert "The methods cannot be ranked: 1 seed cannot" in out
    assert "Other runs in this folder, not in the report: smix+fmix-1, vanilla-1." in out


def test_carried_masks_are_stored_unchanged(smix, tmp_path):
    from smix import MaskStore

    words = ["masks", "build", "--data", "digits-on-photos", "--source", "carried", "--limit", "50", "--quiet"]
    assert smix(*words, "--out", tmp_path / "store")[0] == 0
    data = load_data("digits-on-photos").take(50)
    assert np.array_equal(MaskStore(tmp_path / "store")[data.index], data.masks)


def test_advice_with_brackets_is_shown_completely(smix, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else real(name))
    assert 'pip install "smix[onnx]"' in smix("doctor")[1]


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_demo_draws_mixes_compares_and_summarises(smix, tmp_path, monkeypatch):
    import dataclasses
    from importlib import import_module

    demo = import_module("smix.cli.demo")  # its name in the package is the command

    monkeypatch.setattr(demo, "CONFIG", dataclasses.replace(demo.CONFIG, train_limit=40, test_limit=20, epochs=1))
    monkeypatch.setattr(demo, "SEEDS", 2)
    code, out, errors = smix("demo", "--out", tmp_path / "demo")
    assert code == 0
    assert errors.startswith("Training a small network 6 times: about two minutes")
    assert out.startswith("The same images mixed by each method:   ")
    assert (tmp_path / "demo" / "mixes.png").is_file()
    in_order = ["mixes.png", "The methods cannot be ranked: 2 seeds", "report.html", "here SMix is", "smix compare"]
    assert [out.index(text) for text in in_order] == sorted(out.index(text) for text in in_order)


BAD = {
    "unknown command": (["trian"], ["trian", 'Did you mean "train"']),
    "unknown option": (["train", "--modle", "x", "--out", "{tmp}/r"], ["--modle", "Did you mean --model"]),
    "missing option": (["train"], ["--out"]),
    "no number": (["train", "--epochs", "many", "--out", "{tmp}/r"], ["--epochs", "many"]),
    "out of range": (["train", "--epochs", "0", "--out", "{tmp}/r"], ["epochs", "expected 1 or more", "got 0"]),
    "unknown data set": (["train", "--data", "cifar11", "--out", "{tmp}/r"], ["cifar11", 'did you mean "cifar']),
    "missing file": (["train", "--data", "npz:{tmp}/none.npz", "--out", "{tmp}/r"], ["none.npz", "there is no file"]),
    "broken file": (
        ["train", "--data", "npz:{tmp}/broken.npz", "--out", "{tmp}/r"],
        ["broken.npz", "copy or write it again"],
    ),
    "floating point": (["train", "--data", "npz:{tmp}/float.npz", "--out", "{tmp}/r"], ["uint8", "float"]),
    "NaN": (["train", "--data", "npz:{tmp}/nan.npz", "--out", "{tmp}/r"], ["x_train", "finite"]),
    "wrong shape": (["train", "--data", "npz:{tmp}/shape.npz", "--out", "{tmp}/r"], ["1 to 16 channels", "17"]),
    "label out of range": (["train", "--data", "npz:{tmp}/label.npz", "--out", "{tmp}/r"], ["labels from 0 to 3", "9"]),
    "unknown method": (["train", "--method", "cutmxi", "--out", "{tmp}/r"], ["cutmxi", 'did you mean "cutmix"']),
    "unknown option of a method": (["train", "--method", "smix(alhpa=1)", "--out", "{tmp}/r"], ["alhpa", '"alpha"']),
    "unknown model": (["train", "--model", "resnet9", "--out", "{tmp}/r"], ["resnet9", "did you mean"]),
    "no masks": (["train", "--data", "npz:{tmp}/bare.npz", "--out", "{tmp}/r"], ["masks", "smix masks build"]),
    "no such store": (["train", "--masks", "{tmp}/none", "--out", "{tmp}/r"], ["none", "smix masks build"]),
    "store of another data set": (
        ["train", "--masks", "{tmp}/store", "--out", "{tmp}/r"],
        ["store", "another data set"],
    ),
    "store of the test split": (
        ["train", "--data", "npz:{tmp}/good.npz", "--masks", "{tmp}/test-store", "--out", "{tmp}/r"],
        ["test-store", "another split"],
    ),
    "store made with --limit": (
        ["train", "--data", "npz:{tmp}/good.npz", "--masks", "{tmp}/store", "--out", "{tmp}/r"],
        ["store", "larger --limit"],
    ),
    "unknown source": (
        ["masks", "build", "--data", "npz:{tmp}/good.npz", "--source", "cariied", "--out", "{tmp}/s"],
        ["cariied", '"carried"'],
    ),
    "unknown refinement": (
        [
            "masks",
            "build",
            "--data",
            "npz:{tmp}/good.npz",
            "--source",
            "carried",
            "--refine",
            "defualt",
            "--out",
            "{tmp}/s",
        ],
        ["defualt", '"default"'],
    ),
    "missing network": (
        ["masks", "build", "--data", "npz:{tmp}/good.npz", "--source", "onnx:{tmp}/n.onnx", "--out", "{tmp}/s"],
        ["n.onnx", "n.json"],
    ),
    "masks of other settings": (
        [
            "masks",
            "build",
            "--data",
            "npz:{tmp}/good.npz",
            "--source",
            "carried",
            "--refine",
            "default",
            "--out",
            "{tmp}/store",
        ],
        ["store", "choose another --out"],
    ),
    "check of no store": (["masks", "check", "{tmp}/none"], ["none", "smix masks build"]),
    "report of no runs": (["report", "{tmp}/store"], ["expected a folder of runs"]),
    "run folder of another configuration": (
        ["train", "--data", "npz:{tmp}/good.npz", "--out", "{tmp}/run"],
        ["run", "--model resnet8 instead of resnet18", "choose another --out"],
    ),
    "the same method in two spellings": (
        ["compare", "--methods", "smix,smix(labels=half)", "--out", "{tmp}/r"],
        ["distinct methods"],
    ),
    "no network to feed": (
        [
            "masks",
            "build",
            "--data",
            "npz:{tmp}/good.npz",
            "--source",
            "carried",
            "--input-size",
            "64",
            "--out",
            "{tmp}/s",
        ],
        ["omit --input-size"],
    ),
    "mix into a file": (
        ["mix", "--out", "{tmp}/good.npz/x.png"],
        ["good.npz", "cannot write to this folder"],
    ),
    "check into a file": (
        ["masks", "check", "{tmp}/store", "--out", "{tmp}/good.npz"],
        ["cannot write to this folder"],
    ),
    "train into a file": (["train", *TINY, "--out", "{tmp}/good.npz"], ["cannot write to this folder"]),
    "compare into a file": (
        ["compare", *TINY, "--methods", "vanilla", "--out", "{tmp}/good.npz"],
        ["cannot write to this folder"],
    ),
    "too many images": (["mix", "--count", "1000", "--out", "{tmp}/x.png"], ["2 to 16", "1000"]),
    "a decimal for a whole number": (
        ["train", "--epochs", "1.9", "--out", "{tmp}/r"],
        ["--epochs", "whole number", "1.9"],
    ),
    "a decimal for a limit": (["train", "--train-limit", "10.5", "--out", "{tmp}/r"], ["whole number", "10.5"]),
    "an unset variable as folder": (["train", "--out", ""], ["--out", "empty string"]),
    "an unset variable as masks": (["train", "--masks", "", "--out", "{tmp}/r"], ["--masks", "empty string"]),
    "report of one run": (["report", "{tmp}/run"], ["got one run", "did you mean"]),
    "check against a smaller data set": (
        ["masks", "check", "{tmp}/store", "--data", "npz:{tmp}/smaller.npz", "--out", "{tmp}/x"],
        ["another data set"],
    ),
    "a picture over another file": (["mix", "--out", "{tmp}/good.npz"], [".png", "good.npz"]),
    "the same method twice": (["compare", "--methods", "mixup,mixup", "--out", "{tmp}/r"], ["distinct methods"]),
}


@pytest.fixture(scope="module")
def mismatched(tmp_path_factory) -> Path:
    """Return a folder of data sets, stores and runs that do not match."""
    folder = tmp_path_factory.mktemp("wrong")
    train, test = make_set(80), make_set(24, seed=1, split="test")
    write_npz(folder / "good.npz", train, test)
    write_npz(folder / "smaller.npz", make_set(20, seed=5), test)
    bare = {"x_train": train.images, "y_train": train.labels, "x_test": test.images, "y_test": test.labels}
    np.savez(folder / "bare.npz", **bare)
    np.savez(folder / "float.npz", **{**bare, "x_train": train.images / 255})
    np.savez(
        folder / "nan.npz", **{**bare, "x_train": np.full(train.images.shape, np.nan), "x_test": test.images / 255}
    )
    np.savez(folder / "shape.npz", **{**bare, "x_train": np.zeros((80, 10, 14, 17), np.uint8)})
    labels = train.labels.copy()
    labels[3] = 9
    np.savez(folder / "label.npz", classes=np.array(train.classes), **{**bare, "y_train": labels})
    (folder / "broken.npz").write_bytes((folder / "good.npz").read_bytes()[:-1000])
    good = f"npz:{folder / 'good.npz'}"
    build_masks(load_data(good), load_source("carried"), folder / "store", limit=8)
    build_masks(load_data(good, split="test"), load_source("carried"), folder / "test-store")
    config = TrainConfig(data=good, method="vanilla", model="resnet8", epochs=1, batch_size=16)
    train_one(config, folder / "run", RunOptions(quiet=True))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_a_one_line_error_with_exit_code_2_and_loses_no_data(smix, mismatched, case):
    words, expected = BAD[case]
    before = contents(mismatched)
    code, out, err = smix(*(word.replace("{tmp}", str(mismatched)) for word in words))
    assert code == 2
    assert out == ""
    assert err.startswith("smix: ")
    assert err.count("\n") == 1
    for text in expected:
        assert text in err
    after = contents(mismatched)
    assert {path: after[path] for path in before} == before
    assert not {path for path in after.keys() - before.keys() if not path.endswith(".lock")}


def test_a_full_disk_during_a_build_is_a_one_line_error(smix, npz, tmp_path, monkeypatch):
    import errno

    from smix import files

    def report_full_disk(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", report_full_disk)
    code, _, err = smix("masks", "build", "--data", npz, "--source", "carried", "--out", tmp_path / "s", "--quiet")
    assert code == 2
    assert "no space is left" in err
    assert err.count("\n") == 1


def test_an_interrupt_exits_with_130_and_says_how_to_resume(smix, npz, tmp_path, monkeypatch):
    from smix.training import runs

    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "prepare", interrupt)
    code, _, err = smix("train", "--data", npz, *TINY, "--out", tmp_path / "run")
    assert code == 130
    assert "run the same command again" in err


def test_a_lack_of_memory_is_one_line_and_exits_with_75(smix, npz, tmp_path, monkeypatch):
    from smix.training import runs

    def full(*args: object) -> None:
        raise MemoryError

    monkeypatch.setattr(runs, "prepare", full)
    code, _, err = smix("train", "--data", npz, "--out", tmp_path / "run")
    assert (code, err) == (75, "smix: out of memory; close other programs, or use fewer or smaller images\n")


def test_a_bug_is_not_reported_as_wrong_input(npz, tmp_path, monkeypatch, capsys):
    from smix.training import runs

    def raise_error(*args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(runs, "prepare", raise_error)
    monkeypatch.setattr(sys, "argv", ["smix", "train", "--data", npz, "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit, match="70"):
        cli.main()
    assert capsys.readouterr().err.endswith("ZeroDivisionError\n")


@pytest.mark.slow
def test_python_m_smix_runs_the_command_line(tmp_path):
    done = in_process("--version", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("smix 0.")
