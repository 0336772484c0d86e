"""Segmentation networks as ONNX files, run by onnxruntime. FILE.json beside FILE.onnx says how to feed the network:

{
  "input_size": [257, 257],
  "mean": [127.5, 127.5, 127.5], "std": [127.5, 127.5, 127.5],    RGB, on the 0..255 scale
  "output": "class_scores",                                       logits, arg-max; or "object_logit": sigmoid
  "background": 0,                                                the class that is no object
  "any_size": true                                                may be fed images of another size
}
"""

import json
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smix.errors import MaskError
from smix.files import sha256
from smix.masks.sources.network import NetworkSource, parse_input_size


def onnx_source(path: Path, input_size: str | None) -> NetworkSource:
    """The network in an ONNX file with its JSON.

    Raises:
        MaskError: no onnxruntime, a missing or broken file, or a JSON that does not say what is needed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MaskError("onnx: expected the package onnxruntime, got none; install smix[onnx]") from None
    beside = path.with_suffix(".json")
    for file in (path, beside):
        if not file.is_file():
            raise MaskError(f"onnx: expected a network {path} and how to feed it in {beside.name}, got no {file}")
    try:
        facts = json.loads(beside.read_text())
        own = (int(facts["input_size"][0]), int(facts["input_size"][1]))
        mean, std = (tuple(float(number) for number in facts[key]) for key in ("mean", "std"))
        output, background = facts["output"], int(facts.get("background", 0))
        if min(*own, background + 1) < 1 or not min(std) > 0:
            raise ValueError("a size, std or background that is out of range")
        if facts.get("channels", "RGB") != "RGB":
            raise ValueError(f"channels {facts['channels']} instead of RGB")
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise MaskError(
            f"{beside}: expected input_size, mean, std and output as JSON, got {type(error).__name__}: {error}"
        ) from None
    if output not in ("class_scores", "object_logit") or len(mean) != 3 or len(std) != 3:
        raise MaskError(
            f'{beside}: expected output "class_scores" or "object_logit" and 3 numbers as mean and std, got "{output}", {mean}, {std}'
        )
    size = parse_input_size(input_size, own)
    if size != own and not facts.get("any_size", False):
        raise MaskError(
            f"{path}: expected input size {own[0]}x{own[1]} ({beside.name} allows no other), got {input_size}; "
            "leave --input-size out"
        )
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no base but Exception
        reason = " ".join(str(error).split())[:120]
        raise MaskError(f"{path}: expected an ONNX network, got {reason}; copy or export it again") from None
    feed = session.get_inputs()[0].name

    def forward(images: Float[Tensor, "B 3 h w"]) -> Tensor:
        try:
            scores = session.run(None, {feed: images.numpy()})[0]
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise MaskError(
                f"{path}: expected a network that takes images of {tuple(images.shape)}, got {reason}; "
                f"correct {beside.name} or --input-size"
            ) from None
        return torch.from_numpy(np.asarray(scores))

    return NetworkSource(f"onnx:{path.name}", sha256(path), forward, size, mean, std, output, background)
