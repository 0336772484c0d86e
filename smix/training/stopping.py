"""Stop a training early, when the validation accuracy no longer improves."""

from collections.abc import Sequence

from smix.config import SharedConfig
from smix.training.loop import Epoch


def is_finished(config: SharedConfig, metrics: Sequence[Epoch]) -> bool:
    """Return True if no epoch is left to train: all are done, or the last `config.patience` have not improved on the best one."""
    if len(metrics) >= config.epochs:
        return True
    return bool(metrics) and config.patience is not None and len(metrics) - _best(metrics).epoch >= config.patience


def result_epoch(config: SharedConfig, metrics: Sequence[Epoch]) -> Epoch:
    """Return the epoch whose weights are the result.

    With `config.patience` it is the first with the highest validation accuracy, else the last.
    """
    return metrics[-1] if config.patience is None else _best(metrics)


def _best(metrics: Sequence[Epoch]) -> Epoch:
    return max(metrics, key=lambda epoch: epoch.val_accuracy)
