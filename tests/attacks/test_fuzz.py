"""Fuzz every file format briefly; `make attack` runs a hundred times as many trials."""

import pytest

pytest.importorskip("resource", reason="no limits of memory and time on this system")

from tests.attacks.formats import FORMATS, Format
from tests.attacks.fuzz import attack

TRIALS = 40


@pytest.mark.slow
@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
def test_a_damaged_file_gives_the_original_data_or_one_line(one: Format, tmp_path):
    found = attack(one, tmp_path, TRIALS)
    assert found.changed > TRIALS / 2
    assert not found.bad, "\n\n".join(found.bad[:3])
