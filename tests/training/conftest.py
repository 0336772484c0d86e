"""Fixtures of the tests of training."""

import pytest

from tests.training.small import write_data


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the name of a small data set. Tests must not change it."""
    return write_data(tmp_path_factory.mktemp("data"))
