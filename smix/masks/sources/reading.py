"""Convert the output of segmentation networks to objects. `keep` (B, K) is True for the classes that are objects in each image."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from smix.reprs import short_repr

SCORES_PER_STEP = 2**27
"""Maximum number of scores that are converted at once on a GPU. Each temporary copy of them takes half a gigabyte."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Objects that a source found in a batch, at the source's own spatial size s, such as (h, w)."""

    object: Float[Tensor, "B *s"]
    """Probability that a pixel belongs to an object, in [0, 1]."""
    classes: UInt8[Tensor, "B *s"] | None
    """Class of each pixel, 0 where there is no object. None: the source has no classes."""
    problems: Mapping[int, str] = field(default_factory=dict)
    """Reason why an image has no mask, by index in the batch; its `object` is NaN."""
    score: Float[Tensor, "B"] | None = None
    """Score of each mask, in [0, 1]; the description of the source states its meaning. None: the mean probability on the object."""
    __repr__ = short_repr("segmentation.mask()")

    def mask(self) -> Bool[Tensor, "B *s"]:
        """Return True on the object: where the class is not 0 or, without classes, where the probability is above 1/2."""
        return self.object > 0.5 if self.classes is None else self.classes != 0


@dataclass(frozen=True, eq=False)
class Instances:
    """The instances that a network found in one image."""

    masks: Float[Tensor, "n h w"]
    """Logit of the probability that a pixel belongs to the instance."""
    labels: Int[Tensor, "n"]
    """Class of each instance, from 0."""
    scores: Float[Tensor, "n"]
    """Confidence of each instance, in [0, 1]."""


def read_scores(
    scores: Float[Tensor, "B K h w"],
    keep: Bool[Tensor, "B K"],
    background: int | None,
    size: tuple[int, int] | None = None,
) -> Segmentation:
    """Convert class scores to objects: a pixel belongs to the object if the class with the highest score is in `keep`.

    Args:
        scores: Logits of K classes.
        keep: True for the classes that are objects in each image.
        background: Index of the background class. None: there is none.
        size: Height and width of the images. Scores with fewer pixels are first enlarged to it.

    Returns:
        The sum of the softmax over the kept classes, and the class of each pixel.
    """
    size = finer_size(scores, size)
    # On a CPU, one image at a time stays in the caches.
    numbers = scores.shape[1] * size[0] * size[1]
    step = 1 if scores.device.type == "cpu" else max(1, SCORES_PER_STEP // numbers)
    objects, classes = [], []
    for start in range(0, len(scores), step):
        enlarged, kept = enlarge(scores[start : start + step].float(), size), keep[start : start + step]
        top, best = enlarged.max(1)
        powers = (enlarged - top[:, None]).exp_().flatten(2)
        # One product gives the softmax's denominator and its numerator summed over the kept classes.
        total, chosen = (torch.stack([torch.ones_like(kept), kept], 1).float() @ powers).unbind(1)
        objects.append((chosen / total).clamp(max=1).unflatten(1, size))
        is_object = kept.gather(1, best.flatten(1)).view_as(best)
        classes.append(torch.where(is_object, class_numbers(best, background), 0).to(torch.uint8))
    return Segmentation(torch.cat(objects), torch.cat(classes))


def finer_size(scores: Float[Tensor, "n K h w"], size: tuple[int, int] | None) -> tuple[int, int]:
    """Return the size of the scores or `size`, whichever has more pixels. If `size` is None, return the size of the scores."""
    own = (scores.shape[2], scores.shape[3])
    return own if size is None or own[0] * own[1] >= size[0] * size[1] else size


def enlarge(scores: Float[Tensor, "n K h w"], size: tuple[int, int]) -> Float[Tensor, "n K H W"]:
    """Resize scores bilinearly.

    Many networks return scores at a quarter of their input size or less. Resizing the scores, not the mask, keeps edges smooth.
    """
    return scores if tuple(scores.shape[2:]) == size else F.interpolate(scores, size, mode="bilinear")


def read_instances(
    batch: list[Instances],
    keep: Bool[Tensor, "B K"],
    score_threshold: float,
    background: int | None,
    size: tuple[int, int] | None = None,
) -> Segmentation:
    """Convert instances to objects: the union of those whose class is in `keep` and whose score is at least `score_threshold`.

    Args:
        batch: The instances in each image.
        keep: True for the classes that are objects in each image.
        score_threshold: Minimum confidence of an instance, in [0, 1].
        background: Index of the background class. None: there is none.
        size: Height and width of the images. Masks with fewer pixels are first enlarged to it.

    Returns:
        The probability and the class of the most probable instance at each pixel.
    """
    objects, classes = [], []
    for instances, kept in zip(batch, keep, strict=True):
        chosen = (instances.scores >= score_threshold) & kept[instances.labels]
        labels, shape = instances.labels[chosen], finer_size(instances.masks[None], size)
        if not len(labels):
            objects.append(torch.zeros(shape, device=keep.device))
            classes.append(torch.zeros(shape, device=keep.device, dtype=torch.uint8))
            continue
        probability, place = enlarge(instances.masks[chosen].float()[None], shape)[0].sigmoid().max(0)
        objects.append(probability)
        numbers = class_numbers(labels[place], background)
        classes.append(torch.where(probability > 0.5, numbers, 0).to(torch.uint8))
    return Segmentation(torch.stack(objects), torch.stack(classes))


def class_numbers(classes: Int[Tensor, "*s"], background: int | None) -> Int[Tensor, "*s"]:
    """Renumber classes so that 0 is the background. Classes below the background, or all if there is none, move up by one."""
    if background is None:
        return classes + 1
    return torch.where(classes == background, 0, classes + (classes < background).long())


def average_flipped(plain: Segmentation, flipped: Segmentation) -> Segmentation:
    """Average the results for images and their mirror images. Where classes differ, the more probable one is used."""
    mirrored = flipped.object.flip(-1)
    mean = (plain.object + mirrored) / 2
    if plain.classes is None or flipped.classes is None:
        return Segmentation(mean, None)
    others = flipped.classes.flip(-1)
    likelier = torch.where(plain.object >= mirrored, plain.classes, others)
    classes = torch.where(likelier == 0, torch.maximum(plain.classes, others), likelier)
    return Segmentation(mean, torch.where(mean > 0.5, classes, 0))


def resize_images(images: Float[Tensor, "B C h w"], size: tuple[int, int]) -> Float[Tensor, "B C H W"]:
    """Resize images in [0, 255] by antialiased bicubic interpolation, and clamp overshoots to that range."""
    if tuple(images.shape[2:]) == size:
        return images
    return F.interpolate(images, size, mode="bicubic", antialias=True).clamp_(0, 255)
