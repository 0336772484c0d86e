"""Test that a folder from another user never makes smix write, read or wait outside of it."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smix import files
from smix.config import SharedConfig
from smix.data import load_data
from smix.data.listing import list_images
from smix.data.pictures import decode
from smix.errors import DataError, RunError, SmixError
from smix.lab.sweep import cross, write_sweep
from smix.masks import MaskStore, build_masks, load_source
from smix.masks.store import COST
from smix.training.records import read_run
from tests.conftest import make_set
from tests.report.runs import write_run, write_runs

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")

MOVES = {
    "an absolute target": {"{victim}": ".x.tmp"},
    "a target above": {"../victim": ".x.tmp"},
    "a target in a folder": {"inner/victim": ".x.tmp"},
    "an absolute source": {"stats.npy": "{victim}"},
    "a source above": {"stats.npy": "../victim"},
    "a source above a folder": {"stats.npy": "building/../../victim"},
    "a source behind a link": {"stats.npy": "link/victim"},
    "a source that is a link": {"stats.npy": "alias"},
    "a number": {"stats.npy": 5},
    "a list": ["stats.npy"],
    "a line break": {"a\nb": ".x.tmp"},
}


@pytest.mark.parametrize("moves", MOVES.values(), ids=MOVES.keys())
def test_a_commit_file_moves_nothing_outside_of_its_folder(tmp_path, moves):
    victim, folder = tmp_path / "victim", tmp_path / "store"
    victim.write_text("precious")
    folder.mkdir()
    (folder / ".x.tmp").write_text("evil")
    (folder / "inner").mkdir()
    (folder / "link").symlink_to(tmp_path)
    (folder / "alias").symlink_to(victim)
    (folder / files.COMMIT).write_text(json.dumps(moves).replace("{victim}", str(victim)))
    with pytest.raises(RunError, match=r"\.commit\.json: expected names of files in this folder"), files.lock(folder):
        pass
    assert victim.read_text() == "precious"
    assert not (folder / "inner" / "victim").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 20000, b'{"a": "b", "a": "c"}', b"null"])
def test_a_damaged_commit_file_is_a_one_line_error(tmp_path, content):
    (tmp_path / files.COMMIT).write_bytes(content)
    with pytest.raises(RunError, match=r"\.commit\.json: expected names of files in this folder"), files.lock(tmp_path):
        pass


def test_a_commit_file_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "moves.json").write_text("{}")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / files.COMMIT).symlink_to(tmp_path / "moves.json")
    with pytest.raises(RunError, match="a symbolic link"), files.lock(tmp_path / "store"):
        pass
    assert (tmp_path / "moves.json").is_file()


def test_temporary_files_that_are_links_are_removed_and_their_targets_kept(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / ".x.tmp").symlink_to(tmp_path / "victim")
    with files.lock(tmp_path / "store"):
        files.write_together(tmp_path / "store", {"a": b"1"})
    assert (tmp_path / "victim").read_text() == "precious"


def test_appending_follows_no_link(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "log.txt").symlink_to(tmp_path / "victim")
    with pytest.raises(RunError, match="a symbolic link"):
        files.append_text(tmp_path / "log.txt", "evil")
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.parametrize("name", ["config.json", "result.json", "metrics.jsonl"])
def test_a_run_is_not_read_through_links(tmp_path, name):
    run = write_run(tmp_path, "smix", 0)
    (run / name).rename(tmp_path / "elsewhere")
    (run / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="got a symbolic link"):
        read_run(run)


@pytest.mark.parametrize("name", ["manifest.json", "stats.npy", "shard-00000.npy"])
def test_a_store_is_not_read_through_links(tmp_path, name):
    store = build_masks(make_set(), load_source("carried"), tmp_path / "store")
    assert store is not None
    (store.path / name).rename(tmp_path / "elsewhere")
    (store.path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SmixError, match="a symbolic link"):
        MaskStore(store.path)[0]


def test_the_time_of_a_build_is_not_written_through_a_link(tmp_path, capsys):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / COST).symlink_to(tmp_path / "victim")
    store = build_masks(make_set(), load_source("carried"), tmp_path / "store")
    assert np.array_equal(store[:], make_set().masks)
    assert "a symbolic link" in capsys.readouterr().err
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.slow
@pytest.mark.usefixtures("blank_figures")
def test_reading_runs_writes_nothing_into_them(smix, npz, tmp_path):
    write_sweep(tmp_path / "s.jsonl", cross(SharedConfig(data=npz, epochs=3), ["vanilla", "smix"], [0]))
    write_runs(tmp_path / "runs", {"vanilla": [1.0], "smix": [1.2]}, data=npz)

    def state() -> dict[Path, tuple[int, bytes]]:
        return {
            path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
            for path in (tmp_path / "runs").rglob("*")
        }

    before = state()
    assert smix("report", tmp_path / "runs", "--out", tmp_path / "report", "--quiet")[0] == 0
    code, out, _ = smix("sweep", "status", tmp_path / "s.jsonl", "--out", tmp_path / "runs")
    assert code == 0
    assert "done" in out
    assert state() == before


def test_foreign_folders_with_temporary_names_are_kept(tmp_path):
    (tmp_path / ".mine.tmp").mkdir()
    (tmp_path / ".mine.tmp" / "work").write_text("precious")
    with files.lock(tmp_path):
        pass
    assert (tmp_path / ".mine.tmp" / "work").read_text() == "precious"


@needs_pipes
def test_a_lock_file_that_is_a_pipe_or_a_link_is_not_a_lock(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / "a" / ".lock", 0o444)
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "b" / ".lock").symlink_to(tmp_path / "victim")
    assert not files.in_use(tmp_path / "a")
    assert not files.in_use(tmp_path / "b")


# Pipes, loops and names


@needs_pipes
@pytest.mark.parametrize(
    "read",
    [
        lambda path: decode(path),
        lambda path: files.sha256(path),
        lambda path: load_data(f"npz:{path}"),
        lambda path: load_source("torchvision:deeplabv3_mobilenet_v3_large", weights=str(path)),
        lambda path: load_source(f"onnx:{path}"),
    ],
    ids=["picture", "sha256", "npz", "weights", "onnx"],
)
def test_named_pipes_do_not_block(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(SmixError):
        read(tmp_path / "pipe.png")


def folder_of_images(path: Path) -> Path:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (path / split / name).mkdir(parents=True)
            for number in range(3):
                Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(path / split / name / f"{number}.png")
    return path


@needs_pipes
def test_a_named_pipe_in_an_image_folder_is_reported(tmp_path):
    os.mkfifo(folder_of_images(tmp_path) / "train" / "cat" / "x.png")
    with pytest.raises(DataError, match=r"cat/x\.png: expected an image, got a folder, pipe or device; remove it"):
        load_data(f"folder:{tmp_path}")


def test_a_loop_of_links_and_a_broken_link_are_reported(tmp_path):
    folder_of_images(tmp_path)
    (tmp_path / "train" / "cat" / "x.png").symlink_to("x.png")
    with pytest.raises(DataError, match=r"cat/x\.png: expected an image, got .*; remove or replace it"):
        load_data(f"folder:{tmp_path}")
    (tmp_path / "train" / "cat" / "x.png").unlink()
    (tmp_path / "train" / "dog" / "y.png").symlink_to("nothing.png")
    with pytest.raises(DataError, match=r"dog/y\.png: expected an image, got No such file"):
        load_data(f"folder:{tmp_path}")


def test_a_folder_that_contains_itself_is_not_read_endlessly(tmp_path):
    folder_of_images(tmp_path)
    (tmp_path / "train" / "cat" / "inner").symlink_to(tmp_path / "train", target_is_directory=True)
    assert len(load_data(f"folder:{tmp_path}")) == 6


@pytest.mark.skipif(sys.platform != "linux", reason="file names of this system are Unicode")
@pytest.mark.parametrize("name", [b"\xff.png", b"a\x1b[2J.png", b"a\nb.png"], ids=["no UTF-8", "escape", "line break"])
def test_odd_file_names_are_refused_in_one_line(tmp_path, name):
    folder_of_images(tmp_path)
    where = os.fsencode(tmp_path / "train" / "cat")
    os.rename(where + b"/0.png", where + b"/" + name)  # noqa: PTH104 - bytes
    with pytest.raises(DataError, match="file names must be UTF-8 without control characters, got") as caught:
        load_data(f"folder:{tmp_path}")
    assert str(caught.value).isprintable()


@pytest.mark.skipif(sys.platform != "linux", reason="file names of this system are Unicode")
@pytest.mark.parametrize("name", [b"\xff", b"a\x1b[2J"], ids=["no UTF-8", "escape"])
def test_odd_names_of_classes_are_refused_in_one_line(tmp_path, name):
    folder_of_images(tmp_path)
    for split in ("train", "test"):
        where = os.fsencode(tmp_path / split)
        os.rename(where + b"/cat", where + b"/" + name)  # noqa: PTH104 - bytes
    with pytest.raises(DataError, match="without control characters") as caught:
        load_data(f"folder:{tmp_path}")
    assert str(caught.value).isprintable()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_reported(tmp_path):
    folder_of_images(tmp_path)
    (tmp_path / "train" / "cat").chmod(0)
    try:
        with pytest.raises(DataError, match=r"cat: the image folder cannot be read \(Permission denied"):
            load_data(f"folder:{tmp_path}")
    finally:
        (tmp_path / "train" / "cat").chmod(0o755)


def test_images_below_a_path_that_is_not_a_folder_are_reported(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert list_images(tmp_path / "none").names == ()
    with pytest.raises(DataError, match=r"the image folder cannot be read \(Not a directory"):
        list_images(tmp_path / "file")


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--data", "digits-on-photos", "--out", "x" * 5000],
        ["report", "x" * 5000],
        ["evaluate", "x" * 5000],
        ["masks", "check", "x" * 5000],
        ["masks", "build", "--data", "npz:" + "x" * 5000, "--source", "carried", "--out", "y"],
        ["sweep", "status", "x" * 5000, "--out", "y"],
    ],
    ids=lambda words: " ".join(words[:2])[:12],
)
def test_a_name_that_is_too_long_is_a_one_line_error(smix, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    code, _, err = smix(*words)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("smix: ")
