"""Build the optimizer of a network, with a learning rate and a weight decay for each layer."""

import re
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from smix.config import SharedConfig

NUMBERED = re.compile(r"(.*?\.(?:\d+|\w+_\d+))\.")
"""Beginning of the name of a parameter in a numbered block, such as layer1.0 or encoder.layers.encoder_layer_0."""


def build_optimizer(model: nn.Module, config: SharedConfig) -> Optimizer:
    """Return the optimizer of the parameters that require gradients.

    Without `decay_norm_and_bias`, parameters with at most one dimension have no weight decay. With `layer_decay`, each group has its
    factor of the learning rate as "lr_scale", timm's name.

    Args:
        model: Network.
        config: Options of the run.
    """
    layers = layers_of(model) if config.layer_decay < 1 else {}
    last = max(layers.values(), default=0)
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        layer, decayed = layers.get(name, last), config.decay_norm_and_bias or parameter.ndim > 1
        if (layer, decayed) not in groups:
            group: dict[str, Any] = {"params": []}
            if config.layer_decay < 1:
                group["lr_scale"] = config.layer_decay ** (last - layer)
            if not decayed:
                group["weight_decay"] = 0.0
            groups[layer, decayed] = group
        groups[layer, decayed]["params"].append(parameter)
    ordered = [groups[key] for key in sorted(groups, key=lambda key: (key[0], not key[1]))]
    lr, decay = config.lr, config.weight_decay
    if config.optimizer == "adamw":
        return AdamW(ordered, lr, weight_decay=decay)
    if config.optimizer == "adam":
        return Adam(ordered, lr, weight_decay=decay)
    if config.optimizer == "rmsprop":
        return RMSprop(ordered, lr, weight_decay=decay, momentum=config.momentum)
    return SGD(ordered, lr, momentum=config.momentum, weight_decay=decay, nesterov=config.nesterov)


def layers_of(model: nn.Module) -> dict[str, int]:
    """Return the number of the layer of each parameter, from 0 at the input; the last layer has the largest number.

    Networks of timm say which parameters form a layer. In others, a layer is a numbered block (layer1.0, features.3) or a module
    before or after the blocks; what comes before the first block is one layer, and normalisation belongs to the layer before it.
    """
    matcher: Any = getattr(model, "group_matcher", None)
    if matcher is not None:
        from timm.models import group_parameters

        numbers: dict[str, int] = group_parameters(model, matcher(coarse=False), reverse=True)
        return numbers
    parameters = dict(model.named_parameters())
    blocks: dict[str, list[str]] = {}
    for name in parameters:
        match = NUMBERED.match(name)
        stem = not match and not any(map(NUMBERED.match, [*blocks, name]))
        block = match[1] + "." if match else "" if stem else name.rpartition(".")[0]
        blocks.setdefault(block, []).append(name)
    layers: dict[str, int] = {}
    number = -1
    for names in blocks.values():
        if number < 0 or any(parameters[name].ndim > 1 for name in names):
            number += 1
        layers |= dict.fromkeys(names, number)
    return layers
