from dataclasses import replace

import numpy as np
import pytest

from smix.mixing import parse_method
from smix.plots.layout import WIDTH
from smix.plots.style import styles
from smix.report.comparison import ReportAssets
from smix.report.pictures import best_pair, pair, partners
from smix.report.pictures import draw_mixes as mixes
from smix.training.samples import Samples, draw_samples
from tests.conftest import make_set
from tests.report.comparisons import METHODS, compared
from tests.report.pictures import assert_readable, texts_of

TEXTS = ("vanilla", "mixup", "cutmix", "smix(labels=area)", "smix+fmix")
ASSETS = ReportAssets(styles((*METHODS, *TEXTS)))


def drawn(texts=TEXTS, count: int = 8, **changes) -> dict[str, Samples]:
    data = make_set(count, size=(10, 14), **changes)
    return {text: draw_samples(parse_method(text), data, 0, data.masks) for text in texts}


def comparison_of(samples: dict[str, Samples], classes=("class 0", "class 1", "class 2", "class 3")):
    return compared({method: [0.5] for method in samples}, classes, samples=samples)


def shown(figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes]


def by_hand(partner: list[int], weight: list[float], labels: tuple[int, ...] = (0, 0, 1, 2), **changes) -> Samples:
    """Return mixes of four images of 3 x 5 pixels with constant weight maps."""
    images = np.arange(4 * 45, dtype=np.uint8).reshape(4, 3, 5, 3)
    maps = np.broadcast_to(np.array(weight, np.float32)[:, None, None], (4, 3, 5)).copy()
    made = Samples(
        images=images,
        mixed=255 - images,
        labels=np.array(labels),
        partner=np.array(partner),
        weight=maps,
        share=np.array(weight, np.float32),
        fell_back=np.zeros(4, bool),
    )
    return replace(made, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("count", [4, 8, 16])
def test_mixes_show_images_partners_and_weight_maps(count):
    samples = drawn(count=count)
    figure = mixes(samples, [f"a long $class$ <{n}>" for n in range(4)])
    assert_readable(figure)
    assert len(figure.axes) == count * (2 + 1 + 2 * (len(TEXTS) - 1))  # vanilla has no map
    assert {"own image", "partner", "vanilla", "mixup", "smix+fmix"} <= set(texts_of(figure))
    first = samples["vanilla"]
    result = shown(figure)
    assert all((one == image).all() for one, image in zip(result, first.images, strict=False))
    assert all(
        (one == first.images[n]).all() for one, n in zip(result[count:], partners(samples)[:count], strict=False)
    )
    mixed, maps = samples["mixup"], result[3 * count : 5 * count]
    for n in range(count):  # below each mix its map
        assert (maps[2 * n] == mixed.mixed[n]).all()
        assert (maps[2 * n + 1] == np.rint(255 * mixed.weight[n])[..., None]).all()


@pytest.mark.slow
def test_eight_mixes_are_as_wide_as_other_figures():
    assert mixes(drawn(), ["a"] * 4).get_figwidth() == pytest.approx(WIDTH, abs=0.05)


@pytest.mark.slow
def test_label_weights_and_state_are_below_each_mix():
    samples = by_hand([1, 0, 2, 3], [0.25, 0.75, 1.0, 0.0])
    samples.fell_back[1] = True
    texts = texts_of(mixes({"smix": samples}, ["cat", "dog", "deer"]))
    assert texts[-8:] == ["smix", "cat: 0.25", "cat: 0.75", "cat: 0.75", "cat: 0.25", "fell back", "unmixed", "blanked"]
    empty = by_hand([1, 0, 3, 2], [0.0, 1.0, 0.5, 0.5])
    empty.share[:] = 0.5
    texts = texts_of(mixes({"smix": empty}, ["cat", "dog", "deer"]))
    assert texts[-10:-6] == ["smix", "cat: 0.50", "cat: 0.50", "empty"]
    assert texts[-4:] == ["dog: 0.50", "deer: 0.50", "deer: 0.50", "dog: 0.50"]


@pytest.mark.slow
def test_long_class_names_are_shortened_and_the_weights_are_not():
    texts = texts_of(mixes({"smix": by_hand([1, 0, 3, 2], [0.25] * 4, (0, 1, 0, 1))}, ["a" * 40, "b" * 40]))
    weights = [text for text in texts if ": " in text]
    assert sorted({text[-6:] for text in weights}) == [": 0.25", ": 0.75"]
    assert all("…" in text for text in weights)


@pytest.mark.slow
def test_the_partner_is_that_of_the_methods_that_mix_an_image():
    some, others = by_hand([1, 1, 2, 3], [0.5, 1, 1, 1]), by_hand([0, 1, 3, 2], [1, 1, 0.5, 0.5])
    assert partners({"a": some, "b": others}).tolist() == [1, 1, 3, 2]
    assert "partner" in texts_of(mixes({"a": some, "b": others}, ["x"] * 3))
    # Two methods with partners of their own: no row of partners.
    assert "partner" not in texts_of(mixes({"a": some, "b": by_hand([2, 1, 2, 3], [0.5, 1, 1, 1])}, ["x"] * 3))


def test_the_pair_is_chosen_by_methods_then_classes_then_visibility():
    vanilla = by_hand([0, 1, 2, 3], [1, 1, 1, 1])
    once = by_hand([1, 0, 2, 3], [0.5, 0.5, 1, 1])
    both = by_hand([0, 2, 1, 3], [1, 0.9, 0.9, 1])
    assert best_pair({"vanilla": vanilla}) is None
    assert best_pair({"vanilla": vanilla, "a": by_hand([3, 2, 1, 0], [0.9, 0.4, 0.9, 0.5])}) == 3
    assert best_pair({"a": by_hand([1, 0, 3, 2], [0.5, 0.5, 0.9, 0.8])}) == 3, (
        "of two classes; 0.2 is seen of the partner"
    )
    assert best_pair({"a": by_hand([1, 0, 2, 3], [0.9, 0.8, 1, 1])}) == 1, "there is none of two classes"
    # Image 1 is mixed by two methods, but with partner 0 by the first; image 0 by one alone.
    assert best_pair({"a": once, "b": both}) == 2
    assert best_pair({"a": once, "b": once, "c": both}) == 0


def test_the_pair_shows_every_mix_its_map_and_its_labels():
    samples = {
        "vanilla": by_hand([0, 1, 2, 3], [1, 1, 1, 1]),
        "mixup": by_hand([0, 2, 1, 3], [1, 0.25, 0.9, 1]),
        "smix$": by_hand([0, 2, 1, 3], [1, 0.5, 0.9, 1]),
        "fmix": by_hand([0, 1, 2, 3], [1, 1, 1, 0]),
    }
    figure = pair(comparison_of(samples, ["cat", "a $dog$", "deer", "x"]), ReportAssets(styles(list(samples))))
    assert_readable(figure)
    result = shown(figure)
    images = samples["mixup"].images
    assert len(result) == 2 + 3 * 2
    assert (result[0] == images[1]).all()
    assert (result[1] == images[2]).all()
    assert (result[2] == 255 - images[1]).all()
    assert (result[3] == 64).all()  # a quarter of 255
    assert (result[5] == 128).all()
    texts = texts_of(figure)
    assert {"own image", "partner", "cat", "a $dog$", "cat: 0.25", "a $dog$: 0.75", "cat: 0.50", "smix$"} <= set(texts)
    assert "unmixed" in texts, "fmix left this image alone"
    assert "vanilla" not in texts


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 6, 13])
def test_texts_do_not_overlap(count):
    data = make_set(8, size=(10, 14))
    made = draw_samples(parse_method("smix+fmix"), data, 0, data.masks)
    samples = dict.fromkeys(METHODS[:count], made)
    classes = ["$a$ <class> with a very long name " * 2] * 4
    assert_readable(mixes(samples, classes))
    assert_readable(pair(comparison_of(samples, classes), ASSETS))


@pytest.mark.slow
def test_grey_and_upright_images():
    data = make_set(4, size=(14, 9))
    grey = replace(data, images=data.images[..., :1])
    samples = {text: draw_samples(parse_method(text), grey, 0, data.masks) for text in ("mixup", "cutmix")}
    assert_readable(mixes(samples, data.classes))
    figure = pair(comparison_of(samples, data.classes), ASSETS)
    assert_readable(figure)
    assert all(one.shape == (14, 9, 3) for one in shown(figure))
    assert all(np.ptp(one, -1).max() == 0 for one in shown(figure))


def test_without_images_or_mixes_there_is_no_pair():
    assert pair(compared({"vanilla": [0.5]}), ASSETS) is None
    assert pair(comparison_of(drawn(("vanilla",))), ASSETS) is None
