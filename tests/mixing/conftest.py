"""Fixtures of the tests of mixing."""

from collections.abc import Callable

import jaxtyping
import pytest
import torch

from smix.mixing.core import MixBatch


@pytest.fixture
def as_users_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the shape checks of the tests, which would stop bad input before our own checks see it."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def fix_lambda(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Replaces the draw from the Beta by a number, for whatever is mixed afterwards."""

    def fix(value: float) -> None:
        monkeypatch.setattr(MixBatch, "beta", lambda batch, a, b: torch.full((batch.draws,), value))

    return fix
