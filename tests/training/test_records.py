"""Test reading of run folders."""

from dataclasses import replace
from pathlib import Path

import pytest

from smix.config import TrainConfig
from smix.errors import RunError
from smix.training.loop import Epoch
from smix.training.records import (
    Result,
    Run,
    check_same,
    folders_in,
    read_metrics,
    read_result,
    read_run,
    write_metrics,
    write_provenance,
    write_result,
)
from tests.sealed import edit


def read_all(folder: Path) -> list[Run]:
    """Read all runs of a comparison."""
    return [read_run(path) for path in folders_in(folder)]


CONFIG = TrainConfig(epochs=2, milestones=(1,))
EPOCHS = [
    Epoch(
        epoch=1,
        lr=0.1,
        train_loss=1.5,
        train_accuracy=0.375,
        fell_back=0.25,
        val_loss=1.25,
        val_accuracy=0.5,
        seconds=2.0,
    ),
    Epoch(
        epoch=2,
        lr=0.1 / 3,
        train_loss=1e-300,
        train_accuracy=0.5,
        fell_back=0.0,
        val_loss=1 / 3,
        val_accuracy=0.75,
        seconds=1e-9,
    ),
]
RESULT = Result(
    test_accuracy=2 / 3,
    test_loss=0.5,
    val_accuracy=0.75,
    epochs=2,
    images_seen=64,
    seconds=2.0 + 1e-9,
    device="CPU with 1 thread",
)


MADE = {
    "versions": {"smix": "0.1.0"},
    "data": {
        "fingerprint_train": "aa",
        "fingerprint_test": "cc",
        "images": {"training": 60, "validation": 4, "test": 9},
        "size": [32, 32],
        "classes": ["cat", "dog"],
        "read": "kept on the device",
        "validated_on": "validation images",
    },
    "masks": {"fingerprint": "dd", "source": {"name": "carried"}, "refine": None, "empty": 0.5},
    "normalisation": {"mean": [0.5], "std": [0.25]},
}


def write_run(folder: Path, config: TrainConfig = CONFIG, result: Result | None = RESULT) -> Path:
    folder.mkdir(parents=True)
    write_provenance(folder, {"config": config.to_json(), **MADE})
    write_metrics(folder, EPOCHS)
    if result is not None:
        write_result(folder, result)
    return folder


def test_metrics_survive_a_round_trip_to_the_last_bit(tmp_path):
    assert read_metrics(tmp_path) == []
    write_metrics(tmp_path, EPOCHS)
    assert read_metrics(tmp_path) == EPOCHS
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 2


def test_a_finished_run_is_read(tmp_path):
    run = read_run(write_run(tmp_path / "run"))
    assert (run.path, run.config, run.metrics, run.result) == (tmp_path / "run", CONFIG, EPOCHS, RESULT)
    assert run.provenance["data"] == MADE["data"]


def test_a_run_without_a_result_is_unfinished(tmp_path):
    assert read_result(tmp_path) is None
    run = read_run(write_run(tmp_path / "run", result=None))
    assert run.result is None
    assert run.metrics == EPOCHS


def test_runs_of_a_folder_are_those_of_a_comparison_in_order_or_a_single_run(tmp_path):
    for name in ("smix-1", "smix-0", "cutmix-0"):
        write_run(tmp_path / "all" / name, result=None if name == "smix-1" else RESULT)
    (tmp_path / "all" / "notes").mkdir()
    assert [run.path.name for run in read_all(tmp_path / "all")] == ["cutmix-0", "smix-0", "smix-1"]
    assert [run.result is None for run in read_all(tmp_path / "all")] == [False, False, True]
    assert [run.path for run in read_all(tmp_path / "all" / "smix-0")] == [tmp_path / "all" / "smix-0"]


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_a_folder_without_runs_is_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=f"{name}: expected a folder of runs, got none.*smix compare") as info:
        read_all(tmp_path / name)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b"{"),
        ("config.json", b"{}"),
        ("config.json", b"[]"),
        ("config.json", b'{"config": {"epochs": "ten"}}'),
        ("config.json", b"\xff"),
        ("metrics.jsonl", b"{}\n"),
        ("metrics.jsonl", b"\xff\n"),
        ("result.json", b"{}"),
        ("result.json", b"\xff"),
    ],
)
def test_a_run_with_a_broken_file_is_refused_in_one_line(tmp_path, name, content):
    run = write_run(tmp_path / "run")
    (run / name).write_bytes(content)
    with pytest.raises(RunError) as info:
        read_run(run)
    assert str(info.value).startswith(f"{run / name}: expected a run file written by this version of smix, got ")
    assert "\n" not in str(info.value)


def test_a_run_of_a_newer_version_is_refused_with_its_unknown_options(tmp_path):
    run = write_run(tmp_path / "run")
    edit(run / "config.json", config={**CONFIG.to_json(), "rise": 5})
    with pytest.raises(ValueError, match="rise are unknown to this version; update smix"):
        read_run(run)


def test_the_same_run_and_a_new_folder_are_accepted(tmp_path):
    made = {"config": CONFIG.to_json(), "data": {"fingerprint_train": "aa"}}
    check_same(tmp_path / "new", made)
    check_same(write_run(tmp_path / "run"), made)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"config": replace(CONFIG, batch_size=64).to_json()}, "--batch-size 128 instead of 64"),
        ({"config": replace(CONFIG, milestones=()).to_json()}, r"--milestones \[1\] instead of \[\]"),
        ({"data": {"fingerprint_train": "bb"}}, "data fingerprint-train aa instead of bb"),
        ({"masks": {"source": {"name": "onnx"}}}, "masks source .*carried.* instead of .*onnx"),
    ],
)
def test_another_run_is_refused_with_the_options_that_differ(tmp_path, made, message):
    with pytest.raises(RunError, match=f"this run was started with {message}.*; choose another --out"):
        check_same(write_run(tmp_path / "run"), made)
