"""`smix demo`: compare three methods on built-in images."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smix.cli.compare import report_runs
from smix.cli.options import Options
from smix.config import RunOptions, SharedConfig
from smix.report.terminal import show

if TYPE_CHECKING:
    from smix.evaluation.statistics import Difference
    from smix.training.records import Run

VANILLA, CUTMIX, SMIX = "vanilla", "cutmix", "smix(alpha=1,labels=visible)"
METHODS = (VANILLA, CUTMIX, SMIX)
SEEDS = 5
CONFIG = SharedConfig(
    data="biased-digits",
    train_limit=400,
    val_fraction=0.2,
    model="resnet10-w8",
    epochs=30,
    batch_size=32,
    lr=0.1,
    schedule="onecycle",
    hflip=False,
    crop_padding=0,
)
"""A small network and few images, so that 15 runs take a minute or two; no flips and no crops, so that mixing is the only
augmentation. docs/results.md explains how these values were chosen, and which alternatives were measured."""
PICTURE_COUNT, PICTURE_SEED = 6, 28
"""Number of images in mixes.png, and the seed, chosen so that every image is mixed with one from another class."""

NAMES = {VANILLA: "training without mixing", CUTMIX: "CutMix", SMIX: "SMix"}


def demo(*, options: Options = RunOptions(), out: Path = Path("runs/demo")) -> int:  # noqa: B008
    """Compare three methods over five seeds on built-in images, in about two minutes on two idle cores and without internet access.

    The images show real handwritten digits on real photographs with misleading backgrounds, and include the true mask of each
    digit.

    Parameters
    ----------
    out
        Output folder for the mixed images, the runs and the report.
    """
    if not options.quiet:
        # Before the imports below, which take seconds.
        sys.stderr.write(
            f"Training a small network {len(METHODS) * SEEDS} times: about two minutes on two idle cores\n"
        )
    from smix.lab.run_all import check_folders, compare
    from smix.lab.sweep import cross
    from smix.report.pictures import write_mixes

    check_folders(cross(CONFIG, METHODS, range(SEEDS)), out)  # before the first file is written
    picture = write_mixes(
        out / "mixes.png", METHODS, CONFIG.data, CONFIG.masks, PICTURE_COUNT, PICTURE_SEED, options.data_root
    )
    show(f"The same images mixed by each method:   {picture}")
    runs = compare(CONFIG, METHODS, SEEDS, out, options)
    code = report_runs(runs, out / "report", options)
    show(
        "",
        summary(runs),
        "",
        "The data set was designed to show this effect: without misleading backgrounds SMix is not better "
        "(docs/results.md). To try masks on your own images:",
        "  smix masks build --data folder:DIR --out masks/mine",
        "  smix compare --data folder:DIR --masks masks/mine --methods vanilla,cutmix,smix --out runs/mine",
    )
    return code


def summary(runs: "Sequence[Run]") -> str:
    """Return a two-sentence summary of the demo: the task, and the measured result."""
    from smix.data.biased import BIAS
    from smix.report.comparison import summarise

    task = (
        f"In {round(10 * BIAS)} of 10 training images the background reveals the digit, and in the test images it carries no "
        "information about it, so a network that relies on backgrounds generalises poorly."
    )
    pairs = [
        pair if pair.first == SMIX else pair.swapped()
        for pair in summarise(runs).pairs
        if SMIX in (pair.first, pair.second)
    ]
    against = {pair.second: pair for pair in pairs}
    if len(against) < len(METHODS) - 1:
        return f"{task} Some runs are missing, so the methods are not compared; run the same command again."
    results = " and ".join(_result(against[name], NAMES[name]) for name in (CUTMIX, VANILLA))
    return (
        f"{task} CutMix pastes a box together with the background in it, whereas SMix cuts out the digit along its mask and pastes "
        f"only the digit: here SMix is {results}."
    )


def _result(pair: "Difference", other: str) -> str:
    """Return the end of a sentence, such as "12.3 percentage points more accurate than CutMix (p < 0.001)"."""
    p = "p < 0.001" if pair.p_corrected < 0.001 else f"p = {pair.p_corrected:.3f}"
    if pair.significant:
        return (
            f"{abs(pair.mean):.1f} percentage points {'more' if pair.mean > 0 else 'less'} accurate than {other} ({p})"
        )
    return f"not significantly more or less accurate than {other} ({pair.mean:+.1f} percentage points, {p})"
