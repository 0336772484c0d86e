"""Test the report about data sets: which exist, where to obtain the others, and how values became uint8."""

import numpy as np

from smix import load_data
from smix.data.sets import SETS
from smix.lab.doctor import check_data, scaling
from tests.conftest import make_set

BUILT_IN = ["digits-on-photos", "biased-digits"]


def test_every_named_set_is_listed_with_advice(tmp_path):
    findings = check_data(tmp_path)
    assert [finding.name for finding in findings] == list(SETS)
    assert [finding.name for finding in findings if finding.ready] == BUILT_IN
    assert all(finding.state == "built in" for finding in findings[:2])
    assert all(finding.state == f"not in {tmp_path}" and finding.advice for finding in findings[2:])


def test_a_set_unpacked_by_torchvision_is_found(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    assert [finding.name for finding in check_data(tmp_path) if finding.ready] == [*BUILT_IN, "cifar10"]


def test_the_range_of_scaled_values_is_reported(tmp_path):
    images = np.linspace(-1.5, 4, 140).reshape(2, 5, 7, 2)
    labels = np.arange(2)
    np.savez(tmp_path / "set.npz", x_train=images, y_train=labels, x_test=images / 2, y_test=labels)
    expected = "Values: -1.5 became 0 and 4 became 255, as in the train split"
    for split in ("train", "test"):
        assert scaling(load_data(f"npz:{tmp_path / 'set.npz'}", split=split)) == expected
    assert scaling(make_set()) == ""
