"""Fixtures of the tests of mixing."""

from collections.abc import Callable

import jaxtyping
import pytest
import torch

from smix.mixing.core import MixBatch


@pytest.fixture
def without_type_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the type checks of the tests, which would refuse invalid input before the checks of smix."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def fix_lambda(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that replaces the Beta draws of all following mixes by a number."""

    def fix(value: float) -> None:
        monkeypatch.setattr(MixBatch, "beta", lambda batch, a, b: torch.full((batch.draws,), value))

    return fix
