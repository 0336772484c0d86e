"""Sources of masks, `source(data, index) -> Segmentation`: networks, existing segmentations, masks of a data set."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from smix.data.sets import ImageSet
from smix.device import find_device
from smix.errors import OptionError, unknown
from smix.masks.names import check_source
from smix.masks.sources.builtin import segmenter_source
from smix.masks.sources.carried import CarriedSource
from smix.masks.sources.choice import read_object_classes
from smix.masks.sources.files import Style, files_source
from smix.masks.sources.frames import MaskFrame
from smix.masks.sources.labelme import LabelmeSource
from smix.masks.sources.network import NetworkSource
from smix.masks.sources.onnx import onnx_network
from smix.masks.sources.reading import Segmentation
from smix.masks.sources.smp import smp_network
from smix.masks.sources.torchvision import torchvision_network
from smix.masks.sources.transformers import transformers_network
from smix.masks.sources.upscale import load_upscaler
from smix.models.segmenter_file import BUILTIN

__all__ = ["Segmentation", "Source", "load_source"]


@runtime_checkable
class Source(Protocol):
    """A callable that finds the objects in images.

    Optional attributes: `needs_images = False` means that the source does not use `data.images`, so that they are not
    decoded. `classes`, a tuple of names, names the classes 1, 2, ... in `Segmentation.classes`. `batch_size` is the number of
    images per call.
    """

    def describe(self, data: ImageSet) -> dict[str, Any]:
        """Return all settings that determine the masks of `data`, as JSON values with a "name", for the manifest of a store.

        Builds whose descriptions are equal can share a store.
        """
        ...

    def __call__(self, data: ImageSet, index: NDArray[np.int64]) -> Segmentation:
        """Return the objects in the images of `data` at `index` (n,)."""
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
    mask_frame: MaskFrame | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
) -> Source:
    """Load a source of masks by its name.

    Args:
        name: `builtin`, `torchvision:MODEL`, `onnx:FILE`, `transformers:MODEL_OR_DIR`, `smp:ARCH/ENCODER`, `masks:DIR`,
            `labelme:DIR` or `carried`.
        weights: Weights file for networks of torchvision (None: the published weights are downloaded) and
            segmentation_models_pytorch.
        input_size: Side in pixels of the square that images are resized to before they are segmented. "own": images are not resized.
            None or "auto": the size that gave the best masks of images of this size when measured (docs/masks.md).
        hflip_tta: Average the result over each image and its mirror image.
        upscale: `esrgan:FILE`, a super-resolution network that enlarges images before they are resized.
        classes: Names of the source's classes that are objects. Empty: all but the background.
        object_classes: JSON file that names, for each class of the data set, the source's classes that are objects in its images.
        score_threshold: Minimum confidence of an instance, in [0, 1], for networks that find instances.
        style: Meaning of the pixel values in the mask images of `masks:DIR`. None: determined from the images.
        mask_frame: Orientation of the masks for photographs that are stored rotated or mirrored (EXIF), for `masks:DIR` and
            `labelme:DIR`: "upright" if they fit the images as viewers show them, "stored" if they fit the pixels in the files.
            None: determined from the sizes.
        device: Device of the networks. "auto": a GPU if there is one.

    Returns:
        The source.

    Raises:
        OptionError: The name is unknown, the source does not support an option, or `score_threshold` is out of range.
        MaskError: The source cannot be loaded.

    >>> from smix import load_data
    >>> data, source = load_data("digits-on-photos"), load_source("carried")
    >>> source(data, np.arange(4)).mask().shape
    torch.Size([4, 32, 32])
    """
    options: dict[str, Any] = {"weights": weights, "input-size": input_size, "hflip-tta": hflip_tta, "upscale": upscale}
    options |= {"classes": classes, "object-classes": object_classes, "style": style}
    options |= {"mask-frame": mask_frame}
    kind, place = check_source(name, [option for option, value in options.items() if value]), name.partition(":")[2]
    if not 0 <= score_threshold <= 1:
        raise OptionError(f"score-threshold: expected a number from 0 to 1, got {score_threshold}")
    if mask_frame is not None and mask_frame not in get_args(MaskFrame):
        raise unknown("mask-frame", mask_frame, get_args(MaskFrame))
    names = None if object_classes is None else read_object_classes(Path(object_classes))
    if kind == "builtin":
        return segmenter_source(BUILTIN, find_device(device))
    if kind == "carried":
        return CarriedSource()
    if kind == "masks":
        return files_source(Path(place), style, tuple(classes), names, mask_frame)
    if kind == "labelme":
        return LabelmeSource(Path(place), tuple(classes), names, mask_frame)
    torch_device, file = find_device(device), None if weights is None else Path(weights)
    if kind == "onnx":
        network = onnx_network(Path(place), torch_device)
    elif kind == "transformers":
        network = transformers_network(place, torch_device)
    else:
        load = torchvision_network if kind == "torchvision" else smp_network
        network = load(place, file, torch_device)
    upscaler = None if upscale is None else load_upscaler(upscale, network.device)
    return NetworkSource(network, input_size or "auto", hflip_tta, upscaler, tuple(classes), names, score_threshold)
