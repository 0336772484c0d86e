"""Test the segmenter: shapes, fusing, its score, and its files."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from smix.errors import MaskError
from smix.files import sha256
from smix.models.segmenter import STATISTICS, ScoreModel, Segmenter, fuse, map_statistics, normalise
from smix.models.segmenter_file import BUILTIN, load_segmenter, save_segmenter

NO_SCORE = ScoreModel(torch.zeros(STATISTICS), torch.tensor(0.0))


def small(seed: int = 0) -> Segmenter:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = Segmenter((8, 8, 16, 16), (1, 1, 0, 1))
        images = torch.rand(8, 3, 32, 32) * 255
    for _ in range(3):  # statistics of batch normalisation that are not 0 and 1
        model(normalise(images))
    return model.eval()


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def disc(radius: float) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    return ((y - 15.5) ** 2 + (x - 15.5) ** 2 < radius**2).float()


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (24, 96)])
def test_logits_have_the_size_of_the_images(size):
    output = small().all_stages(noise(2, 3, *size))
    assert [tuple(logits.shape) for logits in output.logits] == [
        (2, 1, size[0] >> stage, size[1] >> stage) for stage in range(3)
    ]
    assert [features.shape[1] for features in output.features] == [8, 8, 16, 16]


def test_training_and_inference_share_the_finest_logits():
    model, images = small(), noise(2, 3, 32, 32)
    torch.testing.assert_close(model(images), model.all_stages(images).logits[0])


def test_a_fused_network_returns_the_same_logits_and_leaves_the_original_unchanged():
    model, images = small(), noise(2, 3, 32, 32)
    expected = model(images)
    fused = fuse(model)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fused.modules())
    torch.testing.assert_close(fused(images), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(model(images), expected)


def test_the_context_carries_what_one_corner_shows_to_the_opposite_one():
    model, images = small(), torch.zeros(1, 3, 96, 96)
    changed = images.clone()
    changed[..., :8, :8] = 3
    assert (model(images) - model(changed))[..., -8:, -8:].abs().max() > 0


def test_statistics_of_a_certain_disc():
    maps = disc(10)[None, None].expand(2, -1, -1, -1)
    expected_iou, agreement, confidence, coverage, _, uncertain = map_statistics(maps)[0].tolist()
    assert expected_iou == pytest.approx(4.595, abs=1e-3)  # logit of 0.99, the largest value
    assert (agreement, confidence, uncertain) == (1, 1, 0)
    assert coverage == pytest.approx(float(disc(10).mean()))


def test_statistics_fall_where_views_disagree_and_pixels_are_uncertain():
    sure = map_statistics(disc(10)[None, None].expand(2, -1, -1, -1))[0]
    unsure = map_statistics(torch.stack([disc(10), disc(5)])[:, None] * 0.7)[0]
    assert unsure[0] < sure[0]
    assert unsure[1] < 0.5
    assert unsure[5] > 0


def test_the_score_of_an_empty_mask_is_0():
    maps = torch.stack([disc(10), torch.zeros(32, 32)])[None].expand(2, -1, -1, -1)
    assert NO_SCORE(maps).tolist() == [0.5, 0.0]


def test_a_saved_segmenter_is_loaded_with_16_bits(tmp_path):
    model, path = small(), tmp_path / "seg.safetensors"
    save_segmenter(path, model, ScoreModel(torch.arange(float(STATISTICS)), torch.tensor(-2.0)), {"data": "made up"})
    loaded = load_segmenter(path)
    images = noise(2, 3, 32, 32)
    torch.testing.assert_close(loaded.model(images), model(images), atol=0.02, rtol=0.02)
    assert not loaded.model.training
    assert loaded.score.weight.tolist() == list(range(STATISTICS))
    assert loaded.score.bias == -2
    assert loaded.metadata["data"] == "made up"
    assert loaded.sha256 == sha256(path)


def test_the_weights_in_the_package_are_small_and_described():
    assert BUILTIN.stat().st_size <= 2_000_000
    metadata = load_segmenter().metadata
    assert {"data", "data_licence", "command", "settings"} <= set(metadata)
    stages = [json.loads(line) for line in metadata["settings"].splitlines()]
    assert [stage["steps"] for stage in stages] == sorted({stage["steps"] for stage in stages})


def test_the_card_names_the_weights_in_the_package():
    card = (Path(__file__).parents[2] / "docs/segmenter.md").read_text()
    assert f"`{sha256(BUILTIN)}`" in card
    assert f"{BUILTIN.stat().st_size:,} bytes" in card


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(MaskError, match="got none; check the path"):
        load_segmenter(tmp_path / "none.safetensors")


@pytest.mark.parametrize("content", [b"", b"no weights", b"\0" * 100])
def test_a_file_of_another_kind_is_one_line(tmp_path, content):
    path = tmp_path / "seg.safetensors"
    path.write_bytes(content)
    with pytest.raises(
        MaskError, match=r"expected a segmenter of smix in .*; give a file that was fitted with smix"
    ) as caught:
        load_segmenter(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {}},
        {"metadata": {"format": "smix-segmenter-1"}},
        {"metadata": {"widths": "[8, 8]"}},
        {"metadata": {"widths": '"wide"'}},
        {"state": {"score.weight": torch.zeros(3)}},
        {"state": {"encoder.0.0.0.weight": torch.zeros(1, 3, 3, 3)}},
        {"state": {"unknown": torch.zeros(1)}},
        {"without": "lateral.0.weight"},
        {"without": "score.bias"},
    ],
    ids=str,
)
def test_weights_of_another_network_are_one_line(tmp_path, change):
    path = tmp_path / "seg.safetensors"
    save_segmenter(path, small(), NO_SCORE, {})
    loaded = load_segmenter(path)
    state = {name: value for name, value in small().state_dict().items() if "num_batches" not in name}
    state |= {"score.weight": NO_SCORE.weight, "score.bias": NO_SCORE.bias} | change.get("state", {})
    state.pop(change.get("without", ""), None)
    metadata = change["metadata"] if change.get("metadata") == {} else {**loaded.metadata, **change.get("metadata", {})}
    if "metadata" in change and "widths" not in change["metadata"]:
        metadata.pop("widths", None)
    save_file(state, path, metadata)
    with pytest.raises(MaskError, match="expected a segmenter of smix"):
        load_segmenter(path)
