"""Test that the summary of the demo is correct for every outcome."""

import re
from importlib import import_module

from smix.config import RunOptions
from smix.data import load_data
from smix.masks.lookup import masks_of
from smix.mixing import parse_method
from smix.training.records import Result, Run
from smix.training.samples import draw_samples

demo = import_module("smix.cli.demo")  # its name in the package is the command
VANILLA, CUTMIX, SMIX = demo.METHODS


def runs_of(accuracies: dict[str, list[float | None]]) -> list[Run]:
    """Return runs of the demo with these test accuracies in percent; None: not finished."""
    runs = []
    for method, values in accuracies.items():
        for seed, value in enumerate(values):
            result = None if value is None else Result(value / 100, 1.0, value / 100, 1, 1, 1.0, "CPU")
            runs.append(Run(RunOptions.data_root / f"{method}-{seed}", demo.CONFIG.run(method, seed), {}, [], result))
    return runs


def summary_of(accuracies: dict[str, list[float | None]]) -> str:
    text = demo.summary(runs_of(accuracies))
    assert len(re.findall(r"\.(?= |$)", text)) == 2, "two sentences"
    assert text.startswith("In 8 of 10 training images the background reveals the digit")
    return text


PLAIN, BLIND = [30.0, 31, 32, 33, 34], [15.0, 17, 16, 15, 17]


def test_a_significant_difference_is_reported_with_its_size():
    text = summary_of({VANILLA: PLAIN, CUTMIX: BLIND, SMIX: [66.0, 67, 65, 64, 68]})
    assert text.endswith(
        "here SMix is 50.0 percentage points more accurate than CutMix (p < 0.001) and 34.0 percentage points more accurate than "
        "training without mixing (p < 0.001)."
    )


def test_a_difference_that_is_not_significant_is_reported_as_such():
    text = summary_of({VANILLA: PLAIN, CUTMIX: BLIND, SMIX: [30.0, 33, 31, 35, 33]})
    assert "SMix is 16.4 percentage points more accurate than CutMix (p < 0.001) and not significantly" in text
    assert re.search(
        r"not significantly more or less accurate than training without mixing \(\+0\.4 percentage points, p = 0\.\d+\)\.$",
        text,
    )


def test_a_decrease_is_reported_as_such():
    text = summary_of({VANILLA: PLAIN, CUTMIX: BLIND, SMIX: [5.0, 6, 5, 4, 5]})
    assert "SMix is 11.0 percentage points less accurate than CutMix (p < 0.001)" in text
    assert "27.0 percentage points less accurate than training without mixing" in text


def test_missing_runs_are_not_compared():
    text = summary_of({VANILLA: PLAIN, CUTMIX: [*BLIND[:4], None], SMIX: [66.0, 67, 65, 64, 68]})
    assert text.endswith("Some runs are missing, so the methods are not compared; run the same command again.")


def test_every_image_of_the_figure_is_mixed_with_another_class():
    images = load_data(demo.CONFIG.data).take(demo.PICTURE_COUNT).loaded()
    masks = masks_of(images, demo.CONFIG.masks)
    for text in (CUTMIX, SMIX):
        samples = draw_samples(parse_method(text), images, demo.PICTURE_SEED, masks.masks, masks.valid)
        assert (samples.labels[samples.partner] != samples.labels).all()


def test_the_demo_is_three_methods_over_five_seeds():
    assert demo.METHODS == (VANILLA, CUTMIX, SMIX)
    assert demo.SEEDS >= 5
