from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from smix.evaluation.scores import Scores
from smix.plots.layout import signed
from smix.plots.pictures import CELLS
from smix.plots.style import FEWER, MORE, styles
from smix.report.comparison import Comparison, ReportAssets
from smix.report.predictions import confusion, confusion_change
from tests.report.comparisons import METHODS, compared, made_comparison, made_scores, place
from tests.report.pictures import assert_readable, texts_of

ASSETS = ReportAssets(styles(METHODS))


def confused(matrix: list[list[int]] | np.ndarray) -> Scores:
    counts = torch.tensor(np.asarray(matrix), dtype=torch.int64)
    scores = made_scores()
    calibration = replace(scores.calibration, class_errors=torch.zeros(len(counts), dtype=torch.float64))
    return replace(scores, confusion=counts, calibration=calibration)


def by_hand(matrices: dict[str, list[list[list[int]] | None]], classes: list[str]) -> Comparison:
    """Return the comparison with confusion matrices `matrices[method][seed]`."""
    predictions = {
        place(method, seed): confused(matrix)
        for method, all_of in matrices.items()
        for seed, matrix in enumerate(all_of)
        if matrix is not None
    }
    return compared({method: [0.5] * len(all_of) for method, all_of in matrices.items()}, classes, predictions)


def cells(axes) -> dict[tuple[int, int], str]:
    """Return the numbers in the cells by (row, column)."""
    return {(round(text.get_position()[1]), round(text.get_position()[0])): text.get_text() for text in axes.texts}


def colours(axes) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


CLASSES = ["cat", "dog $x$", "<b>"]
VANILLA = [[[8, 2, 0], [1, 3, 0], [0, 0, 5]], [[8, 2, 0], [3, 1, 0], [0, 0, 5]]]


def test_matrices_are_summed_over_seeds_and_shown_in_percent_of_the_row():
    figure = confusion(by_hand({"vanilla": VANILLA}, CLASSES), ASSETS)
    assert_readable(figure)
    (axes,) = figure.axes
    # 16 and 4 of 20; 4 and 4 of 8; 10 of 10. Cells of 0 are empty.
    assert cells(axes) == {(0, 0): "80", (0, 1): "20", (1, 0): "50", (1, 1): "50", (2, 2): "100"}
    strength = colours(axes)[..., 3] / 255
    assert strength == pytest.approx(np.sqrt([[0.8, 0.2, 0], [0.5, 0.5, 0], [0, 0, 1]]), abs=0.003)
    light = {text.get_position(): to_hex(text.get_color()) for text in axes.texts}
    assert light[(0, 0)] == "#ffffff"  # on the dark
    assert light[(1, 0)] == "#1b1b1b"
    texts = texts_of(figure)
    assert {"vanilla", "cat", "dog $x$", "<b>", "dog $x$ as cat, 50 %"} <= set(texts)


@pytest.mark.slow
def test_changes_are_in_points_on_one_scale_blue_for_more():
    smix = [[[20, 0, 0], [8, 0, 0], [0, 1, 9]]]
    fmix = [[[16, 4, 0], [4, 4, 0], [0, 0, 10]]]
    figure = confusion_change(by_hand({"vanilla": VANILLA, "fmix": fmix, "smix": smix}, CLASSES), ASSETS)
    assert_readable(figure)
    same, changed, scale = figure.axes
    assert not cells(same)
    assert (colours(same)[..., 3] == 0).all()
    minus = "\N{MINUS SIGN}"
    assert cells(changed) == {
        **{(0, 0): "20", (0, 1): "-20", (1, 0): "50", (1, 1): "-50"},
        **{(2, 1): "10", (2, 2): "-10"},
    }
    result = colours(changed)
    assert to_hex(result[1, 0, :3] / 255).upper() == MORE
    assert to_hex(result[1, 1, :3] / 255).upper() == FEWER
    assert result[1, 0, 3] == result[1, 1, 3] == round(255 * 0.85)  # the largest of all
    assert result[0, 0, 3] / 255 == pytest.approx(0.85 * np.sqrt(20 / 50), abs=0.003)
    assert colours(scale)[0, [0, -1], 3].tolist() == [round(255 * 0.85)] * 2
    assert colours(scale)[0, 50, 3] == 0
    texts = set(texts_of(figure))
    assert {"no change", "dog $x$ as cat, +50", f"{minus}50.0", "+50.0 points"} <= texts


def test_there_is_nothing_to_show_without_predictions_or_without_vanilla():
    assert confusion(compared({"vanilla": [0.5]}), ASSETS) is None
    assert confusion_change(compared({"vanilla": [0.5]}), ASSETS) is None
    assert confusion_change(by_hand({"vanilla": VANILLA}, CLASSES), ASSETS) is None
    assert confusion_change(by_hand({"mixup": VANILLA, "smix": VANILLA}, CLASSES), ASSETS) is None


def test_a_method_with_missing_predictions_is_labelled():
    figure = confusion(by_hand({"vanilla": VANILLA, "smix": [VANILLA[0], None], "fmix": [None, None]}, CLASSES), ASSETS)
    assert len(figure.axes) == 2
    assert "smix (1 of 2)" in texts_of(figure)


def test_a_class_without_images_and_a_network_without_errors():
    matrices = [[[4, 0, 0], [0, 0, 0], [0, 0, 5]]]
    figure = confusion(by_hand({"vanilla": matrices, "smix": matrices}, CLASSES), ASSETS)
    assert cells(figure.axes[0]) == {(0, 0): "100", (2, 2): "100"}
    assert "no error" in texts_of(figure)
    change = confusion_change(by_hand({"vanilla": matrices, "smix": matrices}, CLASSES), ASSETS)
    assert not cells(change.axes[0])


@pytest.mark.slow
@pytest.mark.parametrize(("count", "classes"), [(1, 2), (2, 10), (6, 16), (13, 10), (2, 17), (13, 100)])
def test_texts_do_not_overlap(count, classes):
    names = [f"a class $of$ <some> kind {n}" for n in range(classes)]
    comparison = made_comparison(count, 2, names, max(120, 2 * classes))
    figure = confusion(comparison, ASSETS)
    assert_readable(figure)
    assert len(figure.axes) == count
    assert bool(figure.axes[0].texts) == (classes <= 10)
    assert ("a class $of…" in texts_of(figure)) == (classes <= 16)
    if count > 1:
        assert_readable(confusion_change(comparison, ASSETS))


def test_numbers_wider_than_their_cell_are_omitted():
    matrix, other = 100 * np.eye(10, dtype=int), 100 * np.roll(np.eye(10, dtype=int), 1, 1)
    other[0, 1], other[0, 0] = 50, 50
    names = ["a long name of a class"] * 10
    figure = confusion_change(by_hand({"vanilla": [matrix], "smix": [other]}, names), ASSETS)
    assert_readable(figure)
    result = cells(figure.axes[0])
    assert result[0, 0] == "-50"
    assert "-100" not in result.values()


@pytest.mark.slow
def test_many_classes_show_the_maximum_of_neighbouring_cells():
    count = 2 * CELLS + 1
    matrix = 9 * np.eye(count, dtype=int)
    matrix[40, 361] = 1
    other = matrix.copy()
    other[40, 361], other[41, 360] = 0, 1
    comparison = by_hand({"vanilla": [matrix], "smix": [other]}, [str(n) for n in range(count)])
    figure = confusion(comparison, ASSETS)
    drawn = colours(figure.axes[0])[..., 3]
    assert drawn.shape == (167, 167)  # three by three
    assert (np.diagonal(drawn) > 200).all()
    assert drawn[40 // 3, 361 // 3] == round(255 * np.sqrt(0.1))
    assert np.count_nonzero(drawn) == 168
    changed = colours(confusion_change(comparison, ASSETS).axes[0])
    assert figure.axes[0].get_xlim() == (-0.5, 500.5)
    assert np.argwhere(changed[..., 3] > 0).tolist() == [[13, 13], [13, 120]]
    assert f"40 as 361, {signed(-10)}" in texts_of(confusion_change(comparison, ASSETS))
