"""Automatic augmentation and random erasing of torchvision, which move masks together with their images.

torchvision's classes raise an error for a `tv_tensors.Mask` next to an image, or pass it through unchanged.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from smix import rng

Name = Literal["none", "trivialaugment", "randaugment", "augmix"]
GEOMETRIC = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
"""Operations of torchvision that move pixels; all others change their values alone."""
SMALLEST = 0.01
"""Fraction of an image that its mask must cover after augmentation to remain valid; `Validity` has the same default."""
# Without the method that the classes below override, masks would stay where they are, without an error.
if not hasattr(v2.TrivialAugmentWide, "_apply_image_or_video_transform"):
    raise ImportError(
        "smix does not know this version of torchvision.transforms.v2; install the version in constraints/tested.txt"
    )


class _MovesMask:
    """Apply each geometric operation that torchvision applies to the image to `mask` as well."""

    mask: Tensor | None = None

    def _apply_image_or_video_transform(
        self, image: Any, transform_id: str, magnitude: float, interpolation: Any, fill: Any
    ) -> Any:
        apply: Any = super()._apply_image_or_video_transform  # type: ignore[misc]
        if self.mask is not None and transform_id in GEOMETRIC:
            self.mask = apply(self.mask, transform_id, magnitude, InterpolationMode.NEAREST, fill)
        return apply(image, transform_id, magnitude, interpolation, fill)


class TrivialAugment(_MovesMask, v2.TrivialAugmentWide):  # type: ignore[misc]
    """torchvision's TrivialAugmentWide, which also moves `mask`."""


class RandAugment(_MovesMask, v2.RandAugment):  # type: ignore[misc]
    """torchvision's RandAugment, which also moves `mask`."""


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of single images after crops and flips, with torchvision's default settings."""

    name: Name = "none"
    """Automatic augmentation."""
    erasing: float = 0.0
    """Probability of erasing a rectangle."""
    fill: tuple[int, ...] = ()
    """Value 0..255 of each channel in an erased rectangle."""

    def __bool__(self) -> bool:
        return self.name != "none" or self.erasing > 0

    def __call__(
        self, image: UInt8[Tensor, "H W C"], mask: Bool[Tensor, "H W"] | None
    ) -> tuple[UInt8[Tensor, "H W C"], Bool[Tensor, "H W"] | None]:
        """Return an augmented image and its mask, drawn from torch's global generator of the CPU.

        An operation that moves pixels moves image and mask by the same nearest-neighbour sampling; an erased rectangle belongs to
        no object.
        """
        picture = image.movedim(-1, 0)
        cover = None if mask is None else mask.to(torch.uint8)[None]
        if self.name == "augmix":
            assert cover is None, "augmix has no mask"
            picture = v2.AugMix()(picture)
        elif self.name != "none":
            transform = TrivialAugment() if self.name == "trivialaugment" else RandAugment()
            transform.mask = cover
            picture, cover = transform(picture), transform.mask
        if self.erasing:
            channels = picture if cover is None else torch.cat((picture, cover))
            values = [*self.fill, *[0] * (len(channels) - len(picture))]
            erased = v2.RandomErasing(self.erasing, value=values)(channels)
            picture, cover = erased[: len(picture)], None if cover is None else erased[len(picture) :]
        return picture.movedim(0, -1).contiguous(), None if cover is None else cover[0].bool()

    def batch(
        self,
        images: UInt8[Tensor, "B H W C"],
        masks: Bool[Tensor, "B H W"] | None,
        keys: list[int],
    ) -> tuple[UInt8[Tensor, "B H W C"], Bool[Tensor, "B H W"] | None]:
        """Return augmented images and masks, each drawn from its own key, on their device."""
        pairs = []
        with torch.random.fork_rng(devices=[]):
            for place, key in enumerate(keys):
                torch.default_generator.manual_seed(key)
                pairs.append(self(images[place], None if masks is None else masks[place]))
        moved = None if masks is None else torch.stack([mask for _, mask in pairs if mask is not None])
        return torch.stack([image for image, _ in pairs]), moved


NO_AUGMENTATION = Augmentation()


def augmentation_keys(seed: int, epoch: int, count: int, draws: Int[Tensor, "B"]) -> list[int]:
    """Return a key for the augmentation of each image, which depends on neither batches nor processes.

    Args:
        seed: Seed of the run.
        epoch: Number of the epoch, from 0.
        count: Number of images of the data set.
        draws: Rows of the images, plus `count` for each time that a row was drawn before in this epoch.
    """
    return [rng.key(seed, "augment", epoch * count + draw % count, draw // count) for draw in draws.tolist()]


def still_valid(masks: Bool[Tensor, "B H W"], valid: Bool[Tensor, "B"] | None) -> Bool[Tensor, "B"]:
    """Return which masks are valid after augmentation, which may move an object out of its image."""
    covered = masks.flatten(1).float().mean(1) >= SMALLEST
    return covered if valid is None else covered & valid
