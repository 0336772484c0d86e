"""What the tests of building share."""

import pytest

from smix.data.sets import ImageSet
from smix.masks import build_masks
from tests.conftest import make_set
from tests.masks.stores import Drawn, content, small_parts


@pytest.fixture
def data() -> ImageSet:
    return make_set()


@pytest.fixture
def small_shards(monkeypatch) -> None:
    small_parts(monkeypatch)


@pytest.fixture
def whole(data, tmp_path, small_shards) -> dict[str, bytes]:
    """The files of a build that nothing disturbed."""
    return content(build_masks(data, Drawn(), tmp_path / "whole").path)
