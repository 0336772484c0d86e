"""Test the choice of a device on any machine, by replacing the answers of torch."""

import pytest
import torch

from smix.device import find_device, in_words
from smix.errors import OptionError


@pytest.fixture
def machine(monkeypatch):
    def has(cuda: bool, mps: bool) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return has


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_the_fastest_device_is_found(machine, cuda, mps, expected):
    machine(cuda, mps)
    assert find_device() == find_device("auto") == torch.device(expected)


@pytest.mark.parametrize("name", ["cpu", "cuda", "mps"])
def test_a_named_device_is_used_if_it_is_available(machine, name):
    machine(cuda=True, mps=True)
    assert find_device(name) == torch.device(name)


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_an_unavailable_device_is_refused(machine, name):
    machine(cuda=False, mps=False)
    with pytest.raises(OptionError, match=f"^device: {name} is not available on this machine"):
        find_device(name)


def test_the_description_of_a_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "H100")
    assert in_words(torch.device("cuda")) == "GPU H100"
    assert in_words(torch.device("mps")) == "Apple GPU"
    assert in_words(torch.device("cpu"), 1) == "CPU with 1 thread"
    assert in_words(torch.device("cpu"), 3) == "CPU with 3 threads"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    assert in_words(torch.device("cpu")) == "CPU with 5 threads"
