"""Comparisons train what the tests of training train."""

from tests.training.conftest import data  # noqa: F401
