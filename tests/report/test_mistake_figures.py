from dataclasses import replace

import numpy as np
import pytest

from smix.data.sets import ImageSet
from smix.evaluation.confidence import Level
from smix.evaluation.scores import Mistake, Scores
from smix.plots.style import styles
from smix.report import pictures
from smix.report.comparison import ReportAssets
from smix.report.pictures import MISTAKES
from tests.report.comparisons import METHODS, compared, made_scores, place
from tests.report.pictures import assert_readable, texts_of

STYLES = styles(METHODS)
CLASSES = ("cat", "dog $x$", "<b> a very long name of a class", "deer")


def mistakes(images: dict[int, np.ndarray], scores: dict[str, Scores], styles=STYLES):
    """Draw the errors of networks with these scores; images that are not given are black."""
    shape = next(iter(images.values())).shape if images else (5, 7, 3)
    array = np.zeros((60 if max(images, default=0) < 60 else 201, *shape), np.uint8)
    for row, image in images.items():
        array[row] = image
    test_images = ImageSet(array, np.arange(len(array)) % 4, CLASSES, name="made", split="test")
    predictions = {place(method, 0): one for method, one in scores.items()}
    comparison = compared({method: [0.5] for method in scores}, CLASSES, predictions)
    return pictures.mistakes(comparison, ReportAssets(styles, test_images))


def network(*rows: tuple[int, int, int, float], wrong: int = 7) -> Scores:
    """Return the scores of a network with these errors; `rows`: row, label, predicted, confidence."""
    sure = (Level(0.9, 1.0, 100, wrong, 1000), Level(0.99, 1.0, 10, 1, 1000))
    return replace(made_scores(), mistakes=tuple(Mistake(*row) for row in rows), sure=sure)


def image(row: int, channels: int = 3, size: tuple[int, int] = (5, 7)) -> np.ndarray:
    return np.full((*size, channels), row, np.uint8)


def test_each_method_has_a_row_of_its_most_confident_errors():
    scores = {"vanilla": network((7, 0, 1, 0.99996), (3, 1, 2, 0.5)), "smix": network((5, 3, 0, 0.25), wrong=1234)}
    figure = mistakes({row: image(row) for row in (3, 5, 7)}, scores)
    assert_readable(figure)
    assert [int(axes.images[0].get_array()[0, 0, 0]) for axes in figure.axes] == [7, 3, 5]
    texts = texts_of(figure)
    # Never rounded up to certainty.
    for text in ("predicted dog $x$", "99.99 % sure", "label cat", "label dog $x$", "50.00 % sure"):
        assert text in texts
    assert {"predicted cat", "label deer"} <= set(texts)
    assert {"7 of 1,000", "1,234 of 1,000", "vanilla", "smix"} <= set(texts)


def test_full_confidence_is_not_rounded():
    figure = mistakes({1: image(1)}, {"vanilla": network((1, 0, 1, 1.0))})
    assert "100.00 % sure" in texts_of(figure)


def test_a_method_without_an_error_has_no_row_and_the_others_a_limited_number_of_images():
    scores = {"vanilla": network(*((row, 0, 1, 0.9) for row in range(1, 11))), "smix": network()}
    images = {row: image(row) for row in range(1, 11)}
    figure = mistakes(images, scores)
    assert [int(axes.images[0].get_array()[0, 0, 0]) for axes in figure.axes] == list(range(1, 1 + MISTAKES))
    assert "smix" not in texts_of(figure)
    assert pictures.mistakes(compared({"vanilla": [0.5]}), ReportAssets(STYLES)) is None
    assert mistakes(images, {"vanilla": network()}) is None


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(300, 200), (9, 20)])
def test_grey_large_and_oblong_images(channels, size):
    figure = mistakes({200: image(200, channels, size)}, {"smix": network((200, 2, 1, 0.9))})
    assert_readable(figure)
    drawn = np.asarray(figure.axes[0].images[0].get_array())
    assert drawn.shape[-1] == 3
    assert (drawn == 200).all()


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 6, 13])
def test_texts_do_not_overlap(count):
    scores = {method: network(*((row, 2, 1, 0.9) for row in range(5))) for method in METHODS[:count]}
    assert_readable(mistakes({row: image(row) for row in range(5)}, scores))
