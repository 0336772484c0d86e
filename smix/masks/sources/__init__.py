"""Sources of masks: `source(data, index) -> Segmentation`. Networks, and masks that a data set carries."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from smix.data.sets import ImageSet
from smix.errors import OptionError, unknown
from smix.masks.sources.carried import CarriedSource
from smix.masks.sources.network import Segmentation
from smix.masks.sources.onnx import onnx_source
from smix.masks.sources.torchvision import torchvision_source

__all__ = ["Segmentation", "Source", "load_source"]


@runtime_checkable
class Source(Protocol):
    """Whatever finds objects in images."""

    def describe(self, data: ImageSet) -> dict[str, Any]:
        """All that decides which masks it finds in `data`, for the manifest of a store: two builds that agree in it may
        share one."""
        ...

    def __call__(self, data: ImageSet, index: NDArray[np.int64]) -> Segmentation:
        """The objects of the images at these places of `data`."""
        ...


def load_source(name: str, weights: Path | str | None = None, input_size: str | None = None) -> Source:
    """A source by name.

    Args:
        name: `torchvision:MODEL`, `onnx:FILE`, or `carried`.
        weights: A file of weights for torchvision's networks; None: downloaded.
        input_size: Pixels that images are resized to before segmenting, or "own": not resized; None: as the network wants.
    """
    kind, _, place = name.partition(":")
    if weights is not None and kind != "torchvision":
        raise OptionError(
            f"weights: expected a source torchvision:MODEL with --weights, got {name}; leave --weights out"
        )
    if kind == "torchvision":
        return torchvision_source(place, None if weights is None else Path(weights), input_size)
    if kind == "onnx" and place:
        return onnx_source(Path(place), input_size)
    if name == "carried":
        if input_size is not None:
            raise OptionError(f"input-size: expected a network with --input-size, got {name}; leave --input-size out")
        return CarriedSource()
    raise unknown("source", name, ["torchvision:deeplabv3_mobilenet_v3_large", "onnx:FILE", "carried"])
