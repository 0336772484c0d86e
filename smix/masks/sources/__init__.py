"""Sources of masks: `source(data, index) -> Segmentation`. Networks, existing segmentations, and masks that a data set carries."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from smix.data.sets import ImageSet
from smix.device import find_device
from smix.errors import OptionError, unknown
from smix.masks.sources.carried import CarriedSource
from smix.masks.sources.choice import read_object_classes
from smix.masks.sources.files import Style, files_source
from smix.masks.sources.labelme import LabelmeSource
from smix.masks.sources.network import Network, NetworkSource
from smix.masks.sources.onnx import onnx_network
from smix.masks.sources.reading import Segmentation
from smix.masks.sources.smp import smp_network
from smix.masks.sources.torchvision import torchvision_network
from smix.masks.sources.transformers import transformers_network
from smix.masks.sources.upscale import load_upscaler

__all__ = ["Segmentation", "Source", "load_source"]

KINDS = (
    "torchvision:MODEL",
    "onnx:FILE",
    "transformers:MODEL_OR_DIR",
    "smp:ARCH/ENCODER",
    "masks:DIR",
    "labelme:DIR",
    "carried",
)


@runtime_checkable
class Source(Protocol):
    """Whatever finds objects in images.

    A source that has the attribute `needs_images = False` never looks at `data.images`, which are then not decoded for it. One
    that has `classes`, a tuple of names, says what the numbers from 1 in `Segmentation.classes` are.
    """

    def describe(self, data: ImageSet) -> dict[str, Any]:
        """All that decides which masks it finds in `data`, for the manifest of a store: two builds that agree in it may
        share one."""
        ...

    def __call__(self, data: ImageSet, index: NDArray[np.int64]) -> Segmentation:
        """The objects of the images at these places of `data`."""
        ...


def load_source(
    name: str,
    weights: Path | str | None = None,
    input_size: str | None = None,
    *,
    hflip_tta: bool = False,
    upscale: str | None = None,
    classes: Sequence[str] = (),
    object_classes: Path | str | None = None,
    score_threshold: float = 0.5,
    style: Style | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
) -> Source:
    """A source by name.

    Args:
        name: `torchvision:MODEL`, `onnx:FILE`, `transformers:MODEL_OR_DIR`, `smp:ARCH/ENCODER`, `masks:DIR`, `labelme:DIR` or
            `carried`.
        weights: A file of weights for torchvision's networks (None: downloaded) and for those of segmentation_models_pytorch.
        input_size: Pixels that images are resized to before segmenting; "own": not resized; None or "auto": what served images
            of their size best.
        hflip_tta: Take the mean over each image and its mirror image.
        upscale: `esrgan:FILE`, a super-resolution network that enlarges images before they are resized.
        classes: The classes that are objects, by the source's names; empty: all but the background.
        object_classes: A JSON file that names, for each label of the data set, the classes that are objects in its images.
        score_threshold: Networks that find instances: those of less confidence are left out, in [0, 1].
        style: How the pictures of `masks:DIR` are to be read; None: found out.
        device: Where networks compute; auto: on a GPU if there is one.

    Raises:
        OptionError: no such source, or an option that it does not have.
        MaskError: it cannot be loaded.
    """
    kind, _, place = name.partition(":")
    networks = kind in ("torchvision", "onnx", "transformers", "smp")
    if kind not in [text.partition(":")[0] for text in KINDS] or bool(place) == (kind == "carried"):
        raise unknown("source", name, KINDS)
    for option, given, fits in (
        ("weights", weights is not None, kind in ("torchvision", "smp")),
        ("input-size", input_size is not None, networks),
        ("hflip-tta", hflip_tta, networks),
        ("upscale", upscale is not None, networks),
        ("classes", bool(classes), kind != "carried"),
        ("object-classes", object_classes is not None, kind != "carried"),
        ("style", style is not None, kind == "masks"),
    ):
        if given and not fits:
            raise OptionError(f"{option}: expected another source with --{option}, got {name}; leave --{option} out")
    if not 0 <= score_threshold <= 1:
        raise OptionError(f"score-threshold: expected 0 to 1, got {score_threshold}")
    labels = None if object_classes is None else read_object_classes(Path(object_classes))
    if kind == "carried":
        return CarriedSource()
    if kind == "masks":
        return files_source(Path(place), style, tuple(classes), labels)
    if kind == "labelme":
        return LabelmeSource(Path(place), tuple(classes), labels)
    where = find_device(device)
    network: Network
    if kind == "torchvision":
        network = torchvision_network(place, None if weights is None else Path(weights), where)
    elif kind == "onnx":
        network = onnx_network(Path(place), where)
    elif kind == "smp":
        network = smp_network(place, None if weights is None else Path(weights), where)
    else:
        network = transformers_network(place, where)
    larger = None if upscale is None else load_upscaler(upscale, network.device)
    return NetworkSource(network, input_size or "auto", hflip_tta, larger, tuple(classes), labels, score_threshold)
