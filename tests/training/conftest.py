"""Data sets that are made once."""

from collections.abc import Iterator

import pytest
import torch

from tests.training.small import write_data


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other make these tiny trainings a hundred times slower on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a small data set that no test changes."""
    return write_data(tmp_path_factory.mktemp("data"))
