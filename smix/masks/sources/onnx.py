"""Segmentation networks as ONNX files, run by onnxruntime. FILE.json beside FILE.onnx says how to feed the network:

{
  "input_size": [257, 257],
  "mean": [127.5, 127.5, 127.5], "std": [127.5, 127.5, 127.5],    RGB, on the 0..255 scale
  "output": "class_scores",                                       logits, arg-max; or "object_logit": sigmoid
  "background": 0,                                                the class that is no object
  "any_size": true,                                               may be fed images of another size
  "classes": ["background", "aeroplane", ...]                     their names, optional
}
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smix.errors import MaskError
from smix.files import sha256
from smix.masks.sources.network import Network
from smix.untrusted import one_line, read_json


def onnx_network(path: Path, device: torch.device) -> Network:
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
        facts = read_json(beside)
        own = (int(facts["input_size"][0]), int(facts["input_size"][1]))
        mean, std = (tuple(float(number) for number in facts[key]) for key in ("mean", "std"))
        output, background = facts["output"], int(facts.get("background", 0))
        classes = tuple(str(name) for name in facts.get("classes", ()))
        if min(*own, background + 1) < 1 or not min(std) > 0:
            raise ValueError("a size, std or background that is out of range")
        if facts.get("channels", "RGB") != "RGB":
            raise ValueError(f"channels {facts['channels']} instead of RGB")
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise MaskError(f"{beside}: expected input_size, mean, std and output as JSON, got {one_line(error)}") from None
    if output not in ("class_scores", "object_logit") or len(mean) != 3 or len(std) != 3:
        raise MaskError(
            f'{beside}: expected output "class_scores" or "object_logit" and 3 numbers as mean and std, got "{output}", {mean}, {std}'
        )
    on_gpu = device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    providers = [*(["CUDAExecutionProvider"] if on_gpu else []), "CPUExecutionProvider"]
    options = onnxruntime.SessionOptions()
    # Its threads would go on spinning for a while after each call, on the cores that torch needs next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
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

    return Network(
        f"onnx:{path.name}",
        sha256(path),
        forward,
        own,
        mean,
        std,
        output,
        classes,
        background,
        any_size=bool(facts.get("any_size", False)),
    )
