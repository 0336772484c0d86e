"""Formats of exports. Each function writes a network into a folder, reads it back with the library that will use it, and returns the
calibrated probabilities that the library computes."""

import contextlib
import copy
import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor, nn

from smix import files
from smix.data.optional import import_optional
from smix.errors import OptionError
from smix.lab.trained_model import TrainedModel
from smix.version import __version__

OPSET = 17
"""Version of the ONNX operators: supported by ONNX Runtime from 1.12, 2022."""
FOREIGN = ("license", "origin_url", "paper_ids", "paper_name", "notes", "tag", "hf_hub_id", "url")
"""Keys of timm's configuration that describe timm's own weights."""
EXTRAS = {
    "onnx": {"onnx": "onnx", "onnxruntime": "onnx"},
    "timm": {"timm": "timm"},
    "hf": {"transformers": "transformers", "timm": "timm"},
}
"""For each format: its packages, and the extras that install them."""


class ImagesToProbabilities(nn.Module):
    """A network preceded by its normalisation and followed by its calibrated softmax."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        self.model = _copied(model)
        self.temperature = model.temperature
        normalise = model.classifier.normalise
        for name, values in (("mean", normalise.mean), ("std", normalise.std)):
            shaped = (torch.tensor(values) * 255).view(1, -1, *[1] * len(model.classifier.size))
            self.register_buffer(name, shaped, persistent=False)

    # Without jaxtyping's shapes: checking them would fix the number of images in the exported graph.
    def forward(self, images: Tensor) -> Tensor:
        """Return the probabilities (B, K) of images (B, C, *S) with values in [0, 255], uint8 or float."""
        return torch.softmax(self.model((images.float() - self.mean) / self.std) / self.temperature, 1)


def check_format(to: str, model: TrainedModel) -> None:
    """Raise OptionError if a package of the format is missing, or the format does not support the network."""
    architecture = model.classifier.architecture
    if to in ("timm", "hf") and not architecture.startswith("timm:"):
        raise OptionError(
            f"to: expected a timm model (timm:NAME) for {to}, got {architecture}; choose onnx or torch-export"
        )
    for package, extra in EXTRAS.get(to, {}).items():
        import_optional(package, extra, OptionError)


def write_onnx(model: TrainedModel, folder: Path, images: UInt8[Tensor, "n C *S"]) -> NDArray[np.float32]:
    """Write model.onnx and config.json, and run them with ONNX Runtime."""
    runtime = import_optional("onnxruntime", "onnx", OptionError)
    path = folder / "model.onnx"
    # The TorchScript exporter: the other one needs onnxscript, and gives the same probabilities.
    torch.onnx.export(
        ImagesToProbabilities(model).eval(),
        (_example(images),),
        str(path),
        dynamo=False,
        opset_version=OPSET,
        input_names=["images"],
        output_names=["probabilities"],
        dynamic_axes={"images": {0: "N"}, "probabilities": {0: "N"}},
    )
    files.write_json(folder / "config.json", graph_config(model, path.name))
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    result: NDArray[np.float32] = session.run(["probabilities"], {"images": images.numpy()})[0]
    return result


def write_torch_export(model: TrainedModel, folder: Path, images: UInt8[Tensor, "n C *S"]) -> NDArray[np.float32]:
    """Write model.pt2 and config.json, and run them with torch.export."""
    path = folder / "model.pt2"
    batch = torch.export.Dim("N")
    program = torch.export.export(
        ImagesToProbabilities(model).eval(), (_example(images),), dynamic_shapes=({0: batch},)
    )
    torch.export.save(program, path)
    files.write_json(folder / "config.json", graph_config(model, path.name))
    with torch.inference_mode():
        result: NDArray[np.float32] = torch.export.load(path).module()(images).numpy()
    return result


def _example(images: UInt8[Tensor, "n C *S"]) -> UInt8[Tensor, "2 C *S"]:
    """Return two images, of one twice: torch.export takes an axis of length 1 for a constant."""
    return torch.cat([images[:1], images[-1:]])


def write_timm(model: TrainedModel, folder: Path, images: UInt8[Tensor, "n C *S"]) -> NDArray[np.float32]:
    """Write model.safetensors and config.json, and load them with timm.create_model."""
    import timm

    _save_for_timm(model, folder, {})
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    with torch.inference_mode():
        result: NDArray[np.float32] = network(_normalised(model, images)).softmax(1).numpy()
    return result


def write_hf(model: TrainedModel, folder: Path, images: UInt8[Tensor, "n C *S"]) -> NDArray[np.float32]:
    """Write model.safetensors and config.json, and load them with transformers."""
    transformers = import_optional("transformers", "transformers", OptionError)
    _save_for_timm(
        model, folder, {"model_type": "timm_wrapper", "architectures": ["TimmWrapperForImageClassification"]}
    )
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # a progress bar
            transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            network = transformers.AutoModelForImageClassification.from_pretrained(folder, local_files_only=True).eval()
    finally:
        transformers.logging.set_verbosity(verbosity)
    with torch.inference_mode():
        result: NDArray[np.float32] = network(_normalised(model, images)).logits.softmax(1).numpy()
    return result


FORMATS: dict[str, Callable[[TrainedModel, Path, Tensor], NDArray[np.float32]]] = {
    "onnx": write_onnx,
    "torch-export": write_torch_export,
    "timm": write_timm,
    "hf": write_hf,
}


def graph_config(model: TrainedModel, file: str) -> dict[str, Any]:
    """Return the config.json of a graph: labels, input, output, and the preprocessing that is not in the graph."""
    classifier = model.classifier
    size, channels = list(classifier.size), len(classifier.normalise.mean)
    return {
        "file": file,
        "model": classifier.architecture,
        "labels": list(model.classes),
        "input": {"name": "images", "type": "uint8", "shape": ["N", channels, *size], "range": [0, 255]},
        "output": {"name": "probabilities", "type": "float32", "shape": ["N", len(model.classes)]},
        "inside": {
            "mean": list(classifier.normalise.mean),
            "std": list(classifier.normalise.std),
            "temperature": model.temperature,
            "calibration": model.calibration,
        },
        "preprocessing": preprocessing(model),
        "smix": __version__,
    }


def preprocessing(model: TrainedModel) -> dict[str, Any]:
    """Return the preprocessing of an image before the normalisation."""
    size = list(model.classifier.size)
    if len(size) != 2:
        return {"size": size, "resize": None}
    resize = [round(side * model.classifier.larger) for side in size]
    return {
        "orientation": "upright (EXIF)",
        "channels": {1: "grey", 3: "RGB"}.get(len(model.classifier.normalise.mean), "as in the data set"),
        "resize": {"cover": resize, "interpolation": "bilinear", "antialias": True, "keep_aspect": True},
        "centre_crop": size,
        "skip_if_already_of_this_size": model.enlargement == 1,
    }


def crop_fraction(model: TrainedModel) -> float:
    """Return timm's crop_pct: timm resizes to floor(side / crop_pct), as `preprocessing` does."""
    side = model.classifier.size[0]
    resized = round(side * model.enlargement)
    exact = side / resized
    return exact if math.floor(side / exact) == resized else side / (resized + 1e-3)


def _save_for_timm(model: TrainedModel, folder: Path, keys: Mapping[str, Any]) -> None:
    """Write a network of timm with the temperature in its last layer, so that the softmax of its logits is calibrated."""
    from timm.models import save_for_hf

    network = _copied(model)
    with torch.no_grad():
        for parameter in network.get_classifier().parameters():  # type: ignore[operator]
            parameter /= model.temperature
    classifier = model.classifier
    data_config = {
        "input_size": (len(classifier.normalise.mean), *classifier.size),
        "mean": classifier.normalise.mean,
        "std": classifier.normalise.std,
        "interpolation": "bilinear",
        "crop_pct": crop_fraction(model),
        "crop_mode": "center",
    }
    names = {"label_names": list(model.classes)}
    save_for_hf(network, str(folder), model_config=names, safe_serialization=True, data_config=data_config)
    config = json.loads((folder / "config.json").read_text())
    config.get("model_args", {}).pop("num_classes", None)  # transformers passes it, too
    for name in FOREIGN:
        config["pretrained_cfg"].pop(name, None)
    files.write_json(folder / "config.json", {**config, **keys})


def _copied(model: TrainedModel) -> nn.Module:
    """Return a copy of the network for inference, with weights that are contiguous, as safetensors requires."""
    return copy.deepcopy(model.classifier.model).eval().requires_grad_(False).to(memory_format=torch.contiguous_format)


def _normalised(model: TrainedModel, images: UInt8[Tensor, "n C *S"]) -> Float[Tensor, "n C *S"]:
    normalise = model.classifier.normalise
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (normalise.mean, normalise.std))
    return (images.float() / 255 - mean) / std
