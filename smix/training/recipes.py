"""How a network is trained: its optimizer and its learning rate."""

from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import MultiStepLR

from smix.config import TrainConfig


def sgd(model: nn.Module, config: TrainConfig) -> tuple[SGD, MultiStepLR]:
    """SGD with momentum, and a learning rate that falls to a tenth at each of `config.drops` (epochs)."""
    optimizer = SGD(model.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    return optimizer, MultiStepLR(optimizer, milestones=list(config.drops), gamma=0.1)
