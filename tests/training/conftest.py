"""Data sets that are made once."""

import pytest
import torch

from tests.training.small import write_data


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a small data set that no test changes."""
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks compute in float32, whatever the processor can do: for tests that compute the same otherwise."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
