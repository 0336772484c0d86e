from dataclasses import replace

import numpy as np
import pytest
from smix.report.mistake_figures import SHOWN, mistakes, wanted

from smix.evaluation.confidence import Level
from smix.evaluation.scores import Mistake, Scores
from smix.report.style import styles
from tests.report.comparisons import METHODS, made_scores
from tests.report.pictures import assert_readable, texts_of

STYLES = styles(METHODS)
CLASSES = ("cat", "dog $x$", "<b> a very long name of a class", "deer")


def network(*rows: tuple[int, int, int, float], wrong: int = 7) -> Scores:
    """`rows`: row, label, predicted, confidence."""
    sure = (Level(0.9, 1.0, 100, wrong, 1000, 50), Level(0.99, 1.0, 10, 1, 1000, 50))
    return replace(made_scores(), mistakes=tuple(Mistake(*row) for row in rows), sure=sure)


def image(row: int, channels: int = 3, size: tuple[int, int] = (5, 7)) -> np.ndarray:
    return np.full((*size, channels), row, np.uint8)


def test_each_method_has_a_row_of_its_most_confident_mistakes():
    scores = {"vanilla": network((7, 0, 1, 0.99996), (3, 1, 2, 0.5)), "smix": network((5, 3, 0, 0.25), wrong=1234)}
    figure = mistakes({row: image(row) for row in (3, 5, 7)}, scores, CLASSES, STYLES)
    assert_readable(figure)
    assert [int(axes.images[0].get_array()[0, 0, 0]) for axes in figure.axes] == [7, 3, 5]
    texts = texts_of(figure)
    # Never rounded up to certainty.
    for said in ("said dog $x$", "sure to 99.99 %", "is cat", "is dog $x$", "sure to 50.00 %", "said cat", "is deer"):
        assert said in texts
    assert {"7 of 1,000", "1,234 of 1,000", "vanilla", "smix"} <= set(texts)


def test_full_certainty_is_said():
    figure = mistakes({1: image(1)}, {"vanilla": network((1, 0, 1, 1.0))}, CLASSES, STYLES)
    assert "sure to 100.00 %" in texts_of(figure)


def test_only_mistakes_whose_image_is_here_are_shown_at_most_so_many_a_row():
    scores = {"vanilla": network(*((row, 0, 1, 0.9) for row in range(10))), "smix": network((50, 0, 1, 0.9))}
    images = {row: image(row) for row in range(1, 10)}
    figure = mistakes(images, scores, CLASSES, STYLES)
    assert [int(axes.images[0].get_array()[0, 0, 0]) for axes in figure.axes] == list(range(1, 1 + SHOWN))
    assert "smix" not in texts_of(figure)
    assert len(mistakes(images, scores, CLASSES, STYLES, shown=2).axes) == 2
    assert mistakes({}, scores, CLASSES, STYLES) is None
    assert mistakes(images, {"vanilla": network()}, CLASSES, STYLES) is None


def test_the_images_that_are_wanted():
    scores = {"vanilla": network((9, 0, 1, 0.9), (2, 0, 1, 0.8), (4, 0, 1, 0.7)), "smix": network((2, 0, 1, 0.9))}
    assert wanted(scores, 2) == [2, 9]
    assert wanted(scores) == [2, 4, 9]
    assert wanted({}) == []


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(300, 200), (9, 20)])
def test_grey_large_and_oblong_images(channels, size):
    figure = mistakes({200: image(200, channels, size)}, {"smix": network((200, 2, 1, 0.9))}, CLASSES, STYLES)
    assert_readable(figure)
    drawn = np.asarray(figure.axes[0].images[0].get_array())
    assert drawn.shape[-1] == 3
    assert (drawn == 200).all()


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 6, 13])
def test_no_text_hides_another(count):
    scores = {method: network(*((row, 2, 1, 0.9) for row in range(5))) for method in METHODS[:count]}
    assert_readable(mistakes({row: image(row) for row in range(5)}, scores, CLASSES, STYLES))
