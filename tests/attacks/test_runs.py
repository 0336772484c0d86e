"""Test that runs with swapped, modified or contradictory files are refused: neither their numbers nor their weights are used."""

import io
import json
import pickle
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from smix import EvaluateConfig, evaluate, train
from smix.arrays import open_npz, read_npz
from smix.config import MachineOptions, TrainConfig
from smix.data import load_data
from smix.errors import DataError, DivergedError, RunError, SmixError
from smix.lab.status import status
from smix.report.reading import read_comparison
from smix.training.learner import Learner
from smix.training.records import read_result, read_run
from smix.untrusted import UnreadableError
from tests.conftest import make_set, write_npz
from tests.report.runs import write_run, write_runs
from tests.sealed import edit, reseal
from tests.training.small import OPTIONS, contents, small_config, stop_after, write_data

QUIET = MachineOptions(device="cpu", quiet=True)


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory) -> Path:
    """Return the folder of a finished run. Tests must not change it."""
    folder = tmp_path_factory.mktemp("trained")
    train(small_config(write_data(folder), epochs=1), folder / "run", OPTIONS)
    return folder / "run"


@pytest.fixture
def run(trained_run, tmp_path) -> Path:
    """Return a copy of the finished run."""
    return Path(shutil.copytree(trained_run, tmp_path / "run"))


@pytest.mark.slow
def test_altered_weights_are_not_evaluated(run):
    file, rng = run / "weights.safetensors", np.random.default_rng(0)
    original = file.read_bytes()
    for _ in range(50):
        altered = bytearray(original)
        altered[rng.integers(len(original))] ^= 1 << rng.integers(8)
        file.write_bytes(altered)
        with pytest.raises(RunError, match=r"weights\.safetensors: expected the file listed in result.json"):
            evaluate(run, EvaluateConfig(), QUIET)
    assert not (run / "evaluation" / "test.json").exists()
    file.write_bytes(original)
    assert evaluate(run, EvaluateConfig(), QUIET).numbers["accuracy"] == read_result(run).test_accuracy


def test_weights_of_another_run_are_not_evaluated_as_those_of_this_one(run):
    weights = safetensors.torch.load_file(run / "weights.safetensors")
    safetensors.torch.save_file({name: tensor * 2 for name, tensor in weights.items()}, run / "weights.safetensors")
    with pytest.raises(RunError, match=r"expected the file listed in result\.json"):
        evaluate(run, EvaluateConfig(), QUIET)


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "result.json"])
def test_a_file_of_another_run_is_refused(run, tmp_path, name):
    other = write_run(tmp_path, "vanilla", 3)
    shutil.copy(other / name, run / name)
    with pytest.raises(RunError, match="expected"):
        read_run(run)


def test_an_accuracy_that_contradicts_the_predictions_is_left_out_of_means(tmp_path):
    write_runs(tmp_path, {"vanilla": [0.5, 0.5, 0.5], "smix": [0.5, 0.5, 0.5]})
    edit(tmp_path / "smix-1" / "result.json", test_accuracy=1.0)
    comparison = read_comparison(tmp_path)
    finished = [run for run in comparison.runs if run.config.method == "smix" and run.result is not None]
    assert [run.config.seed for run in finished] == [0, 2]
    why = {problem.path.name: problem.why for problem in comparison.problems}["smix-1"]
    assert "expected predictions.npz to have the test accuracy of result.json, 1.0000, got" in why
    assert "the run is left out of the report" in why


def test_no_report_is_written_if_all_results_contradict_their_predictions(tmp_path):
    write_run(tmp_path, "vanilla", 0)
    edit(tmp_path / "vanilla-0" / "result.json", test_accuracy=1.0)
    with pytest.raises(RunError, match=r"got 0 of 1: vanilla-0: expected predictions\.npz to have the test accuracy"):
        read_comparison(tmp_path)


def test_epochs_of_another_run_are_not_continued(tmp_path, monkeypatch):
    data = write_data(tmp_path)
    with monkeypatch.context() as patch:
        stop_after(5, patch)
        with pytest.raises(KeyboardInterrupt):
            train(small_config(data), tmp_path / "run", OPTIONS)
    file = tmp_path / "run" / "metrics.jsonl"
    epoch = json.loads(file.read_text())
    file.write_text(json.dumps({**epoch, "val_accuracy": 1.0}) + "\n")
    with pytest.raises(RunError, match=r"got a checkpoint after epoch 1 that does not match metrics\.jsonl; delete it"):
        train(small_config(data), tmp_path / "run", OPTIONS)


# Runs whose last predictions are not finite


@pytest.fixture
def diverged(tmp_path, monkeypatch) -> Path:
    """Return a run whose model is finite during validation but returns infinity in the final evaluation."""
    evaluations = []
    eval_model = Learner.eval_model.fget

    class Infinite(torch.nn.Module):
        def __init__(self, model: torch.nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.model(images) * (torch.inf if len(evaluations) > 4 else 1)

    def best(learner: Learner) -> torch.nn.Module:
        evaluations.append(learner)
        return Infinite(eval_model(learner))

    data = write_data(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "eval_model", property(best))
        with pytest.raises(DivergedError, match="the trained network predicts NaN or infinity"):
            train(small_config(data, epochs=2), tmp_path / "runs" / "run", OPTIONS)
    return tmp_path / "runs" / "run"


def test_a_run_that_ends_with_infinite_numbers_is_reported_as_diverged(diverged, smix):
    assert "weights.safetensors" not in contents(diverged)
    result = json.loads((diverged / "result.json").read_text())
    assert "learning rate below 0.1" in result["diverged"]
    before = contents(diverged)
    config = read_config(diverged)
    with pytest.raises(DivergedError, match="learning rate below"):
        train(config, diverged, OPTIONS)
    assert contents(diverged) == before
    for read in (read_result, read_run):
        with pytest.raises(DivergedError, match="learning rate below"):
            read(diverged)
    assert status({diverged.name: config}, diverged.parent)[diverged.name].state == "failed"
    code, _, err = smix("report", diverged.parent, "--out", diverged.parent / "report")
    assert code == 2
    assert err.count("\n") == 1
    assert "predicts NaN or infinity" in err
    assert smix("evaluate", diverged)[0] == 1


def read_config(run: Path) -> TrainConfig:
    return TrainConfig.from_json(json.loads((run / "config.json").read_text())["config"])


@pytest.mark.slow
def test_divergence_on_images_of_one_pixel_is_a_one_line_error(smix, tmp_path):
    sets = [
        replace(one, images=one.array[:, :1, :1], masks=None, fingerprint="")
        for one in (make_set(40), make_set(20, split="test"))
    ]
    data = f"npz:{write_npz(tmp_path / 'made.npz', *sets)}"
    words = [
        "--data",
        data,
        "--model",
        "resnet8",
        "--method",
        "vanilla",
        "--epochs",
        "3",
        "--batch-size",
        "8",
        "--quiet",
    ]
    for lr in ("1e3", "1e18", "1e30"):
        code, _, err = smix("train", *words, "--lr", lr, "--out", tmp_path / lr)
        assert (code, err.count("\n")) in {(0, 0), (1, 1)}
        assert "Traceback" not in err


# Arrays


def npz(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def header(text: str, version: int = 1) -> bytes:
    content = text.encode("latin-1").ljust(118) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + len(content).to_bytes(2 if version == 1 else 4, "little") + content


HEADERS = {
    "of 3 TB": header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 750000), }"),
    "overflowing": header("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296, 2), }"),
    "negative": header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -4), }"),
    "of objects": header("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }")
    + b"cos\nsystem\n(S'touch PWN'\ntR.",
    "no literal": header("{'descr': '<f4', 'fortran_order': False, 'shape': __import__('os'), }"),
    "half a token": header("{'descr': '<f4', 'fortran_order': False, 'shape': (2,"),
    "half a text": header("{'descr': '''<f4"),
    "brackets": header("(" * 100),
    "a list": header("[1, 2]"),
    "another key": header("{'descr': '<f4', 'fortran_order': False, 'shape': (), 'x': 1}"),
    "texts as shape": header("{'descr': '<f4', 'fortran_order': False, 'shape': ('2',), }"),
    "no type": header("{'descr': 'nonsense', 'fortran_order': False, 'shape': (2,), }"),
    "a huge type": header("{'descr': '<U2147483647', 'fortran_order': False, 'shape': (9,), }"),
    "version 9": header("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", 9),
    "no magic": b"PK\x03\x04",
    "nothing": b"",
    "too few values": header("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }") + bytes(8),
    "too many values": header("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }") + bytes(16),
}


@pytest.mark.parametrize("content", HEADERS.values(), ids=HEADERS.keys())
def test_a_hostile_header_in_any_file_is_a_one_line_error(tmp_path, content):
    path = npz(tmp_path / "a.npz", logits=content, labels=b"")
    with pytest.raises(UnreadableError) as caught:
        read_npz(path)
    assert str(caught.value).isprintable()
    with pytest.raises(DataError, match="the npz file cannot be read"):
        load_data(f"npz:{npz(tmp_path / 'set.npz', x_train=content, y_train=content)}")
    write_runs(tmp_path / "runs", {"vanilla": [1.0, 1.0]})
    for name in ("predictions", "samples"):
        npz(tmp_path / "runs" / "vanilla-0" / f"{name}.npz", logits=content, labels=content)
    reseal(tmp_path / "runs" / "vanilla-0")
    comparison = read_comparison(tmp_path / "runs")
    assert {problem.path.name for problem in comparison.problems} == {"vanilla-0"}
    assert len(comparison.scores) == 1


def test_an_ambiguous_or_contradictory_archive_is_refused(tmp_path):
    array = io.BytesIO()
    np.save(array, np.arange(3))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", array.getvalue())
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", array.getvalue())
    with pytest.raises(UnreadableError, match="an unexpected or duplicate archive member"):
        read_npz(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("x.exe", b"MZ")
    with pytest.raises(UnreadableError, match=r"x\.exe"):
        read_npz(tmp_path / "b.npz")


def test_an_archive_that_would_fill_the_memory_is_refused_before_it_does(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as file,
    ):
        file.write(header("{'descr': '|u1', 'fortran_order': False, 'shape': (67108864,), }"))
        for _ in range(64):
            file.write(bytes(1 << 20))
    assert (tmp_path / "bomb.npz").stat().st_size < 100_000
    with pytest.raises(UnreadableError, match="arrays of 67,108,864 bytes, more than 1,000,000"):
        read_npz(tmp_path / "bomb.npz", 1_000_000)


def test_errors_of_the_block_are_not_reported_as_errors_of_the_file(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(3))
    with pytest.raises(DataError, match="mine"), open_npz(tmp_path / "a.npz"):
        raise DataError("mine")


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_code_in_weight_files_is_not_executed(tmp_path, name):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "PWN",))

    (tmp_path / name).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(SmixError, match="expected a weights file"):
        evaluate(tmp_path / name, EvaluateConfig(model="resnet8", data=write_data(tmp_path)), QUIET)
    assert not (tmp_path / "PWN").exists()
