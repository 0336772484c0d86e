"""Data sets that are made once."""

import pytest

from tests.training.small import write_data


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a small data set that no test changes."""
    return write_data(tmp_path_factory.mktemp("data"))
