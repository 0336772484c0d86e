"""HMix as in Park et al., NeurIPS 2022, arXiv:2208.09913, section 4: CutMix's box inside, mixup outside."""

from collections.abc import Iterator

from numpy.typing import NDArray

from tests.reference import cutmix


def maps(size: tuple[int, ...], kept: float, ratio: float) -> Iterator[NDArray]:
    """One map for each centre, all equally likely: 0 in the clipped box of the share (1 - lambda) r, lambda / a outside,
    where a is the part of the image that is left."""
    for outside in cutmix.clipped(size, 1 - (1 - kept) * ratio):
        pixels = int(outside.sum())
        yield outside * (kept / (pixels / outside.size) if pixels else 0.0)
