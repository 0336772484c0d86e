"""Load what a report shows in addition to the files of its runs: the test images, and the masks that the methods used."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from smix.data.pictures import Pictures
from smix.data.sets import ImageSet, Split, is_local, load_data
from smix.data.streaming import fits_on_device
from smix.errors import DataError, MaskError
from smix.masks import MaskStore
from smix.masks.lookup import masks_of
from smix.report.masks import JudgedMasks, judge_carried, judge_store
from smix.report.records import Comparison
from smix.training.inputs import training_images
from smix.training.records import Run


def load_test_images(comparison: Comparison, data_root: Path) -> ImageSet:
    """Return the test split as it was predicted.

    Raises:
        DataError: It is not on this machine, or has changed.
    """
    return _load(comparison, data_root, "test").take(comparison.begun[0].config.test_limit)


def load_masks(comparison: Comparison, data_root: Path) -> JudgedMasks | None:
    """Return the masks that the runs used, judged; None if they used none.

    Raises:
        SmixError: The masks are missing, damaged or changed, or the images are not on this machine.
    """
    used = [run for run in comparison.begun if run.provenance["masks"]]
    if not used:
        return None
    data, folder = _load(comparison, data_root, "train"), used[0].config.masks
    store = None if folder == "carried" else MaskStore(folder)
    if store is not None:
        store.check_made_of(data)
    _check_used(used[0], data, data_root)
    return judge_carried(data) if store is None else judge_store(store, data)


def _check_used(run: Run, data: ImageSet, data_root: Path) -> None:
    """Raise MaskError unless the masks of the training images are those that the run used."""
    config = run.config
    training = training_images(config, data, data_root)
    if isinstance(training.images, Pictures) and training.size is not None and fits_on_device(data, config.image_size):
        # The run had the images in memory and brought its masks to their size. The images themselves do not matter here.
        training = replace(training, images=np.zeros((len(training), *training.size, 3), np.uint8))
    found = masks_of(training, config.masks).provenance["fingerprint"]
    expected = run.provenance["masks"]["fingerprint"]
    if found != expected:
        raise MaskError(
            f"masks: expected the masks that the runs used, got others ({found[:8]} instead of {expected[:8]}); restore the original "
            "store or data set"
        )


def _load(comparison: Comparison, data_root: Path, part: Split) -> ImageSet:
    run = comparison.begun[0]
    if not is_local(run.config.data, data_root):  # a report of others' runs downloads nothing
        raise DataError(f"{comparison.name}: the images are not on this machine; name their folder with --data-root")
    data, expected = load_data(run.config.data, data_root, part), run.provenance["data"][f"fingerprint_{part}"]
    if data.fingerprint != expected:
        raise DataError(
            f"{comparison.name}: expected the images that the runs used, got others ({data.fingerprint[:8]} instead of "
            f"{expected[:8]}); name the folder of the originals with --data-root"
        )
    return data
