"""The benchmark runs, and its page and picture can be made of what it writes. Times are not looked at."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PEERS = [name for name in ("timm", "kornia") if importlib.util.find_spec(name) is None]


@pytest.mark.skipif(bool(PEERS), reason=f"needs {' and '.join(PEERS)}")
def test_a_small_benchmark_from_end_to_end(tmp_path: Path):
    def python(*words: str) -> None:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr

    python("-m", "benchmarks.mixing", "--sizes", "16", "--threads", "1", "--scale", "0.01", "--out", str(tmp_path))
    (path,) = tmp_path.glob("mixing_cpu_*.json")
    values = json.loads(path.read_text())["sizes"]["16"]
    assert all(0 < value["min_ms"] <= value["median_ms"] for value in values.values())
    assert 0 <= values["smix CutMix"]["peak_batches"] < 1
    python("-m", "benchmarks.show", str(path))
    assert "| smix FMix |" in path.with_suffix(".md").read_text()
    assert path.with_suffix(".png").stat().st_size > 10_000


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks/results").glob("*.json")), ids=lambda path: path.name)
def test_results_name_their_hardware_and_versions(path: Path):
    result = json.loads(path.read_text())
    assert result["processor"]
    assert {"torch", "python", "smix"} <= set(result["versions"])
    assert path.with_suffix(".md").is_file()
