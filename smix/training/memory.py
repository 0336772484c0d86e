"""Turn out-of-memory errors of PyTorch into one line of advice."""

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
        f"{OUT_OF_MEMORY}: out of memory on {in_words(device)} with {-(-config.batch_size // config.grad_accum_steps)} images at once "
        f"(batch size {config.batch_size}); use --grad-accum-steps {2 * config.grad_accum_steps} to halve that, or a smaller --batch-size, "
        "with another --out"
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
            f"{OUT_OF_MEMORY}: out of memory on {in_words(device)} while evaluating {min(loader.at_once, len(loader))} images at "
            "once; free memory or choose another --device, then run the same command again"
        ) from None
