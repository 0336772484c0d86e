"""Test a network as a source: its input, object classes, mirrored images and sizes, with networks that can be computed by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from smix import load_data
from smix.errors import MaskError, OptionError
from smix.masks.sources.network import Network, NetworkCard, NetworkSource, auto_size
from smix.masks.sources.reading import Instances
from tests.conftest import make_set

# A network whose K scores are red, green and blue of the pixels, and a background of 100.


def colours(output: str = "class_scores", **changes) -> Network:
    def forward(images: torch.Tensor) -> torch.Tensor:
        scores = torch.cat([torch.full_like(images[:, :1], 100.0), images], 1) / 10
        return scores if output == "class_scores" else scores[:, 1:2] - 10

    given = {"classes": ("background", "red", "green", "blue"), **changes}
    card = NetworkCard(input_size=(24, 24), mean=(0.0,) * 3, std=(1.0,) * 3, output=output, **given)
    return Network("colours", "0", forward, card)


def paint_columns(data):
    data.images[..., :3, :] = (200, 0, 0)
    data.images[..., 3:6, :] = (0, 210, 0)
    data.images[..., 6:, :] = 0
    return data


def classes_of_columns(source: NetworkSource, data) -> list[list[int]]:
    found = source(data, np.arange(4))
    assert (found.classes == found.classes[:, :1]).all()
    return found.classes[:, 0].tolist()


def test_chosen_classes_are_objects_and_object_classes_choose_for_each_label():
    data = paint_columns(make_set(8))
    every, red, green, none = [1] * 3 + [2] * 3 + [0] * 8, [1] * 3 + [0] * 11, [0] * 3 + [2] * 3 + [0] * 8, [0] * 14
    assert classes_of_columns(NetworkSource(colours(), "own"), data) == [every] * 4
    assert classes_of_columns(NetworkSource(colours(), "own", keep=("green",)), data) == [green] * 4
    choice = {"class 0": ["red"], "class 1": ["green", "blue"], "class 2": None, "class 3": []}
    assert classes_of_columns(NetworkSource(colours(), "own", object_classes=choice), data) == [red, green, every, none]
    assert classes_of_columns(NetworkSource(colours(), "own", keep=("green",), object_classes=choice), data) == [
        none,
        green,
        green,
        none,
    ]
    object_of_red = NetworkSource(colours(), "own", keep=("red",))(data, np.arange(1)).object[0, 0]
    assert object_of_red[0] > 0.99
    assert object_of_red[4] < 0.01


def test_classes_without_names_are_numbers():
    data = paint_columns(make_set(8))
    assert (
        classes_of_columns(NetworkSource(colours(classes=()), "own", keep=("2",)), data)[0]
        == [0] * 3 + [2] * 3 + [0] * 8
    )
    with pytest.raises(OptionError, match='expected a known name, got "4"'):
        classes_of_columns(NetworkSource(colours(classes=()), "own", keep=("4",)), data)


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (colours(), {"keep": ("gren",)}, 'classes: expected a known name, got "gren"; did you mean "green"'),
        (colours(), {"object_classes": {"a": ["rde"]}}, 'classes: expected a known name, got "rde"'),
        (colours("object_logit"), {"keep": ("red",)}, "the network has no classes; omit the classes red"),
        (
            colours(background=None),
            {},
            "the network has no background class; list the classes that are objects with --classes",
        ),
    ],
)
def test_classes_that_a_network_does_not_have_are_refused_at_once(network, options, message):
    with pytest.raises((OptionError, MaskError), match=message):
        NetworkSource(network, **options)


def test_object_classes_without_a_label_of_the_data_are_refused():
    with pytest.raises(MaskError, match=r"object-classes: the file has no entry for class class 1 of made"):
        NetworkSource(colours(), "own", object_classes={"class 0": None})(make_set(8), np.arange(4))


@pytest.mark.parametrize("output", ["class_scores", "object_logit"])
def test_hflip_tta_averages_an_image_and_its_mirror_image(output):
    """The network sees only the left half."""
    plain = colours(output)

    def left(images: torch.Tensor) -> torch.Tensor:
        seen = images.clone()
        seen[..., 7:] = 0
        return plain.forward(seen)

    half = replace(plain, forward=left)
    data = make_set(8)
    data.images[:] = (115, 0, 0)
    one = NetworkSource(half, "own")(data, np.arange(2))
    both = NetworkSource(half, "own", hflip_tta=True)(data, np.arange(2))
    assert torch.allclose(both.object, (one.object + one.object.flip(-1)) / 2, atol=1e-6)
    assert NetworkSource(half, "own", hflip_tta=True).describe(data)["hflip_tta"] is True


@pytest.mark.parametrize(
    ("native", "size", "expected"),
    [
        ((513, 513), (32, 32), (257, 257)),
        ((513, 513), (64, 64), (257, 257)),
        ((320, 320), (64, 48), (257, 257)),
        ((257, 257), (32, 32), (257, 257)),
        ((160, 160), (32, 32), (160, 160)),
        ((513, 513), (65, 64), (513, 513)),
        ((513, 513), None, (513, 513)),
    ],
)
def test_auto_resizes_small_images_to_257_and_others_to_the_size_of_the_network(native, size, expected):
    assert auto_size(native, size) == expected


@pytest.mark.parametrize(
    ("native", "size", "expected"),
    [
        ((320, 320), (32, 32), (256, 256)),
        ((256, 192), (32, 32), (256, 192)),
        ((500, 520), None, (480, 512)),
        ((20, 40), (32, 32), (32, 32)),
    ],
)
def test_auto_is_a_multiple_of_the_stride(native, size, expected):
    assert auto_size(native, size, 32) == expected


def test_a_size_that_is_not_a_multiple_of_the_stride_is_refused_at_once():
    NetworkSource(colours(stride=8), "24")
    with pytest.raises(MaskError, match="colours: the input size must be a multiple of 8, got 25; use 32"):
        NetworkSource(colours(stride=8), "25")


def test_a_wrong_number_of_class_names_is_refused():
    source = NetworkSource(colours(classes=("background", "red")), "own")
    with pytest.raises(MaskError, match="colours: expected the names of 4 classes, got 2; correct the description"):
        source(make_set(8), np.arange(2))


def test_hflip_tta_averages_instances():
    """The network finds a cat with confidence 1/2 if the left half is red."""

    def forward(images: torch.Tensor) -> list[Instances]:
        found = []
        for image in images:
            mask = torch.full((1, 10, 14), -torch.inf)
            mask[0, :, :7] = torch.where(image[0, :, :7] > 100, 1.0, -torch.inf)
            found.append(Instances(mask, torch.tensor([1]), torch.tensor([0.75])))
        return found

    options = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "output": "instances", "classes": ("ground", "cat")}
    network = Network("cat", "0", forward, NetworkCard(input_size=(24, 24), **options))
    data = make_set(8)
    data.images[:] = 0
    data.images[:, :, 2:12, 0] = 200
    data.images[1, :, 7:, 0] = 0
    half = torch.tensor(1.0).sigmoid().item() / 2
    found = NetworkSource(network, "own", hflip_tta=True)(data, np.arange(2))
    assert found.object[0, 0].tolist() == pytest.approx([0] * 2 + [half] * 10 + [0] * 2)
    assert found.object[1, 0].tolist() == pytest.approx([0] * 2 + [half] * 5 + [0] * 7)
    assert not NetworkSource(network, "own", hflip_tta=True, score_threshold=0.8)(data, np.arange(2)).object.any()


def test_files_of_different_sizes_are_resized_to_one_size_and_refused_at_their_own(tmp_path):
    for number, size in enumerate([(12, 20), (30, 16)]):
        path = tmp_path / "images/train/a" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((*size, 3), np.uint8)
        pixels[: size[0] // 2, :, number] = 230
        Image.fromarray(pixels).save(path)
    (tmp_path / "images/test").mkdir()
    data = load_data(f"folder:{tmp_path / 'images'}")
    assert data.size is None
    found = NetworkSource(colours(), "24")(data, np.arange(2))
    for image, number in ((0, 1), (1, 2)):
        assert (found.classes[image, :11] == number).all()
        assert (found.classes[image, 13:] == 0).all()
    assert NetworkSource(colours()).describe(data)["input_size"] == [24, 24]
    with pytest.raises(MaskError, match="--input-size own needs images of one size"):
        NetworkSource(colours(), "own").describe(data)
    with pytest.raises(MaskError, match="--input-size own needs images of one size"):
        NetworkSource(colours(), "own")(data, np.arange(1))


@pytest.mark.parametrize("hflip_tta", [False, True])
@pytest.mark.parametrize("output", ["class_scores", "object_logit"])
def test_output_at_half_resolution_is_enlarged_to_the_input(output, hflip_tta):
    def forward(images: torch.Tensor) -> torch.Tensor:
        half = torch.nn.functional.avg_pool2d(images[:, :1], 2) / 50
        return half if output == "object_logit" else torch.cat([torch.zeros_like(half), half], 1)

    card = NetworkCard(input_size=(24, 24), mean=(100.0,) * 3, std=(1.0,) * 3, output=output)
    network = Network("half", "0", forward, card)
    data = make_set(8)
    found = NetworkSource(network, "own", hflip_tta)(data, np.arange(3))
    halves = torch.from_numpy(data.array[:3, ..., 0]).float().unflatten(1, (5, 2)).unflatten(3, (7, 2)).mean((2, 4))
    expected = torch.nn.functional.interpolate((halves[:, None] - 100) / 50, (10, 14), mode="bilinear")[:, 0].sigmoid()
    assert torch.allclose(found.object, expected, atol=1e-5)
    assert torch.equal(found.mask(), expected > 0.5)
