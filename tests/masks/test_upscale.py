"""Test super-resolution before segmentation, with a tiny ESRGAN of random weights."""

import numpy as np
import pytest
import safetensors.torch
import torch
from spandrel.architectures import ESRGAN

from smix.errors import MaskError, OptionError
from smix.files import sha256
from smix.masks import load_source
from smix.masks.sources.upscale import Upscaler, load_upscaler
from tests.conftest import make_set
from tests.masks.networks import write_channels

CPU = torch.device("cpu")


def network() -> torch.nn.Module:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return ESRGAN.ESRGAN(num_filters=8, num_blocks=1, scale=4).eval()


@pytest.fixture(params=[".pth", ".safetensors"])
def weights(request, tmp_path):
    path = tmp_path / f"esrgan{request.param}"
    state = network().state_dict()
    torch.save(state, path) if request.param == ".pth" else safetensors.torch.save_file(state, path)
    return path


def test_the_network_enlarges_images_with_values_from_0_to_255(weights):
    larger = load_upscaler(f"esrgan:{weights}", CPU)
    images = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(0)) * 255
    with torch.inference_mode():
        expected = network()(images / 255) * 255
        got = larger(images)
    assert got.shape == (2, 3, 32, 48)
    assert torch.allclose(got, expected.clamp(0, 255), atol=1e-2)
    assert larger.describe() == {"name": f"esrgan:{weights.name}", "sha256": sha256(weights), "scale": 4}


def test_values_outside_0_to_255_are_clipped():
    larger = Upscaler("line", "0", 1, lambda images: 2 * images - 0.5)
    images = torch.tensor([0.0, 51.0, 102.0, 255.0]).view(1, 1, 1, 4).expand(1, 3, 1, 4)
    assert larger(images)[0, 0, 0].tolist() == pytest.approx([0, 0, 76.5, 255], abs=1e-4)


def test_a_source_upscales_before_it_resizes(weights, tmp_path):
    data = make_set(4)
    path = write_channels(tmp_path)
    plain = load_source(f"onnx:{path}", input_size="own")
    source = load_source(f"onnx:{path}", input_size="own", upscale=f"esrgan:{weights}")
    assert source(data, np.arange(2)).object.shape == (2, 40, 56)
    assert plain(data, np.arange(2)).object.shape == (2, 10, 14)
    assert load_source(f"onnx:{path}", upscale=f"esrgan:{weights}")(data, np.arange(2)).object.shape == (2, 24, 36)
    assert source.describe(data)["upscale"]["scale"] == 4


@pytest.mark.parametrize("text", ["esrgan", "esrgan:", "waifu:file", ""])
def test_an_unknown_upscaling_method_is_refused(text):
    with pytest.raises(OptionError, match=r"upscale: expected a known name"):
        load_upscaler(text, CPU)


def test_a_missing_file_or_one_without_a_network_is_a_one_line_error(tmp_path):
    with pytest.raises(MaskError, match=r"upscale: there is no file .*none\.pth"):
        load_upscaler(f"esrgan:{tmp_path / 'none.pth'}", CPU)
    for content in (b"", b"none"):
        (tmp_path / "bad.pth").write_bytes(content)
        with pytest.raises(MaskError, match=r"upscale: expected a super-resolution network in .*bad\.pth, got "):
            load_upscaler(f"esrgan:{tmp_path / 'bad.pth'}", CPU)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(MaskError, match=r"upscale: expected a super-resolution network in .*other\.pth, got "):
        load_upscaler(f"esrgan:{tmp_path / 'other.pth'}", CPU)
