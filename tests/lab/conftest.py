"""Comparisons train what the tests of training train."""

from tests.training.conftest import _one_thread, data  # noqa: F401
