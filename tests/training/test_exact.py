"""Test that training that is killed in the middle of an epoch and resumed equals uninterrupted training, bit for bit."""

import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from smix import files
from smix.config import TrainConfig
from smix.data import load_data
from smix.errors import RunError
from smix.masks import build_masks, load_source
from smix.training import runs
from smix.training.checkpoint import load_checkpoint, save_checkpoint
from smix.training.distributed import ALONE
from smix.training.learner import Learner
from smix.training.loop import Epoch, Progress
from smix.training.runs import train
from tests.conftest import GPU
from tests.data.test_streaming import write_folder
from tests.training.processes import CONTEXT, SECONDS, in_processes
from tests.training.small import OPTIONS, arrays, assert_equal_runs, at_step, contents, small_config, stop_after

pytestmark = pytest.mark.slow

STEPS, KILLED_AFTER = 50, 23
"""Steps of a run, ten epochs of five, and the step in the middle of the fifth epoch after which it is killed."""

CASES = {
    "plain": {"method": "vanilla"},
    "masks": {"method": "smix(alpha=(1.0,1.0))+fmix"},
    "dropout": {"method": "mixup(prob=0.5)", "model": "wrn-10-1-drop0.3"},
    "average, accumulation, smoothing, cosine, warm-up, plain epochs": {
        **{"method": "cutmix", "ema_decay": 0.9, "grad_accum_steps": 3, "label_smoothing": 0.1, "schedule": "cosine"},
        **{"warmup_epochs": 1.5, "mix_off_epochs": 3, "nesterov": True, "decay_norm_and_bias": False},
    },
    "dropout in parts, one cycle, killed among the plain epochs": {
        **{
            "method": "mixup",
            "model": "wrn-10-1-drop0.3",
            "grad_accum_steps": 2,
            "schedule": "onecycle",
            "mix_off_epochs": 7,
        },
    },
    "AdamW, layer decay, frozen epochs, clipping, balanced sampling, augmentation": {
        **{
            "method": "smix+fmix",
            "optimizer": "adamw",
            "lr": 0.01,
            "layer_decay": 0.8,
            "freeze_epochs": 3,
            "clip_grad": 1.0,
        },
        **{"balanced_sampling": True, "augment": "trivialaugment", "random_erasing": 0.5},
    },
    "RMSprop, frozen layers, class weights, RandAugment, best epoch": {
        **{"method": "mixup", "optimizer": "rmsprop", "lr": 0.001, "freeze": ("stem",), "class_weights": "balanced"},
        **{"augment": "randaugment", "patience": 10, "ema_decay": 0.5},
    },
    "Adam, AugMix": {"method": "cutmix", "optimizer": "adam", "lr": 0.01, "augment": "augmix"},
}


def train_and_kill(steps: int, config: TrainConfig, out: Path, logs: Path) -> None:
    """Train in a separate process with a checkpoint at each step, and kill it after this number of steps."""

    def act(rank: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runs, "CHECKPOINT_SECONDS", 0.0)
            at_step(steps, lambda: os.kill(os.getpid(), signal.SIGKILL), patch)
            train(config, out, OPTIONS)

    (ended,) = in_processes(1, logs, act)
    assert ended.code == -signal.SIGKILL, ended.err


@pytest.mark.parametrize("case", CASES)
def test_50_steps_equal_23_steps_a_kill_and_27_steps(data, tmp_path, case):
    config = small_config(data, batch_size=14, epochs=10, drop_last=True, **CASES[case])
    train(config, tmp_path / "whole", OPTIONS)
    train_and_kill(KILLED_AFTER, config, tmp_path / "run", tmp_path / "logs")
    progress = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["progress"]
    assert (progress["epoch"], progress["step"]) == (4, 3)
    steps = []
    with pytest.MonkeyPatch.context() as patch:
        real = Learner.update
        patch.setattr(Learner, "update", lambda learner, lr: steps.append(lr) or real(learner, lr))
        train(config, tmp_path / "run", OPTIONS)
    assert len(steps) == STEPS - KILLED_AFTER
    assert_equal_runs(tmp_path / "run", tmp_path / "whole")


# Streamed images


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return write_folder(tmp_path_factory.mktemp("folder"))


@pytest.fixture(scope="module")
def store(folder, tmp_path_factory) -> Path:
    """Build masks of 8 x 8 pixels that mark bright pixels."""
    pictures = tmp_path_factory.mktemp("masks")
    data = load_data(folder)
    for place in range(len(data)):
        path = pictures / f"{data.stem(place)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        bright = data.images[place].mean(-1) > data.images[place].mean()
        Image.fromarray((bright * 255).astype("uint8")).save(path)
    out = tmp_path_factory.mktemp("store")
    build_masks(data, load_source(f"masks:{pictures}"), out, size=(8, 8), quiet=True)
    return out


@pytest.mark.parametrize("method", ["mixup", "smix+fmix"])
def test_an_interrupted_run_on_files_of_different_sizes_equals_an_uninterrupted_one(folder, store, tmp_path, method):
    options = (
        {"augment": "trivialaugment", "random_erasing": 0.5, "balanced_sampling": True} if method == "mixup" else {}
    )
    config = small_config(folder, method=method, image_size=16, batch_size=8, masks=str(store), epochs=2, **options)
    train(config, tmp_path / "whole", OPTIONS)
    train_and_kill(3, config, tmp_path / "run", tmp_path / "logs")
    with pytest.MonkeyPatch.context() as patch:
        stop_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "run", OPTIONS)
    train(config, tmp_path / "run", OPTIONS)
    assert_equal_runs(tmp_path / "run", tmp_path / "whole")
    samples = arrays(tmp_path / "run" / "samples.npz")
    assert samples["images"].shape == samples["mixed"].shape == (8, 16, 16, 3)
    assert sorted(samples["labels"]) == [0] * 4 + [1] * 4
    assert ("masks" in samples) == (method != "mixup")
    if "masks" in samples:
        assert samples["masks"].shape == (8, 16, 16)
        assert samples["masks"].reshape(8, -1).any(1).all()


def test_a_signal_to_the_process_group_keeps_reading_processes_until_the_checkpoint_is_written(folder, tmp_path):
    """A cluster sends signals in this way."""

    def signal_group() -> None:
        group = os.getpid()
        assert os.getpgid(0) == group  # never to another group
        if os.fork() == 0:  # torch's worker processes ignore a signal from their own parent
            os.killpg(group, signal.SIGTERM)
            os._exit(0)
        time.sleep(0.3)

    config = small_config(folder, method="mixup", image_size=16, batch_size=4, epochs=2)

    def act(rank: int) -> None:
        os.setpgid(0, 0)
        with pytest.MonkeyPatch.context() as patch:
            at_step(2, signal_group, patch)
            train(config, tmp_path / "run", replace(OPTIONS, workers=2))

    (ended,) = in_processes(1, tmp_path / "logs", act)
    assert ended.err.strip().endswith("KeyboardInterrupt"), ended.err
    progress = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["progress"]
    assert (progress["epoch"], progress["step"]) == (0, 2)


def test_an_image_that_breaks_during_a_run_on_files_is_a_one_line_error(smix, tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "data")
    words = ["train", "--data", folder, "--model", "resnet8", "--method", "mixup", "--epochs", "1", "--batch-size", "8"]
    words += ["--image-size", "16", "--workers", "2", "--device", "cpu"]
    code, _, err = smix(*words, "--out", tmp_path / "one")
    assert code == 0
    assert "36 training images of 16 x 16, read in each epoch" in err
    real = runs.fit

    def break_image(*args: Any) -> Iterator[Epoch]:
        (tmp_path / "data" / "train" / "class 1" / "037.png").write_bytes(b"none")
        yield from real(*args)

    monkeypatch.setattr(runs, "fit", break_image)
    code, out, err = smix(*words, "--quiet", "--out", tmp_path / "other")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "037.png: the image cannot be read" in err
    code, out, err = smix(*words, "--quiet", "--out", tmp_path / "third")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert not (tmp_path / "third").exists()


# Deterministic algorithms, as in docs/reproduce.md


@pytest.mark.parametrize("device", ["cpu", pytest.param(GPU, marks=pytest.mark.gpu, id="cuda")])
def test_with_deterministic_algorithms_training_succeeds_and_two_runs_are_equal(data, tmp_path, device):
    folders = [tmp_path / "one", tmp_path / "two"]
    config = small_config(data, method="smix(feather=1)+fmix", epochs=2)

    def train_twice(rank: int) -> None:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
        torch.use_deterministic_algorithms(True)
        for folder in folders:
            train(config, folder, replace(OPTIONS, device=device, threads=1))

    (ended,) = in_processes(1, tmp_path / "logs", train_twice)
    assert ended.code == 0, ended.err
    assert_equal_runs(*folders)


# Checkpoints


def large_checkpoint(fill: float) -> Learner:
    """Return a checkpoint whose four megabytes take longer to write than everything else."""
    config = TrainConfig()
    with torch.random.fork_rng(devices=[]):
        model = nn.Linear(1000, 1000, bias=False)
    nn.init.constant_(model.weight, fill)
    return Learner.of(model, config, ALONE)


def write_checkpoints(path: Path, epoch: int, writing: Event) -> None:
    """Write one checkpoint after another until killed; each has its own number in every weight."""
    learner = large_checkpoint(0.0)
    writing.set()
    for later in count(epoch):
        nn.init.constant_(learner.model.weight, float(later))
        save_checkpoint(path, learner, Progress(epoch=later), TrainConfig())


def test_a_kill_while_checkpoints_are_written_keeps_the_last_complete_one(tmp_path):
    config, path, moments = TrainConfig(), tmp_path / "checkpoint.pt", random.Random(0)
    learner = large_checkpoint(1.0)
    save_checkpoint(path, learner, Progress(epoch=1), config)
    halves, last = 0, 1
    for kills in range(60):
        writing = CONTEXT.Event()
        process = CONTEXT.Process(target=write_checkpoints, args=(path, last + 1, writing))
        process.start()
        assert writing.wait(SECONDS)
        time.sleep(moments.uniform(0.0, 0.2))
        process.kill()
        process.join()
        halves += len(list(tmp_path.glob(".*.tmp")))
        found = large_checkpoint(0.0)
        progress = load_checkpoint(path, found, config)
        assert progress.epoch >= last
        assert (found.model.weight == progress.epoch).all(), "the weights are of another checkpoint"
        last = progress.epoch
        with files.lock(tmp_path):  # as the next command would
            pass
        assert not list(tmp_path.glob(".*.tmp"))
        if halves and kills >= 11:
            break
    assert halves > 0, "no kill came while a checkpoint was being written"


def test_the_checkpoint_of_a_killed_run_contains_the_configuration(data, tmp_path):
    config = small_config(data)
    train_and_kill(2, config, tmp_path / "run", tmp_path / "logs")
    before = contents(tmp_path / "run")
    assert TrainConfig.from_json(torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["config"]) == config
    with pytest.raises(RunError, match=r"started with --lr 0\.1 instead of 0\.2; choose another --out"):
        train(small_config(data, lr=0.2), tmp_path / "run", OPTIONS)
    assert contents(tmp_path / "run") == before
