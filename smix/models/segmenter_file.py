"""Read and write the weights of a segmenter: safetensors of 16 bits, with a description in the metadata."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from smix.errors import MaskError
from smix.files import sha256
from smix.models.segmenter import STATISTICS, ScoreModel, Segmenter
from smix.untrusted import one_line

BUILTIN = Path(__file__).with_name("builtin.safetensors")
"""Weights of the network that comes with smix (docs/segmenter.md)."""
FORMAT = "smix-segmenter-1"


@dataclass(frozen=True, eq=False)
class SegmenterFile:
    """A segmenter with its description."""

    model: Segmenter
    score: ScoreModel
    metadata: Mapping[str, str]
    """Format, widths and blocks of the network, and what the writer added, such as the data and their licence."""
    sha256: str
    """Checksum of the file."""


def load_segmenter(path: Path = BUILTIN) -> SegmenterFile:
    """Load a segmenter for inference, or to fit it further.

    Raises:
        MaskError: The file is missing or does not contain a segmenter.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise MaskError(f"weights: expected a file {path}, got none; check the path")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"format {metadata.get('format')}")
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        score = ScoreModel(state.pop("score.weight"), state.pop("score.bias"))
        if score.weight.shape != (STATISTICS,) or score.bias.shape != ():
            raise ValueError(f"a score of {tuple(score.weight.shape)} weights")
        with torch.random.fork_rng(devices=()):  # the initial weights are drawn, then overwritten
            model = Segmenter(tuple(json.loads(metadata["widths"])), tuple(json.loads(metadata["blocks"])))
        missing, unexpected = model.load_state_dict(state, strict=False)
        if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):
            raise ValueError(f"other weights than those of widths {metadata['widths']}")
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError, OSError) as error:
        raise MaskError(
            f"weights: expected a segmenter of smix in {path}, got {one_line(error)}; give a file that was fitted with smix"
        ) from None
    return SegmenterFile(model.eval().requires_grad_(False), score, metadata, sha256(path))


def save_segmenter(path: Path, model: Segmenter, score: ScoreModel, metadata: Mapping[str, str]) -> None:
    """Write a segmenter in 16 bits.

    Args:
        path: File to write.
        model: The network.
        score: The model of its score, which is stored in 32 bits.
        metadata: Description, such as the data, their licence and the command.
    """
    from safetensors.torch import save

    state = {
        name: value.detach().half().contiguous()
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    state |= {"score.weight": score.weight.float().contiguous(), "score.bias": score.bias.float().contiguous()}
    shape = {"widths": json.dumps(model.widths), "blocks": json.dumps(model.blocks)}
    content = save(state, {**metadata, "format": FORMAT, **shape})
    path.write_bytes(content)  # save_file would write a file that only its owner can read
