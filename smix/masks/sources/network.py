"""Any segmentation network as a source of masks: resizing, normalising and reading its output are here, once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from smix.data.sets import ImageSet
from smix.errors import MaskError

Output = Literal["class_scores", "object_logit"]
RESIZE = "bicubic"
IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What a source found in a batch, at the source's own resolution s (h, w; or other dimensions)."""

    object: Float[Tensor, "B *s"]
    """Probability that a pixel belongs to an object, in [0, 1]."""
    classes: UInt8[Tensor, "B *s"] | None
    """The class of each pixel, 0 for background; None: the source knows no classes."""

    def mask(self) -> Bool[Tensor, "B *s"]:
        """Where the object is: every class but background, or a probability above one half."""
        return self.object > 0.5 if self.classes is None else self.classes != 0


@dataclass(frozen=True, eq=False)
class NetworkSource:
    """A network, and how to feed it."""

    name: str
    sha256: str
    """Of the file of weights."""
    forward: Callable[[Float[Tensor, "B 3 h w"]], Tensor]
    """Gives (B, K, h, w), if it is what its description says."""
    input_size: tuple[int, int] | None
    """Height and width that images are resized to; None: their own."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Mean and standard deviation on the 0..255 scale."""
    output: Output
    """`class_scores`: logits, arg-max; `object_logit`: one channel, sigmoid."""
    background: int = 0

    def describe(self, data: ImageSet) -> dict[str, Any]:
        """The weights, how they are fed, and how their output is read."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "input_size": "own" if self.input_size is None else list(self.input_size),
            "resize": RESIZE,
            "mean": list(self.mean),
            "std": list(self.std),
            "output": self.output,
            "background": self.background,
        }

    def __call__(self, data: ImageSet, index: NDArray[np.int64]) -> Segmentation:
        """Segment the images at these places of `data`."""
        if len(data.size) != 2:
            raise MaskError(
                f"{self.name}: expected images with 2 spatial dimensions, got size {data.size} of {data.name}"
            )
        images = torch.from_numpy(data.images[index]).movedim(-1, 1).float()
        images = images.expand(-1, 3, -1, -1)  # grey images are repeated
        if self.input_size is not None and self.input_size != data.size:
            # Bicubic overshoots; no image has values outside 0..255.
            images = F.interpolate(images, self.input_size, mode=RESIZE, antialias=True).clamp(0, 255)
        mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (self.mean, self.std))
        scores = self.forward((images - mean) / std)
        self._check(scores, len(images))
        if self.output == "object_logit":
            return Segmentation(scores[:, 0].sigmoid(), None)
        classes = scores.argmax(1)
        # The background becomes 0 whichever number the network gives it; the others keep theirs, moved up if below it.
        classes = torch.where(classes == self.background, 0, classes + (classes < self.background).long())
        return Segmentation(1 - scores.softmax(1)[:, self.background], classes.to(torch.uint8))

    def _check(self, scores: Tensor, count: int) -> None:
        """Raises MaskError unless the output has the form that the network's description says."""
        channels = scores.shape[1] if scores.ndim == 4 else 0
        fits = channels == 1 if self.output == "object_logit" else channels > max(1, self.background)
        if not (fits and scores.is_floating_point() and len(scores) == count):
            wanted = (
                "1 channel" if self.output == "object_logit" else f"2 classes or more, background {self.background}"
            )
            raise MaskError(
                f"{self.name}: expected {self.output} ({count}, {wanted}, h, w), got {scores.dtype} of shape "
                f"{tuple(scores.shape)}; correct its description"
            )


def parse_input_size(text: str | None, own_of_network: tuple[int, int]) -> tuple[int, int] | None:
    """None: the network's; "own": the images' (returned as None); a number: that square."""
    if text is None:
        return own_of_network
    if text == "own":
        return None
    if not text.isdigit() or int(text) < 1:
        raise MaskError(f'input-size: expected a number of pixels or "own" (the images\' own size), got "{text}"')
    return int(text), int(text)
