"""The optimizer and its learning rate."""

import pytest
import torch
from torch import nn

from smix.config import TrainConfig
from smix.training.recipes import sgd


def test_sgd_is_the_literal_update_on_all_parameters():
    config = TrainConfig(lr=0.5, momentum=0.75, weight_decay=0.25)
    model = nn.BatchNorm1d(1)  # its weight and bias are decayed as well
    optimizer, _ = sgd(model, config)
    weight, velocity = 1.0, 0.0
    for gradient in (1.0, -2.0, 0.5):
        model.weight.grad, model.bias.grad = torch.tensor([gradient]), torch.zeros(1)
        optimizer.step()
        velocity = 0.75 * velocity + gradient + 0.25 * weight
        weight -= 0.5 * velocity
        assert model.weight.item() == pytest.approx(weight, rel=1e-6)
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ("epochs", "milestones", "drops"), [(150, (), (50, 100)), (9, (2, 5), (2, 5)), (2, (), (1,)), (1, (), ())]
)
def test_the_schedule_drops_where_the_configuration_says(epochs, milestones, drops):
    config = TrainConfig(epochs=epochs, milestones=milestones, lr=1.0)
    optimizer, schedule = sgd(nn.BatchNorm1d(1), config)
    assert config.drops == drops
    found = []
    for epoch in range(1, epochs):
        before = optimizer.param_groups[0]["lr"]
        optimizer.step()
        schedule.step()
        after = optimizer.param_groups[0]["lr"]
        if after != before:
            assert after == pytest.approx(before / 10)
            found.append(epoch)
    assert tuple(found) == drops
