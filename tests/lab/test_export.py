"""Test exports: files that ONNX Runtime, torch.export, timm and transformers load, with the probabilities of the run."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image

from smix import load_data, load_run
from smix.data.streaming import ENLARGEMENT
from smix.errors import FailedError, OptionError, RunError
from smix.evaluation.calibration import calibration
from smix.lab import export as module
from smix.lab.export import TOLERANCE, export
from smix.lab.export_formats import crop_fraction
from smix.lab.trained_model import TrainedModel
from smix.training.predictions import read_predictions
from tests.lab.trained import CLASSES, SIZE, TEST, train_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def timm_run(data_name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run of a model of timm that is made for one size of images."""
    return train_run(tmp_path_factory.mktemp("timm") / "run", data_name, model="timm:test_resnet", epochs=1)


@pytest.fixture(scope="session")
def images(data_name: str) -> NDArray[np.uint8]:
    """Return the test images."""
    return load_data(data_name, split="test").array


def onnx(folder: Path, images: NDArray) -> NDArray:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(folder / "model.onnx"))
    return session.run(None, {"images": images.transpose(0, 3, 1, 2)})[0]


def torch_export(folder: Path, images: NDArray) -> NDArray:
    network = torch.export.load(folder / "model.pt2").module()
    return network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()


def with_timm(folder: Path, images: NDArray) -> NDArray:
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    with torch.inference_mode():
        return network(torch.stack([transform(Image.fromarray(image)) for image in images])).softmax(1).numpy()


def with_transformers(folder: Path, images: NDArray) -> NDArray:
    transformers = pytest.importorskip("transformers")
    processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    network = transformers.AutoModelForImageClassification.from_pretrained(folder, local_files_only=True).eval()
    assert network.config.id2label == {place: f"class {place}" for place in range(CLASSES)}
    with torch.inference_mode():
        return network(**processor([Image.fromarray(image) for image in images])).logits.softmax(1).numpy()


@pytest.mark.parametrize(
    ("to", "load", "files"),
    [
        ("onnx", onnx, ["README.md", "config.json", "model.onnx"]),
        ("torch-export", torch_export, ["README.md", "config.json", "model.pt2"]),
        ("timm", with_timm, ["README.md", "config.json", "model.safetensors"]),
        ("hf", with_transformers, ["README.md", "config.json", "model.safetensors"]),
    ],
)
def test_an_export_has_the_probabilities_of_the_run(timm_run, images, tmp_path, to, load, files):
    model = load_run(timm_run, device="cpu")
    assert abs(model.temperature - 1) > 0.01
    result = export(timm_run, to, tmp_path / "new" / "export")
    assert result.check.difference <= TOLERANCE
    assert (result.check.images, result.check.where) == (TEST, "images of the test split")
    assert sorted(path.name for path in result.out.iterdir()) == files
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    for count in (1, 5, TEST):  # any number of images, not that of the check alone
        with torch.random.fork_rng(devices=[]):  # timm draws initial weights
            got = load(result.out, images[:count])
        np.testing.assert_allclose(got, model.predict(images[:count]), atol=TOLERANCE)
    config = json.loads((result.out / "config.json").read_text())
    assert config["labels" if "labels" in config else "label_names"] == list(model.classes)
    assert "license" not in (result.out / "config.json").read_text()


@pytest.mark.parametrize(("to", "load"), [("onnx", onnx), ("torch-export", torch_export)])
def test_a_network_of_smix_is_exported_as_a_graph(finished, images, tmp_path, to, load):
    model = load_run(finished, device="cpu")
    out = export(finished, to, tmp_path / "export").out
    np.testing.assert_allclose(load(out, images), model.predict(images), atol=TOLERANCE)
    config = json.loads((out / "config.json").read_text())
    assert config["labels"] == list(model.classes)
    assert config["input"] == {"name": "images", "type": "uint8", "shape": ["N", 3, *SIZE], "range": [0, 255]}
    assert config["inside"]["temperature"] == model.temperature
    assert config["preprocessing"]["resize"]["cover"] == config["preprocessing"]["centre_crop"] == list(SIZE)


@pytest.mark.parametrize("to", ["timm", "hf"])
def test_other_models_are_refused_for_timm(finished, tmp_path, to):
    message = rf"to: expected a timm model \(timm:NAME\) for {to}, got resnet8; choose onnx or torch-export"
    with pytest.raises(OptionError, match=message):
        export(finished, to, tmp_path / "export")
    assert list(tmp_path.iterdir()) == []


def test_a_described_resize_is_that_of_the_run(files):
    name, run = files
    model = load_run(run, device="cpu")
    assert model.enlargement == ENLARGEMENT
    side = model.classifier.size[0]
    transform = timm.data.create_transform(
        (3, side, side), crop_pct=crop_fraction(model), interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1)
    )
    pixels = load_data(name, split="test").images[0]
    with_pillow = 255 * transform(Image.fromarray(pixels))
    own = model.read(pixels).movedim(-1, 0)
    assert (with_pillow - own).abs().max() <= 2


def test_the_model_card_tells_what_is_known(timm_run, tmp_path):
    model = load_run(timm_run, device="cpu")
    out = export(timm_run, "onnx", tmp_path / "export").out
    _, head, text = (out / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(head)["pipeline_tag"] == "image-classification"
    assert "license" not in head
    assert "Not stated. Choose one before you publish this model" in text
    logits, labels = read_predictions(model.run, "predictions.npz")
    correct = int((logits.argmax(1) == labels).sum())
    assert f"Test accuracy: {100 * correct / TEST:.2f} % of {TEST} images" in text
    low, high = map(float, re.search(r"95 % interval ([\d.]+) to ([\d.]+) %", text).groups())
    assert 0 <= low < 100 * correct / TEST < high <= 100
    after = calibration(logits, labels, temperature=model.temperature).ece
    assert f"Expected calibration error on the test images: {100 * after:.2f} %" in text
    assert "| mixing method | vanilla |" in text
    assert "`npz:made.npz`" in text
    assert str(Path(model.run.config.data.removeprefix("npz:")).parent) not in text


@pytest.mark.parametrize("to", ["onnx", "torch-export", "timm", "hf"])
def test_the_code_of_the_model_card_runs(timm_run, images, tmp_path, monkeypatch, to):
    out = export(timm_run, to, tmp_path / "export").out
    Image.fromarray(images[0]).save(out / "picture.jpg")
    code = re.search(r"```python\n(.+?)```", (out / "README.md").read_text(), re.DOTALL)[1]
    monkeypatch.chdir(out)
    names: dict[str, object] = {}
    with torch.random.fork_rng(devices=[]):
        exec(code, names)
    assert tuple(names["probabilities"].shape) == (1, CLASSES)


def test_random_images_stand_in_for_a_missing_test_split(tmp_path, data_name):
    data = tmp_path / "data.npz"
    data.write_bytes(Path(data_name.removeprefix("npz:")).read_bytes())
    run = train_run(tmp_path / "run", f"npz:{data}", epochs=1)
    data.unlink()
    result = export(run, "onnx", tmp_path / "export")
    assert result.check.where.startswith("random images, since the test split could not be read (")
    assert result.check.difference <= TOLERANCE
    assert "random images, since the test split could not be read" in (result.out / "README.md").read_text()


def test_an_export_that_differs_is_not_written(finished, tmp_path, monkeypatch):
    probabilities = TrainedModel.probabilities
    monkeypatch.setattr(TrainedModel, "probabilities", lambda self, images: probabilities(self, 255 - images))
    with pytest.raises(
        FailedError, match=r"differ by at most 0.0001 from those of the run, got 0\.\d+; nothing was written"
    ):
        export(finished, "onnx", tmp_path / "new" / "export")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_of_the_exporter_is_one_line(finished, tmp_path, monkeypatch):
    def fail(*arguments: object) -> None:
        raise RuntimeError("no such\noperator")

    monkeypatch.setitem(module.FORMATS, "onnx", fail)
    with pytest.raises(
        FailedError, match=r"resnet8 cannot be exported to onnx \(RuntimeError: no such operator\)"
    ) as error:
        export(finished, "onnx", tmp_path / "export")
    assert error.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_only_a_new_or_empty_folder_is_written(finished, tmp_path):
    (tmp_path / "export").mkdir()
    export(finished, "onnx", tmp_path / "export")
    with pytest.raises(OptionError, match="export: expected a new folder, got one that exists"):
        export(finished, "onnx", tmp_path / "export")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OptionError, match="file: expected a new folder, got one that exists"):
        export(finished, "onnx", tmp_path / "file")
    with pytest.raises(OptionError, match="file: expected a folder, got a file"):
        export(finished, "onnx", tmp_path / "file" / "export")
    with pytest.raises(OptionError, match=r'to: expected a known name, got "onx"; did you mean "onnx"'):
        export(finished, "onx", tmp_path / "other")
    with pytest.raises(RunError, match="expected the folder of a finished run, got a file"):
        export(finished / "weights.safetensors", "onnx", tmp_path / "other")


def test_the_current_folder_is_written(smix, finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, text, err = smix("export", finished, "--to", "onnx", "--out", ".")
    assert (code, err) == (0, "")
    assert text.endswith("Written: . (README.md, config.json, model.onnx)\n")
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["README.md", "config.json", "model.onnx"]
    code, _, err = smix("export", finished, "--to", "onnx", "--out", ".")
    assert code == 2
    assert err.startswith("smix: .: expected a new folder, got one that exists")


def test_an_empty_folder_stays_empty_if_the_export_fails(finished, tmp_path, monkeypatch):
    def fail(*arguments: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setitem(module.FORMATS, "onnx", fail)
    with pytest.raises(FailedError):
        export(finished, "onnx", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("to", "load"), [("onnx", onnx), ("torch-export", torch_export)])
def test_a_run_with_one_test_image_is_exported(data_name, images, tmp_path, to, load):
    run = train_run(tmp_path / "run", data_name, epochs=1, test_limit=1)
    result = export(run, to, tmp_path / "export")
    assert result.check.images == 1
    assert str(result.check).endswith(", on 1 image of the test split")
    model = load_run(run, device="cpu")
    for count in (1, 3):
        np.testing.assert_allclose(load(result.out, images[:count]), model.predict(images[:count]), atol=TOLERANCE)


def test_the_command_says_what_was_checked_and_written(smix, finished, tmp_path):
    out = tmp_path / "export"
    code, text, err = smix("export", finished, "--to", "onnx", "--out", out)
    assert (code, err) == (0, "")
    assert text.startswith("Checked: largest difference of a probability from the run ")
    assert text.endswith(f"Written: {out} (README.md, config.json, model.onnx)\n")
    code, _, err = smix("export", tmp_path / "none", "--to", "onnx", "--out", tmp_path / "other")
    assert code == 2
    assert err.startswith(f"smix: {tmp_path / 'none'}: expected a run or a weights file, got none")
    assert err.count("\n") == 1
