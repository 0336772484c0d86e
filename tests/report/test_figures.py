import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb

from smix.mixing import parse_method
from smix.report import figures
from smix.training.samples import draw_samples
from tests.conftest import make_set
from tests.report.runs import made_runs

TEXTS = ("vanilla", "mixup", "cutmix", "smix(labels=area)", "smix+fmix")


def texts_do_not_overlap(figure) -> bool:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    texts = [
        *figure.texts,
        *(text for axes in figure.axes for text in (*axes.texts, axes.title, *axes.get_xticklabels())),
    ]
    boxes = [text.get_window_extent(renderer) for text in texts if text.get_text().strip()]
    return not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


@pytest.mark.parametrize("count", [1, 2, 10])
def test_no_text_hides_another_in_the_distribution(count):
    rng = np.random.default_rng(0)
    names = [
        "vanilla",
        "mixup",
        "cutmix",
        "fmix",
        "smix",
        "smix+fmix",
        "smix(alpha=0.7,labels=coverage)",
        "fmix(alpha=0.2)",
    ]
    names += ["cutmix(alpha=0.2)", "mixup(alpha=0.2)"]
    figure = figures.accuracy_distribution(made_runs({name: list(rng.uniform(0.5, 0.6, 5)) for name in names[:count]}))
    assert texts_do_not_overlap(figure)
    assert len(figure.axes[0].collections) == 2 * count  # points and a line for the mean


def test_a_method_that_lacks_runs_has_points_but_no_mean_and_says_so():
    figure = figures.accuracy_distribution(made_runs({"vanilla": [0.5, 0.6], "smix": [0.9, None]}))
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["55.00"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["vanilla", "smix\n(1 of 2 runs)"]
    assert sum(len(one.get_offsets()) for one in axes.collections if isinstance(one, PathCollection)) == 3


def test_every_epoch_that_a_run_has_is_in_the_picture():
    runs = made_runs({"vanilla": [0.5, 0.6], "smix": [0.9, None]})
    del runs[-1].metrics[1:]
    line = figures.accuracy_per_epoch(runs).axes[0].lines[1]
    assert line.get_label() == "smix (1 of 2 finished)"
    assert line.get_ydata() == pytest.approx([20.5, 40.0, 60.0])  # two seeds at the first epoch, then one


def test_accuracy_per_epoch_draws_the_mean_over_seeds_with_its_range():
    figure = figures.accuracy_per_epoch(made_runs({"vanilla": [0.5, 0.6], "smix": [0.5, 0.6]}))
    line = figure.axes[0].lines[0]
    assert line.get_xdata() == pytest.approx([1, 2, 3])
    assert line.get_ydata() == pytest.approx([20.5, 40.5, 60.5])  # percent; seeds 0 and 1 differ by one point
    band = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((20.0, 61.0))
    assert "2 seeds" in figure.axes[0].get_title(loc="left")


def test_ten_methods_have_ten_colours_that_colour_blind_people_tell_apart_and_ten_markers():
    styles = figures.styles([f"method {n}" for n in range(10)])
    assert len({marker for _, marker in styles.values()}) == 10
    # Vienot et al. 1999: what is left of a colour for people without red or green receptors, in linear light.
    to_linear = np.array([[0.1121, 0.8853, -0.0005], [0.1127, 0.8897, -0.0001], [0.0045, 0.0000, 1.0019]])
    seen = np.array([to_linear @ np.array(to_rgb(colour)) ** 2.2 for colour, _ in styles.values()]).clip(0, 1) ** (
        1 / 2.2
    )
    distances = [np.linalg.norm(one - other) for one, other in itertools.combinations(seen, 2)]
    assert min(distances) > 0.08


@pytest.fixture
def samples():
    data = make_set(8)
    return {text: draw_samples(parse_method(text), data, 0, data.masks) for text in TEXTS}, data


def test_mixes_shows_images_partners_and_every_method_with_its_map(samples):
    drawn, data = samples
    figure = figures.mixes(drawn, data.classes)
    assert len(figure.axes) == 8 * (2 + 1 + 2 * (len(TEXTS) - 1))  # vanilla has no map
    assert texts_do_not_overlap(figure)
    shown = {text.get_text().replace("\n", "") for text in figure.texts}
    assert set(TEXTS) <= shown


def test_mixes_shows_the_label_shares_of_the_plan(samples):
    drawn, data = samples
    one = drawn["cutmix"]
    place = int(np.flatnonzero(one.partner != np.arange(8))[0])
    own, other = data.classes[data.labels[place]], data.classes[data.labels[one.partner[place]]]
    text = f"{one.share[place]:.2f} {own}\n{1 - one.share[place]:.2f} {other}"
    assert text in {text.get_text() for text in figures.mixes(drawn, data.classes).texts}


def test_paint_colours_the_mask_and_nothing_else():
    image, mask = np.full((4, 6, 1), 100, np.uint8), np.zeros((4, 6), bool)
    mask[1, 2] = True
    painted = figures.paint(image, mask)
    assert painted.shape == (4, 6, 3)
    assert (painted[~mask] == 100).all()
    assert painted[1, 2].tolist() == [185, 56, 126]  # 45 % of the image, 55 % of (255, 20, 147), rounded


def test_the_same_figure_is_the_same_file(tmp_path):
    runs = made_runs({"vanilla": [0.5, 0.6], "smix": [0.6, 0.7]})
    files = [figures.save(figures.accuracy_distribution(runs), tmp_path / f"{n}.png").read_bytes() for n in range(2)]
    assert files[0] == files[1]
