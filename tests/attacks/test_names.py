"""Test names that a shell, a terminal or a spreadsheet would interpret."""

import os
import subprocess

import numpy as np
import pytest

from smix import EvaluateConfig
from smix.config import RunOptions, SharedConfig
from smix.data import load_data
from smix.errors import DataError, OptionError, RunError, printable
from smix.lab.run_all import sbatch_script
from smix.lab.sweep import cross, read_sweep, write_sweep
from smix.report.terminal import show
from smix.untrusted import is_plain_name, is_text
from tests.conftest import make_set, write_npz

HOSTILE = ["x\ntouch PWN\n#", "x\rtouch PWN", "x\x00y", "x\x1b[2J", "x\x9b2J"]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_folder_with_control_characters_reaches_a_script(tmp_path, npz, name):
    sweep = write_sweep(tmp_path / "s.jsonl", cross(SharedConfig(data=npz, epochs=1), ["vanilla"], [0]))
    with pytest.raises((RunError, ValueError), match=r"control characters|null"):
        sbatch_script(sweep, tmp_path / "s.jsonl", tmp_path / name, RunOptions(device="cpu"))


def test_no_working_folder_with_control_characters_reaches_a_script(tmp_path, npz, monkeypatch):
    sweep = write_sweep(tmp_path / "s.jsonl", cross(SharedConfig(data=npz, epochs=1), ["vanilla"], [0]))
    (tmp_path / "x\ntouch PWN\n#").mkdir()
    monkeypatch.chdir(tmp_path / "x\ntouch PWN\n#")
    with pytest.raises(RunError, match="control characters"):
        sbatch_script(sweep, tmp_path / "s.jsonl", tmp_path / "out", RunOptions(device="cpu"))


@pytest.mark.parametrize(
    "name", ["a b", "a'b", 'a"b', "a$(touch PWN)b", "a;touch PWN;b", "a`touch PWN`b", "a%b", "a#b", "-x", "*"]
)
def test_every_other_folder_name_is_quoted_in_the_script(tmp_path, npz, name):
    sweep = write_sweep(tmp_path / "s.jsonl", cross(SharedConfig(data=npz, epochs=1), ["vanilla"], [0]))
    script = sbatch_script(sweep, tmp_path / "s.jsonl", tmp_path / name, RunOptions(device="cpu"))
    command = next(line for line in script.splitlines() if "sweep run" in line).removesuffix("&")
    ran = subprocess.run(
        ["sh", "-c", f'set -- {command}; for word; do printf "%s\\n" "$word"; done'],
        cwd=tmp_path,
        env={"SLURM_ARRAY_TASK_ID": "0", "PATH": os.defpath},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"--out={tmp_path / name}" in ran.stdout.splitlines()
    assert not (tmp_path / "PWN").exists()
    directives = [line for line in script.splitlines() if line.startswith("#SBATCH")]
    assert len(directives) == 7


@pytest.mark.parametrize(
    "name", [*HOSTILE, "a/../../b", "/a", "..", "a//b", "a/", "", "x" * 251, "a b", "a;b", ".a", 5, None]
)
def test_a_sweep_names_only_folders_below_its_own(tmp_path, name):
    import json

    (tmp_path / "s.jsonl").write_text(json.dumps({"name": name, "config": {}}) + "\n")
    with pytest.raises(OptionError, match=r"s\.jsonl, line 1: ") as caught:
        read_sweep(tmp_path / "s.jsonl")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", HOSTILE)
def test_class_names_with_terminal_codes_are_refused(tmp_path, name):
    train, test = make_set(), make_set(split="test")
    arrays = {"x_train": train.images, "y_train": train.labels, "x_test": test.images, "y_test": test.labels}
    np.savez(tmp_path / "set.npz", classes=np.array(["a", name, "c", "d"]), **arrays)
    with pytest.raises(
        DataError, match="expected class names of at most 200 characters without control characters"
    ) as caught:
        load_data(f"npz:{tmp_path / 'set.npz'}")
    assert str(caught.value).isprintable()


def test_no_terminal_codes_are_printed(capsys):
    show("a\x1b[2Jb\x07c\x9b2J")
    assert capsys.readouterr().out == "a\\x1b[2Jb\\x07c\\x9b2J\n"


def test_an_error_message_is_printable(smix, tmp_path):
    write_npz(tmp_path / "made.npz", make_set(), make_set(split="test"))
    code, _, err = smix(
        "masks", "build", "--data", f"npz:{tmp_path}/\x1b[2J.npz", "--source", "carried", "--out", tmp_path / "m"
    )
    assert code == 2
    assert err.strip().isprintable()
    for config in (EvaluateConfig, SharedConfig):
        with pytest.raises(OptionError, match="data: expected a path in UTF-8 without control characters"):
            config(data="npz:\x1b")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[0m", r"a\x1b[0m"),
        ("a\ud800", r"a\ud800"),
        ("\u202eabc", r"\u202eabc"),
        ("Größe 猫 a\u200db", "Größe 猫 a\u200db"),
        ("a\nb", r"a\nb"),
    ],
)
def test_printable_replaces_control_characters(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize("name", ["a", "shard-00000.npy", ".x.tmp", "a b", "ü", "x" * 255])
def test_plain_names_are_recognised(name):
    assert is_plain_name(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "/a", "a\\b", "C:a", "a\nb", "a\x00b", "x" * 256, "a*", 5, None, ["a"], "a|b", "\ud800"],
)
def test_other_names_are_not_plain(name):
    assert not is_plain_name(name)


def test_valid_texts_are_recognised():
    assert is_text("Größe 猫\u200d")
    assert not any(map(is_text, ["a\n", "\t", "\x7f", "\x85", "\ud800"]))
