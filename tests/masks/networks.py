"""Write tiny segmentation networks as ONNX files, whose outputs can be computed by hand."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, save

MEAN, STD = (90.0, 100.0, 110.0), (40.0, 50.0, 60.0)


def write_network(
    folder: Path,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    size: tuple[int | str, int | str] = ("height", "width"),
    facts: dict | None = None,
) -> Path:
    """Write `folder/tiny.onnx`, K linear functions of each pixel (weight (K, 3), bias (K,)), and its JSON file.

    `facts` override values of the JSON file; a value of None removes the key.
    """
    graph = helper.make_graph(
        [helper.make_node("Conv", ["images", "weight", "bias"], ["scores"], kernel_shape=[1, 1])],
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, *size])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", len(bias), *size])],
        [
            numpy_helper.from_array(weight.astype(np.float32)[:, :, None, None], "weight"),
            numpy_helper.from_array(bias.astype(np.float32), "bias"),
        ],
    )
    # An older format version than the default of onnx, because onnxruntime may not support the newest one.
    save(helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)]), folder / "tiny.onnx")
    told = {
        "input_size": [24, 36],
        "any_size": True,
        "mean": MEAN,
        "std": STD,
        "output": "class_scores",
        "background": 0,
    }
    told = {key: value for key, value in {**told, **(facts or {})}.items() if value is not None}
    (folder / "tiny.json").write_text(json.dumps(told))
    return folder / "tiny.onnx"


def write_channels(folder: Path, **options) -> Path:
    """Write a network with 4 classes: 0, the background, with score 0.25, and 1, 2, 3 with the normalised red, green and blue."""
    weight = np.concatenate([np.zeros((1, 3)), np.eye(3)])
    return write_network(folder, weight, np.array([0.25, 0, 0, 0]), **options)
