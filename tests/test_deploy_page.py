"""Test that the commands and programs of docs/deploy.md run in their order, with fewer epochs."""

import io
import re
import shlex
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "deploy.md"


@pytest.mark.slow
def test_the_page_runs_from_top_to_bottom(smix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outputs = []
    for language, block in re.findall(r"^```(\w*)\n(.+?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        if language == "python":
            exec(block, {})
            continue
        for line in block.splitlines():
            source, _, command = line.rpartition("| ")
            if source:
                assert source == "find pictures -name '*.png' "
                monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(map(str, Path("pictures").glob("*.png")))))
            words = shlex.split(command, comments=True)
            words = ["1" if before == "--epochs" else word for before, word in zip(["", *words], words, strict=False)]
            code, out, err = smix(*words[1:])
            assert code == 0, err
            outputs.append(out)
    assert len(outputs) == 6
    assert Path("predictions.csv").read_text().count("\n") == 11
    assert Path("exported/onnx/model.onnx").is_file()
    assert Path("exported/torch/model.pt2").is_file()
