"""Test every file format with damaged and hostile files; `make attack` runs a hundred times as many trials."""

import pytest

pytest.importorskip("resource", reason="no limits of memory and time on this system")

from tests.attacks.formats import FORMATS, Format
from tests.attacks.fuzz import attack

TRIALS = 40


@pytest.mark.slow
@pytest.mark.parametrize("file_format", FORMATS, ids=lambda file_format: file_format.name)
def test_a_damaged_file_gives_the_original_data_or_a_one_line_error(file_format: Format, tmp_path):
    outcomes = attack(file_format, tmp_path, TRIALS)
    assert outcomes.changed > TRIALS / 2
    assert not outcomes.bad, "\n\n".join(outcomes.bad[:3])
