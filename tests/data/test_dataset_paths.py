"""Test that the paths of the images of other libraries' data sets are found."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from smix.data.dataset_paths import path_at, paths_of
from smix.errors import DataError

PATHS = ["a/1.jpg", "a/2.jpg", "b/3.jpg"]


class Listed:
    def __init__(self, count: int = 3, **attributes) -> None:
        self.count = count
        vars(self).update(attributes)

    def __len__(self) -> int:
        return self.count


@pytest.mark.parametrize(
    "dataset",
    [
        PATHS,
        tuple(PATHS),
        np.array(PATHS, object),
        [Path(path) for path in PATHS],
        [(path, 0) for path in PATHS],
        Listed(samples=[(path, 0) for path in PATHS]),
        Listed(imgs=[(path, 0) for path in PATHS]),
        Listed(paths=PATHS),
        Listed(samples=[(np.zeros(3), 0)] * 3, imgs=[1, 2, 3], paths=PATHS),
        Listed(paths=np.array(PATHS)),
        Listed(filenames=lambda absolute: PATHS),
        ConcatDataset([Listed(1, paths=PATHS[:1]), Listed(2, paths=PATHS[1:])]),
        Subset(Listed(6, paths=[*PATHS, *PATHS]), [3, 1, 5]),
    ],
    ids=lambda dataset: type(dataset).__name__,
)
def test_paths_are_found(dataset):
    assert paths_of(dataset) == PATHS
    if not hasattr(dataset, "filenames"):  # which can only list all
        assert [path_at(dataset, index) for index in (0, 1, 2, -1)] == [*PATHS, PATHS[-1]]


@pytest.mark.parametrize(
    "dataset",
    [
        TensorDataset(),
        Listed(),
        Listed(samples=[(1, 2)] * 3),
        Listed(paths="abc"),
        Listed(samples=None),
        [(np.zeros(3), 0)],
        "abc",
        ConcatDataset([Listed(1, paths=["a"]), Listed(1)]),
        SimpleNamespace(),
    ],
    ids=lambda dataset: type(dataset).__name__,
)
def test_data_sets_without_paths(dataset):
    assert paths_of(dataset) is None


def test_a_data_set_with_more_paths_than_images_is_refused():
    with pytest.raises(
        DataError, match="Listed: expected a path for each of 5 images, got 3; wrap the data set before"
    ):
        paths_of(Listed(5, paths=PATHS))
