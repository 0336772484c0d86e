"""Test adversarial attacks against the optimum of a linear network and a literal loop, and that they leave the model unchanged."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smix.data.batches import Normalisation
from smix.errors import DataError, OptionError
from smix.evaluation.accuracy import accuracy
from smix.evaluation.attacks import NormalisedModel, fgsm, pgd

EPS = 8 / 255


@pytest.fixture
def images() -> Tensor:
    return torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def labels() -> Tensor:
    return torch.arange(12) % 4


@pytest.fixture
def model() -> nn.Module:
    """Return a network on the 0..1 scale with batch norm, dropout and a frozen part."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(288, 4)
        )
        net(torch.randn(16, 3, 8, 8))
    net[1].eval()
    return NormalisedModel(net, Normalisation((0.5, 0.4, 0.3), (0.2, 0.3, 0.25)))


class TwoClasses(nn.Module):
    """Linear classifier with logits 0 and w x. The loss of class 0 is greatest at the corner to which the signs of w point."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(192, generator=torch.Generator().manual_seed(3)))

    def forward(self, x: Tensor) -> Tensor:
        score = x.flatten(1) @ self.weight
        return torch.stack([torch.zeros_like(score), score], 1)


@pytest.mark.parametrize("eps", [2 / 255, EPS, 0.3])
def test_fgsm_finds_the_optimum_of_a_linear_network(images, eps):
    model, labels = TwoClasses(), torch.arange(12) % 2
    towards = torch.where(labels[:, None] == 0, 1, -1) * model.weight.sign()
    best = (images + eps * towards.view_as(images)).clamp(0, 1)
    assert torch.allclose(fgsm(model, images, labels, eps), best, atol=1e-6)
    # PGD finds it as well if its steps reach the edge.
    assert torch.allclose(pgd(model, images, labels, eps, step_size=eps / 4, steps=9, index=range(12)), best, atol=1e-6)


def test_pgd_equals_a_literal_loop(model, images, labels):
    net = copy.deepcopy(model).eval()
    x = images.clone()
    for _ in range(5):
        x = x.detach().requires_grad_(True)
        F.cross_entropy(net(x), labels).backward()
        x = x.detach() + 3 / 255 * torch.sign(x.grad)
        x = torch.min(torch.max(x, images - EPS), images + EPS)
        x = torch.clamp(x, 0, 1)
    found = pgd(model, images, labels, EPS, step_size=3 / 255, steps=5)
    # A gradient near 0 may have another sign, because its sum is rounded differently from its mean.
    assert ((found - x).abs() < 1e-6).float().mean() > 0.999


@pytest.mark.parametrize("eps", [1 / 255, EPS, 0.5, 1])
def test_the_result_stays_in_the_ball_and_in_the_pixel_range(model, images, labels, eps):
    images[0], images[1] = 0, 1
    for found in (
        fgsm(model, images, labels, eps),
        pgd(model, images, labels, eps, step_size=eps, steps=3, index=range(12)),
    ):
        assert found.min() >= 0
        assert found.max() <= 1
        assert (found - images).abs().max() <= eps + 1e-6
        assert not found.requires_grad
        assert found.dtype == torch.float32


def test_more_steps_increase_the_loss(model, images, labels):
    net = copy.deepcopy(model).eval()

    def loss(x: Tensor) -> float:
        return F.cross_entropy(net(x), labels).item()

    one, many = fgsm(model, images, labels), pgd(model, images, labels, steps=20, index=range(12))
    assert loss(images) < loss(one) < loss(many)
    assert accuracy(net(many), labels) <= accuracy(net(images), labels)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_unchanged(model, images, labels, training):
    model.model[0].train(training)
    modes = [module.training for module in model.modules()]
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 2)
    before = copy.deepcopy(model.state_dict())
    fgsm(model, images, labels)
    pgd(model, images, labels, index=range(12))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all((parameter.grad == 2).all() and parameter.requires_grad for parameter in model.parameters())
    assert images.grad is None
    assert not images.requires_grad


def test_the_mode_is_restored_when_the_network_fails(images, labels):
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert not self.training
            raise ZeroDivisionError

    model = Fails()
    with pytest.raises(ZeroDivisionError):
        fgsm(model, images, labels)
    assert model.training


def test_attacks_work_under_no_grad(model, images, labels):
    expected = pgd(model, images, labels, steps=2)
    with torch.no_grad():
        assert torch.equal(pgd(model, images, labels, steps=2), expected)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        assert torch.equal(pgd(model, images.clone(), labels.clone(), steps=2), expected)


def test_random_starts_depend_on_seed_and_index(model, images, labels):
    def attack(rows: list[int], seed: int = 0, steps: int = 1) -> Tensor:
        return pgd(model, images[rows], labels[rows], step_size=1e-9, steps=steps, index=rows, seed=seed)

    every = attack(list(range(12)))
    assert torch.allclose(attack([5, 2]), every[[5, 2]], atol=1e-7)
    assert not torch.allclose(attack([5, 2], seed=1), every[[5, 2]], atol=1e-3)
    inside = (images > EPS) & (images < 1 - EPS)
    start = ((every - images) / EPS)[inside]
    assert start.abs().max() > 0.99
    assert start.mean().abs() < 0.1
    assert start.var().item() == pytest.approx(1 / 3, rel=0.1)


def test_normalised_equals_the_normalisation_of_training(images):
    normalise = Normalisation((0.5, 0.4, 0.3), (0.2, 0.3, 0.25))
    whole = (images * 255).round()
    found = NormalisedModel(nn.Flatten(), normalise)(whole / 255)
    assert torch.allclose(found, normalise(whole.byte().movedim(1, -1)).flatten(1), atol=1e-5)


def test_messages_on_invalid_input(model, images, labels):
    for wrong in (images * 2 - 1, images * 255, images / 0):
        with pytest.raises(DataError, match=r"expected images in \[0, 1\]"):
            fgsm(model, wrong, labels)
    with pytest.raises(DataError, match=r"expected images in \[0, 1\]"):
        model(images - 0.5)
    with pytest.raises(OptionError, match="expected eps above 0 and at most 1, got 8"):
        pgd(model, images, labels, eps=8)
    with pytest.raises(OptionError, match="expected step_size above 0"):
        pgd(model, images, labels, step_size=0)
    with pytest.raises(OptionError, match="expected 1 or more steps, got 0"):
        pgd(model, images, labels, steps=0)
    with pytest.raises(DataError, match="an index for each of 12 images, got 1"):
        pgd(model, images, labels, index=[0])
