"""Test models of timm, timm:NAME."""

import sys

import pytest
import timm
import torch

from smix.errors import OptionError
from smix.models import build_model, head_of
from tests.models.networks import build, images


@pytest.mark.parametrize("size", [(32, 32), (64, 32)])
@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
def test_the_network_equals_that_of_timm(name: str, size: tuple[int, int]):
    model = build(f"timm:{name}", 7, 1, size)
    other = {"img_size": size} if "vit" in name else {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected = timm.create_model(name, num_classes=7, in_chans=1, **other)
    assert model.training
    for (key, value), wanted in zip(model.state_dict().items(), expected.state_dict().values(), strict=True):
        assert torch.equal(value, wanted), key
    x = images(1, *size)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), expected.eval()(x))
    assert model.get_submodule(head_of(model)).out_features == 7


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet26x", "did you mean timm:resnet26"),
        ("resnet18.a1_in1k", "did you mean timm:resnet18"),
        ("hf-hub:someone/something", "see timm.list_models()"),
        ("", "see timm.list_models()"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, hint: str):
    with pytest.raises(OptionError) as error:
        build_model(f"timm:{name}", 10)
    assert str(error.value).startswith(f'model: expected a name that timm knows, got "timm:{name}"; {hint}')


def test_an_unsupported_size_is_refused():
    with pytest.raises(OptionError) as error:
        build("timm:test_vit", size=(30, 30))
    assert str(error.value).startswith("model: timm:test_vit cannot take images of 30 x 30 pixels (")
    assert "\n" not in str(error.value)


def test_missing_timm_is_reported_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(OptionError) as error:
        build_model("timm:resnet18", 10)
    assert str(error.value) == "model: timm is not installed; run pip install 'smix[timm]'"
