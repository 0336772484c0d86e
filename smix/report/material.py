"""Load what a report shows besides the files of the runs: the test images, and the masks that the methods used. They may be gone."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from smix.data.pictures import Pictures
from smix.data.sets import ImageSet, Split, is_local, load_data
from smix.data.streaming import fits_on_device
from smix.errors import DataError, MaskError
from smix.masks import MaskStore, build_masks, load_source
from smix.masks.lookup import masks_of
from smix.report.comparison import Comparison
from smix.report.judge import Checked, by_class, check
from smix.report.masks import short_name
from smix.training.inputs import split
from smix.training.records import Run

CARRIED = 2000
"""Maximum number of carried masks that are judged."""


@dataclass(frozen=True, eq=False)
class Masks:
    """The masks of a comparison, judged."""

    checked: Checked
    data: ImageSet
    """The whole split that they are of."""
    seconds: float
    """Seconds that they took to build: 0 if they came with the data, NaN if that is not known."""

    @property
    def shares(self) -> dict[str, float]:
        """Return the share of valid masks of each class by default, in percent."""
        return {one.name: one.valid["default"] for one in by_class(self.checked, self.data)}


def test_images(comparison: Comparison, data_root: Path) -> ImageSet:
    """The test split as it was predicted. Raises DataError: it is not here, or another."""
    return _as_then(comparison, data_root, "test").take(comparison.begun[0].config.test_limit)


@contextmanager
def judged_masks(comparison: Comparison, data_root: Path) -> Iterator[Masks | None]:
    """The masks that the runs used, while the block lasts; None: they used none.

    Raises:
        SmixError: they are not where they were, broken, or others meanwhile, or the images are not here.
    """
    used = [run for run in comparison.begun if run.provenance["masks"]]
    if not used:
        yield None
        return
    where, data = used[0].config.masks, _as_then(comparison, data_root, "train")
    store = None if where == "carried" else MaskStore(where)
    if store is not None:
        store.check_made_of(data)
    _check_used(used[0], data)
    if store is not None:
        yield Masks(check(store, short_name(store)), data, store.seconds)
        return
    with TemporaryDirectory() as folder:
        carried = build_masks(data, load_source("carried"), folder, "none", min(CARRIED, len(data)))
        assert carried is not None
        yield Masks(check(carried, short_name(carried)), data, 0.0)


def _check_used(run: Run, data: ImageSet) -> None:
    """Raises MaskError: those of the training images are not what the run used."""
    config = run.config
    training = split(data.take(config.train_limit), config.val_fraction)[0]
    if isinstance(training.images, Pictures) and training.size is not None and fits_on_device(data, config.image_size):
        # The run had the images in memory: its masks were brought to their size. The images themselves do not matter here.
        training = replace(training, images=np.zeros((len(training), *training.size, 3), np.uint8))
    got, wanted = masks_of(training, config.masks).provenance["fingerprint"], run.provenance["masks"]["fingerprint"]
    if got != wanted:
        raise MaskError(
            f"masks: expected the masks that the runs used, got others ({got[:8]} instead of {wanted[:8]}); put back what lay there"
        )


def _as_then(comparison: Comparison, data_root: Path, part: Split) -> ImageSet:
    run = comparison.begun[0]
    if not is_local(run.config.data, data_root):  # a report of others' runs asks nobody
        raise DataError(
            f"{comparison.name}: expected the images on this machine, got none; say where they are with --data-root"
        )
    data, wanted = load_data(run.config.data, data_root, part), run.provenance["data"][f"fingerprint_{part}"]
    if data.fingerprint != wanted:
        raise DataError(
            f"{comparison.name}: expected the images that the runs were made of, got others ({data.fingerprint[:8]} instead "
            f"of {wanted[:8]}); say where they are with --data-root"
        )
    return data
