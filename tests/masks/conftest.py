"""Fixtures of the tests of masks."""

import pytest

from smix.data.sets import ImageSet
from smix.masks import build_masks
from tests.conftest import make_set
from tests.masks.stores import BrightnessSource, content, use_small_shards


@pytest.fixture
def data() -> ImageSet:
    return make_set()


@pytest.fixture
def small_shards(monkeypatch) -> None:
    use_small_shards(monkeypatch)


@pytest.fixture
def expected_files(data, tmp_path, small_shards) -> dict[str, bytes]:
    """Return the files of an uninterrupted build."""
    return content(build_masks(data, BrightnessSource(), tmp_path / "whole").path)
