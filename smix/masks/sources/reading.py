"""Convert the output of segmentation networks to objects. `keep` (B, K) says which classes are objects in which image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from smix.errors import MaskError

AT_ONCE = 2**27
"""Number of scores that are converted at once on a GPU, in some copies of half a gigabyte."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Objects that a source found in a batch, at the source's own resolution s (h, w; or other dimensions)."""

    object: Float[Tensor, "B *s"]
    """Probability that a pixel belongs to an object, in [0, 1]."""
    classes: UInt8[Tensor, "B *s"] | None
    """The class of each pixel, 0 where there is no object; None: the source knows no classes."""
    problems: Mapping[int, str] = field(default_factory=dict)
    """Why there is no answer for an image, by its place in the batch; its `object` is NaN."""

    def mask(self) -> Bool[Tensor, "B *s"]:
        """Return where the object is: every class that counts as one, or a probability above one half."""
        return self.object > 0.5 if self.classes is None else self.classes != 0


@dataclass(frozen=True, eq=False)
class Instances:
    """The instances that a network found in one image."""

    masks: Float[Tensor, "n h w"]
    """Logit of each pixel's probability to be part of it."""
    labels: Int[Tensor, "n"]
    """Class of each, from 0."""
    scores: Float[Tensor, "n"]
    """Confidence in each, in [0, 1]."""


def read_scores(
    scores: Float[Tensor, "B K h w"],
    keep: Bool[Tensor, "B K"],
    background: int | None,
    size: tuple[int, int] | None = None,
) -> Segmentation:
    """Convert class scores (logits): the arg-max decides whether a pixel is object, the softmax over kept classes how surely.

    `size` is that of the images: scores that are coarser are enlarged before anything is decided.
    """
    size = finer(scores, size)
    # On a CPU one image at a time stays in the caches, and memory that is used again need not be got from the system.
    numbers = scores.shape[1] * size[0] * size[1]
    step = 1 if scores.device.type == "cpu" else max(1, AT_ONCE // numbers)
    powers, winners = torch.empty(2, min(step, len(scores)), scores.shape[1], size[0] * size[1], device=scores.device)
    objects, classes = [], []
    for first in range(0, len(scores), step):
        some, kept = enlarged(scores[first : first + step].float(), size).flatten(2), keep[first : first + step]
        top = some.amax(1, keepdim=True)
        best = _arg_max(some, top, winners[: len(some)])
        torch.sub(some, top, out=powers[: len(some)]).exp_()
        every, chosen = (torch.stack([torch.ones_like(kept), kept], 1).float() @ powers[: len(some)]).unbind(1)
        objects.append((chosen / every).clamp(max=1))
        classes.append(torch.where(kept.gather(1, best), class_numbers(best, background), 0).to(torch.uint8))
    return Segmentation(torch.cat(objects).unflatten(1, size), torch.cat(classes).unflatten(1, size))


def finer(scores: Float[Tensor, "n K h w"], size: tuple[int, int] | None) -> tuple[int, int]:
    """The size of scores or of the images, whichever is larger; None: that of scores."""
    own = (scores.shape[2], scores.shape[3])
    return own if size is None or own[0] * own[1] >= size[0] * size[1] else size


def enlarged(scores: Float[Tensor, "n K h w"], size: tuple[int, int]) -> Float[Tensor, "n K H W"]:
    """Bilinear. Many networks answer at a quarter or less of what they are fed; edges then lie between their pixels."""
    return scores if tuple(scores.shape[2:]) == size else F.interpolate(scores, size, mode="bilinear")


def _arg_max(
    scores: Float[Tensor, "B K n"], top: Float[Tensor, "B 1 n"], winners: Float[Tensor, "B K n"]
) -> Int[Tensor, "B n"]:
    """Over K. On a CPU torch's own takes ten times as long as comparing with the maximum and adding up; but ties need it."""
    if scores.device.type == "cpu":
        numbers = torch.arange(scores.shape[1], dtype=torch.float32)
        torch.eq(scores, top, out=winners)
        count, best = (torch.stack([torch.ones_like(numbers), numbers]) @ winners).unbind(1)
        tied = count != 1
        best[tied] = scores.movedim(1, 2)[tied].argmax(1).float()
        return best.long()
    return scores.argmax(1)


def read_instances(
    found: list[Instances],
    keep: Bool[Tensor, "B K"],
    score_threshold: float,
    background: int | None,
    size: tuple[int, int] | None = None,
) -> Segmentation:
    """The union of the instances of kept classes whose score is `score_threshold` or more; `size` as in `read_scores`."""
    objects, classes = [], []
    for instances, kept in zip(found, keep, strict=True):
        chosen = (instances.scores >= score_threshold) & kept[instances.labels]
        labels, shape = instances.labels[chosen], finer(instances.masks[None], size)
        if not len(labels):
            nothing = torch.zeros(shape, device=keep.device)
            objects.append(nothing)
            classes.append(nothing.to(torch.uint8))
            continue
        surest, which = enlarged(instances.masks[chosen].float()[None], shape)[0].sigmoid().max(0)
        objects.append(surest)
        classes.append(torch.where(surest > 0.5, class_numbers(labels[which], background), 0).to(torch.uint8))
    return Segmentation(torch.stack(objects), torch.stack(classes))


def class_numbers(classes: Int[Tensor, "*s"], background: int | None) -> Int[Tensor, "*s"]:
    """Numbers of which 0 is the background, whichever number the network gives it; the others keep theirs, moved up if below.

    A network without background has its classes moved up by one.
    """
    if background is None:
        return classes + 1
    return torch.where(classes == background, 0, classes + (classes < background).long())


def both_ways(one: Segmentation, flipped: Segmentation) -> Segmentation:
    """The mean of the objects found in images and in their mirror images; where classes differ, the surer one's."""
    theirs = flipped.object.flip(-1)
    mean = (one.object + theirs) / 2
    if one.classes is None or flipped.classes is None:
        return Segmentation(mean, None)
    surer = torch.where(one.object >= theirs, one.classes, flipped.classes.flip(-1))
    either = torch.where(surer == 0, torch.maximum(one.classes, flipped.classes.flip(-1)), surer)
    return Segmentation(mean, torch.where(mean > 0.5, either, 0))


def check_scores(
    name: str, scores: Tensor, count: int, output: str, background: int | None, classes: Sequence[str] = ()
) -> None:
    """Raises MaskError unless scores have the form that the network's description says."""
    channels = scores.shape[1] if scores.ndim == 4 else 0
    fits = channels == 1 if output == "object_logit" else channels > max(1, background or 0)
    if not (fits and scores.is_floating_point() and len(scores) == count):
        wanted = "1 channel" if output == "object_logit" else f"2 classes or more, background {background}"
        raise MaskError(
            f"{name}: expected {output} ({count}, {wanted}, h, w), got {scores.dtype} of shape {tuple(scores.shape)}; "
            "correct its description"
        )
    if classes and output == "class_scores" and len(classes) != channels:
        raise MaskError(
            f"{name}: expected the names of {channels} classes, got {len(classes)}; correct its description"
        )


def resized(images: Float[Tensor, "B C h w"], size: tuple[int, int]) -> Float[Tensor, "B C H W"]:
    """Bicubic, antialiased; it overshoots, and no image has values outside 0..255."""
    if tuple(images.shape[2:]) == size:
        return images
    return F.interpolate(images, size, mode="bicubic", antialias=True).clamp_(0, 255)
