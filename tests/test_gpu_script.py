"""Test the command that runs tests and benchmarks on a GPU: records, time limits, repeated and skipped parts, summary."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts import gpu, gpu_parts
from scripts.gpu import machine, run_parts, summary
from scripts.gpu_parts import ROOT, Part, all_parts, packages

pytestmark = pytest.mark.slow
COUNTED = """
import sys
from pathlib import Path
runs = Path(sys.argv[1])
runs.write_text(runs.read_text() + "x" if runs.exists() else "x")
print("so far", runs.read_text())
"""
FAILS = COUNTED + "\nif sys.argv[2] != runs.read_text(): raise SystemExit('the first time it fails')"
GROWS = """
import sys, time
while True:
    time.sleep(0.02)
    with open(sys.argv[1], "a") as file:
        file.write("x")
"""
HANGS = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {GROWS!r}, sys.argv[1]])
time.sleep(60)
"""


@pytest.fixture
def parts(tmp_path: Path) -> list[Part]:
    return [
        Part("passes", ("-c", COUNTED, str(tmp_path / "passes"))),
        Part("fails once", ("-c", FAILS, str(tmp_path / "fails"), "xx")),
        Part("hangs", ("-c", HANGS, str(tmp_path / "child")), seconds=2),
        Part("needs more", ("-c", "raise SystemExit(1)"), packages=("no_such_package",)),
    ]


def discard(line: str) -> None:
    pass


def count_runs(file: Path) -> int:
    return len(file.read_text())


def test_a_failure_does_not_stop_other_parts_and_only_unfinished_parts_run_again(parts, tmp_path):
    out = tmp_path / "out"
    first = run_parts(parts, out, log=discard)
    assert [record.state for record in first] == ["done", "failed", "failed", "left out"]
    assert [record.reason for record in first] == [
        "",
        "the first time it fails",
        "killed after 2 s",
        "missing: no_such_package",
    ]
    assert first[1].returncode == 1
    assert (out / "logs/passes.log").read_text() == "so far x\n"
    size = count_runs(tmp_path / "child")
    time.sleep(0.2)
    assert size == count_runs(tmp_path / "child") > 0  # the child of the hanging part was killed, too
    lines: list[str] = []
    second = run_parts([*parts[:2], parts[3]], out, log=lines.append)
    assert [record.state for record in second] == ["done", "done", "left out"]
    assert count_runs(tmp_path / "passes") == 1
    assert count_runs(tmp_path / "fails") == 2
    assert lines[0] == "[ 1/3] passes: already done"
    again = run_parts(parts[:1], out, log=discard, provenance="another commit")
    assert (again[0].provenance, count_runs(tmp_path / "passes")) == ("another commit", 2)
    third = run_parts(parts[:2], out, device="cpu", log=discard)  # a rehearsal does not count as a run on a GPU
    assert [record.device for record in third] == ["cpu", "cpu"]
    assert count_runs(tmp_path / "passes") == 3


def test_no_part_starts_after_the_time_limit_or_without_a_device(parts, tmp_path):
    late = run_parts(parts[:1], tmp_path / "out", minutes=-1, log=discard)
    assert (late[0].state, late[0].reason) == ("not started", "after -1 minutes")
    unable = run_parts(parts, tmp_path / "out", obstacle="no CUDA device", log=discard)
    assert {record.reason for record in unable} == {"no CUDA device"}
    assert not (tmp_path / "passes").exists()
    record = tmp_path / "out/records/passes.json"
    record.write_text(record.read_text()[:20])
    assert run_parts(parts[:1], tmp_path / "out", log=discard)[0].state == "done"


def test_the_summary_names_states_failed_tests_missing_packages_and_tables(parts, tmp_path):
    cases = "<testcase classname='tests.a' name='fine'/><testcase classname='tests.a' name='bad'><failure/></testcase>"
    junit = tmp_path / "tests.xml"
    junit.write_text("of an earlier attempt, cut off <")
    report = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.argv[2]); raise SystemExit(1)"
    words = ("-c", report, str(junit), f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    parts = [*parts[:1], Part("tests.a", words, junit=junit), parts[3]]
    records = run_parts(parts, tmp_path / "out", log=discard)
    (tmp_path / "out/mixing.md").write_text("| |\n")
    text = summary(records, parts, machine(parts, "cpu"), tmp_path / "out")
    assert "3 parts: 1 done, 1 failed, 1 left out." in text
    assert "| tests.a | failed | " in text
    assert "| failed tests: 1 |" in text
    assert "\n- tests.a::bad\n" in text
    assert "tests.a::fine" not in text
    assert "| no_such_package | left out: needs more |" in text
    assert "- [mixing.md](mixing.md)" in text


def test_packages_of_a_module_include_indirect_imports():
    mixing = packages(["smix.mixing"])
    assert {"torch", "jaxtyping", "numpy"} <= mixing
    assert not {"cyclopts", "safetensors", "scripts", "smix", "math", "pytest"} & mixing
    assert {"cyclopts", "rich", "safetensors"} <= packages(["smix.cli", "smix.training.runs"])


def test_every_marked_test_and_every_benchmark_is_a_part_that_exists(tmp_path):
    parts = {part.name: part for part in all_parts(tmp_path, rehearse=False)}
    assert {"tests.mixing.test_no_wait", "tests.test_gpu", "tests.training.test_exact"} <= set(parts)
    assert "tests.test_gpu_script" not in parts
    for part in parts.values():
        assert part.seconds <= 480
        assert {"torch"} <= part.needs()
        assert all((ROOT / f"{module.replace('.', '/')}.py").is_file() for module in part.modules if "." in module[5:])
    assert "cyclopts" not in parts["tests.mixing.test_no_wait"].needs()
    assert "timm" in parts["benchmarks.training.peers"].needs()
    assert "timm" not in parts["benchmarks.mixing"].needs()


def test_smix_mixes_and_trains_with_the_stand_ins():
    code = """
import jaxtyping, lazy_loader, torch, smix.training.runs, smix.masks.build, smix.lab.evaluate
assert "standins" in jaxtyping.__file__ and "standins" in lazy_loader.__file__
mixed, target = smix.Fallback(smix.SMix(), smix.FMix())(torch.rand(4, 3, 8, 8), torch.arange(4), masks=torch.ones(4, 8, 8))
print(tuple(mixed.shape))
"""
    paths = os.pathsep.join([str(ROOT), *map(str, gpu.STANDINS.values())])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert done.stdout == "(4, 3, 8, 8)\n", done.stderr


def test_the_command_without_a_device_says_so_and_does_not_fail(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "machine", lambda parts, device: {**machine([], "cpu"), "device": device})
    monkeypatch.setattr(sys, "argv", ["gpu", "--out", str(tmp_path / "out")])
    assert gpu.main() == 0
    output = capsys.readouterr().out
    assert output.count("left out (no CUDA device)") == len(all_parts(tmp_path, rehearse=False))
    result = json.loads((tmp_path / "out/summary.json").read_text())
    assert {part["reason"] for part in result["parts"]} == {"no CUDA device"}
    assert (tmp_path / "out/summary.md").read_text().startswith("# Run on a machine without a CUDA device, ")


def test_missing_packages_are_recognised(monkeypatch):
    monkeypatch.setattr(gpu_parts, "installed", lambda name: name not in ("timm", "jaxtyping"))
    assert Part("peers", (), ("benchmarks.training_peers",)).missing() == ["timm"]
