"""Test networks in ONNX files: their input, their output, and invalid files."""

import json
import sys
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks import build_masks, load_source
from smix.masks.sources.network import Network, NetworkCard, NetworkSource
from smix.masks.sources.onnx import onnx_network
from tests.conftest import make_set
from tests.masks.networks import MEAN, STD, write_channels, write_network


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def channel_scores(images: np.ndarray) -> np.ndarray:
    """Return the output of the network of `write_channels` in float64: (B, 4, H, W)."""
    normal = (images.astype(float) - MEAN) / STD
    return np.concatenate([np.full_like(normal[..., :1], 0.25), normal], -1).transpose(0, 3, 1, 2)


@pytest.fixture
def data() -> ImageSet:
    return make_set()


def test_input_is_normalised_rgb_on_0_to_255_and_class_scores_are_read(tmp_path, data):
    index = np.array([3, 0, 17])
    found = load_source(f"onnx:{write_channels(tmp_path)}", input_size="own")(data, index)
    scores = channel_scores(data.images[index])
    assert np.array_equal(found.classes, scores.argmax(1))
    assert set(np.unique(found.classes)) == {0, 1, 2, 3}
    assert np.allclose(found.object, 1 - softmax(scores)[:, 0], atol=1e-5)
    assert torch.equal(found.mask(), found.classes != 0)


def test_an_object_logit_is_read_as_a_probability(tmp_path, data):
    weight, bias = np.array([[0.5, -0.25, 0.01]]), np.array([0.125])
    path = write_network(tmp_path, weight, bias, facts={"output": "object_logit", "background": None})
    found = load_source(f"onnx:{path}", input_size="own")(data, np.arange(5))
    logits = ((data.images[:5].astype(float) - MEAN) / STD) @ weight[0] + bias
    assert found.classes is None
    assert np.allclose(found.object, 1 / (1 + np.exp(-logits)), atol=1e-5)
    assert np.array_equal(found.mask(), found.object > 0.5)
    assert 0 < found.mask().float().mean() < 1


@pytest.mark.parametrize("background", [0, 1, 3])
def test_the_background_becomes_class_0_and_object_classes_stay_separate(tmp_path, data, background):
    path = write_channels(tmp_path, facts={"background": background})
    found = load_source(f"onnx:{path}", input_size="own")(data, np.arange(8))
    scores = channel_scores(data.images[:8])
    theirs = scores.argmax(1)
    assert np.array_equal(found.classes == 0, theirs == background)
    assert np.allclose(found.object, 1 - softmax(scores)[:, background], atol=1e-5)
    pairs = {(int(a), int(b)) for a, b in zip(theirs.ravel(), found.classes.ravel(), strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@pytest.mark.parametrize(("asked", "size"), [(None, (24, 36)), ("17", (17, 17)), ("own", (10, 14))])
def test_images_are_resized_to_the_requested_size(tmp_path, data, asked, size):
    source = load_source(f"onnx:{write_channels(tmp_path)}", input_size=asked)
    found = source(data, np.arange(2))
    assert tuple(found.object.shape) == (2, *size)
    assert source.describe(make_set(4))["input_size"] == ("own" if asked == "own" else list(size))


def test_resizing_is_bicubic_antialiased_and_clamped_before_normalising(tmp_path, data):
    """Both directions at once, as by Pillow: height 10 to 24, width 36 to 14."""
    wide = ImageSet(
        np.random.default_rng(0).integers(0, 256, (3, 10, 72, 3)).astype(np.uint8),
        data.labels[:3],
        data.classes,
        name="wide",
        split="train",
    )
    weight = np.array([[0.02, 0, 0]])
    path = write_network(tmp_path, weight, np.zeros(1), facts={"output": "object_logit"})
    found = load_source(f"onnx:{path}")(wide, np.arange(3)).object
    for image, got in zip(wide.images, found, strict=True):
        red = Image.fromarray(image[..., 0].astype(np.float32)).resize((36, 24), Image.Resampling.BICUBIC)
        logits = 0.02 * (np.asarray(red).clip(0, 255) - MEAN[0]) / STD[0]
        assert np.allclose(got, 1 / (1 + np.exp(-logits)), atol=1e-5)


def test_grey_images_are_repeated_to_three_channels(tmp_path, data):
    grey = ImageSet(data.images[..., :1], data.labels, data.classes, name="grey", split="train")
    path = write_channels(tmp_path)
    found = load_source(f"onnx:{path}", input_size="own")(grey, np.arange(4))
    assert np.array_equal(found.classes, channel_scores(grey.images[:4].repeat(3, -1)).argmax(1))


def test_signals_and_volumes_are_refused(tmp_path):
    volumes = ImageSet(
        np.zeros((3, 4, 5, 6, 1), np.uint8), np.zeros(3, np.int64), ("a",), name="volumes", split="train"
    )
    with pytest.raises(
        MaskError,
        match=r"onnx:tiny\.onnx: expected images with 2 spatial dimensions, but those of .* have size \(4, 5, 6\)",
    ):
        load_source(f"onnx:{write_channels(tmp_path)}")(volumes, np.arange(2))


def test_another_input_size_requires_any_size_in_the_json(tmp_path):
    path = write_channels(tmp_path, size=(24, 36), facts={"any_size": None})
    load_source(f"onnx:{path}")
    for asked in ("17", "own"):
        message = rf"the network only accepts images of 24x36 pixels, got {asked}; omit --input-size"
        with pytest.raises(MaskError, match=message):
            load_source(f"onnx:{path}", input_size=asked)


def test_a_network_that_fails_at_a_size_that_its_json_allows_is_a_one_line_error(tmp_path, data):
    source = load_source(f"onnx:{write_channels(tmp_path, size=(24, 36))}", input_size="17")
    with pytest.raises(
        MaskError,
        match=r"the network does not accept images of 17x17 pixels \(.*Expected: 24.*\); correct tiny\.json",
    ):
        source(data, np.arange(2))


@pytest.mark.parametrize("text", ["0", "1", "15", "-3", "small", "1.5", "²"])
def test_an_invalid_input_size_is_refused(tmp_path, text):
    with pytest.raises(MaskError, match=rf'input-size: expected 16 pixels or more, "own" .* or "auto", got "{text}"'):
        load_source(f"onnx:{write_channels(tmp_path)}", input_size=text)


@pytest.mark.parametrize(
    "facts",
    [
        {"input_size": None},
        {"input_size": 24},
        {"input_size": [24]},
        {"input_size": ["a", "b"]},
        {"input_size": [0, 36]},
        {"mean": None},
        {"mean": [1, 2]},
        {"mean": "grey"},
        {"std": None},
        {"std": [1, 2, 3, 4]},
        {"std": [1, 0, 1]},
        {"output": None},
        {"output": "boxes"},
        {"background": "sky"},
    ],
    ids=str,
)
def test_an_incomplete_json_file_is_named(tmp_path, facts):
    path = write_channels(tmp_path, facts=facts)
    with pytest.raises(MaskError, match=r"tiny\.json: expected .*, got .*"):
        load_source(f"onnx:{path}")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '{"input_size": [24, 36]'])
def test_an_invalid_json_file_is_named(tmp_path, text):
    path = write_channels(tmp_path)
    (tmp_path / "tiny.json").write_text(text)
    with pytest.raises(MaskError, match=r"tiny\.json: expected JSON with input_size, mean, std and output"):
        load_source(f"onnx:{path}")


@pytest.mark.parametrize("missing", ["tiny.onnx", "tiny.json"])
def test_a_missing_file_is_named(tmp_path, missing):
    path = write_channels(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(
        MaskError, match=rf"{missing} is missing; put tiny\.onnx and its description tiny\.json into the same folder"
    ):
        load_source(f"onnx:{path}")


@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[:-40], lambda whole: b"no network"])
def test_a_broken_network_is_a_one_line_error(tmp_path, damage):
    path = write_channels(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        MaskError, match=r"tiny\.onnx: the ONNX network cannot be loaded \(.*\); copy or export it again"
    ) as caught:
        load_source(f"onnx:{path}")
    assert "\n" not in str(caught.value)


def test_an_unknown_background_class_is_a_one_line_error(tmp_path, data):
    source = load_source(f"onnx:{write_channels(tmp_path, facts={'background': 4})}")
    with pytest.raises(
        MaskError, match=r"expected class_scores \(2, 2 classes or more, background 4, h, w\), got .*\(2, 4, 24, 36\)"
    ):
        source(data, np.arange(2))


@pytest.mark.parametrize(
    ("output", "scores"),
    [
        ("class_scores", torch.zeros(2, 1, 8, 8)),
        ("class_scores", torch.zeros(2, 8, 8)),
        ("class_scores", torch.zeros(2, 5, 8, 8, dtype=torch.int64)),
        ("class_scores", torch.zeros(1, 5, 8, 8)),
        ("object_logit", torch.zeros(2, 3, 8, 8)),
    ],
)
def test_output_that_contradicts_the_json_is_a_one_line_error_and_not_a_store_of_empty_masks(data, output, scores):
    card = NetworkCard(input_size=(8, 8), mean=(0.0,) * 3, std=(1.0,) * 3, output=output)
    network = Network("net", "0", lambda images: scores, card)
    source = NetworkSource(network, "own")
    with pytest.raises(MaskError, match=rf"net: expected {output} .*, got torch\..*; correct the description"):
        source(data, np.arange(2))


def test_channels_last_input_is_refused(tmp_path):
    with pytest.raises(MaskError, match="channels: Invalid enum value 'BGR'"):
        load_source(f"onnx:{write_channels(tmp_path, facts={'channels': 'BGR'})}")


@pytest.mark.parametrize("facts", [{"mean": [1, 2, 3]}, {"std": [1, 2, 3]}, {"background": 1}])
def test_masks_with_other_input_or_output_settings_are_not_added_to_a_store(tmp_path, data, facts):
    path = write_channels(tmp_path)
    build_masks(data, load_source(f"onnx:{path}"), tmp_path / "store", limit=4)
    write_channels(tmp_path, facts=facts)
    with pytest.raises(MaskError, match="choose another --out"):
        build_masks(data, load_source(f"onnx:{path}"), tmp_path / "store", limit=8)


def test_without_onnxruntime_the_message_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MaskError, match=r"onnxruntime is not installed; run pip install \'smix\[onnx\]\'"):
        onnx_network(write_channels(tmp_path), torch.device("cpu"))


def test_a_source_describes_its_file_by_its_content(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    first = load_source(f"onnx:{write_channels(one)}").describe(make_set(4))
    assert first["name"] == "onnx:tiny.onnx"
    assert first == load_source(f"onnx:{write_channels(two)}").describe(make_set(4))
    other = write_network(two, np.zeros((4, 3)), np.zeros(4))
    assert load_source(f"onnx:{other}").describe(make_set(4))["sha256"] != first["sha256"]


def test_a_store_contains_the_masks_of_the_network(tmp_path, data):
    source = load_source(f"onnx:{write_channels(tmp_path)}", input_size="own")
    store = build_masks(data, source, tmp_path / "masks", refine="none")
    assert np.array_equal(store[:], channel_scores(data.images).argmax(1) != 0)


def people(shared, count: int):
    """Return photographs of people, and their true masks with values 0, 1, and 255 where unknown."""
    with zipfile.ZipFile(shared / "data/people.zip") as pack:
        names = sorted(name for name in pack.namelist() if name.endswith(".jpg"))
        for name in names[:: len(names) // count][:count]:
            with pack.open(name) as image, pack.open(name.replace("images", "masks").replace("jpg", "png")) as mask:
                yield np.asarray(Image.open(image).convert("RGB")), np.asarray(Image.open(mask))


def test_a_real_network_finds_people(shared, tmp_path):
    """The network of the report's family at its own 257 pixels has a mean IoU of 0.76 over 150 photographs."""
    source = load_source(f"onnx:{shared / 'weights/deeplabv3_mnv2_dm05_voc.onnx'}")
    assert source.describe(make_set(4))["input_size"] == [257, 257]
    found_and_true = []
    for place, (image, truth) in enumerate(people(shared, 12)):
        data = ImageSet(image[None], np.zeros(1, np.int64), ("person",), name="people", split="train")
        mask = build_masks(data, source, tmp_path / str(place))[0][0]
        known = truth != 255
        found_and_true.append((mask[known], truth[known] == 1))
    ious = [(mask & truth).sum() / (mask | truth).sum() for mask, truth in found_and_true]
    assert len(ious) == 12
    assert np.mean(ious) > 0.6


def test_json_files_of_real_networks_are_read(shared):
    networks = sorted((shared / "weights").glob("*.onnx"))
    assert networks
    for path in networks:
        facts = json.loads(path.with_suffix(".json").read_text())
        source = load_source(f"onnx:{path}", input_size="33")
        found = source(make_set(), np.arange(2))
        assert tuple(found.object.shape[:1]) == (2,)
        assert found.object.min() >= 0
        assert found.object.max() <= 1
        assert (found.classes is None) == (facts["output"] == "object_logit")
