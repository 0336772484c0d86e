"""Use a segmentation network as a source of masks: resize and normalise images, flip them, and read the network's output."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from msgspec import Meta
from numpy.typing import NDArray
from torch import Tensor, nn

from smix.data.pictures import Pictures
from smix.data.sets import ImageSet
from smix.device import best_precision
from smix.errors import MaskError
from smix.masks.sources.choice import ObjectClasses, class_index, class_names_in, object_table
from smix.masks.sources.reading import (
    Segmentation,
    average_flipped,
    enlarge,
    finer_size,
    read_instances,
    read_scores,
    resize_images,
)
from smix.masks.sources.upscale import Upscaler
from smix.untrusted import one_line

Output = Literal["class_scores", "object_logit", "instances"]
IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
CPU = torch.device("cpu")
MIN_INPUT_SIZE = 16
"""Minimum input size in pixels: for smaller inputs, networks return a single pixel."""


Channels = tuple[float, float, float]
Positive = Annotated[float, Meta(gt=0)]
Side = Annotated[int, Meta(ge=1)]


class NetworkCard(msgspec.Struct, frozen=True, kw_only=True):
    """Properties of a segmentation network: how images are prepared for it and how its output is read."""

    input_size: tuple[Side, Side]
    """Height and width of the images that the network was trained on."""
    mean: Channels
    """Mean of red, green and blue, which is subtracted from images in [0, 255]."""
    std: tuple[Positive, Positive, Positive]
    """Standard deviation of red, green and blue, by which images in [0, 255] are divided."""
    output: Output = "class_scores"
    """Kind. "class_scores": logits, by arg-max; "object_logit": one channel, by sigmoid; "instances": their union."""
    classes: tuple[str, ...] = ()
    """Names of the K classes; empty if they are not known."""
    background: Annotated[int, Meta(ge=0)] | None = 0
    """Index of the background class. None: there is none."""
    any_size: bool = True
    """True if the network accepts images whose size differs from `input_size`."""
    stride: Side = 1
    """Number of pixels that must divide the height and width of the input."""


@dataclass(frozen=True, eq=False)
class Network:
    """A segmentation network."""

    name: str
    sha256: str
    """Sha256 of the weights."""
    forward: Callable[[Float[Tensor, "B 3 h w"]], Any]
    """Function that returns scores (B, K, h, w) or, if the output is "instances", a list of `Instances`."""
    card: NetworkCard
    device: torch.device = CPU
    precision: str = "float32"

    def check_scores(self, scores: Tensor, count: int) -> None:
        """Check that the scores of `count` images have the shape and type that the card states.

        Raises:
            MaskError: The scores have a different shape or type.
        """
        card, channels = self.card, scores.shape[1] if scores.ndim == 4 else 0
        fits = channels == 1 if card.output == "object_logit" else channels > max(1, card.background or 0)
        if not (fits and scores.is_floating_point() and len(scores) == count):
            shape = "1 channel" if card.output == "object_logit" else f"2 classes or more, background {card.background}"
            raise MaskError(
                f"{self.name}: expected {card.output} ({count}, {shape}, h, w), got {scores.dtype} of shape "
                f"{tuple(scores.shape)}; correct the description of the network"
            )
        if card.classes and card.output == "class_scores" and len(card.classes) != channels:
            raise MaskError(
                f"{self.name}: expected the names of {channels} classes, got {len(card.classes)}; correct the description of the network"
            )


@dataclass(frozen=True, eq=False)
class NetworkSource:
    """A source that segments images with a network.

    Raises:
        OptionError: The network does not know a class in `keep` or `object_classes`.
        MaskError: The network does not accept the input size, has no classes to choose from, or has no background class and
            neither `keep` nor `object_classes` is given.
    """

    network: Network
    input_size: str = "auto"
    """Side in pixels of the square to which images are resized; "own": no resizing; "auto": see `auto_size`."""
    hflip_tta: bool = False
    """Average the result over each image and its mirror image."""
    upscale: Upscaler | None = None
    """Network that enlarges images before they are resized."""
    keep: tuple[str, ...] = ()
    """Classes that are objects; empty: all but the background."""
    object_classes: ObjectClasses | None = None
    """Classes that are objects in the images of each label."""
    score_threshold: float = 0.5
    """Minimum confidence of an instance, in [0, 1]."""

    def __post_init__(self) -> None:
        network, size = self.network, self.input_size
        side = int(size) if re.fullmatch("[1-9][0-9]*", size) else 0
        if size not in ("auto", "own") and side < MIN_INPUT_SIZE:
            raise MaskError(
                f'input-size: expected {MIN_INPUT_SIZE} pixels or more, "own" (the images\' own size) or "auto", got "{size}"'
            )
        if not network.card.any_size and size != "auto" and network.card.input_size != (side, side):
            raise MaskError(
                f"{network.name}: the network only accepts images of {network.card.input_size[0]}x{network.card.input_size[1]} pixels, "
                f"got {size}; omit --input-size"
            )
        if side % network.card.stride:
            raise MaskError(
                f"{network.name}: the input size must be a multiple of {network.card.stride}, got {size}; "
                f"use {-(-side // network.card.stride) * network.card.stride}"
            )
        names = class_names_in(self.keep, self.object_classes)
        if names and network.card.output == "object_logit":
            raise MaskError(f"{network.name}: the network has no classes; omit the classes {', '.join(names)}")
        for name in names if network.card.classes else ():
            class_index(name, network.card.classes)
        if (
            network.card.background is None
            and network.card.output == "class_scores"
            and not (self.keep or self.object_classes)
        ):
            raise MaskError(
                f"{network.name}: the network has no background class; list the classes that are objects with --classes, "
                f"such as {', '.join(network.card.classes[:12])}"
            )

    @property
    def batch_size(self) -> int:
        """Number of images per forward pass: enough to keep a GPU busy, and few enough for the caches of a CPU."""
        return 8 if self.network.device.type == "cpu" else 64

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes 1, 2, ... in `Segmentation.classes`."""
        return tuple(
            name for place, name in enumerate(self.network.card.classes) if place != self.network.card.background
        )

    def describe(self, data: ImageSet) -> dict[str, Any]:
        """Return the sha256 of the weights and all settings of the pre- and postprocessing, for the manifest of a store."""
        network = self.network
        size = self._size(data)
        description: dict[str, Any] = {
            "name": network.name,
            "sha256": network.sha256,
            "input_size": "own" if size is None else list(size),
            "resize": "bicubic",
            "mean": list(network.card.mean),
            "std": list(network.card.std),
            "output": network.card.output,
            "background": network.card.background,
            "precision": network.precision,
            "hflip_tta": self.hflip_tta,
            "upscale": None if self.upscale is None else self.upscale.describe(),
            "objects": list(self.keep) or "all",
            "object_classes": self.object_classes,
        }
        if network.card.output == "instances":
            description["score_threshold"] = self.score_threshold
        return description

    @torch.inference_mode()
    def __call__(self, data: ImageSet, index: NDArray[np.int64]) -> Segmentation:
        """Return the objects in the images of `data` at `index` (n,)."""
        images = self._resized(data, index)
        mean, std = (
            torch.tensor(values, device=images.device).view(1, 3, 1, 1)
            for values in (self.network.card.mean, self.network.card.std)
        )
        objects = self._segment(images.sub_(mean).div_(std), data, data.labels[index])
        return Segmentation(objects.object.cpu(), None if objects.classes is None else objects.classes.cpu())

    def _resized(self, data: ImageSet, index: NDArray[np.int64]) -> Float[Tensor, "B 3 h w"]:
        """Return images with values in [0, 255], at the input size and on the device of the network."""
        size = self._size(data)
        if isinstance(data.images, Pictures):
            pictures = [torch.from_numpy(data.images[int(place)])[None] for place in index]
        elif data.images.ndim == 4:
            pictures = [torch.from_numpy(data.images[index])]
        else:
            raise MaskError(
                f"{self.network.name}: expected images with 2 spatial dimensions, but those of {data.name} have size {data.size}; "
                "use another source"
            )
        if size is None and len({picture.shape[1:] for picture in pictures}) > 1:
            raise self._different_sizes(data)
        batches = []
        for picture in pictures:
            images = picture.to(self.network.device).movedim(-1, 1).float().expand(-1, 3, -1, -1)  # grey is repeated
            if self.upscale is not None:
                images = self.upscale(images)
            batches.append(images if size is None else resize_images(images, size))
        return batches[0].contiguous() if len(batches) == 1 else torch.cat(batches)

    def _size(self, data: ImageSet) -> tuple[int, int] | None:
        """Return the height and width that images are resized to. None: they are not resized."""
        native = self.network.card.input_size
        if self.input_size == "own":
            if data.size is None:
                raise self._different_sizes(data)
            return None
        if self.input_size != "auto":
            return int(self.input_size), int(self.input_size)
        return auto_size(native, data.size, self.network.card.stride) if self.network.card.any_size else native

    def _different_sizes(self, data: ImageSet) -> MaskError:
        return MaskError(
            f"{self.network.name}: --input-size own needs images of one size, but those of {data.name} differ; "
            "pass a number of pixels instead"
        )

    def _segment(self, images: Float[Tensor, "B 3 h w"], data: ImageSet, labels: Int[np.ndarray, "B"]) -> Segmentation:
        network, size = self.network, (images.shape[2], images.shape[3])
        outputs = [network.forward(view) for view in ([images, images.flip(-1)] if self.hflip_tta else [images])]
        if network.card.output == "instances":
            keep = self._keep(data, labels, len(network.card.classes)).to(images.device)
            views = [
                read_instances(instances, keep, self.score_threshold, network.card.background, size)
                for instances in outputs
            ]
            return average_flipped(*views) if self.hflip_tta else views[0]
        for scores in outputs:
            network.check_scores(scores, len(images))
        if network.card.output == "object_logit":
            views = [
                Segmentation(enlarge(logits.float(), finer_size(logits, size))[:, 0].sigmoid(), None)
                for logits in outputs
            ]
            return average_flipped(*views) if self.hflip_tta else views[0]
        scores = outputs[0]
        keep = self._keep(data, labels, scores.shape[1]).to(images.device)
        if self.hflip_tta:  # the softmax of these scores is the mean of both
            scores = torch.logaddexp(*(view.float().log_softmax(1) for view in (scores, outputs[1].flip(-1))))
        return read_scores(scores, keep, network.card.background, size)

    def _keep(self, data: ImageSet, labels: Int[np.ndarray, "B"], count: int) -> Bool[Tensor, "B K"]:
        """Return which classes are objects in each image. Classes without names are named by their numbers."""
        objects = np.arange(count) != self.network.card.background
        names = self.network.card.classes or tuple(map(str, range(count)))
        return torch.from_numpy(object_table(names, objects, self.keep, self.object_classes, data, labels))


def auto_size(native: tuple[int, int], size: tuple[int, ...] | None, stride: int = 1) -> tuple[int, int]:
    """Return the input size that gave the best masks in our measurements for images of `size` (docs/masks.md).

    Args:
        native: Height and width that the network was trained on.
        size: Spatial size of the images. None: the images differ in size.
        stride: The result is a multiple of this number of pixels.
    """
    limit = 257 if size is not None and len(size) == 2 and max(size) <= 64 else max(native)
    height, width = (max(1, min(edge, limit) // stride) * stride for edge in native)
    return height, width


class TorchForward:
    """Run a PyTorch network for inference: channels last, in the best precision of the device.

    Args:
        name: Name of the source in messages.
        model: The network, which is moved to `device`.
        device: Device of the network.

    Raises:
        MaskError: The network is called with images of a size that it does not accept.
    """

    def __init__(self, name: str, model: nn.Module, device: torch.device) -> None:
        self.name, self.model, self.device = name, for_inference(model, device), device
        self.precision = best_precision(device)

    def __call__(self, images: Float[Tensor, "B 3 h w"]) -> Any:
        try:
            with (
                torch.random.fork_rng(devices=()),  # Mask2Former uses random numbers even in evaluation mode
                torch.autocast(self.device.type, getattr(torch, self.precision), enabled=self.precision != "float32"),
            ):
                return self.model(images.contiguous(memory_format=torch.channels_last))
        except (RuntimeError, ValueError, AssertionError) as error:
            raise MaskError(
                f"{self.name}: the network does not accept images of {images.shape[2]}x{images.shape[3]} pixels "
                f"({one_line(error)}); choose another --input-size, such as a multiple of 32"
            ) from None

    def to_network(self, sha256: str, card: NetworkCard, forward: Callable[[Tensor], Any] | None = None) -> Network:
        """Return the network with its card.

        Args:
            sha256: Sha256 of the weights.
            card: Properties of the network.
            forward: Function that calls this object and converts the output to the form that the card states. None: this object.
        """
        return Network(self.name, sha256, forward or self, card, self.device, self.precision)


def for_inference(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to a device, channels last, in evaluation mode and without gradients, and return it."""
    network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
