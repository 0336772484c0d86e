"""What a report shows beside the runs' own files: the test images, and the masks that the methods used. They may be gone."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from smix.data.sets import ImageSet, Split, load_data
from smix.errors import DataError
from smix.masks import MaskStore, build_masks, load_source
from smix.mixing import parse_method
from smix.report.comparison import Comparison
from smix.report.judge import Checked, by_class, check
from smix.report.masks import short_name

CARRIED = 2000
"""So many masks that a data set carries are judged, at most."""


@dataclass(frozen=True, eq=False)
class Masks:
    """The masks of a comparison, judged."""

    checked: Checked
    data: ImageSet
    """The whole split that they are of."""
    seconds: float
    """What it took to build them: 0 if they came with the data, NaN if that is not known."""

    @property
    def shares(self) -> dict[str, float]:
        """Of each class, the share of its masks that are valid by default, in percent."""
        return {one.name: one.valid["default"] for one in by_class(self.checked, self.data)}


def test_images(comparison: Comparison, root: Path) -> ImageSet:
    """The test split as it was predicted. Raises DataError: it is not here, or another."""
    return _as_then(comparison, root, "test").take(comparison.begun[0].config.test_limit)


@contextmanager
def masks_of(comparison: Comparison, root: Path) -> Iterator[Masks | None]:
    """The masks that the runs used, while the block lasts; None: they used none.

    Raises:
        SmixError: they are not where they were, broken, or the images are not here.
    """
    used = [run for run in comparison.begun if parse_method(run.config.method).needs_masks]
    if not used:
        yield None
        return
    where, data = used[0].config.masks, _as_then(comparison, root, "train")
    if where != "carried":
        store = MaskStore(where)
        store.check_made_of(data)
        yield Masks(check(store, short_name(store)), data, store.seconds)
        return
    with TemporaryDirectory() as folder:
        carried = build_masks(data, load_source("carried"), folder, "none", min(CARRIED, len(data)))
        assert carried is not None
        yield Masks(check(carried, short_name(carried)), data, 0.0)


def _as_then(comparison: Comparison, root: Path, split: Split) -> ImageSet:
    run = comparison.begun[0]
    data, wanted = load_data(run.config.data, root, split), run.made["data"][f"fingerprint_{split}"]
    if data.fingerprint != wanted:
        raise DataError(
            f"{run.config.data}: expected the images that the runs were made of, got others ({data.fingerprint[:8]} instead "
            f"of {wanted[:8]}); say where they are with --root"
        )
    return data
