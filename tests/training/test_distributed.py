"""Test training in two processes: the loss curve of one, each image seen once, and a clean end in all cases."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from smix import cli, rng
from smix.config import TrainConfig
from smix.data.batches import Batches, Normalisation
from smix.data.streaming import Reader, Streamed
from smix.mixing import parse_method
from smix.models import build
from smix.training import loop, runs
from smix.training.checkpoint import save_checkpoint
from smix.training.distributed import ALONE, World, joined
from smix.training.learner import Learner
from smix.training.loop import forward_backward
from smix.training.runs import train
from tests.conftest import make_set
from tests.training import processes
from tests.training.processes import FinishedProcess, free_port
from tests.training.small import (
    FILES,
    OPTIONS,
    STEPS,
    arrays,
    at_step,
    contents,
    metrics,
    result,
    small_config,
    stop_after,
    train_command,
)

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


def network_without_batch_norm(classes: int, channels: int, size: tuple[int, ...]) -> nn.Module:
    """Return a network without batch normalisation, which computes each image independently."""
    return nn.Sequential(
        nn.Conv2d(channels, 6, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, classes)
    )


@pytest.fixture(autouse=True)
def _plain(monkeypatch) -> None:
    monkeypatch.setitem(build.MODELS, "plain", network_without_batch_norm)


def in_processes(count: int, folder: Path, act: Callable[[int], Any]) -> list[FinishedProcess]:
    def act_with_plain_model(rank: int) -> Any:
        build.MODELS["plain"] = network_without_batch_norm
        return act(rank)

    return processes.in_processes(count, folder, act_with_plain_model)


def train_together(config: TrainConfig, out: Path, logs: Path, count: int = 2) -> list[FinishedProcess]:
    """Train in `count` processes and return how each ended."""
    return in_processes(count, logs, lambda rank: train(config, out, OPTIONS))


def values_of(ended: list[FinishedProcess]) -> list[Any]:
    for one in ended:
        assert one.code == 0, one.err
        assert one.err == ""
    return [one.value for one in ended]


def smix_command(*words: str | Path) -> Callable[[int], None]:
    def act(rank: int) -> None:
        sys.argv = ["smix", *map(str, words)]
        cli.main()

    return act


# Training


@pytest.mark.parametrize(
    "changes", [{}, {"grad_accum_steps": 2, "ema_decay": 0.8, "schedule": "cosine", "warmup_epochs": 1}]
)
def test_vanilla_without_batch_norm_has_the_loss_curve_of_one_process(data, tmp_path, changes):
    config = small_config(data, model="plain", method="vanilla", **changes)
    assert config.hflip
    assert config.crop_padding
    alone = train(config, tmp_path / "one", OPTIONS)
    results = values_of(train_together(config, tmp_path / "two", tmp_path / "logs"))
    for mine, theirs in zip(metrics(tmp_path / "two"), metrics(tmp_path / "one"), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)
    assert contents(tmp_path / "two").keys() == FILES
    assert replace(results[0], seconds=0) == replace(results[1], seconds=0)
    assert results[0].test_loss == pytest.approx(alone.test_loss, rel=1e-4)
    assert results[0].images_seen == alone.images_seen
    one, two = (arrays(tmp_path / name / "predictions.npz") for name in ("one", "two"))
    assert np.array_equal(one["labels"], two["labels"])
    np.testing.assert_allclose(two["logits"], one["logits"], rtol=1e-3, atol=1e-4)
    assert json.loads((tmp_path / "two" / "config.json").read_text())["processes"] == 2


def gradients(model: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters()]


@pytest.mark.parametrize("grad_accum_steps", [1, 2, 3])
@pytest.mark.parametrize("method", ["mixup", "smix+fmix"])
def test_the_averaged_gradient_equals_that_of_one_process_that_mixes_each_part_separately(
    tmp_path, method, grad_accum_steps
):
    data = make_set(24)
    masks = np.array(data.masks)
    batches = Batches.of(data, Normalisation.of(data), CPU, masks, crop_padding=2, hflip=True)
    config = small_config("unused", model="plain", method=method, grad_accum_steps=grad_accum_steps, batch_size=12)

    def network() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return network_without_batch_norm(4, 3, (10, 14))

    def learn(rank: int) -> list[list[float]]:
        with joined(CPU) as world:
            learner = Learner.of(network(), config, world)
            batch = next(batches.shuffled(0, 0, 12, 0, world.rank, world.size))
            draws = rng.generator(config.seed, "mix", 0, world.rank)
            mixed, target = parse_method(method)(
                batch.images, batch.labels, masks=batch.masks, valid=batch.valid, generator=draws
            )
            said = world.mean(forward_backward(learner, mixed, target, config))
            return [said, *(gradient.flatten().tolist() for gradient in gradients(learner.model))]

    first, second = values_of(in_processes(2, tmp_path, learn))
    assert first == second
    model, losses = network(), []
    for rank in range(2):
        batch = next(batches.shuffled(0, 0, 12, 0, rank, 2))
        mixed, target = parse_method(method)(
            *(batch.images, batch.labels),
            masks=batch.masks,
            valid=batch.valid,
            generator=rng.generator(config.seed, "mix", 0, rank),
        )
        loss = target.loss(model(mixed))
        (loss / 2).backward()
        losses.append(loss.item())
    assert losses[0] != losses[1]
    assert first[0][0] == pytest.approx(np.mean(losses), rel=1e-5)
    for found, expected in zip(first[1:], gradients(model), strict=True):
        torch.testing.assert_close(torch.tensor(found), expected.flatten(), rtol=1e-4, atol=1e-6)


def test_mixes_of_two_processes_differ_and_depend_on_the_seed(tmp_path):
    keys = {rng.key(seed, "mix", step, rank) for seed in (0, 1) for step in (0, 1) for rank in (0, 1)}
    assert len(keys) == 8


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("count", [7, 2, 1])
def test_each_image_is_evaluated_by_one_process_and_predictions_are_in_order(tmp_path, count, kept):
    data, normalise = make_set(count), Normalisation.of(make_set(40))
    batches = Batches.of(data, normalise, CPU) if kept else Streamed(Reader(data, (8, 9)), normalise, CPU, 0)

    def record_evaluation(rank: int) -> tuple[int, Tensor, Tensor]:
        with joined(CPU) as world:
            pairs = list(batches.in_order(world.rank, world.size))
            images = torch.cat([images for images, _ in pairs])
            numbers = torch.arange(count)[world.rank :: world.size]
            return len(images), world.gather(images, count), world.gather(numbers, count)

    first, second = values_of(in_processes(2, tmp_path, record_evaluation))
    assert (first[0], second[0]) == (count - count // 2, count // 2)
    everything = torch.cat([images for images, _ in batches.in_order()])
    for _, images, numbers in (first, second):
        assert torch.equal(images, everything)
        assert numbers.tolist() == list(range(count))


def test_fewer_validation_images_than_processes_are_accepted(data, tmp_path):
    config = small_config(
        data, model="plain", method="vanilla", epochs=1, train_limit=20, val_fraction=0.05, test_limit=1
    )
    values_of(train_together(config, tmp_path / "run", tmp_path / "logs"))
    assert len(arrays(tmp_path / "run" / "predictions.npz")["labels"]) == 1


def test_statistics_of_batch_norm_are_those_of_the_first_process(data, tmp_path):
    """Each image is therefore evaluated by the same network, in whichever process."""
    config = small_config(data, epochs=1)

    def act(rank: int) -> list[float]:
        seen = []
        real = loop.predict

        def record_call(model: nn.Module, batches: Any) -> Any:
            seen.append([buffer.double().sum().item() for buffer in model.buffers()])
            return real(model, batches)

        loop.predict = record_call
        train(config, tmp_path / "run", OPTIONS)
        return seen

    first, second = values_of(in_processes(2, tmp_path / "logs", act))
    assert first == second
    assert len(first) == 3, "of an epoch, and at the end of the validation and the test images"


def test_only_one_process_prints(data, tmp_path):
    words = ["train", "--data", data, "--model", "plain", "--method", "mixup", "--epochs", "1", "--batch-size", "16"]
    first, second = in_processes(2, tmp_path, smix_command(*words, "--device", "cpu", "--out", tmp_path / "run"))
    assert (first.code, second.code) == (0, 0)
    assert first.out.count("test accuracy") == 1
    assert "training images" in first.err
    assert (second.out, second.err) == ("", "")


# Errors and signals


def test_an_interrupted_run_resumes_in_two_processes_and_equals_an_uninterrupted_run(data, tmp_path):
    config = small_config(data, model="plain", method="smix+fmix")
    values_of(train_together(config, tmp_path / "whole", tmp_path / "logs"))

    def run_and_stop(rank: int) -> None:
        if rank == 1:  # one of them is told to stop, and all stop
            with pytest.MonkeyPatch.context() as patch:
                stop_after(STEPS + 2, patch)
                train(config, tmp_path / "run", OPTIONS)
        train(config, tmp_path / "run", OPTIONS)

    ended = in_processes(2, tmp_path / "stopped", run_and_stop)
    assert all("KeyboardInterrupt" in one.err for one in ended)
    progress = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["progress"]
    assert (progress["epoch"], progress["step"]) == (1, 2)
    values_of(train_together(config, tmp_path / "run", tmp_path / "logs"))
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")
    assert contents(tmp_path / "run")["weights.safetensors"] == contents(tmp_path / "whole")["weights.safetensors"]
    assert result(tmp_path / "run") == result(tmp_path / "whole")


LINES = {
    "a batch that cannot be divided": (
        ["--batch-size", "15"],
        "batch_size: expected a multiple of 2 processes, got 15",
    ),
    "bad data": (["--data", "npz:none.npz"], "none.npz: there is no file none.npz"),
    "a wrong method": (["--method", "cutmxi"], "cutmxi"),
    "a broken loss": (["--lr", "1e30"], "expected a finite loss"),
}


@pytest.mark.parametrize("case", LINES)
def test_an_invalid_configuration_is_a_one_line_error_and_not_two(data, tmp_path, case):
    words = ["train", "--data", data, "--model", "plain", "--method", "mixup", "--batch-size", "16", "--quiet"]
    more, expected = LINES[case]
    given = [word for word in words if not (word in more or words[words.index(word) - 1] in more)]
    ended = in_processes(
        2, tmp_path / "logs", smix_command(*given, *more, "--device", "cpu", "--out", tmp_path / "run")
    )
    assert {one.code for one in ended} == {1 if case == "a broken loss" else 2}
    assert ended[0].err.count("\n") == 1
    assert expected in ended[0].err
    assert ended[1].err == ""
    assert [one.out for one in ended] == ["", ""]


def test_a_folder_in_use_by_another_command_is_refused_in_one_line(data, tmp_path):
    from smix import files

    words = ["train", "--data", data, "--model", "plain", "--method", "mixup", "--batch-size", "16", "--quiet"]
    with files.lock(tmp_path / "run"):
        ended = in_processes(2, tmp_path / "logs", smix_command(*words, "--device", "cpu", "--out", tmp_path / "run"))
    assert [one.code for one in ended] == [2, 2]
    assert "in use by another smix process" in ended[0].err
    assert ended[0].err.count("\n") == 1
    assert ended[1].err == ""


@pytest.mark.parametrize("victim", [0, 1])
def test_if_one_process_is_killed_the_other_ends_in_one_line_and_the_run_can_be_resumed(data, tmp_path, victim):
    config = small_config(data, model="plain", method="smix+fmix")
    words = ["train", "--data", data, "--model", "plain", "--method", "smix+fmix", "--epochs", str(config.epochs)]
    words += ["--batch-size", "16", "--device", "cpu", "--quiet", "--out", str(tmp_path / "run")]

    def act(rank: int) -> None:
        real, calls = runs.fit, iter(range(10**6))

        def fit_until_killed(
            learner: Learner, method: Any, train: Any, validation: Any, config: Any, at: Any, stop: Any, world: World
        ):
            def kill_at_step() -> bool:
                if rank == victim and next(calls) == STEPS + 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                return stop()

            return real(learner, method, train, validation, config, at, kill_at_step, world)

        runs.fit = fit_until_killed
        smix_command(*words)(rank)

    started = time.monotonic()
    ended = in_processes(2, tmp_path / "logs", act)
    assert time.monotonic() - started < 30
    assert ended[victim].code == -signal.SIGKILL
    assert ended[1 - victim].code == 1
    assert "one of 2 processes has ended; run the same command again" in ended[1 - victim].err
    assert ended[1 - victim].err.count("\n") == 1
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"] == config.to_json()
    first = in_processes(2, tmp_path / "logs", smix_command(*words))[0]
    assert first.code == 0, first.err
    assert len(metrics(tmp_path / "run")) == config.epochs
    values_of(train_together(config, tmp_path / "whole", tmp_path / "logs"))
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port"]


def torchrun(*words: str | Path, **environment: str) -> subprocess.Popen[str]:
    """Start `torchrun -m smix ...` as a user would."""
    here = {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [*TORCHRUN, str(free_port()), "-m", "smix", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **here},
        start_new_session=True,
    )


def test_a_repeated_signal_still_writes_a_checkpoint_before_any_process_ends(data, tmp_path):
    """A cluster may send a signal to every process, and torchrun forwards it again and ends all processes when the first one ends."""
    config, checkpoint = small_config(data, model="plain", method="vanilla"), tmp_path / "run" / "checkpoint.pt"

    def act(rank: int) -> int:
        def signal_twice() -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)

        def save_slowly(*args: Any) -> None:
            time.sleep(0.3)
            save_checkpoint(*args)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runs, "save_checkpoint", save_slowly)
            at_step(STEPS + 2, signal_twice, patch)
            with pytest.raises(KeyboardInterrupt):
                train(config, tmp_path / "run", OPTIONS)
        return torch.load(checkpoint, weights_only=True)["progress"]["step"]

    assert values_of(in_processes(2, tmp_path / "logs", act)) == [2, 2]


def test_sigterm_to_torchrun_writes_a_checkpoint_and_the_next_command_resumes(data, tmp_path):
    words = [*train_command(data, "mixup", epochs=4000), "--out", tmp_path]
    process = torchrun(*words)
    try:
        wait_until(lambda: (tmp_path / "metrics.jsonl").is_file(), process)
        process.terminate()
        _, err = process.communicate(timeout=60)
    finally:
        end_group(process)
    assert process.returncode != 0
    assert err.count("smix: interrupted; run the same command again to resume") == 1
    at = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["progress"]
    assert at["epoch"] == len(metrics(tmp_path)) > 0
    assert not list(tmp_path.glob(".*.tmp"))
    ended = in_processes(2, tmp_path / "logs", lambda rank: resume_for_an_epoch(data, tmp_path))
    assert all("KeyboardInterrupt" in one.err for one in ended)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["progress"]["epoch"] >= at["epoch"] + 1


def resume_for_an_epoch(data: str, out: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_after(STEPS + 1, patch)
        train(TrainConfig(data=data, model="resnet8", method="mixup", epochs=4000, batch_size=16), out, OPTIONS)


def wait_until(done: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 90
    while not done():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def end_group(process: subprocess.Popen[str]) -> None:
    """Kill all processes of the group that are still running."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_single_process_waits_for_no_other():
    assert (ALONE.any(True), ALONE.any(False), ALONE.is_main()) == (True, False, True)
    assert ALONE.mean(torch.tensor([1.0, 2.0])) == [1, 2]
    rows = torch.arange(3)
    assert ALONE.gather(rows, 3) is rows
    ALONE.wait_for_main()
    model = nn.ReLU()
    assert ALONE.wrap_ddp(model) is model
    assert replace(ALONE, rank=1).is_main() is False
