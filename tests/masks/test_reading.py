"""How what networks say becomes objects: by hand-computed answers, and against torch's own softmax and arg-max."""

import numpy as np
import pytest
import torch
from PIL import Image

from smix import load_data
from smix.errors import MaskError, OptionError
from smix.masks.sources.network import Network, NetworkSource, auto_size
from smix.masks.sources.reading import Instances, Segmentation, both_ways, class_numbers, read_instances, read_scores
from tests.conftest import make_set


def random_scores(count: int = 3, classes: int = 5, levels: int | None = None) -> torch.Tensor:
    scores = 4 * torch.randn(count, classes, 7, 9, generator=torch.Generator().manual_seed(0))
    return scores if levels is None else (scores * levels / 8).round()


@pytest.mark.parametrize("levels", [None, 1, 3], ids=["no ties", "many ties", "some ties"])
@pytest.mark.parametrize("background", [0, 2, None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_are_read_as_softmax_and_arg_max(levels, background, dtype):
    scores = random_scores(levels=levels).to(dtype)
    keep = torch.tensor([[1, 1, 0, 1, 1], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)
    if background is not None:
        keep[:, background] = False
    found = read_scores(scores, keep, background)
    probabilities, best = scores.float().softmax(1), scores.float().argmax(1)
    for image in range(3):
        inside = keep[image][best[image]]
        assert torch.equal(found.mask()[image], inside)
        assert torch.equal(found.classes[image].long(), torch.where(inside, class_numbers(best, background)[image], 0))
        expected = (probabilities[image] * keep[image][:, None, None]).sum(0)
        assert torch.allclose(found.object[image], expected, atol=1e-5)
    assert levels is None or ((scores == scores.amax(1, keepdim=True)).sum(1) > 1).any()


def test_scores_that_are_not_finite_give_an_object_that_is_not():
    scores = random_scores(2)
    scores[0, 1, 3, 4] = torch.nan
    found = read_scores(scores, torch.ones(2, 5, dtype=torch.bool), None)
    assert not found.object[0].isfinite().all()
    assert found.object[1].isfinite().all()


def instance(rows: tuple[int, int], label: int, score: float, sure: float = 0.9) -> tuple:
    mask = torch.zeros(6, 8)
    mask[rows[0] : rows[1]] = sure
    return mask, label, score


def instances(*found: tuple) -> Instances:
    masks = torch.stack([one[0] for one in found]) if found else torch.zeros(0, 6, 8)
    return Instances(
        masks,
        torch.tensor([one[1] for one in found], dtype=torch.int64),
        torch.tensor([float(one[2]) for one in found]),
    )


def test_instances_of_kept_classes_and_enough_confidence_are_joined():
    one = instances(
        instance((0, 2), 1, 0.9), instance((1, 3), 2, 0.5, 0.95), instance((4, 5), 3, 0.99), instance((5, 6), 1, 0.49)
    )
    keep = torch.tensor([[False, True, True, False], [False, False, True, True]])
    found = read_instances([one, one], keep, 0.5, 0)
    assert found.classes[0, :, 0].tolist() == [1, 2, 2, 0, 0, 0]
    assert found.classes[1, :, 0].tolist() == [0, 2, 2, 0, 3, 0]
    assert found.object[0, :, 0].tolist() == pytest.approx([0.9, 0.95, 0.95, 0, 0, 0])
    none = read_instances([instances(), one], keep, 0.999, 0)
    assert not none.mask().any()
    assert none.object.shape == (2, 6, 8)


def test_an_instance_that_is_unsure_of_a_pixel_does_not_cover_it():
    found = read_instances(
        [instances(instance((0, 2), 0, 0.9, 0.5), instance((2, 3), 0, 0.9, 0.51))],
        torch.ones(1, 1, dtype=torch.bool),
        0.5,
        None,
    )
    assert found.classes[0, :, 0].tolist() == [0, 0, 1, 0, 0, 0]


def test_both_ways_take_the_mean_and_the_surer_class():
    one = Segmentation(torch.tensor([[[0.9, 0.8, 0.4, 0.0]]]), torch.tensor([[[1, 1, 0, 0]]], dtype=torch.uint8))
    mirrored = Segmentation(torch.tensor([[[0.0, 0.9, 0.0, 0.6]]]), torch.tensor([[[0, 2, 0, 2]]], dtype=torch.uint8))
    both = both_ways(one, mirrored)
    assert both.object.tolist() == [[pytest.approx([0.75, 0.4, 0.65, 0.0])]]
    assert both.classes.tolist() == [[[1, 0, 2, 0]]]
    assert both_ways(Segmentation(one.object, None), Segmentation(mirrored.object, None)).mask().tolist() == [
        [[True, False, True, False]]
    ]


# A network whose K scores are the pixels' red, green and blue, and a background of 100.


def colours(output: str = "class_scores", **changes) -> Network:
    def forward(images: torch.Tensor) -> torch.Tensor:
        scores = torch.cat([torch.full_like(images[:, :1], 100.0), images], 1) / 10
        return scores if output == "class_scores" else scores[:, 1:2] - 10

    given = {"classes": ("background", "red", "green", "blue"), **changes}
    return Network("colours", "0", forward, (24, 24), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), output, **given)


def lopsided(data):
    data.images[..., :3, :] = (200, 0, 0)
    data.images[..., 3:6, :] = (0, 210, 0)
    data.images[..., 6:, :] = 0
    return data


def columns(source: NetworkSource, data) -> list[list[int]]:
    found = source(data, np.arange(4))
    assert (found.classes == found.classes[:, :1]).all()
    return found.classes[:, 0].tolist()


def test_chosen_classes_are_objects_and_a_class_map_chooses_for_each_label():
    data = lopsided(make_set(8))
    every, red, green, none = [1] * 3 + [2] * 3 + [0] * 8, [1] * 3 + [0] * 11, [0] * 3 + [2] * 3 + [0] * 8, [0] * 14
    assert columns(NetworkSource(colours(), "own"), data) == [every] * 4
    assert columns(NetworkSource(colours(), "own", keep=("green",)), data) == [green] * 4
    choice = {"class 0": ["red"], "class 1": ["green", "blue"], "class 2": None, "class 3": []}
    assert columns(NetworkSource(colours(), "own", class_map=choice), data) == [red, green, every, none]
    assert columns(NetworkSource(colours(), "own", keep=("green",), class_map=choice), data) == [
        none,
        green,
        green,
        none,
    ]
    object_of_red = NetworkSource(colours(), "own", keep=("red",))(data, np.arange(1)).object[0, 0]
    assert object_of_red[0] > 0.99
    assert object_of_red[4] < 0.01


def test_a_network_that_names_no_classes_has_numbers():
    data = lopsided(make_set(8))
    assert columns(NetworkSource(colours(classes=()), "own", keep=("2",)), data)[0] == [0] * 3 + [2] * 3 + [0] * 8
    with pytest.raises(OptionError, match='expected a known name, got "4"'):
        columns(NetworkSource(colours(classes=()), "own", keep=("4",)), data)


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (colours(), {"keep": ("gren",)}, 'classes: expected a known name, got "gren"; did you mean "green"'),
        (colours(), {"class_map": {"a": ["rde"]}}, 'classes: expected a known name, got "rde"'),
        (colours("object_logit"), {"keep": ("red",)}, "expected a network that knows classes, got classes red"),
        (
            colours(background=None),
            {},
            "expected --classes, the classes that are objects, since it knows no background",
        ),
    ],
)
def test_classes_that_a_network_does_not_have_are_refused_at_once(network, options, message):
    with pytest.raises((OptionError, MaskError), match=message):
        NetworkSource(network, **options)


def test_a_class_map_without_a_label_is_refused():
    with pytest.raises(MaskError, match=r"class-map: expected an entry for each class of made, got none for class 1"):
        NetworkSource(colours(), "own", class_map={"class 0": None})(make_set(8), np.arange(4))


@pytest.mark.parametrize("output", ["class_scores", "object_logit"])
def test_flipping_takes_the_mean_of_an_image_and_its_mirror_image(output):
    """A network that sees the left half only."""
    plain = colours(output)

    def left(images: torch.Tensor) -> torch.Tensor:
        seen = images.clone()
        seen[..., 7:] = 0
        return plain.forward(seen)

    half = Network(**{**{f: getattr(plain, f) for f in plain.__dataclass_fields__}, "forward": left})
    data = make_set(8)
    data.images[:] = (115, 0, 0)
    one = NetworkSource(half, "own")(data, np.arange(2))
    both = NetworkSource(half, "own", flip=True)(data, np.arange(2))
    assert torch.allclose(both.object, (one.object + one.object.flip(-1)) / 2, atol=1e-6)
    assert NetworkSource(half, "own", flip=True).describe(data)["flip"] is True


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
def test_auto_enlarges_small_images_to_257_and_others_to_the_networks_size(native, size, expected):
    assert auto_size(native, size) == expected


def test_files_of_different_sizes_are_fed_at_one_size_and_refused_at_their_own(tmp_path):
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
    with pytest.raises(MaskError, match="expected images of one size with --input-size own, got different ones"):
        NetworkSource(colours(), "own")(data, np.arange(2))
