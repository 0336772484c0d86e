"""Test that a full disk, a read-only file system and files of another user give a one-line error and lose no data."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from smix import files
from tests.attacks.formats import digest
from tests.conftest import make_set, write_npz
from tests.masks.stores import content
from tests.report.runs import write_runs
from tests.training.small import assert_equal_runs, write_data

NOBODY = 65534
TRAINING = [
    "--model",
    "resnet8",
    "--method",
    "smix+fmix",
    "--epochs",
    "2",
    "--batch-size",
    "16",
    "--device",
    "cpu",
    "--quiet",
]


@pytest.fixture
def disk(tmp_path) -> Iterator[Callable[..., Path]]:
    """Return a function that mounts an in-memory file system or changes its options. Skip the test if mounting is not allowed."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount_disk(*options: str) -> Path:
        flags = ["-o", ",".join((*(["remount"] if place.is_mount() else []), *options))]
        command = ["mount", "-t", "tmpfs", *flags, "tmpfs", str(place)]
        try:
            subprocess.run(command, check=True, capture_output=True, env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"})
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("no file system can be mounted here")
        return place

    yield mount_disk
    while (
        place.is_mount()
        and not subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True).returncode
    ):
        pass


def one_line(result: tuple[int, str, str], code: int = 2) -> str:
    """Check that a command failed with one error line, and return that line."""
    assert result[0] == code, result
    lines = [line for line in result[2].splitlines() if line.startswith("smix: ")]
    assert len(lines) == 1, result[2]
    assert "Traceback" not in result[2]
    return lines[0]


BUILD = ["masks", "build", "--source", "carried", "--save-classes", "--quiet"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "images", "minimum", "enough", "message"),
    [
        (BUILD, 2000, "5m", "60m", "no space is left on the disk, and the masks need"),
        (
            ["train", *TRAINING],
            80,
            "700k",
            "20m",
            "No space left on device; free some space and run the same command again",
        ),
    ],
    ids=["build", "train"],
)
def test_a_command_that_fills_the_disk_resumes_when_space_is_free(
    smix, tmp_path, disk, words, images, minimum, enough, message
):
    size = (64, 64) if words is BUILD else (10, 14)
    sets = make_set(images, size), make_set(24, size, seed=1, split="test")
    command = [*words, "--data", f"npz:{write_npz(tmp_path / 'made.npz', *sets)}"]
    assert smix(*command, "--out", tmp_path / "undisturbed")[0] == 0
    out = disk(f"size={minimum}") / "out"
    assert message in one_line(smix(*command, "--out", out))
    disk(f"size={enough}")
    assert smix(*command, "--out", out)[0] == 0
    if words is BUILD:
        assert content(out) == content(tmp_path / "undisturbed")
    else:
        assert_equal_runs(out, tmp_path / "undisturbed")


@pytest.mark.slow
@pytest.mark.usefixtures("blank_figures")
def test_a_report_that_fills_the_disk_keeps_the_previous_report(smix, tmp_path, disk):
    runs = write_runs(tmp_path / "runs", {"vanilla": [1.0, 1.1], "smix": [1.2, 1.3]})
    out = disk("size=20m") / "report"
    assert smix("report", runs, "--out", out, "--quiet")[0] == 0
    before = content(out)
    used = sum(map(len, before.values()))
    state = os.statvfs(out)
    (out.parent / "other").write_bytes(bytes(state.f_bavail * state.f_frsize - used // 3))
    assert "No space left" in one_line(smix("report", runs, "--out", out, "--quiet"))
    assert content(out) == before


@pytest.mark.slow
@pytest.mark.usefixtures("blank_figures")
@pytest.mark.parametrize("command", ["train", "build", "report", "evaluate", "export", "sweep write", "compare"])
def test_a_read_only_file_system_is_a_one_line_error(smix, tmp_path, disk, command):
    data = write_data(tmp_path)
    place = disk("size=20m")
    runs = write_runs(place / "runs", {"vanilla": [1.0]})
    assert smix("masks", "build", "--data", data, "--source", "carried", "--out", place / "store", "--quiet")[0] == 0
    before = digest(sorted(content(place).items()))
    disk("ro")
    words = {
        "train": ["train", "--data", data, *TRAINING, "--out", place / "run"],
        "compare": [
            "compare",
            "--data",
            data,
            *[one for one in TRAINING if one not in ("--method", "smix+fmix")],
            "--out",
            place / "all",
        ],
        "build": [
            "masks",
            "build",
            "--data",
            data,
            "--source",
            "carried",
            "--out",
            place / "store",
            "--limit",
            "5",
            "--quiet",
        ],
        "report": ["report", runs, "--quiet"],
        "evaluate": ["evaluate", runs / "vanilla-0"],
        "export": ["masks", "export", place / "store", "--out", place / "masks"],
        "sweep write": ["sweep", "write", place / "s.jsonl", "--data", data],
    }
    one_line(smix(*words[command]))
    assert digest(sorted(content(place).items())) == before


# Another user's files


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Drop root privileges inside the block, because root may read and write everything."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def place(tmp_path) -> Path:
    """Return a folder that an ordinary user can enter, with a run, a store and data owned by root."""
    if os.geteuid() == 0:  # other users cannot enter the folders of pytest
        for folder in (tmp_path, *tmp_path.parents[:3]):
            if folder.parent != folder.parent.parent:
                folder.chmod(0o755)
    write_data(tmp_path)
    write_runs(tmp_path / "runs", {"vanilla": [1.0]})
    return tmp_path


def deny_access(path: Path) -> None:
    path.chmod(0)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no users of this kind")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("made.npz", ["data", "npz:{place}/made.npz"]),
        ("runs/vanilla-0/config.json", ["report", "{place}/runs", "--out", "{place}/mine"]),
        ("runs/vanilla-0", ["report", "{place}/runs", "--out", "{place}/mine"]),
        ("runs", ["report", "{place}/runs", "--out", "{place}/mine"]),
        ("runs/vanilla-0/result.json", ["evaluate", "{place}/runs/vanilla-0"]),
        ("runs/vanilla-0", ["evaluate", "{place}/runs/vanilla-0"]),
        ("runs", ["evaluate", "{place}/runs"]),
        ("s.jsonl", ["sweep", "status", "{place}/s.jsonl", "--out", "{place}/runs"]),
        ("store", ["masks", "check", "{place}/store"]),
        ("store/manifest.json", ["masks", "check", "{place}/store"]),
        ("store/stats.npy", ["masks", "check", "{place}/store"]),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_an_unreadable_folder_of_another_user_is_a_one_line_error(smix, place, name, words):
    assert (
        smix(
            "masks",
            "build",
            "--data",
            f"npz:{place / 'made.npz'}",
            "--source",
            "carried",
            "--out",
            place / "store",
            "--quiet",
        )[0]
        == 0
    )
    (place / "s.jsonl").write_text('{"name": "a", "config": {}}\n')
    (place / "mine").mkdir(mode=0o777)
    (place / "mine").chmod(0o777)
    command = [word.format(place=place) for word in words]
    smix(*command)  # import everything first, because an ordinary user may not be able to read the packages of root
    shutil.rmtree(place / "mine")
    (place / "mine").mkdir()
    (place / "mine").chmod(0o777)
    deny_access(place / name)
    try:
        with ordinary_user():
            result = smix(*command)
    finally:
        (place / name).chmod(0o755)
    assert "ermission" in one_line(result) or "another user" in result[2]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no users of this kind")
def test_a_folder_of_another_user_is_not_written_and_the_message_says_so(place):
    for path in (place / "runs", *(place / "runs").rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = content(place / "runs")
    try:
        with (
            ordinary_user(),
            pytest.raises(files.RunError, match="cannot write to this folder"),
            files.lock(place / "runs" / "vanilla-0"),
        ):
            pass
    finally:
        for path in (place / "runs", *(place / "runs").rglob("*")):
            path.chmod(0o755)
    assert content(place / "runs") == before
