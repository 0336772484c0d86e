"""Test trained networks in use: probabilities equal to those of the run's own evaluation, for pictures of any kind."""

import itertools
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from PIL import Image

import smix
from smix import load_data, load_run
from smix.data.streaming import Reader
from smix.errors import DataError, OptionError, RunError
from smix.evaluation.temperature import fit_temperature
from smix.lab.export import TOLERANCE, export
from smix.lab.predict import Prediction, check_readable, iterate_pictures, predictions, summarise, write_predictions
from smix.lab.trained_model import TrainedModel
from smix.training.predictions import read_predictions
from smix.training.records import read_run
from tests.lab.trained import SIZE, sets, train_run, write_sets
from tests.training.small import stop_after

CLOSE = 1e-5
"""Largest difference of a probability: batches of another size round differently."""


@pytest.fixture(scope="session")
def model(finished: Path) -> TrainedModel:
    return load_run(finished, device="cpu")


@pytest.fixture
def pictures(tmp_path: Path, data_name: str) -> list[Path]:
    """Write the first test images as files."""
    paths = [tmp_path / "pictures" / f"{place}.png" for place in range(5)]
    paths[0].parent.mkdir()
    for path, image in zip(paths, load_data(data_name, split="test").array, strict=False):
        Image.fromarray(image).save(path)
    return paths


def stored(run: Path, temperature: float) -> np.ndarray:
    """Return the probabilities of the run's own test predictions."""
    logits, _ = read_predictions(read_run(run), "predictions.npz")
    return (logits.double() / temperature).softmax(1).numpy()


@pytest.mark.slow
def test_probabilities_equal_the_calibrated_predictions_of_the_run(model, finished, data_name):
    logits, labels = read_predictions(read_run(finished), "validation.npz")
    assert model.temperature == fit_temperature(logits, labels) != 1
    assert model.is_calibrated
    assert f"{len(labels)} validation images" in model.calibration
    assert ("fewer than 100" in model.calibration) == (len(labels) < 100)
    images = load_data(data_name, split="test").array
    got = model.predict(images, batch_size=7)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, stored(finished, model.temperature), atol=CLOSE)


@pytest.mark.slow
def test_files_of_different_sizes_are_read_as_the_run_reads_them(files):
    name, run = files
    model = load_run(run, device="cpu")
    test = load_data(name, split="test")
    got = model.predict([test.images.home / path for path in test.images.names])
    np.testing.assert_allclose(got, stored(run, model.temperature), atol=CLOSE)


def test_arrays_pictures_and_paths_give_the_same_probabilities(model, pictures):
    arrays = [np.array(Image.open(path)) for path in pictures]
    expected = model.predict(np.stack(arrays))
    for images in (arrays, [Image.open(path) for path in pictures], pictures, list(map(str, pictures))):
        np.testing.assert_array_equal(model.predict(images), expected)
    np.testing.assert_allclose(model.predict(pictures[0]), expected[:1], atol=CLOSE)
    np.testing.assert_array_equal(model.predict(item for item in pictures), expected)


def test_images_of_another_size_are_resized_as_in_evaluation(model):
    height, width = SIZE
    images = np.random.default_rng(0).integers(0, 256, (2, 2 * height + 9, 2 * width, 3), np.uint8)
    classes = ("a", "b")
    data = smix.ImageSet(images, np.array([0, 1]), classes, name="made", split="test")
    expected, _ = Reader(data, SIZE, enlargement=1).read(1)
    assert torch.equal(model.read(images[1]), expected)
    mixed = [images[0], images[1][:40], images[1][:, :50]]
    got = model.predict(mixed)
    for image, probabilities in zip(mixed, got, strict=True):
        np.testing.assert_allclose(model.predict(image[None])[0], probabilities, atol=CLOSE)


@pytest.mark.slow
def test_an_image_of_the_input_size_is_enlarged_unless_all_images_of_the_run_have_that_size(files):
    model = load_run(files[1], device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8)
    assert model.run.provenance["stored_size"] is None
    assert model.enlargement > 1
    assert not torch.equal(model.read(image), torch.from_numpy(image))
    same = replace(model, run=replace(model.run, provenance={**model.run.provenance, "stored_size": [28, 28]}))
    assert same.enlargement == 1
    assert torch.equal(same.read(image), torch.from_numpy(image))


def test_no_images_give_no_rows(model):
    assert model.predict([]).shape == (0, len(model.classes))


def test_a_pil_image_is_turned_upright(model):
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    stored_sideways = Image.fromarray(np.rot90(pixels).copy())
    stored_sideways.getexif()[0x0112] = 6  # to be turned by 90 degrees clockwise
    np.testing.assert_array_equal(model.predict([stored_sideways]), model.predict(pixels[None]))


def test_a_damaged_pil_image_is_an_error_or_read_as_its_file(model, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "1.jpg")
    (tmp_path / "2.jpg").write_bytes((tmp_path / "1.jpg").read_bytes()[:2000])
    message = r"images: the PIL image cannot be read \(OSError: image file is truncated"
    with Image.open(tmp_path / "2.jpg") as picture, pytest.raises(DataError, match=message):
        model.predict(picture)
    exif = Image.Exif()
    exif[0x0112] = 6
    damaged = exif.tobytes()[:-6] + b"\xff" * 6
    Image.fromarray(pixels).save(tmp_path / "3.jpg", exif=damaged)
    with Image.open(tmp_path / "3.jpg") as picture:
        assert torch.equal(model.read(picture), model.read(tmp_path / "3.jpg"))


@pytest.mark.parametrize("images", [5, None])
def test_what_is_no_image_is_refused(model, monkeypatch, images):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for a user
    message = f"expected an array, or a list of arrays, PIL images or paths, got {type(images).__name__}; pass one of"
    with pytest.raises(DataError, match=message):
        model.predict(images)


@pytest.mark.parametrize(
    ("images", "problem"),
    [
        (Image.new("RGB", (0, 5)), "expected at least one pixel, got an image of 0x5"),
        (np.zeros((2, *SIZE, 3), np.float32), r"expected uint8 images in \[0, 255\], got float32"),
        (
            np.zeros((*SIZE, 3), np.uint8),
            r"expected an array of shape \(N, H, W, 3\), got \(28, 36, 3\); .* images\[None\]",
        ),
        (np.zeros((2, *SIZE, 1), np.uint8), r"expected arrays of shape \(H, W, 3\), got \(28, 36, 1\)"),
        ([np.zeros(SIZE, np.uint8)], r"expected arrays of shape \(H, W, 3\), got \(28, 36\)"),
        ([np.zeros((0, 36, 3), np.uint8)], r"expected arrays of shape \(H, W, 3\), got \(0, 36, 3\)"),
        ([3], "expected arrays, PIL images or paths, got int"),
        (
            torch.zeros(2, *SIZE, 3, dtype=torch.uint8),
            r"expected a NumPy array, got a torch tensor; pass images.numpy\(\)",
        ),
        ([Image.new("I;16", (36, 28))], "expected 8 bits per channel, got Pillow mode I;16"),
        (
            [np.zeros((1, 1 << 20, 3), np.uint8)],
            "an image of 1048576x1 pixels is too long and narrow",
        ),
        ("missing.png", r"missing.png: the image cannot be read \(No such file"),
    ],
)
def test_images_that_cannot_be_predicted_are_refused(model, images, problem):
    with pytest.raises(DataError, match=problem):
        model.predict(images)


def test_an_unreadable_picture_does_not_change_the_others(model, pictures):
    expected = model.predict(pictures)
    pictures[2].write_text("none")
    results = list(model.stream(pictures, batch_size=2))
    assert [path for path, _ in results] == pictures
    assert isinstance(results[2][1], DataError)
    assert str(pictures[2]) in str(results[2][1])
    for place in (0, 1, 3, 4):
        np.testing.assert_allclose(results[place][1], expected[place], atol=CLOSE)


def test_an_endless_stream_is_read_a_few_batches_ahead(model, pictures):
    taken = 0

    def endless():
        nonlocal taken
        for path in itertools.cycle(pictures):
            taken += 1
            yield path

    results = model.stream(endless(), batch_size=3)
    assert [path for path, _ in itertools.islice(results, 30)] == [*pictures] * 6
    assert taken <= 30 + 5 * 3
    results.close()


@pytest.mark.slow
def test_a_run_without_validation_images_is_not_calibrated(tmp_path, data_name):
    model = load_run(train_run(tmp_path / "run", data_name, epochs=1, val_fraction=0.0), device="cpu")
    assert (model.temperature, model.is_calibrated) == (1, False)
    assert model.calibration == "not calibrated: the run held out no validation images"


@pytest.mark.parametrize(("limit", "reason"), [(0.0, "all 8 .* correctly"), (math.inf, "no better than chance on 8")])
def test_validation_images_that_fit_no_temperature_leave_the_probabilities(finished, monkeypatch, limit, reason):
    monkeypatch.setattr("smix.lab.trained_model.fit_temperature", lambda logits, labels: limit)
    model = load_run(finished, device="cpu")
    assert (model.temperature, model.is_calibrated) == (1, False)
    assert model.calibration.startswith("not calibrated: ")
    assert re.search(reason, model.calibration)


@pytest.mark.slow
def test_pictures_become_grey_for_a_network_of_one_channel(tmp_path, pictures):
    grey = [replace(data, images=data.array[..., :1], fingerprint="") for data in sets()]
    model = load_run(train_run(tmp_path / "run", write_sets(tmp_path, *grey), epochs=1), device="cpu")
    np.testing.assert_allclose(model.predict(grey[1].array), stored(tmp_path / "run", model.temperature), atol=CLOSE)
    expected = np.array(Image.open(pictures[0]).convert("L"))[..., None]
    assert torch.equal(model.read(pictures[0]), torch.from_numpy(expected))
    assert "28 x 36 pixels, 1 channel;" in repr(model)


@pytest.mark.slow
def test_signals_are_predicted_from_arrays_of_their_own_size(tmp_path, pictures):
    signals = [replace(data, images=data.array[:, 0], masks=None, fingerprint="") for data in sets()]
    model = load_run(train_run(tmp_path / "run", write_sets(tmp_path, *signals), epochs=1), device="cpu")
    images = signals[1].array
    np.testing.assert_allclose(model.predict(images), stored(tmp_path / "run", model.temperature), atol=CLOSE)
    with pytest.raises(DataError, match="expected size 36, got 20; only images of 2 dimensions are resized"):
        model.predict(images[:, :20])
    with pytest.raises(DataError, match=r"0.png: expected arrays of shape \(L, 3\), got an image; pass arrays"):
        model.predict(pictures)
    check = export(tmp_path / "run", "onnx", tmp_path / "export").check
    assert check.difference <= TOLERANCE


def test_the_representation_says_what_it_is_and_what_to_do_next(model, finished):
    lines = repr(model).splitlines()
    assert lines[0] == f"TrainedModel({str(finished)!r})"
    assert len(lines) <= 12
    assert "28 x 36" in repr(model)
    assert ".predict(images)" in lines[-1]


def test_the_weights_of_a_run_stand_for_the_run(model, finished, pictures):
    same = load_run(finished / "weights.safetensors", device="cpu")
    np.testing.assert_array_equal(same.predict(pictures), model.predict(pictures))


def test_weights_of_another_number_of_classes_are_refused(finished, tmp_path):
    three = [replace(data, labels=data.labels % 3, classes=data.classes[:3], fingerprint="") for data in sets()]
    config = smix.EvaluateConfig(model="resnet8", data=write_sets(tmp_path, *three))
    weights = shutil.copy(finished / "weights.safetensors", tmp_path / "model.safetensors")
    message = r"expected weights for 3 classes, as npz:.* has, got 6; choose the --data that they belong to$"
    with pytest.raises(OptionError, match=message):
        load_run(weights, device="cpu", config=config)


def test_a_temperature_fitted_on_few_images_says_so(model, monkeypatch):
    few = "validation images (temperature {:.3g}); fewer than 100 fit a temperature only roughly"
    assert model.calibration.endswith(few.format(model.temperature))
    monkeypatch.setattr("smix.lab.trained_model.FEW", 8)
    assert "only roughly" not in load_run(model.classifier.path, device="cpu").calibration


def test_runs_that_cannot_be_used_are_refused(tmp_path, finished, data_name, monkeypatch):
    with pytest.raises(RunError, match="expected a run or a weights file, got none"):
        load_run(tmp_path / "none")
    damaged = Path(shutil.copytree(finished, tmp_path / "damaged"))
    (damaged / "weights.safetensors").write_bytes(b"none")
    with pytest.raises(RunError, match=r"weights.safetensors: expected the file listed in result.json"):
        load_run(damaged, device="cpu")
    weights = tmp_path / "model.safetensors"
    shutil.copy(finished / "weights.safetensors", weights)
    with pytest.raises(OptionError, match="--model and --data must be given with a weights file"):
        load_run(weights, device="cpu")
    stop_after(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train_run(tmp_path / "unfinished", data_name)
    with pytest.raises(RunError, match="expected a finished run, got 0 of 3 epochs"):
        load_run(tmp_path / "unfinished", device="cpu")


def test_the_most_probable_classes_come_first(model, pictures):
    rows = list(predictions(model, pictures, top=3))
    probabilities = model.predict(pictures)
    for row, own in zip(rows, probabilities, strict=True):
        order = np.argsort(-own, kind="stable")[:3]
        assert [label for label, _ in row.top] == [model.classes[place] for place in order]
        assert [probability for _, probability in row.top] == pytest.approx(own[order], abs=CLOSE)
    assert len(next(predictions(model, pictures, top=99)).top) == len(model.classes)
    with pytest.raises(OptionError, match="top: expected 1 or more, got 0"):
        next(predictions(model, pictures, top=0))
    with pytest.raises(OptionError, match="batch_size: expected 1 or more, got 0"):
        next(predictions(model, pictures, batch_size=0))


def test_rows_are_written_when_they_are_known(tmp_path):
    rows = iter([Prediction("a,b.png", (("cat", 0.75), ("dog", 0.25))), Prediction("c.png", error="broken")])
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        written = write_predictions(rows, file, 2)
        next(written)
        file.flush()
        first = (tmp_path / "rows.csv").read_text()
        assert list(written) == [Prediction("c.png", error="broken")]
    assert first == 'path,label,probability,label_2,probability_2,error\n"a,b.png",cat,0.75,dog,0.25,\n'
    assert (tmp_path / "rows.csv").read_text() == first + "c.png,,,,,broken\n"


def test_the_summary_counts_and_names_unreadable_pictures():
    broken = [Prediction(f"{place}.png", error=f"{place}.png: broken") for place in range(12)]
    summary = summarise([Prediction("good.png", (("cat", 1.0),)), *broken], lambda done, text="": None, "here")
    assert (summary.pictures, summary.unreadable, len(summary.named)) == (13, 12, 10)
    assert str(summary).startswith("13 images in 0.0 s, ")
    assert str(summary).endswith("; 12 could not be read")
    with pytest.raises(
        DataError, match=r"here: expected readable images, got 12 that cannot be read; the first: 0.png"
    ):
        check_readable(summarise(broken, lambda done, text="": None, "here"), "here")
    with pytest.raises(DataError, match=r"here: expected images .*, got none"):
        summarise([], lambda done, text="": None, "here")


def test_paths_are_read_from_lines_and_folders(tmp_path, pictures):
    lines = [f"{pictures[0]}\n", "\n", f"{tmp_path}\r\n", "missing.png"]
    assert list(iterate_pictures(["-"], lines)) == [pictures[0], *pictures, Path("missing.png")]
    assert list(iterate_pictures([str(pictures[3]), str(tmp_path)], [])) == [pictures[3], *pictures]
