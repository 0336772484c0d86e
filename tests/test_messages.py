"""Test that messages of other libraries are given whole, on one line, without what a terminal would interpret."""

import pytest

from smix.errors import SmixError
from smix.untrusted import one_line

TRANSFORMERS = (
    "We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the cached files.\n"
    "Check your internet connection or see how to run the library in offline mode at "
    "'https://huggingface.co/docs/transformers/installation#offline-mode'."
)
ONNXRUNTIME = (
    "\x1b[1;31m[ONNXRuntimeError] : 1 : FAIL : Load model from net.onnx failed:\x1b[m /onnxruntime/core/graph/model.cc:\x1b[0;93m181\x1b[m "
    "onnxruntime::Model::Model(...) Unknown model file format version.\n\nGot 99, the latest is 11."
)
TIMM = "Error(s) in loading state_dict for ResNet:\n\tMissing key(s): " + ", ".join(
    f'"layer{n}.conv1.weight"' for n in range(500)
)


def test_all_lines_are_given():
    text = one_line(OSError(TRANSFORMERS))
    assert text.startswith("OSError: We couldn't connect")
    assert text.endswith("installation#offline-mode'.")


def test_escapes_of_a_terminal_are_removed():
    text = one_line(RuntimeError(ONNXRUNTIME))
    assert text.startswith("RuntimeError: [ONNXRuntimeError] : 1 : FAIL")
    assert "model.cc:181 onnxruntime" in text
    assert text.endswith("version. Got 99, the latest is 11.")
    assert "\x1b" not in text
    assert "[m" not in text


@pytest.mark.parametrize(
    "escape",
    ["\x1b[2J", "\x1b[38;2;1;2;3m", "\x1b]8;;https://example.org\x07", "\x1b]0;title\x1b\\", "\x1bM", "\x1b[?25l"],
)
def test_every_kind_of_escape_is_removed(escape):
    assert one_line(ValueError(f"before{escape} after")) == "ValueError: before after"
    assert "\x1b" not in one_line(SmixError(f"a file named before{escape}after"))


def test_of_a_list_of_layers_beginning_and_end_are_given():
    text = one_line(RuntimeError(TIMM))
    assert len(text) == 1200
    assert text.startswith('RuntimeError: Error(s) in loading state_dict for ResNet: Missing key(s): "layer0.')
    assert text.endswith('"layer499.conv1.weight"')
    assert " ... " in text


@pytest.mark.slow
def test_a_damaged_onnx_file_names_the_reason_of_onnxruntime(tmp_path):
    pytest.importorskip("onnxruntime")
    from smix.masks import load_source

    (tmp_path / "net.onnx").write_bytes(b"not a network")
    (tmp_path / "net.json").write_text("{}")
    with pytest.raises(SmixError) as failed:
        load_source(f"onnx:{tmp_path / 'net.onnx'}")
    text = str(failed.value)
    assert "\x1b" not in text
    assert "\\x1b" not in text
    assert "\n" not in text
