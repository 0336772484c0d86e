"""Segmentation networks as ONNX files, run by onnxruntime. FILE.json next to FILE.onnx describes how images are prepared:

{
  "input_size": [257, 257],
  "mean": [127.5, 127.5, 127.5], "std": [127.5, 127.5, 127.5],    RGB, for values in [0, 255]
  "output": "class_scores",                                       logits, read by arg-max; or "object_logit": by sigmoid
  "background": 0,                                                index of the background class
  "any_size": true,                                               the network accepts images of other sizes
  "classes": ["background", "aeroplane", ...]                     names of the classes, optional
}
"""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smix.data.optional import import_optional
from smix.errors import MaskError
from smix.files import sha256
from smix.masks.sources.network import Network, NetworkCard
from smix.untrusted import UnreadableError, one_line, read_json, typed


class OnnxCard(NetworkCard, frozen=True, kw_only=True):
    """The content of FILE.json next to FILE.onnx. Keys that are not listed are ignored."""

    output: Literal["class_scores", "object_logit"]
    any_size: bool = False
    channels: Literal["RGB"] = "RGB"


def onnx_network(path: Path, device: torch.device) -> Network:
    """Load the network in an ONNX file, described by the JSON file next to it.

    Args:
        path: The ONNX file.
        device: Device of the network.

    Raises:
        MaskError: onnxruntime is not installed, a file is missing or damaged, or the JSON is incomplete.
    """
    onnxruntime = import_optional("onnxruntime", "onnx", MaskError)
    card_file = path.with_suffix(".json")
    for file in (path, card_file):
        if not file.is_file():
            raise MaskError(
                f"onnx: {file} is missing; put {path.name} and its description {card_file.name} into the same folder (docs/masks.md)"
            )
    try:
        card: OnnxCard = typed(read_json(card_file), OnnxCard)
    except UnreadableError as error:
        raise MaskError(
            f"{card_file}: expected JSON with input_size, mean, std and output, got {error}; correct the file (docs/masks.md)"
        ) from None
    on_gpu = device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    providers = [*(["CUDAExecutionProvider"] if on_gpu else []), "CPUExecutionProvider"]
    options = onnxruntime.SessionOptions()
    # Otherwise its threads keep spinning for a while after each call, on the cores that torch needs next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's own exceptions share no base but Exception
        raise MaskError(
            f"{path}: the ONNX network cannot be loaded ({one_line(error)}); copy or export it again"
        ) from None
    input_name = session.get_inputs()[0].name

    def forward(images: Float[Tensor, "B 3 h w"]) -> Tensor:
        try:
            scores = session.run(None, {input_name: images.numpy()})[0]
        except Exception as error:
            raise MaskError(
                f"{path}: the network does not accept images of {images.shape[2]}x{images.shape[3]} pixels "
                f"({one_line(error)}); correct {card_file.name} or --input-size"
            ) from None
        return torch.from_numpy(np.asarray(scores))

    return Network(f"onnx:{path.name}", sha256(path), forward, card)
