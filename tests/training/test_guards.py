"""Test errors that stop a run: one line with place, reason and advice, raised before training whenever possible."""

import itertools
from contextlib import ExitStack
from typing import Any

import pytest
import torch

from smix import files
from smix.errors import OptionError, RunError
from smix.training import loop, runs
from smix.training.distributed import World
from smix.training.runs import train
from tests.training.small import EPOCHS, FILES, OPTIONS, STEPS, contents, small_config

TINY = ["--model", "resnet8", "--epochs", str(EPOCHS), "--batch-size", "16", "--device", "cpu", "--quiet"]


@pytest.fixture
def run(smix, data, tmp_path):
    """Return a function that runs `smix train` in the folder `run` and returns exit code and the printed line."""

    def command(*words: str, method: str = "vanilla", data: str = data) -> tuple[int, str]:
        code, out, err = smix("train", "--data", data, "--method", method, *TINY, *words, "--out", tmp_path / "run")
        assert out == ""
        assert err.startswith("smix: ")
        assert err.count("\n") == 1
        return code, err.strip()

    return command


def test_a_loss_that_is_not_finite_is_reported_with_step_learning_rate_and_checkpoint(run, tmp_path, monkeypatch):
    real = loop.forward_backward
    calls = []

    def break_step(*args: Any) -> torch.Tensor:
        calls.append(1)
        return real(*args) * (float("nan") if len(calls) > STEPS + 2 else 1)

    monkeypatch.setattr(loop, "forward_backward", break_step)
    code, said = run()
    assert code == 1
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    assert said == (
        f"smix: step {STEPS + 2} (epoch 2, learning rate 0.01): expected a finite loss, got nan; lower --lr. The last "
        f"checkpoint before this is {checkpoint}, step {STEPS}"
    )
    assert torch.load(checkpoint, weights_only=True)["progress"]["epoch"] == 1
    monkeypatch.undo()


OUT_OF_MEMORY = {
    "gpu": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity ..."),
    "cpu": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:125] data. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
        "68719476736 bytes. Error code 12 (Cannot allocate memory)"
    ),
}


@pytest.mark.parametrize("kind", OUT_OF_MEMORY)
@pytest.mark.parametrize(("grad_accum_steps", "at_once", "advised"), [(1, 16, 2), (3, 6, 6)])
def test_out_of_memory_is_reported_with_the_batch_size_and_half_of_it_as_advice(
    run, tmp_path, monkeypatch, kind, grad_accum_steps, at_once, advised
):
    def raise_out_of_memory(*args: object) -> None:
        raise OUT_OF_MEMORY[kind]

    monkeypatch.setattr(loop, "forward_backward", raise_out_of_memory)
    code, said = run("--grad-accum-steps", str(grad_accum_steps))
    assert code == 75
    assert "batch_size: out of memory on CPU" in said
    assert f"with {at_once} images at once (batch size 16); use --grad-accum-steps {advised} to halve that" in said
    assert "result.json" not in contents(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("kind", OUT_OF_MEMORY)
@pytest.mark.parametrize("before", [0, 2], ids=["each epoch", "at the end"])
def test_out_of_memory_in_an_evaluation_gives_no_advice_on_training_batches(run, tmp_path, monkeypatch, kind, before):
    real, calls = loop.predict, itertools.count()

    def raise_out_of_memory(*args: Any) -> Any:
        if next(calls) < before:
            return real(*args)
        raise OUT_OF_MEMORY[kind]

    monkeypatch.setattr(loop, "predict", raise_out_of_memory)
    code, said = run()
    assert code == 75
    assert "batch_size: out of memory on CPU" in said
    assert "while evaluating 8 images at once" in said
    assert "choose another --device, then run the same command again" in said
    assert "--grad-accum-steps" not in said
    assert "--batch-size" not in said
    assert "result.json" not in contents(tmp_path / "run")


def test_other_runtime_errors_are_not_hidden(smix, data, tmp_path, monkeypatch):
    def raise_error(*args: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(loop, "forward_backward", raise_error)
    code, _, said = smix("train", "--data", data, "--method", "vanilla", *TINY, "--out", tmp_path / "run")
    assert (code, said.startswith("Traceback")) == (70, True)
    assert said.endswith("RuntimeError: mat1 and mat2 shapes cannot be multiplied\n")


@pytest.fixture
def no_work(monkeypatch) -> None:
    """Fail if any training step is computed."""

    def fail_if_called(*args: object) -> None:
        raise AssertionError("it began to work")

    monkeypatch.setattr(runs, "fit", fail_if_called)
    monkeypatch.setattr(runs, "Learner", fail_if_called)


@pytest.mark.usefixtures("no_work")
def test_a_folder_that_cannot_be_created_is_reported_before_training(run, tmp_path):
    (tmp_path / "run").write_text("a file")
    code, said = run()
    assert code == 2
    assert f"{tmp_path / 'run'}: cannot write to this folder: it is a file; choose another" in said
    assert (tmp_path / "run").read_text() == "a file"


@pytest.mark.usefixtures("no_work")
def test_a_folder_without_permission_is_reported_before_training(run, tmp_path, monkeypatch):
    """The error is simulated, because the tests may run as root, who may write everywhere."""

    def deny_access(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "FileIO", deny_access)
    code, said = run()
    assert code == 2
    assert "cannot write to this folder: PermissionError; choose another" in said


@pytest.mark.usefixtures("no_work")
def test_a_second_command_on_the_folder_is_refused_before_training(run, tmp_path):
    with files.lock(tmp_path / "run"):
        before = contents(tmp_path / "run")
        code, said = run()
        assert contents(tmp_path / "run") == before == {}
    assert code == 2
    assert "the folder is in use by another smix process" in said


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("method", ["smix", "smix+fmix", "objectpaste", "cutmix|smix"])
def test_missing_masks_are_reported_before_training(run, tmp_path, method):
    code, said = run("--masks", str(tmp_path / "none"), method=method)
    assert code == 2
    assert "none" in said
    assert "smix masks build" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_same_folder_can_be_used_after_the_error_is_fixed(run, smix, data, tmp_path):
    with files.lock(tmp_path / "run"):
        run()
    code, _, err = smix("train", "--data", data, "--method", "vanilla", *TINY, "--out", tmp_path / "run")
    assert (code, err) == (0, "")
    assert contents(tmp_path / "run").keys() == FILES


def test_a_gradient_that_is_not_finite_ends_the_run_before_the_weights_change(data, tmp_path, monkeypatch):
    """A finite loss can have such a gradient, and the update would make the next checkpoint useless."""
    real, calls = loop.forward_backward, []

    def break_step(learner, *others):
        found = real(learner, *others)
        calls.append([parameter.detach().clone() for parameter in learner.model.parameters()])
        if len(calls) == STEPS + 2:
            parameter = next(learner.model.parameters())
            parameter.grad.fill_(float("inf"))
            found[3] = torch.nn.utils.get_total_norm([parameter.grad])
        return found

    monkeypatch.setattr(loop, "forward_backward", break_step)
    monkeypatch.setattr(runs, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(
        RunError,
        match=rf"^step {STEPS + 1} .*expected a finite gradient, got inf; lower --lr\. The last checkpoint .*, step",
    ):
        train(small_config(data, method="vanilla"), tmp_path, OPTIONS)
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["model"]
    assert all(tensor.isfinite().all() for tensor in kept.values() if tensor.is_floating_point())
    assert len(calls) == STEPS + 2


def test_flips_of_spectrograms_are_refused(tmp_path):
    with pytest.raises(OptionError, match=r"^hflip: flipped spectrograms are sounds played backwards"):
        train(small_config("speech-commands"), tmp_path / "run", OPTIONS)


@pytest.mark.parametrize("world", [2, 3])
def test_a_run_is_not_resumed_with_another_number_of_processes(data, tmp_path, world):
    config = small_config(data, epochs=1)
    train(config, tmp_path, OPTIONS)
    (tmp_path / "result.json").unlink()
    with (
        ExitStack() as held,
        pytest.raises(RunError, match=f"this run was started with 1 processes, got {world}"),
    ):
        runs._start(config, tmp_path, OPTIONS, World(0, world), held)


def test_fewer_images_than_a_batch_are_refused_with_several_processes(data, tmp_path):
    config = small_config(data, batch_size=80)
    with (
        ExitStack() as held,
        pytest.raises(OptionError, match="with several processes expected at most 72, the number"),
    ):
        runs._start(config, tmp_path / "run", OPTIONS, World(0, 2), held)
    assert not (tmp_path / "run").exists()
