"""The README.md of an export: how to use it, and what is known about the run."""

import json
from dataclasses import dataclass
from pathlib import Path

from smix.evaluation.accuracy import accuracy
from smix.evaluation.calibration import calibration
from smix.lab.trained_model import TrainedModel
from smix.training.predictions import read_predictions
from smix.training.records import Run

NAMED = 50
"""Number of classes that are listed; config.json has all."""
LIBRARIES = {"onnx": "onnx", "torch-export": "pytorch", "timm": "timm", "hf": "transformers"}
USE = {
    "onnx": """import numpy as np, onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
images = np.zeros({shape}, np.uint8)  # values 0 to 255, preprocessed as below
probabilities = session.run(["probabilities"], {{"images": images}})[0]  # (1, {classes})""",
    "torch-export": """import torch

network = torch.export.load("model.pt2").module()
images = torch.zeros({shape}, dtype=torch.uint8)  # values 0 to 255, preprocessed as below
probabilities = network(images)  # (1, {classes})""",
    "timm": """import timm, torch
from PIL import Image, ImageOps

network = timm.create_model("local-dir:.", pretrained=True).eval()  # the path of this folder
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
picture = ImageOps.exif_transpose(Image.open("picture.jpg")).convert({mode!r})
with torch.inference_mode():
    probabilities = network(transform(picture)[None]).softmax(1)  # (1, {classes})""",
    "hf": """import torch
from PIL import Image, ImageOps
from transformers import AutoImageProcessor, AutoModelForImageClassification

processor = AutoImageProcessor.from_pretrained(".")  # the path of this folder
network = AutoModelForImageClassification.from_pretrained(".").eval()
picture = ImageOps.exif_transpose(Image.open("picture.jpg")).convert({mode!r})
with torch.inference_mode():
    probabilities = network(**processor(picture)).logits.softmax(1)  # (1, {classes})""",
}


@dataclass(frozen=True)
class Check:
    """Comparison of an export with the run."""

    difference: float
    """Largest absolute difference of a probability."""
    images: int
    where: str
    """Description of the images."""

    def __str__(self) -> str:
        where = self.where.replace("images", "image", 1) if self.images == 1 else self.where
        return f"largest difference of a probability from the run {self.difference:.1g}, on {self.images} {where}"


def model_card(model: TrainedModel, to: str, check: Check) -> str:
    """Return the model card of an export in Markdown.

    Args:
        model: The exported network.
        to: Format: onnx, torch-export, timm or hf.
        check: Comparison of the export with the run.

    Raises:
        RunError: The predictions of the run are damaged.
    """
    assert model.run is not None
    run, classifier = model.run, model.classifier
    channels = len(classifier.normalise.mean)
    values = {
        "shape": (1, channels, *classifier.size),
        "classes": len(model.classes),
        "mode": "L" if channels == 1 else "RGB",
    }
    data = run.provenance["data"]
    names = ", ".join(f"`{name.replace('`', '')}`" for name in model.classes[:NAMED])
    more = f" and {len(model.classes) - NAMED:,} more (config.json)" if len(model.classes) > NAMED else ""
    parts = [
        "---",
        f"library_name: {LIBRARIES[to]}",
        "pipeline_tag: image-classification",
        "tags:\n- image-classification\n- smix",
        "---",
        f"# {classifier.architecture}: {len(model.classes)} classes\n",
        f"Image classifier, trained with smix {run.provenance['versions']['smix']}.\n",
        f"Classes: {names}{more}.\n",
        f"## Use\n\n```python\n{USE[to].format(**values)}\n```\n",
        _preprocessing(model, to),
        f"## Data\n\n{_shown(run.config.data)}: {data['images']['training']:,} training images, "
        f"{_validation(run)}, {data['images']['test']:,} test images.\n",
        f"## Training\n\n{_training(run)}\n",
        f"## Results\n\n{_results(model, run)}\n",
        f"## Check\n\nBefore this folder was written, its files were loaded again: {check}.\n",
        "## Licence\n\nNot stated. Choose one before you publish this model, and mind the licences of the training images and of the "
        "initial weights.",
    ]
    return "\n".join(parts) + "\n"


def _preprocessing(model: TrainedModel, to: str) -> str:
    size = " x ".join(map(str, model.classifier.size))
    if len(model.classifier.size) != 2:
        return f"## Preprocessing\n\nThe input has the size {size}; nothing is resized.\n"
    resized = " x ".join(str(round(side * model.classifier.larger)) for side in model.classifier.size)
    skipped = f" Images of {size} pixels are not resized." if model.enlargement == 1 else ""
    inside = (
        "The normalisation and the calibrated softmax are inside the graph."
        if to in ("onnx", "torch-export")
        else "config.json describes this for the library, which resizes with Pillow: pixels may differ by rounding. The logits are "
        "already divided by the temperature, so that their softmax is calibrated."
    )
    return (
        f"## Preprocessing\n\nRotate the image as its EXIF orientation says. Resize it, bilinear with antialiasing, so that it "
        f"just covers {resized} pixels and keeps its aspect ratio; crop the centre of {size}.{skipped} {inside}\n"
    )


def _shown(data: str) -> str:
    """Return the name of a data set without its folders, which are private."""
    kind, colon, place = data.partition(":")
    return f"`{kind}:{Path(place).name}`" if colon and kind != "hf" else f"`{data}`"


def _validation(run: Run) -> str:
    held_out = run.provenance["data"]["validated_on"] == "validation images"
    return (
        f"{run.provenance['data']['images']['validation']:,} validation images" if held_out else "no validation images"
    )


def _training(run: Run) -> str:
    config = run.config
    initial = {None: "random", "pretrained": "timm's"}.get(config.init_weights, "a file")
    options = {
        "mixing method": config.method,
        "epochs": config.epochs,
        "batch size": config.batch_size,
        "learning rate": config.lr,
        "schedule": config.schedule,
        "initial weights": initial,
        "seed": config.seed,
    }
    rows = "\n".join(
        f"| {name} | {json.dumps(value) if not isinstance(value, str) else value} |" for name, value in options.items()
    )
    return f"| | |\n| --- | --- |\n{rows}\n"


def _results(model: TrainedModel, run: Run) -> str:
    from scipy.stats import binomtest

    logits, labels = read_predictions(run, "predictions.npz")
    correct = round(accuracy(logits, labels) * len(labels))
    low, high = binomtest(correct, len(labels)).proportion_ci(method="wilson")
    before = calibration(logits, labels).ece
    lines = [
        f"Test accuracy: {100 * correct / len(labels):.2f} % of {len(labels):,} images (95 % interval {100 * low:.2f} to "
        f"{100 * high:.2f} %, Wilson, over test images: another seed may differ by more).\n",
        f"Calibration: {model.calibration}. ",
    ]
    if model.is_calibrated:
        after = calibration(logits, labels, temperature=model.temperature).ece
        lines[-1] += (
            f"Expected calibration error on the test images: {100 * after:.2f} %, without temperature {100 * before:.2f} %."
        )
    else:
        lines[-1] += f"Expected calibration error on the test images: {100 * before:.2f} %."
    return "\n".join(lines)
