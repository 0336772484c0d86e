"""Test checkpoints: stored values are restored, broken files are reported, and no file can run code."""

import dataclasses
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from smix.config import TrainConfig
from smix.errors import RunError
from smix.training.checkpoint import load_checkpoint, save_checkpoint
from smix.training.distributed import ALONE
from smix.training.learner import Learner
from smix.training.loop import Progress

CONFIG = TrainConfig(epochs=3, milestones=(1,), lr=0.5, ema_decay=0.5)
PROGRESS = Progress(epoch=1, step=3, loss_sum=2.5, accuracy_sum=0.75, fell_back_sum=0.5, seconds=1.25)


@dataclass
class State:
    """A network with few parameters, with its optimizer."""

    filled: bool

    def __post_init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self.filled))
            self.model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
            self.learner = Learner.of(self.model, CONFIG, ALONE)
            if self.filled:
                for _ in range(2):
                    self.model(torch.randn(5, 3)).square().sum().backward()
                    self.learner.update(0.05)

    def save(self, path: Path, config: TrainConfig = CONFIG) -> None:
        save_checkpoint(path, self.learner, PROGRESS, config)

    def load(self, path: Path, config: TrainConfig = CONFIG) -> Progress:
        return load_checkpoint(path, self.learner, config)

    def numbers(self) -> list[Any]:
        """Return all values that training depends on."""
        return list(flat(self.learner.state()))


def flat(content: Any) -> Iterator[Any]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield key
            yield from flat(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from flat(value)
    else:
        yield content.tolist() if isinstance(content, Tensor) else content


@pytest.fixture
def valid_checkpoint(tmp_path) -> Path:
    State(filled=True).save(tmp_path / "checkpoint.pt")
    return tmp_path / "checkpoint.pt"


def test_a_checkpoint_survives_a_round_trip(valid_checkpoint):
    state, expected = State(filled=False), State(filled=True).numbers()
    assert state.numbers() != expected
    assert state.load(valid_checkpoint) == PROGRESS
    assert state.numbers() == expected
    assert state.learner.optimizer.state_dict()["state"], "the momentum was not stored"
    assert state.learner.average.n_averaged == 2


def test_a_checkpoint_loads_with_weights_only(valid_checkpoint):
    content = torch.load(valid_checkpoint, weights_only=True)
    assert list(content) == ["config", "model", "optimizer", "average", "best", "progress", "metrics", "sha256"]


def test_equal_states_make_equal_files(valid_checkpoint, tmp_path):
    State(filled=True).save(tmp_path / "again.pt")
    assert valid_checkpoint.read_bytes() == (tmp_path / "again.pt").read_bytes()


def test_a_checkpoint_of_another_configuration_is_refused_and_changes_nothing(valid_checkpoint):
    state = State(filled=False)
    before = state.numbers()
    with pytest.raises(RunError) as info:
        state.load(valid_checkpoint, dataclasses.replace(CONFIG, weight_decay=0.25))
    assert (
        str(info.value)
        == f"{valid_checkpoint}: expected a checkpoint with weight-decay 0.25, got 0.0005; choose another --out"
    )
    assert state.numbers() == before


def is_refused(path: Path) -> bool:
    """Return whether a checkpoint is refused in one line. If it is not, check that its values are the saved ones."""
    state, message = State(filled=False), ""
    try:
        progress = state.load(path)
    except RunError as error:
        message = str(error)
    if not message:
        assert progress == PROGRESS
        assert state.numbers() == State(filled=True).numbers()
        return False
    assert message.startswith(f"{path}: expected an intact checkpoint, got ")
    assert message.endswith("; delete it to train from scratch")
    assert "\n" not in message
    return True


@pytest.mark.slow
def test_a_checkpoint_truncated_anywhere_is_refused(valid_checkpoint):
    whole = valid_checkpoint.read_bytes()
    for length in [*range(0, len(whole), 61), len(whole) - 1]:
        valid_checkpoint.write_bytes(whole[:length])
        assert is_refused(valid_checkpoint), f"{length} of {len(whole)} bytes were taken for a checkpoint"


@pytest.mark.slow
def test_a_flipped_bit_is_refused_or_harmless(valid_checkpoint):
    whole, count = valid_checkpoint.read_bytes(), 0
    for place in range(0, len(whole), 23):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        valid_checkpoint.write_bytes(changed)
        count += is_refused(valid_checkpoint)
    assert count > 15


def test_a_flipped_bit_of_a_weight_is_refused(valid_checkpoint):
    """Without a checksum the weight would load as another number."""
    weight = State(filled=True).model[0].weight.detach().numpy().tobytes()
    whole = valid_checkpoint.read_bytes()
    assert whole.count(weight) == 1
    changed = bytearray(whole)
    changed[whole.index(weight) + 2] ^= 1
    valid_checkpoint.write_bytes(changed)
    assert is_refused(valid_checkpoint)


class RunsCode:
    """Object that creates a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_checkpoint_cannot_run_code(tmp_path):
    path, trap = tmp_path / "checkpoint.pt", tmp_path / "trap"
    torch.save({"config": CONFIG.to_json(), "model": RunsCode(trap)}, path)
    assert is_refused(path)
    assert not trap.exists()
    torch.load(path, weights_only=False)
    assert trap.exists(), "the trap does not work"


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        3,
        {},
        {"config": CONFIG.to_json()},
        {"config": CONFIG.to_json(), "model": {}, "optimizer": {}, "average": {}, "progress": {}},
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pt")
    assert is_refused(tmp_path / "other.pt")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x05\x06" + bytes(18), b"\x80\x02}q\x00."])
def test_a_file_that_is_not_an_archive_of_tensors_is_refused(tmp_path, content):
    (tmp_path / "other.pt").write_bytes(content)
    assert is_refused(tmp_path / "other.pt")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_an_interrupted_write_keeps_the_old_checkpoint(valid_checkpoint, monkeypatch, error):
    before = valid_checkpoint.read_bytes()

    def raise_while_writing(content: Any, file: Any) -> None:
        file.write(before[:100])
        raise error

    monkeypatch.setattr(torch, "save", raise_while_writing)
    with pytest.raises(type(error)):
        State(filled=False).save(valid_checkpoint)
    assert valid_checkpoint.read_bytes() == before
    assert list(valid_checkpoint.parent.iterdir()) == [valid_checkpoint]
