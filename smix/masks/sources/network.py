"""Any segmentation network as a source of masks: resizing, normalising, flipping and reading its output are here, once."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from smix.data.pictures import Pictures
from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks.sources.choice import ObjectClasses, kept, number_of
from smix.masks.sources.reading import (
    Instances,
    Segmentation,
    both_ways,
    check_scores,
    enlarged,
    finer,
    read_instances,
    read_scores,
    resized,
)
from smix.masks.sources.upscale import Upscaler

Output = Literal["class_scores", "object_logit", "instances"]
IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
CPU = torch.device("cpu")
LEAST_SIZE = 16
"""Nothing can be seen in fewer pixels; no network answers more than one pixel then."""


@dataclass(frozen=True, eq=False)
class Network:
    """A network, and how it wants to be fed: nobody else decides how images are normalised."""

    name: str
    sha256: str
    """Sha256 of its weights."""
    forward: Callable[[Float[Tensor, "B 3 h w"]], Tensor | list[Instances]]
    """Gives (B, K, h, w), or the instances in each image, if it is what its description says."""
    native_size: tuple[int, int]
    """Height and width that it was made for."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Mean and standard deviation on the 0..255 scale."""
    output: Output
    """`class_scores`: logits, arg-max; `object_logit`: one channel, sigmoid; `instances`: their union."""
    classes: tuple[str, ...] = ()
    """Names of the K classes; empty: it names none."""
    background: int | None = 0
    """The class that is no object; None: there is none."""
    any_size: bool = True
    """Can it be fed images of another size than its own?"""
    stride: int = 1
    """Height and width of what it is fed must be multiples of it."""
    device: torch.device = CPU
    precision: str = "float32"


@dataclass(frozen=True, eq=False)
class NetworkSource:
    """A network as a source: what it is fed, and which of its classes are objects."""

    network: Network
    input_size: str = "auto"
    """Pixels of the square that images are resized to; "own": they stay as they are; "auto": see `auto_size`."""
    hflip_tta: bool = False
    """Take the mean over each image and its mirror image."""
    upscale: Upscaler | None = None
    """Enlarges images before they are resized."""
    keep: tuple[str, ...] = ()
    """The classes that are objects; empty: all but the background."""
    object_classes: ObjectClasses | None = None
    """The classes that are objects in the images of each label."""
    score_threshold: float = 0.5
    """Instances of less confidence are left out."""

    def __post_init__(self) -> None:
        network = self.network
        size = self.input_size
        if size not in ("auto", "own") and not (re.fullmatch("[1-9][0-9]*", size) and int(size) >= LEAST_SIZE):
            raise MaskError(
                f'input-size: expected {LEAST_SIZE} pixels or more, "own" (the images\' own size) or "auto", got "{size}"'
            )
        if not network.any_size and size != "auto" and network.native_size != (int(size) if size.isdigit() else 0,) * 2:
            raise MaskError(
                f"{network.name}: expected input size {network.native_size[0]}x{network.native_size[1]} (it takes no other), "
                f"got {size}; leave --input-size out"
            )
        if size.isdigit() and int(size) % network.stride:
            raise MaskError(
                f"{network.name}: expected an input size that is a multiple of {network.stride}, got {size}; "
                f"give {-(-int(size) // network.stride) * network.stride}"
            )
        named = (*self.keep, *(name for names in (self.object_classes or {}).values() for name in names or ()))
        if named and network.output == "object_logit":
            raise MaskError(f"{network.name}: expected a network that knows classes, got classes {', '.join(named)}")
        for name in named if network.classes else ():
            number_of(name, network.classes)
        if network.background is None and network.output == "class_scores" and not (self.keep or self.object_classes):
            raise MaskError(
                f"{network.name}: expected --classes, the classes that are objects, since it knows no background; "
                f"choose of {', '.join(network.classes[:12])}, ..."
            )

    @property
    def batch_size(self) -> int:
        """Images that are fed at once: what keeps a GPU busy, or stays in a processor's caches."""
        return 8 if self.network.device.type == "cpu" else 64

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the numbers in `Segmentation.classes`, from 1."""
        return tuple(name for place, name in enumerate(self.network.classes) if place != self.network.background)

    def describe(self, data: ImageSet) -> dict[str, Any]:
        """The weights, how they are fed, and how their output is read."""
        network = self.network
        size = self._size(data)
        facts: dict[str, Any] = {
            "name": network.name,
            "sha256": network.sha256,
            "input_size": "own" if size is None else list(size),
            "resize": "bicubic",
            "mean": list(network.mean),
            "std": list(network.std),
            "output": network.output,
            "background": network.background,
            "precision": network.precision,
            "hflip_tta": self.hflip_tta,
            "upscale": None if self.upscale is None else self.upscale.describe(),
            "objects": list(self.keep) or "all",
            "object_classes": self.object_classes,
        }
        return facts | ({"score_threshold": self.score_threshold} if network.output == "instances" else {})

    @torch.inference_mode()
    def __call__(self, data: ImageSet, index: NDArray[np.int64]) -> Segmentation:
        """Segment the images at these places of `data`."""
        images = self._fed(data, index)
        mean, std = (
            torch.tensor(numbers, device=images.device).view(1, 3, 1, 1)
            for numbers in (self.network.mean, self.network.std)
        )
        images = images.sub_(mean).div_(std)
        found = self._found(images, data, data.labels[index])
        return Segmentation(found.object.cpu(), None if found.classes is None else found.classes.cpu())

    def _fed(self, data: ImageSet, index: NDArray[np.int64]) -> Float[Tensor, "B 3 h w"]:
        """The images at the size that the network gets, on its device, 0..255."""
        size = self._size(data)
        if isinstance(data.images, Pictures):
            pictures = [torch.from_numpy(data.images[int(place)])[None] for place in index]
        else:
            if data.images.ndim != 4:
                raise MaskError(
                    f"{self.network.name}: expected images with 2 spatial dimensions, got size {data.size} of {data.name}"
                )
            pictures = [torch.from_numpy(data.images[index])]
        if size is None and len({picture.shape[1:] for picture in pictures}) > 1:
            raise self._different_sizes(data)
        fed = []
        for picture in pictures:
            images = picture.to(self.network.device).movedim(-1, 1).float().expand(-1, 3, -1, -1)  # grey is repeated
            if self.upscale is not None:
                images = self.upscale(images)
            fed.append(images if size is None else resized(images, size))
        return fed[0].contiguous() if len(fed) == 1 else torch.cat(fed)

    def _size(self, data: ImageSet) -> tuple[int, int] | None:
        """Height and width that images are resized to; None: their own."""
        native = self.network.native_size
        if self.input_size == "own":
            if data.size is None:
                raise self._different_sizes(data)
            return None
        if self.input_size != "auto":
            return int(self.input_size), int(self.input_size)
        return auto_size(native, data.size, self.network.stride) if self.network.any_size else native

    def _different_sizes(self, data: ImageSet) -> MaskError:
        return MaskError(
            f"{self.network.name}: expected images of one size with --input-size own, got different ones in {data.name}; "
            "give a number of pixels"
        )

    def _found(self, images: Float[Tensor, "B 3 h w"], data: ImageSet, labels: NDArray[np.int64]) -> Segmentation:
        network = self.network
        size = (images.shape[2], images.shape[3])
        answers = [network.forward(given) for given in ([images, images.flip(-1)] if self.hflip_tta else [images])]
        if network.output == "instances":
            keep = self._kept(data, labels, len(network.classes)).to(images.device)
            found = [
                read_instances(one, keep, self.score_threshold, network.background, size)
                for one in answers
                if isinstance(one, list)
            ]
            return both_ways(*found) if self.hflip_tta else found[0]
        scores = [one for one in answers if isinstance(one, Tensor)]
        for one in scores:
            check_scores(network.name, one, len(images), network.output, network.background, network.classes)
        if network.output == "object_logit":
            sure = [enlarged(one.float(), finer(one, size))[:, 0].sigmoid() for one in scores]
            return Segmentation((sure[0] + sure[1].flip(-1)) / 2 if self.hflip_tta else sure[0], None)
        keep = self._kept(data, labels, scores[0].shape[1]).to(images.device)
        if self.hflip_tta:  # scores whose softmax is the mean of both
            both = torch.logaddexp(*(one.float().log_softmax(1) for one in (scores[0], scores[1].flip(-1))))
            return read_scores(both, keep, network.background, size)
        return read_scores(scores[0], keep, network.background, size)

    def _kept(self, data: ImageSet, labels: NDArray[np.int64], count: int) -> Bool[Tensor, "B K"]:
        """Return which classes are objects in which image. A network that names no classes has numbers instead."""
        objects = np.arange(count) != self.network.background
        names = self.network.classes or tuple(map(str, range(count)))
        return torch.from_numpy(kept(names, objects, self.keep, self.object_classes, data, labels))


def auto_size(native: tuple[int, int], size: tuple[int, ...] | None, stride: int = 1) -> tuple[int, int]:
    """The input size that served images of `size` best, by measurement (docs/masks.md), as a multiple of `stride`."""
    most = 257 if size is not None and len(size) == 2 and max(size) <= 64 else max(native)
    height, width = (max(1, min(edge, most) // stride) * stride for edge in native)
    return height, width


def chosen_precision(device: torch.device) -> str:
    """Return the precision of torch's networks: 16 bits where the hardware has them (docs/decisions.md), never by timing."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    if device.type == "cpu":
        able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # not in older versions
        return "bfloat16" if able.get("avx512_bf16") or able.get("amx_bf16") else "float32"
    return "float32"


def placed(network: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """On its device, for inference, channels last."""
    return network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
