"""The demo: what `smix demo` trains, and what it tells the reader in the end. The command is in smix/cli.py."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from smix.config import SharedConfig

if TYPE_CHECKING:
    from smix.evaluation.statistics import Difference
    from smix.training.records import Run

PLAIN, BLIND, MASKED = "vanilla", "cutmix", "smix(alpha=1,labels=visible)"
METHODS = (PLAIN, BLIND, MASKED)
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
    flip=False,
    crop=0,
)
"""A small network and few images, so that 15 runs take a minute or two; no flips and no crops, so that mixing is the only
augmentation. docs/results.md says how these values were chosen, and with which others they were compared."""
PICTURE_COUNT, PICTURE_SEED = 6, 28
"""The picture of the mixes: with this seed every image is mixed with one of another class."""

NAMES = {PLAIN: "training without mixing", BLIND: "CutMix", MASKED: "SMix"}


def takeaway(runs: "Sequence[Run]") -> str:
    """Return two sentences on what the runs of the demo have shown: the task, and the result, whatever it is."""
    from smix.data.biased import BIAS
    from smix.report.tables import differences

    task = (
        f"In the training images the background gives the digit away {round(10 * BIAS)} times in 10, and in the test images it "
        "says nothing about it, so a network that looks at backgrounds fails."
    )
    pairs = [
        pair if pair.first == MASKED else pair.turned()
        for pair in differences(runs)
        if MASKED in (pair.first, pair.second)
    ]
    against = {pair.second: pair for pair in pairs}
    if len(against) < len(METHODS) - 1:
        return f"{task} Some runs are missing, so the methods are not compared; start the same command again."
    found = " and ".join(_result(against[name], NAMES[name]) for name in (BLIND, PLAIN))
    return (
        f"{task} CutMix's boxes bring the background of their digit along, while SMix cuts the digit out along its mask and lays "
        f"it over another background: here SMix is {found}."
    )


def _result(pair: "Difference", other: str) -> str:
    """Return the end of a sentence on SMix, such as "12.3 points more accurate than CutMix (p < 0.001)"."""
    p = "p < 0.001" if pair.p_corrected < 0.001 else f"p = {pair.p_corrected:.3f}"
    if pair.significant:
        return f"{abs(pair.mean):.1f} points {'more' if pair.mean > 0 else 'less'} accurate than {other} ({p})"
    return f"not significantly more or less accurate than {other} ({pair.mean:+.1f} points, {p})"
