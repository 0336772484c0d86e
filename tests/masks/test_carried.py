"""Test the masks that a data set carries as a source."""

from dataclasses import replace

import numpy as np
import pytest

from smix.errors import MaskError
from smix.masks import load_source
from smix.masks.sources import Source
from tests.conftest import make_set


def test_the_source_returns_the_masks_of_the_requested_images():
    data, index = make_set(), np.array([7, 0, 7, 39])
    found = load_source("carried")(data, index)
    assert np.array_equal(found.mask(), data.masks[index])
    assert np.array_equal(found.object, data.masks[index])
    assert found.classes is None


def test_masks_of_volumes_are_returned():
    data = make_set(6)
    volumes = replace(data, images=data.images[..., None, :1], masks=data.masks[..., None], fingerprint="")
    found = load_source("carried")(volumes, np.arange(3))
    assert np.array_equal(found.mask(), volumes.masks[:3])


def test_a_data_set_without_masks_is_refused_with_advice():
    message = "carried: made has no masks; use another source, or add mask_train"
    with pytest.raises(MaskError, match=message):
        load_source("carried")(make_set(masks=False), np.arange(2))


def test_carried_masks_implement_the_source_protocol():
    assert isinstance(load_source("carried"), Source)
