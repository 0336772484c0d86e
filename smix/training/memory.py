"""What to do about batches that do not fit in memory, in one line instead of torch's error."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from smix.config import TrainConfig
from smix.data.batches import Loader
from smix.device import in_words, is_out_of_memory
from smix.errors import FailedError

OUT_OF_MEMORY = "batch_size"
"""First word of each such message."""


def in_memory(error: RuntimeError, config: TrainConfig, device: torch.device) -> Exception:
    """Return the error to raise in place of one of a training step: the same, or advice if memory was too small."""
    if not is_out_of_memory(error):
        return error
    return FailedError(
        f"{OUT_OF_MEMORY}: expected batches that fit in the memory of {in_words(device)}, got {config.batch_size} images of which "
        f"{-(-config.batch_size // config.accumulate)} at once; add --accumulate {2 * config.accumulate}, which takes half as "
        "many at once, or a smaller --batch-size, and another --out"
    )


@contextmanager
def evaluating(loader: Loader, device: torch.device) -> Iterator[None]:
    """Raise FailedError if memory is too small for the validation or test images of a training inside the block.

    No option of the training makes these batches smaller: a run gives the same numbers whatever its machine.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise FailedError(
            f"{OUT_OF_MEMORY}: expected {min(loader.at_once, len(loader))} images to evaluate at once that fit in the memory of "
            f"{in_words(device)}, got no room for them; free memory or choose another --device, and start the same command again"
        ) from None
