"""Test `--track`: MLflow and Weights & Biases with the libraries where they are installed, and with stand-ins of the same calls."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from smix.config import RunOptions
from smix.errors import OptionError
from smix.training.runs import train
from smix.training.samples import Samples
from smix.training.trackers import check_trackers, parse_trackers
from smix.training.trackers.record import METRICS, RESULTS, figure
from tests.training.small import (
    EPOCHS,
    OPTIONS,
    STEPS,
    assert_equal_runs,
    metrics,
    result,
    small_config,
    stop_after,
    train_command,
)

OWN_WARNINGS = pytest.mark.filterwarnings("ignore")
"""These libraries and theirs raise warnings of their own."""


def tracked(text: str) -> RunOptions:
    return replace(OPTIONS, track=text)


# The option


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, {}),
        ("tensorboard", {"tensorboard": ""}),
        ("wandb, mlflow", {"wandb": "", "mlflow": ""}),
        ("mlflow:http://host:5000,tensorboard", {"mlflow": "http://host:5000", "tensorboard": ""}),
        ("mlflow:sqlite:////a,b/wandb.db", {"mlflow": "sqlite:////a,b/wandb.db"}),
    ],
)
def test_trackers_are_separated_by_commas(text, expected):
    assert parse_trackers(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tensorbord", 'got "tensorbord"; correct the name'),
        ("", 'got ""; correct the name'),
        ("wandb,", 'got ""; correct the name'),
        ("wandb,tensorbord", 'got "tensorbord"; correct the name'),
        ("wandb,wandb", "wandb is named twice; name it once"),
        ("tensorboard:here", 'track: expected tensorboard alone, got "tensorboard:here"'),
        ("mlflow:", 'track: expected mlflow:URI, got "mlflow:"'),
    ],
)
def test_other_texts_are_refused(text, message):
    with pytest.raises(OptionError) as caught:
        check_trackers(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(("name", "title"), [("mlflow", "MLflow"), ("wandb", "wandb"), ("tensorboard", "TensorBoard")])
def test_a_missing_package_is_named_with_its_extra_before_anything_is_written(
    smix, data, tmp_path, monkeypatch, name, title
):
    monkeypatch.setitem(sys.modules, name, None)
    words = ["train", "--data", data, "--model", "resnet8", "--quiet", "--device", "cpu", "--track", name]
    code, out, err = smix(*words, "--out", tmp_path / "run")
    assert (code, out, err) == (2, "", f"smix: track: {title} is not installed; run pip install 'smix[{name}]'\n")
    assert not (tmp_path / "run").exists()


def test_the_figure_has_a_column_for_each_image():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    samples = Samples(
        images, images[::-1], np.arange(3), np.arange(3)[::-1].copy(), np.full((3, 4, 5), 0.5, np.float32),
        np.full(3, 0.5, np.float32), np.zeros(3, bool), images[..., 0] > 127,
    )  # fmt: skip
    picture = figure(samples)
    assert picture is not None
    assert picture.shape == (4 * 4, 3 * 5, 3)
    assert np.array_equal(picture[:4, 5:10], images[1])
    assert np.array_equal(picture[4:8, :5, 0] > 0, images[0, ..., 0] > 127)
    assert (picture[8:12] == 128).all()
    assert np.array_equal(picture[12:, :5], images[2])
    sounds = replace(samples, images=images[:, 0], mixed=images[:, 0], weight=samples.weight[:, 0], masks=None)
    assert figure(sounds) is None


# MLflow


@pytest.mark.slow
@OWN_WARNINGS
def test_mlflow_has_parameters_metrics_pictures_and_paths_of_an_interrupted_run_once(data, tmp_path):
    tracking = pytest.importorskip("mlflow.tracking")
    config, options = small_config(data), tracked(f"mlflow:sqlite:///{tmp_path}/runs.db")
    with pytest.MonkeyPatch.context() as patch:
        stop_after(STEPS + 2, patch)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "all" / "run", options)
    client = tracking.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/runs.db")
    experiment = client.get_experiment_by_name("all")
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.status, found.info.run_name) == ("KILLED", "run")
    train(config, tmp_path / "all" / "run", options)
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["method"] == "smix+fmix"
    assert found.data.params["fingerprint"] == config.fingerprint()
    assert json.loads(found.data.params["versions"].replace("'", '"')).keys() >= {"smix", "torch"}
    assert found.data.tags["smix.checkpoint"] == str(tmp_path / "all" / "run" / "checkpoint.pt")
    assert found.data.tags["smix.report"] == str(tmp_path / "all" / "report" / "report.html")
    for field, name in METRICS.items():
        history = {entry.step: entry.value for entry in client.get_metric_history(found.info.run_id, name)}
        assert history == {line["epoch"]: line[field] for line in metrics(tmp_path / "all" / "run")}
    for field, name in RESULTS.items():
        assert found.data.metrics[name] == result(tmp_path / "all" / "run")[field]
    pictures = [file.path for file in client.list_artifacts(found.info.run_id, "mixes")]
    assert pictures == [f"mixes/epoch{number:04d}.png" for number in (1, 2, 3)]
    train(config, tmp_path / "plain", OPTIONS)
    (tmp_path / "all" / "run" / "mlflow.txt").unlink()
    assert_equal_runs(tmp_path / "all" / "run", tmp_path / "plain")


@pytest.mark.slow
@OWN_WARNINGS
def test_mlflow_writes_to_a_local_database_by_default(data, tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    train(small_config(data, epochs=1), tmp_path / "runs" / "one", tracked("mlflow"))
    assert (tmp_path / "mlruns.db").is_file()
    assert [path.name for path in (tmp_path / "runs" / "mlflow").rglob("*.png")] == ["epoch0001.png"]
    assert not (tmp_path / "mlruns").exists()


@pytest.mark.slow
@OWN_WARNINGS
def test_an_mlflow_server_that_does_not_answer_is_a_one_line_error(smix, data, tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    words = ["train", "--data", data, "--model", "resnet8", "--quiet", "--device", "cpu", "--method", "vanilla"]
    code, out, err = smix(*words, "--track", "mlflow:http://127.0.0.1:9", "--out", tmp_path / "run")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("smix: track: mlflow cannot be started at http://127.0.0.1:9 (")
    assert err.endswith("; correct the address, or omit mlflow\n")


class Calls:
    """A stand-in for a library that records its calls."""

    def __init__(self, fail_after: int = 10**6) -> None:
        self.made: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.fail_after = fail_after

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            if name.startswith("log") and sum(made[0].startswith("log") for made in self.made) >= self.fail_after:
                raise ConnectionError("the server is gone")
            self.made.append((name, args, options))
            return self

        return call

    def named(self, name: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        return [(args, options) for made, args, options in self.made if made == name]


@pytest.fixture
def wandb(monkeypatch) -> Calls:
    """Replace wandb by a stand-in."""
    session = Calls()
    session.summary = Calls()  # type: ignore[attr-defined]
    module = ModuleType("wandb")
    module.__spec__ = SimpleNamespace()  # type: ignore[assignment]
    module.session = session  # type: ignore[attr-defined]
    module.init = lambda **options: session.made.append(("init", (), options)) or session  # type: ignore[attr-defined]
    module.Image = lambda array: ("image", array.shape)  # type: ignore[attr-defined]
    module.Settings = lambda **options: options  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return session


def test_wandb_is_called_offline_with_parameters_metrics_figure_and_paths(data, tmp_path, wandb):
    train(small_config(data), tmp_path / "all" / "run", tracked("wandb"))
    ((_, options),) = wandb.named("init")
    assert (options["mode"], options["project"], options["group"], options["name"]) == ("offline", "smix", "all", "run")
    assert options["dir"] == str(tmp_path / "all" / "run")
    assert options["config"]["method"] == "smix+fmix"
    assert options["config"]["paths"]["checkpoint"] == str(tmp_path / "all" / "run" / "checkpoint.pt")
    logs = wandb.named("log")
    assert [options["step"] for _, options in logs] == [1, 2, 3]
    for (values,), _ in logs:
        assert values["mixes"] == ("image", (4 * 10, 8 * 14, 3))
    lines = metrics(tmp_path / "all" / "run")
    assert [values["val/accuracy"] for (values,), _ in logs] == [line["val_accuracy"] for line in lines]
    (((summary,), _),) = wandb.summary.named("update")
    assert summary["test/accuracy"] == result(tmp_path / "all" / "run")["test_accuracy"]
    assert wandb.named("finish") == [((), {"exit_code": 0})]


def test_a_resumed_run_has_the_same_identifier(data, tmp_path, wandb):
    with pytest.MonkeyPatch.context() as patch:
        stop_after(STEPS + 1, patch)
        with pytest.raises(KeyboardInterrupt):
            train(small_config(data), tmp_path / "run", tracked("wandb"))
    assert wandb.named("finish") == [((), {"exit_code": 1})]
    train(small_config(data), tmp_path / "run", tracked("wandb"))
    one, two = (options for _, options in wandb.named("init"))
    assert (one["id"], one["resume"]) == (two["id"], "allow")
    assert [options["step"] for _, options in wandb.named("log")] == [1, 2, 3]


def test_a_tracker_that_fails_does_not_cost_the_run(data, tmp_path, wandb, capsys):
    wandb.fail_after = 1
    ended = train(small_config(data), tmp_path / "run", tracked("wandb"))
    assert ended.epochs == EPOCHS
    assert capsys.readouterr().err == (
        "smix: track: wandb failed (ConnectionError: the server is gone); the run goes on without it\n"
    )


def test_a_link_instead_of_the_folder_of_wandb_is_refused(data, tmp_path, wandb):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "wandb").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="wandb: expected a folder, got a symbolic link"):
        train(small_config(data, epochs=1), tmp_path / "run", tracked("wandb"))


@pytest.mark.slow
@OWN_WARNINGS
def test_wandb_itself_writes_an_offline_run(data, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for name in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / name))
    words = [*train_command(data, "smix+fmix"), "--track", "wandb", "--out", str(tmp_path / "run")]
    # A process of its own: wandb's server process writes the file when its parent ends.
    subprocess.run([sys.executable, "-m", "smix", *words], check=True)
    (folder,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    (file,) = folder.glob("*.wandb")
    content = file.read_bytes()
    for word in (b"val/accuracy", b"checkpoint.pt", b"smix+fmix", b"test/accuracy"):
        assert word in content
    assert len(list(Path(folder, "files", "media", "images").glob("mixes_*.png"))) == 2
