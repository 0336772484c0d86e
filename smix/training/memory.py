"""Convert out-of-memory errors of PyTorch to one line that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from smix.config import TrainConfig
from smix.data.batches import Loader
from smix.device import in_words, is_out_of_memory
from smix.errors import TemporaryError


def in_memory(error: RuntimeError, config: TrainConfig, device: torch.device) -> Exception:
    """Return the exception to raise for an error of a training step.

    It is a TemporaryError that says what to do if the device ran out of memory, else the error itself.
    """
    if not is_out_of_memory(error):
        return error
    count = -(-config.batch_size // config.grad_accum_steps)
    return TemporaryError(
        f"batch_size: out of memory on {in_words(device)} with {count} images at once (batch size {config.batch_size}); use "
        f"--grad-accum-steps {2 * config.grad_accum_steps} to halve that number, or a smaller --batch-size, with another --out"
    )


@contextmanager
def evaluating(loader: Loader, device: torch.device) -> Iterator[None]:
    """Raise TemporaryError if the device runs out of memory inside the block, which evaluates images.

    The message names no option: evaluation batches are the same on every machine, so that a run gives the same numbers.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise TemporaryError(
            f"batch_size: out of memory on {in_words(device)} while evaluating {min(loader.at_once, len(loader))} images at "
            "once; free memory or choose another --device, then run the same command again"
        ) from None
