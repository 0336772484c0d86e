"""torch.compile(fullgraph=True), run by tests/mixing/compiled.py in a process without the shape checks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from smix.mixing import Method
from tests.mixing.cases import COMPILED, skip_without_fake_gamma


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    path = tmp_path_factory.mktemp("compiled") / "results.json"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.mixing.compiled", path], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text())


@pytest.mark.parametrize("method", COMPILED, ids=repr)
def test_a_method_compiles_to_one_graph_that_gives_the_same_bits(method: Method, results: dict[str, dict]):
    """One graph for the first batch size and one for all others."""
    skip_without_fake_gamma(method)
    result = results[repr(method)]
    assert "error" not in result, result
    assert result["equal"] == [True, True, True]
    assert result["graphs"] <= 2
