"""Test `--track tensorboard`: the values of metrics.jsonl, and images of mixes and masks, once per epoch."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smix.config import RunOptions
from smix.data import load_data
from smix.training.runs import train
from smix.training.trackers.record import METRICS, RESULTS
from smix.training.trackers.tensorboard import FOLDER
from tests.training.small import EPOCHS, OPTIONS, STEPS, assert_equal_runs, metrics, result, small_config, stop_after

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
SHOWN = RunOptions(device="cpu", quiet=True, track="tensorboard")


def read(out: Path):
    events = accumulator.EventAccumulator(str(out / FOLDER), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    return events


def scalars(out: Path) -> dict[str, list[tuple[int, float]]]:
    events = read(out)
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def expected(out: Path) -> dict[str, list[tuple[int, float]]]:
    lines, ended = metrics(out), result(out)
    values = {
        shown: [(line["epoch"], pytest.approx(line[name], rel=1e-6)) for line in lines]
        for name, shown in METRICS.items()
    }
    return values | {shown: [(EPOCHS, pytest.approx(ended[name], rel=1e-6))] for name, shown in RESULTS.items()}


def images(out: Path, tag: str) -> list[tuple[int, np.ndarray]]:
    return [
        (event.step, np.array(Image.open(io.BytesIO(event.encoded_image_string)))) for event in read(out).Images(tag)
    ]


@pytest.mark.slow
def test_event_files_contain_the_metrics_and_the_run_is_unchanged(data, tmp_path):
    train(small_config(data), tmp_path / "run", SHOWN)
    train(small_config(data), tmp_path / "plain", OPTIONS)
    assert not (tmp_path / "plain" / FOLDER).exists()
    assert scalars(tmp_path / "run") == expected(tmp_path / "run")
    names = {"train/lr", "train/loss", "train/weighted_accuracy", "val/loss", "val/accuracy", "train/fell_back"}
    assert scalars(tmp_path / "run").keys() == names | {"test/accuracy", "test/loss", "result/val_accuracy"}
    for file in (tmp_path / "run" / FOLDER).iterdir():
        file.unlink()
    (tmp_path / "run" / FOLDER).rmdir()
    assert_equal_runs(tmp_path / "run", tmp_path / "plain")


@pytest.mark.slow
def test_images_mixes_weights_and_masks_are_written_each_epoch(data, tmp_path):
    train(small_config(data, method="smix(alpha=1)"), tmp_path, SHOWN)
    tags = ("images", "masks", "mixed", "weight")
    assert sorted(read(tmp_path).Tags()["images"]) == [f"mixes/{tag}" for tag in tags]
    found = {tag: images(tmp_path, f"mixes/{tag}") for tag in tags}
    assert all([step for step, _ in found[tag]] == [1, 2, 3] for tag in tags)
    whole = load_data(data)
    known = {image.tobytes() for image in whole.images}
    own = {image.tobytes(): mask for image, mask in zip(whole.images, whole.masks, strict=True)}
    for place in range(EPOCHS):
        grid = tiles(found["images"][place][1])
        assert {tile.tobytes() for tile in grid} <= known
        for image, mask in zip(grid, tiles(found["masks"][place][1]), strict=True):
            assert np.array_equal(mask[..., 0] > 127, own[image.tobytes()])
        mixed = tiles(found["mixed"][place][1])
        for image, weight, mix in zip(grid, tiles(found["weight"][place][1]), mixed, strict=True):
            inside = weight[..., 0] == 255
            assert np.array_equal(mix[inside], image[inside])
    assert not np.array_equal(found["mixed"][0][1], found["mixed"][1][1])


def tiles(grid: np.ndarray) -> list[np.ndarray]:
    """Split an image into the 8 images of 10 x 14 pixels that it shows."""
    assert grid.shape[0] * grid.shape[1] == 8 * 10 * 14
    rows = grid.reshape(grid.shape[0] // 10, 10, grid.shape[1] // 14, 14, -1).swapaxes(1, 2)
    return list(np.broadcast_to(rows, (*rows.shape[:-1], 3)).reshape(8, 10, 14, 3))


def test_a_method_without_masks_shows_no_masks(data, tmp_path):
    train(small_config(data, method="mixup", epochs=1), tmp_path, SHOWN)
    assert "mixes/masks" not in read(tmp_path).Tags()["images"]


@pytest.mark.slow
@pytest.mark.parametrize("steps", [STEPS, STEPS + 2])
def test_a_resumed_run_contains_each_epoch_once(data, tmp_path, steps):
    config = small_config(data)
    with pytest.MonkeyPatch.context() as patch:
        stop_after(steps, patch)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path, SHOWN)
    train(config, tmp_path, SHOWN)
    assert scalars(tmp_path) == expected(tmp_path)
    assert [step for step, _ in images(tmp_path, "mixes/mixed")] == [1, 2, 3]


@pytest.mark.slow
def test_events_of_an_epoch_without_checkpoint_are_replaced(data, tmp_path):
    config = small_config(data)
    with pytest.MonkeyPatch.context() as patch:
        stop_after(2 * STEPS + 1, patch)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path, SHOWN)
    (tmp_path / "checkpoint.pt").unlink()
    train(config, tmp_path, SHOWN)
    assert scalars(tmp_path) == expected(tmp_path)


def test_a_missing_package_is_a_one_line_error_before_training(smix, data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    words = ["train", "--data", data, "--model", "resnet8", "--epochs", "1", "--batch-size", "16", "--quiet"]
    code, out, err = smix(*words, "--device", "cpu", "--track", "tensorboard", "--out", tmp_path / "run")
    assert (code, out) == (2, "")
    assert err == "smix: track: TensorBoard is not installed; run pip install 'smix[tensorboard]'\n"
    assert not (tmp_path / "run").exists()
