"""Settings of `smix demo` and the summary that it prints. The command itself is in smix/cli.py."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from smix.config import SharedConfig

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
augmentation. docs/results.md says how these values were chosen, and with which others they were compared."""
PICTURE_COUNT, PICTURE_SEED = 6, 28
"""Number of images in the picture of the mixes, and its seed, chosen so that every image is mixed with one of another class."""

NAMES = {VANILLA: "training without mixing", CUTMIX: "CutMix", SMIX: "SMix"}


def summary(runs: "Sequence[Run]") -> str:
    """Return a two-sentence summary of the demo: the task, and the measured result."""
    from smix.data.biased import BIAS
    from smix.report.records import differences

    task = (
        f"In {round(10 * BIAS)} of 10 training images the background reveals the digit, and in the test images it carries no "
        "information about it, so a network that relies on backgrounds generalises poorly."
    )
    pairs = [
        pair if pair.first == SMIX else pair.swapped()
        for pair in differences(runs)
        if SMIX in (pair.first, pair.second)
    ]
    against = {pair.second: pair for pair in pairs}
    if len(against) < len(METHODS) - 1:
        return f"{task} Some runs are missing, so the methods are not compared; run the same command again."
    found = " and ".join(_result(against[name], NAMES[name]) for name in (CUTMIX, VANILLA))
    return (
        f"{task} CutMix pastes a box together with the background in it, whereas SMix cuts out the digit along its mask and pastes "
        f"only the digit: here SMix is {found}."
    )


def _result(pair: "Difference", other: str) -> str:
    """Return the end of a sentence on SMix, such as "12.3 percentage points more accurate than CutMix (p < 0.001)"."""
    p = "p < 0.001" if pair.p_corrected < 0.001 else f"p = {pair.p_corrected:.3f}"
    if pair.significant:
        return (
            f"{abs(pair.mean):.1f} percentage points {'more' if pair.mean > 0 else 'less'} accurate than {other} ({p})"
        )
    return f"not significantly more or less accurate than {other} ({pair.mean:+.1f} percentage points, {p})"
