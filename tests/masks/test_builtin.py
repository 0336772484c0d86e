"""Test the network that comes with smix as a source: any size, grey images, its score, and its masks of sample photographs."""

import json
import socket
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as samples

from smix.data import load_data
from smix.data.sets import ImageSet
from smix.errors import MaskError, OptionError
from smix.masks import MaskStore, build_masks, load_source
from smix.masks.sources import Source
from smix.masks.sources.builtin import segmenter_source
from smix.models.segmenter_file import BUILTIN
from tests.conftest import make_set


def as_set(images: np.ndarray) -> ImageSet:
    return ImageSet(images, np.zeros(len(images), np.int64), ("object",), name="made", split="train")


def coffee(side: int) -> np.ndarray:
    """A cup of coffee on its saucer."""
    crop = Image.fromarray(samples.coffee()).crop((100, 0, 500, 400))
    return np.asarray(crop.resize((side, side), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("size", [(28, 28), (32, 32), (30, 45), (64, 64), (96, 96), (3, 5), (160, 107), (1, 300)])
@pytest.mark.parametrize("channels", [1, 3])
def test_masks_have_the_size_of_the_images(size, channels):
    images = np.random.default_rng(0).integers(0, 256, (3, *size, channels), np.uint8)
    found = load_source("builtin")(as_set(images), np.array([2, 0]))
    assert found.object.shape == (2, *size)
    assert ((found.object >= 0) & (found.object <= 1)).all()
    assert found.score.shape == (2,)
    assert ((found.score >= 0) & (found.score <= 1)).all()


def test_a_mask_does_not_depend_on_the_other_images_of_its_batch():
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)
    source, data = load_source("builtin", device="cpu"), as_set(images)
    together, alone = source(data, np.arange(20)), source(data, np.array([7]))
    torch.testing.assert_close(together.object[7:8], alone.object, atol=0.05, rtol=0)


def test_two_builds_are_equal(tmp_path):
    data = make_set(masks=False)
    stores = [build_masks(data, load_source("builtin"), tmp_path / name) for name in "ab"]
    assert np.array_equal(stores[0][:], stores[1][:])
    assert np.array_equal(stores[0].scores, stores[1].scores)


def test_a_grey_image_is_segmented_like_one_of_three_equal_channels():
    grey = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1), np.uint8)
    source = load_source("builtin")
    of_grey, of_colour = (source(as_set(images), np.arange(2)) for images in (grey, np.repeat(grey, 3, -1)))
    assert torch.equal(of_grey.object, of_colour.object)


@pytest.mark.parametrize("side", [32, 64, 96, 256])
def test_a_cup_of_coffee_is_found(side):
    """An ellipse stands for the true mask of cup and saucer."""
    found = load_source("builtin")(as_set(coffee(side)[None]), np.arange(1))
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    truth = ((x - 0.45) / 0.42) ** 2 + ((y - 0.5) / 0.42) ** 2 < 1
    mask = found.mask()[0].numpy()
    assert (mask & truth).sum() / (mask | truth).sum() > 0.6


def test_the_digits_on_photographs_are_found():
    data = load_data("digits-on-photos", split="test")
    index = np.arange(0, len(data), 10)
    masks = load_source("builtin")(data, index).mask().numpy()
    # The strokes of a digit are thin, and the photograph behind it has objects, too.
    inside = [masks[place][data.masks[row]].mean() for place, row in enumerate(index)]
    outside = [masks[place][~data.masks[row]].mean() for place, row in enumerate(index)]
    assert np.mean(inside) > 1.3 * np.mean(outside)


def test_the_store_holds_the_score_and_the_manifest_its_meaning(tmp_path):
    data, source = make_set(masks=False), load_source("builtin")
    store = build_masks(data, source, tmp_path)
    expected = source(data, np.arange(len(data))).score.numpy()
    assert np.allclose(store.scores, expected, atol=1e-3)
    assert store.manifest.source["score"] == "probability that the mask has an IoU over 0.5 with the main object"
    assert json.loads((tmp_path / "manifest.json").read_text())["source"]["name"] == "builtin"


def test_photographs_of_different_sizes_get_masks_of_one_size(tmp_path):
    for number, size in enumerate([(40, 30), (300, 200), (64, 64)]):
        folder = tmp_path / "data" / "train" / "cup"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coffee(300)).resize(size).save(folder / f"{number}.png")
    store = build_masks(load_data(f"folder:{tmp_path / 'data'}"), load_source("builtin"), tmp_path / "masks")
    assert store.shape == (224, 224)
    assert store.coverage.min() > 0.05


def test_volumes_are_refused_with_advice():
    volumes = replace(make_set(3, masks=False), images=np.zeros((3, 8, 8, 8, 1), np.uint8), fingerprint="")
    with pytest.raises(MaskError, match=r"expected images with 2 spatial dimensions.*give another source"):
        load_source("builtin")(volumes, np.arange(3))


@pytest.mark.parametrize(
    "options", [{"input_size": "64"}, {"weights": "x.pth"}, {"classes": ("cat",)}, {"hflip_tta": True}]
)
def test_options_of_other_networks_are_refused(options):
    with pytest.raises(OptionError, match="the source builtin has no such option; omit --"):
        load_source("builtin", **options)


@pytest.mark.parametrize("name", ["builtin:x", "built-in"])
def test_names_that_are_almost_right_are_refused(name):
    with pytest.raises(OptionError, match="builtin"):
        load_source(name)


def test_a_file_with_the_same_weights_returns_the_same_masks(tmp_path):
    path = tmp_path / "seg.safetensors"
    path.write_bytes(BUILTIN.read_bytes())
    data, index = make_set(masks=False), np.arange(8)
    copied = segmenter_source(path, torch.device("cpu"))
    assert isinstance(copied, Source)
    assert copied.describe(data)["name"] == "segmenter:seg.safetensors"
    assert torch.equal(copied(data, index).object, load_source("builtin", device="cpu")(data, index).object)


def test_data_without_masks_need_no_source_and_no_network(smix, tmp_path, monkeypatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("offline")

    monkeypatch.setattr(socket, "socket", refuse)
    data = make_set(masks=False)
    np.savez(tmp_path / "d.npz", x_train=data.images, y_train=data.labels, x_test=data.images, y_test=data.labels)
    code, out, _ = smix("masks", "build", "--data", f"npz:{tmp_path / 'd.npz'}", "--out", tmp_path / "s", "--quiet")
    assert code == 0, out
    store = MaskStore(tmp_path / "s")
    assert store.manifest.source["name"] == "builtin"
    assert store.manifest.refine["name"] == "default"


def test_masks_that_the_data_carry_are_the_default(smix, tmp_path):
    words = ["masks", "build", "--data", "digits-on-photos", "--limit", "20", "--quiet"]
    assert smix(*words, "--out", tmp_path / "s")[0] == 0
    store = MaskStore(tmp_path / "s")
    assert store.manifest.source["name"] == "carried"
    assert store.manifest.refine["name"] == "none"
