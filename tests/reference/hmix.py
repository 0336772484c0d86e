"""HMix of Park et al., NeurIPS 2022, arXiv:2208.09913, section 4: the box of CutMix inside, mixup outside."""

from collections.abc import Iterator

from numpy.typing import NDArray

from tests.reference import cutmix


def maps(size: tuple[int, ...], kept: float, ratio: float) -> Iterator[NDArray]:
    """Yield one map per centre, all equally likely.

    Maps are 0 in the clipped box of the area (1 - lambda) r, and lambda / a outside, where a is the remaining fraction of the image.
    """
    for outside in cutmix.clipped_boxes(size, 1 - (1 - kept) * ratio):
        pixels = int(outside.sum())
        yield outside * (kept / (pixels / outside.size) if pixels else 0.0)
