"""Test `train` that is interrupted in every known way and started again: the run folder equals that of an uninterrupted run."""

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from smix import files
from smix.config import TrainConfig
from smix.errors import RunError
from smix.training import learner, loop, records, runs
from smix.training.runs import train
from tests.training.small import (
    EPOCHS,
    FILES,
    OPTIONS,
    STEPS,
    assert_equal_runs,
    at_step,
    contents,
    metrics,
    small_config,
    stop_after,
)

pytestmark = pytest.mark.slow

CASES = {
    "vanilla": {"method": "vanilla"},
    "masks and fallback": {"method": "smix(alpha=(1.0,1.0))+fmix"},
    "dropout": {"method": "mixup(prob=0.5)", "model": "wrn-10-1-drop0.3"},
}


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory) -> Callable[[str], tuple[TrainConfig, Path]]:
    """Return a function that returns configuration and folder of an uninterrupted run of a case."""
    made: dict[str, tuple[TrainConfig, Path]] = {}

    def run_of_case(case: str) -> tuple[TrainConfig, Path]:
        if case not in made:
            config, out = small_config(data, **CASES[case]), tmp_path_factory.mktemp("unbroken") / "run"
            train(config, out, OPTIONS)
            made[case] = config, out
        return made[case]

    return run_of_case


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("steps", [0, 1, STEPS, STEPS + 3, EPOCHS * STEPS - 1])
def test_a_run_interrupted_between_two_steps_equals_an_uninterrupted_run(uninterrupted, tmp_path, case, steps):
    config, whole = uninterrupted(case)
    with pytest.MonkeyPatch.context() as patch:
        stop_after(steps, patch)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path, OPTIONS)
    assert "result.json" not in contents(tmp_path)
    assert metrics(tmp_path) if steps >= STEPS else not (tmp_path / "metrics.jsonl").exists()
    once = [tmp_path / "config.json", tmp_path / "samples.npz"]
    before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in once]
    train(config, tmp_path, OPTIONS)
    assert_equal_runs(tmp_path, whole)
    assert [(path.stat().st_ino, path.stat().st_mtime_ns) for path in once] == before


def test_a_run_interrupted_at_every_step_equals_an_uninterrupted_run(uninterrupted, tmp_path):
    config, whole = uninterrupted("masks and fallback")
    for _ in range(EPOCHS * STEPS - 1):
        with pytest.MonkeyPatch.context() as patch:
            stop_after(1, patch)
            with pytest.raises(KeyboardInterrupt):
                train(config, tmp_path, OPTIONS)
    train(config, tmp_path, OPTIONS)
    assert_equal_runs(tmp_path, whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_writes_a_checkpoint_and_the_next_command_finishes_the_run(uninterrupted, tmp_path, number):
    config, whole = uninterrupted("masks and fallback")
    before = signal.getsignal(number)
    with pytest.MonkeyPatch.context() as patch:
        at_step(STEPS + 2, lambda: os.kill(os.getpid(), number), patch)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path, OPTIONS)
    assert signal.getsignal(number) is before
    progress = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["progress"]
    assert (progress["epoch"], progress["step"]) == (1, 2)
    train(config, tmp_path, OPTIONS)
    assert_equal_runs(tmp_path, whole)


def test_a_second_signal_stops_at_once_and_keeps_the_checkpoint_of_the_last_epoch(uninterrupted, tmp_path):
    config, whole = uninterrupted("masks and fallback")

    def signal_twice() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        at_step(STEPS + 2, signal_twice, patch)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path, OPTIONS)
    progress = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["progress"]
    assert (progress["epoch"], progress["step"]) == (1, 0)
    train(config, tmp_path, OPTIONS)
    assert_equal_runs(tmp_path, whole)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_run_killed_while_it_writes_a_checkpoint_resumes_from_the_previous_one(
    uninterrupted, tmp_path, monkeypatch, error, epoch
):
    config, whole = uninterrupted("masks and fallback")
    real, saves = torch.save, []

    def raise_while_writing(content, file) -> None:
        saves.append(1)
        if len(saves) == epoch:
            file.write(b"PK half of a checkpoint")
            raise error
        real(content, file)

    monkeypatch.setattr(torch, "save", raise_while_writing)
    with pytest.raises(type(error)):
        train(config, tmp_path, OPTIONS)
    monkeypatch.undo()
    if epoch == 1:
        assert not (tmp_path / "checkpoint.pt").exists()
    else:
        assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["progress"]["epoch"] == epoch - 1
    assert not [name for name in contents(tmp_path) if name.endswith(".tmp")]
    train(config, tmp_path, OPTIONS)
    assert_equal_runs(tmp_path, whole)


@pytest.mark.parametrize("name", ["weights.safetensors", "predictions.npz", "validation.npz", "result.json"])
def test_a_run_killed_while_it_writes_its_result_is_unfinished_and_can_be_completed(
    uninterrupted, tmp_path, monkeypatch, name
):
    config, whole = uninterrupted("dropout")
    real = files.write_bytes

    def raise_while_writing(path: Path, content: bytes) -> None:
        if path.name == name:
            raise KeyboardInterrupt
        real(path, content)

    monkeypatch.setattr(files, "write_bytes", raise_while_writing)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, OPTIONS)
    monkeypatch.setattr(files, "write_bytes", real)
    assert records.read_result(tmp_path) is None
    train(config, tmp_path, OPTIONS)
    assert_equal_runs(tmp_path, whole)


def test_temporary_files_of_a_killed_run_are_not_mistaken_for_complete_files(uninterrupted, tmp_path):
    config, whole = uninterrupted("dropout")
    with pytest.MonkeyPatch.context() as patch:
        stop_after(STEPS, patch)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path, OPTIONS)
    leftovers = [tmp_path / f".{name}.k1ll3d.tmp" for name in FILES]
    for path in leftovers:
        path.write_bytes(b"half")
    assert records.read_result(tmp_path) is None
    train(config, tmp_path, OPTIONS)
    for path in leftovers:
        path.unlink(missing_ok=True)
    assert_equal_runs(tmp_path, whole)


def test_a_line_of_metrics_without_its_checkpoint_is_written_again(uninterrupted, tmp_path):
    """A run can be killed between the two writes; metrics.jsonl is written first."""
    config, whole = uninterrupted("vanilla")
    with pytest.MonkeyPatch.context() as patch:
        stop_after(2 * STEPS, patch)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path, OPTIONS)
    lines = (tmp_path / "metrics.jsonl").read_text()
    (tmp_path / "metrics.jsonl").write_text(lines + lines.splitlines()[-1].replace('"epoch": 2', '"epoch": 3') + "\n")
    train(config, tmp_path, OPTIONS)
    assert_equal_runs(tmp_path, whole)


def test_an_interrupted_run_is_not_resumed_with_another_configuration(uninterrupted, tmp_path):
    config, _ = uninterrupted("vanilla")
    with pytest.MonkeyPatch.context() as patch:
        stop_after(1, patch)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path, OPTIONS)
    (tmp_path / "config.json").unlink()  # so that only the checkpoint contains the difference
    other = small_config(config.data, method="vanilla", lr=0.05)
    with pytest.raises(RunError, match=r"expected a checkpoint with lr 0\.05, got 0\.1; choose another --out"):
        train(other, tmp_path, OPTIONS)


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_a_run_resumes_in_its_original_precision(data, tmp_path, monkeypatch, precision):
    """The next machine of a cluster may support other precisions."""
    seen = []

    def begun_here(device: torch.device) -> torch.dtype:
        return getattr(torch, precision)

    def rule_there(device: torch.device) -> torch.dtype:
        return torch.float32 if precision == "bfloat16" else torch.bfloat16

    def record_call(learner, *others) -> list:
        seen.append(learner.precision)
        return loop.fit(learner, *others)

    monkeypatch.setattr(runs, "fit", record_call)
    for rule in (begun_here, rule_there):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(learner, "precision", rule)
            patch.setattr(runs, "precision", rule)
            stop_after(2, patch)
            with pytest.raises(KeyboardInterrupt):
                train(small_config(data), tmp_path, OPTIONS)
    assert seen == [getattr(torch, precision)] * 2
