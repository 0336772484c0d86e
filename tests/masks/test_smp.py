"""Test networks of segmentation_models_pytorch with random weights from a file."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import segmentation_models_pytorch as smp
import timm
import torch

from smix.errors import MaskError, OptionError
from smix.masks import load_source
from smix.masks.sources.network import IMAGENET_MEAN
from smix.masks.sources.smp import encoder_preprocessing
from tests.conftest import make_set

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _float32(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)


PLACES = [
    "pspnet/resnet18",
    "fpn/mobilenet_v2",
    "segformer/resnet18",
    "unetplusplus/resnet18",
    "deeplabv3plus/resnet18",
]
PLACES += [
    "unet/resnet18",
    "linknet/resnet18",
    "manet/resnet18",
    "upernet/resnet18",
    "pan/resnet18",
    "deeplabv3/resnet18",
]


def network(place: str, classes: int) -> torch.nn.Module:
    architecture, encoder = place.split("/")
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return smp.create_model(architecture, encoder, encoder_weights=None, classes=classes).eval()


def save_weights(folder: Path, place: str, count: int, suffix: str = ".pth", **facts) -> Path:
    path = folder / f"weights{suffix}"
    state = network(place, count).state_dict()
    torch.save(state, path) if suffix == ".pth" else safetensors.torch.save_file(state, path)
    if facts:
        path.with_suffix(".json").write_text(json.dumps(facts))
    return path


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_any_architecture_gives_the_output_of_the_original_network(tmp_path, place, suffix):
    data = make_set(8, size=(128, 160) if place.startswith("pan") else (64, 96))
    source = load_source(f"smp:{place}", weights=save_weights(tmp_path, place, 4, suffix), input_size="own")
    found = source(data, np.arange(2))
    images = torch.from_numpy(data.array[:2]).movedim(-1, 1) / 255
    images = (images - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        3, 1, 1
    )
    with torch.inference_mode():
        scores = network(place, 4)(images)
    assert torch.allclose(found.object, 1 - scores.softmax(1)[:, 0], atol=1e-4)
    assert (found.classes.long() == scores.argmax(1)).float().mean() > 0.999
    assert source.describe(data)["name"] == f"smp:{place}"


def test_one_class_is_a_logit_and_the_json_describes_the_input(tmp_path):
    path = save_weights(tmp_path, "unet/resnet18", 1, mean=[1, 2, 3], std=[4, 5, 6], input_size=[96, 64])
    source = load_source("smp:unet/resnet18", weights=path)
    described = source.describe(make_set(4, size=(100, 100)))
    assert (described["mean"], described["std"], described["input_size"]) == ([1, 2, 3], [4, 5, 6], [96, 64])
    assert described["output"] == "object_logit"
    assert source(make_set(4), np.arange(2)).classes is None


def test_class_names_are_read_from_the_json_or_are_numbers(tmp_path):
    path = save_weights(tmp_path, "unet/resnet18", 3, classes=["ground", "cat", "dog"])
    assert load_source("smp:unet/resnet18", weights=path, classes=["dog"]).classes == ("cat", "dog")
    path.with_suffix(".json").unlink()
    source = load_source("smp:unet/resnet18", weights=path, classes=["2"], input_size="64")
    assert set(np.unique(source(make_set(4), np.arange(2)).classes)) <= {0, 2}
    assert source.describe(make_set(4))["mean"] == list(IMAGENET_MEAN)


def test_a_size_unsupported_by_the_encoder_is_a_one_line_error(tmp_path):
    name, path = "smp:unetplusplus/resnet18", save_weights(tmp_path, "unetplusplus/resnet18", 2)
    with pytest.raises(MaskError, match="the input size must be a multiple of 32, got 50; use 64"):
        load_source(name, weights=path, input_size="50")
    source = load_source(name, weights=path, input_size="own")
    with pytest.raises(
        MaskError, match=r"the network does not accept images of 10x14 pixels \(.*\); choose another --input-size"
    ):
        source(make_set(4), np.arange(2))
    small = load_source("smp:unet/resnet18", weights=save_weights(tmp_path, "unet/resnet18", 2), input_size="50")
    assert small(make_set(4), np.arange(2)).object.shape == (2, 50, 50)


@pytest.mark.parametrize("size", [256, 320])
def test_small_images_are_enlarged_to_a_size_that_the_encoder_supports(tmp_path, size):
    path = save_weights(tmp_path, "unetplusplus/resnet18", 2, input_size=[size, size])
    source = load_source("smp:unetplusplus/resnet18", weights=path)
    assert source.describe(make_set(4))["input_size"] == [256, 256]
    assert source.describe(make_set(4, size=(100, 140)))["input_size"] == [size, size]


def test_a_transformer_with_a_fixed_size_receives_that_size(tmp_path):
    name = "dpt/tu-vit_tiny_patch16_224"
    path = save_weights(tmp_path, name, 2)
    source = load_source(f"smp:{name}", weights=path)
    assert source(make_set(4), np.arange(1)).object.shape == (1, 224, 224)
    with pytest.raises(MaskError, match=r"the network only accepts images of 224x224 pixels, got 256"):
        load_source(f"smp:{name}", weights=path, input_size="256")


@pytest.mark.parametrize(
    ("encoder", "published"),
    [
        *(("resnet18", "resnet18"), ("vgg11", "vgg11"), ("efficientnet-b0", "tf_efficientnet_b0")),
        *(("densenet121", "densenet121"), ("dpn68", "dpn68"), ("dpn131", "dpn131"), ("senet154", "legacy_senet154")),
        *(("xception", "legacy_xception"), ("inceptionv4", "inception_v4")),
        *(("inceptionresnetv2", "inception_resnet_v2"), ("mobilenet_v2", "mobilenetv2_100")),
        *(("timm-efficientnet-b0", "tf_efficientnet_b0"), ("timm-tf_efficientnet_lite0", "tf_efficientnet_lite0")),
        *(("tu-resnet18", "resnet18"), ("tu-vit_tiny_patch16_224", "vit_tiny_patch16_224")),
    ],
)
def test_images_are_normalised_as_in_timm_for_the_same_weights(encoder, published):
    settings = timm.get_pretrained_cfg(published)
    mean, std, own = encoder_preprocessing(encoder)
    assert [*mean, *std] == pytest.approx([255 * number for number in (*settings.mean, *settings.std)])
    assert own == ((224, 224) if "vit" in encoder else None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smp:unett/resnet18", 'smp architecture: expected a known name, got "unett"; did you mean "unet'),
        ("smp:unet/resnet19", 'smp encoder: expected a known name, got "resnet19"; did you mean "resnet1'),
        ("smp:unet", "smp encoder: expected a known name"),
        (
            "smp:unet/resnet18",
            "weights: smp:unet/resnet18 has no published weights; pass a weights file with --weights",
        ),
    ],
)
def test_unknown_names_and_missing_weights_are_refused(name, message):
    with pytest.raises(OptionError, match=message):
        load_source(name)


def test_weights_of_another_network_are_one_line_errors(tmp_path):
    path = save_weights(tmp_path, "unet/resnet18", 2)
    with pytest.raises(MaskError, match=r"weights: .* does not contain the weights of pspnet/resnet18 \("):
        load_source("smp:pspnet/resnet18", weights=path)
    for content in (b"", b"none", path.read_bytes()[:-200]):
        path.write_bytes(content)
        with pytest.raises(MaskError, match=r"weights: .* does not contain the weights of unet/resnet18 \("):
            load_source("smp:unet/resnet18", weights=path)
    with pytest.raises(MaskError, match=r"weights: .*none\.pth cannot be used \(No such file"):
        load_source("smp:unet/resnet18", weights=tmp_path / "none.pth")


@pytest.mark.parametrize("facts", [{"mean": [1]}, {"std": [0, 1, 1]}, {"input_size": "large"}, {"classes": 3}])
def test_a_contradictory_json_file_is_named(tmp_path, facts):
    path = save_weights(tmp_path, "unet/resnet18", 2, **facts)
    with pytest.raises(MaskError, match=r"weights\.json: expected JSON with mean, std, input_size or classes, got "):
        load_source("smp:unet/resnet18", weights=path)
