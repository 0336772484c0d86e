"""Test early stopping: after the given number of epochs without improvement, with the weights of the best epoch."""

import json
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from smix.config import SharedConfig
from smix.errors import RunError
from smix.training import runs
from smix.training.loop import Epoch
from smix.training.records import read_run
from smix.training.runs import train
from smix.training.stopping import is_finished, result_epoch
from tests.training.small import OPTIONS, STEPS, assert_equal_runs, small_config, stop_after, train_command


def history(*accuracies: float) -> list[Epoch]:
    return [Epoch(number, 0.1, 1.0, 0.5, 0.0, 1.0, value, 1.0) for number, value in enumerate(accuracies, 1)]


@pytest.mark.parametrize(
    ("patience", "accuracies", "finished", "best"),
    [
        (None, (0.5, 0.4, 0.3), False, 3),
        (None, (0.5, 0.4, 0.3, 0.2), True, 4),
        (2, (0.5,), False, 1),
        (2, (0.5, 0.4), False, 1),
        (2, (0.5, 0.4, 0.4), True, 1),
        (2, (0.5, 0.5, 0.5), True, 1),
        (2, (0.3, 0.5, 0.4), False, 2),
        (2, (0.1, 0.2, 0.3, 0.4), True, 4),
        (1, (0.3, 0.2), True, 1),
    ],
)
def test_the_rule(patience, accuracies, finished, best):
    config = SharedConfig(epochs=4, patience=patience)
    assert is_finished(config, history(*accuracies)) == finished
    assert result_epoch(config, history(*accuracies)).epoch == best


def test_no_epoch_is_no_end():
    assert not is_finished(SharedConfig(patience=1), [])


ACCURACIES = (0.25, 0.75, 0.5, 0.75, 0.5, 1.0)
"""With patience 3, training stops after epoch 5, and epoch 2 is the best."""


@pytest.fixture
def scripted(monkeypatch):
    """Replace the validation accuracy of each epoch."""
    real = runs.fit

    def fit(*args):
        for epoch in real(*args):
            yield replace(epoch, val_accuracy=ACCURACIES[epoch.epoch - 1])

    monkeypatch.setattr(runs, "fit", fit)


@pytest.mark.slow
@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize("average", [0.0, 0.5])
def test_the_result_is_that_of_the_best_epoch_and_resuming_is_exact(data, tmp_path, average):
    config = small_config(data, epochs=6, patience=3, ema_decay=average, schedule="cosine", warmup_epochs=1)
    result = train(config, tmp_path / "run", OPTIONS)
    assert (result.epochs, result.val_accuracy, result.images_seen) == (5, 0.75, 5 * 72)
    assert [epoch.epoch for epoch in read_run(tmp_path / "run").metrics] == [1, 2, 3, 4, 5]
    for steps in (STEPS, 3 * STEPS + 1, 5 * STEPS - 1):
        with pytest.MonkeyPatch.context() as patch:
            stop_after(steps, patch)
            with pytest.raises(KeyboardInterrupt):
                train(config, tmp_path / str(steps), OPTIONS)
        train(config, tmp_path / str(steps), OPTIONS)
        assert_equal_runs(tmp_path / str(steps), tmp_path / "run")
    best = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["best"]
    weights = safetensors.torch.load_file(tmp_path / "run" / "weights.safetensors")
    assert best.keys() == weights.keys()
    assert all(torch.equal(best[name], weights[name]) for name in best)
    stopped = tmp_path / "two"
    with pytest.MonkeyPatch.context() as patch:
        stop_after(2 * STEPS, patch)
        with pytest.raises(KeyboardInterrupt):
            train(config, stopped, OPTIONS)
    content = torch.load(stopped / "checkpoint.pt", weights_only=True)
    state = (
        content["model"]
        if not average
        else {name.removeprefix("module."): value for name, value in content["average"].items() if name != "n_averaged"}
    )
    assert all(torch.equal(weights[name], state[name]) for name in weights)


@pytest.mark.slow
@pytest.mark.usefixtures("scripted")
def test_a_run_killed_before_its_evaluation_trains_no_further_epoch(data, tmp_path, monkeypatch):
    config = small_config(data, epochs=6, patience=3)
    train(config, tmp_path / "whole", OPTIONS)
    real = runs._evaluate

    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "_evaluate", killed)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", OPTIONS)
    monkeypatch.setattr(runs, "_evaluate", real)
    train(config, tmp_path / "run", OPTIONS)
    assert_equal_runs(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.usefixtures("scripted")
def test_records_that_contradict_the_rule_are_refused(data, tmp_path):
    train(small_config(data, epochs=6, patience=3), tmp_path, OPTIONS)
    run = read_run(tmp_path)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(
        RunError, match=r"expected 6 epochs at most, with patience 3, as config\.json says, got 5 in result\.json and 4"
    ):
        read_run(tmp_path)
    assert run.result is not None
    assert json.loads(lines[-1])["epoch"] == 5


def test_the_command_says_which_epoch_it_reports(smix, data, tmp_path):
    words = [*train_command(data), "--patience", "2", "--out", tmp_path / "run"]
    code, out, err = smix(*words)
    assert (code, err) == (0, "")
    assert " at the best epoch, validation accuracy " in out
