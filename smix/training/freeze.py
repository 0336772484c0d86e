"""Keep layers of a network as they are, throughout the training or in its first epochs."""

import difflib

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from smix.config import SharedConfig
from smix.errors import OptionError
from smix.models import head_of
from smix.training.learner import Learner

SHOWN = 12
"""Maximum number of names in an error message."""


def freeze(model: nn.Module, config: SharedConfig) -> None:
    """Let the parameters whose names begin with one of the prefixes of `config.freeze` require no gradient.

    A prefix ends at a dot or at the end of a name: layer1 means layer1.0.conv1.weight, but not layer10.

    Raises:
        OptionError: No parameter has such a name, or no parameter is left to train.
    """
    prefixes = config.freeze
    names = [name for name, _ in model.named_parameters()]
    for prefix in prefixes:
        if not prefix or not any(_begins(name, prefix) for name in names):
            known = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
            first = list(dict.fromkeys(name.partition(".")[0] for name in names))
            close = difflib.get_close_matches(prefix, [*first, *known], n=3)
            hint = f"did you mean {', '.join(close)}?" if close else f"choose from {', '.join(first[:SHOWN])}"
            raise OptionError(f'freeze: expected the beginning of the name of a layer, got "{prefix}"; {hint}')
    for name, parameter in model.named_parameters():
        if any(_begins(name, prefix) for prefix in prefixes):
            parameter.requires_grad_(False)
    head = head_of(model) if config.freeze_epochs else ""
    if not any(parameter.requires_grad for name, parameter in model.named_parameters() if _begins(name, head)):
        where = f" in the first {config.freeze_epochs} epochs, which train only {head}" if head else ""
        raise OptionError(f"freeze: no layer is left to train{where}; name fewer layers")


def set_training(learner: Learner, config: SharedConfig, epoch: int) -> None:
    """Set a network to training mode for an epoch, and let those parameters require gradients that are trained in it.

    The batch normalisation of frozen layers stays in evaluation mode and keeps its statistics.

    Args:
        learner: Network and optimizer, changed in place.
        config: Options of the run.
        epoch: Number of finished epochs.
    """
    model, head = learner.model, head_of(learner.model) if epoch < config.freeze_epochs else ""
    model.train()
    for name, module in model.named_modules():
        fixed = any(_begins(name, prefix) for prefix in config.freeze) or not _begins(name, head)
        if fixed and isinstance(module, _NormBase):
            module.eval()
    if config.freeze_epochs:
        # Not all parameters of the network: some networks have fixed ones, such as position embeddings.
        trained = {id(parameter) for group in learner.optimizer.param_groups for parameter in group["params"]}
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(id(parameter) in trained and _begins(name, head))


def _begins(name: str, prefix: str) -> bool:
    """Return whether a prefix ends at a dot or at the end of the name; the empty one belongs to every name."""
    return not prefix or f"{name}.".startswith(f"{prefix}.")
