"""Test atomic writes of files, and locks of folders with one writer."""

import errno
import hashlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from smix import files
from smix.errors import RunError

HOLD = """
import sys
import time
from pathlib import Path
from smix import files
with files.lock(Path(sys.argv[1])):
    sys.stdout.write("held\\n")
    sys.stdout.flush()
    sys.stdin.read()
"""


def read_all_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("write", "content", "expected"),
    [
        (files.write_bytes, b"\x00\xff", b"\x00\xff"),
        (files.write_text, "naïve\n", "naïve\n".encode()),
        (files.write_json, {"a": [1, None, "é"]}, json.dumps({"a": [1, None, "é"]}, indent=1).encode() + b"\n"),
    ],
    ids=["bytes", "text", "json"],
)
@pytest.mark.parametrize("there", [True, False])
def test_a_file_is_written_completely_into_new_folders(tmp_path, write, content, expected, there):
    path = tmp_path / "new" / "deep" / "file"
    if there:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"much longer than the new content, so that a remainder would show")
    write(path, content)
    assert read_all_files(path.parent) == {"file": expected}


def test_written_files_are_readable_for_other_users(tmp_path):
    files.write_bytes(tmp_path / "file", b"1")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) & 0o444 == 0o444


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()], ids=["an error", "Ctrl-C"])
@pytest.mark.parametrize("before", [{}, {"file": b"old"}], ids=["none before", "one before"])
def test_an_interrupted_write_changes_nothing(tmp_path, error, before):
    for name, content in before.items():
        (tmp_path / name).write_bytes(content)

    def interrupt() -> None:
        with files.atomic(tmp_path / "file") as file:
            file.write(b"half of it")
            raise error

    with pytest.raises(type(error)):
        interrupt()
    assert read_all_files(tmp_path) == before


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_disk_changes_nothing(tmp_path, monkeypatch, step):
    (tmp_path / "file").write_bytes(b"old")

    def fail(*args: object) -> None:
        raise OSError("disk")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="disk"):
        files.write_bytes(tmp_path / "file", b"new")
    assert read_all_files(tmp_path) == {"file": b"old"}


def test_content_is_synchronised_before_the_rename(tmp_path, monkeypatch):
    order = []
    for step in ("fsync", "replace"):
        true = getattr(os, step)
        monkeypatch.setattr(os, step, lambda *args, step=step, true=true: (order.append(step), true(*args))[1])
    files.write_bytes(tmp_path / "file", b"1")
    assert order == ["fsync", "replace"]


def test_readers_see_the_old_file_until_the_end(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with files.atomic(tmp_path / "file") as file:
        file.write(b"new")
        file.flush()
        assert (tmp_path / "file").read_bytes() == b"old"
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("content", [{"a": float("nan")}, {"a": float("inf")}, {"a": object()}])
def test_values_that_json_cannot_represent_are_refused_and_change_nothing(tmp_path, content):
    files.write_json(tmp_path / "file", {"a": 1})
    before = read_all_files(tmp_path)
    with pytest.raises((ValueError, TypeError)):
        files.write_json(tmp_path / "file", content)
    assert read_all_files(tmp_path) == before


def test_files_of_one_commit_are_all_written(tmp_path):
    (tmp_path / "b").write_bytes(b"old")
    files.write_together(tmp_path, {"a": b"1", "b": b"2", "c": b""})
    assert read_all_files(tmp_path) == {"a": b"1", "b": b"2", "c": b""}


@pytest.mark.parametrize("good", range(3))
def test_no_file_of_a_commit_changes_if_one_does_not_fit(tmp_path, monkeypatch, good):
    (tmp_path / "b").write_bytes(b"old")
    synced = []

    def sync(handle: int) -> None:
        synced.append(handle)
        if len(synced) > good:
            raise OSError("full")

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(OSError, match="full"):
        files.write_together(tmp_path, dict.fromkeys("abc", b"new"))
    assert read_all_files(tmp_path) == {"b": b"old"}


@pytest.mark.parametrize("content", [b"", b"a", bytes(range(256)) * 5000])
def test_sha256_equals_hashlib(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    assert files.sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_a_folder_has_one_writer_at_a_time(tmp_path):
    folder = tmp_path / "new"
    with files.lock(folder):
        message = rf"{re.escape(str(folder))}: the folder is in use by another smix process; wait"
        with pytest.raises(RunError, match=message), files.lock(folder):
            pass
        with files.lock(tmp_path / "other"):
            pass
    with files.lock(folder):
        pass


def test_an_error_frees_the_folder(tmp_path):
    with pytest.raises(KeyError), files.lock(tmp_path):
        raise KeyError
    with files.lock(tmp_path):
        pass


def kill_while_locked(folder: Path, program: str = HOLD) -> None:
    """Kill another process that holds a lock of the folder, after checking that the folder is in use."""
    with subprocess.Popen(
        [sys.executable, "-c", program, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="in use"), files.lock(folder):
            pass
        other.kill()
        other.wait()


def test_a_killed_process_frees_its_folder(tmp_path):
    kill_while_locked(tmp_path)
    with files.lock(tmp_path):
        pass


@pytest.mark.parametrize("place", ["file", "file/deeper"])
def test_a_file_in_place_of_a_folder_is_refused_and_kept(tmp_path, place):
    (tmp_path / "file").write_bytes(b"mine")
    with (
        pytest.raises(RunError, match=r"cannot write to this folder: .*; choose another"),
        files.lock(tmp_path / place),
    ):
        pass
    assert read_all_files(tmp_path) == {"file": b"mine"}


def test_files_of_a_killed_writer_are_removed_by_the_next_writer(tmp_path):
    leftover, kept = tmp_path / ".checkpoint.pt.abc.tmp", tmp_path / "checkpoint.pt"
    leftover.write_bytes(b"half")
    kept.write_bytes(b"whole")
    with files.lock(tmp_path):
        assert not leftover.exists()
        assert kept.read_bytes() == b"whole"


@pytest.mark.parametrize(
    ("number", "got"),
    [
        (errno.EROFS, "a read-only file system"),
        (errno.ENOLCK, "a file system without file locks"),
        (errno.ENOSYS, "a file system without file locks"),
    ],
)
def test_a_file_system_without_locks_is_a_one_line_error(tmp_path, monkeypatch, number, got):
    def lock_descriptor(descriptor: int, *, blocking: bool) -> bool:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files, "lock_descriptor", lock_descriptor)
    with (
        pytest.raises(RunError, match=f"cannot write to this folder: {got}; choose another"),
        files.lock(tmp_path),
    ):
        pass


@pytest.mark.parametrize("content", [b"mine", None], ids=["a file", "nothing"])
def test_a_link_in_place_of_a_lock_file_is_refused_and_its_target_is_kept(tmp_path, content):
    folder, target = tmp_path / "run", tmp_path / "target"
    folder.mkdir()
    if content is not None:
        target.write_bytes(content)
    (folder / ".lock").symlink_to(target)
    with (
        pytest.raises(RunError, match="cannot write to this folder: a symbolic link instead of a lock file"),
        files.lock(folder),
    ):
        pass
    assert (target.read_bytes() if target.exists() else None) == content


def test_a_lock_file_with_content_keeps_it(tmp_path):
    (tmp_path / ".lock").write_bytes(b"mine")
    with files.lock(tmp_path), files.lock(tmp_path, "other.lock"):
        pass
    assert read_all_files(tmp_path) == {".lock": b"mine", "other.lock": b""}


def test_shared_locks_exclude_only_exclusive_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "SHARED_PATIENCE", 0.1)
    with files.lock(tmp_path, shared=True), files.lock(tmp_path, shared=True):
        with pytest.raises(RunError, match="in use by another smix process"), files.lock(tmp_path):
            pass
        with files.lock(tmp_path, "other.lock"):
            pass
    with (
        files.lock(tmp_path),
        pytest.raises(RunError, match="in use by another smix process"),
        files.lock(tmp_path, shared=True),
    ):
        pass


def test_shared_locks_leave_no_files(tmp_path):
    with files.lock(tmp_path, shared=True):
        assert len(read_all_files(tmp_path)) == 2
    assert set(read_all_files(tmp_path)) == {".lock"}
    with pytest.raises(KeyError), files.lock(tmp_path, shared=True):
        raise KeyError
    assert set(read_all_files(tmp_path)) == {".lock"}


def test_a_killed_process_releases_its_shared_lock(tmp_path):
    kill_while_locked(tmp_path, HOLD.replace("argv[1])", "argv[1]), shared=True"))
    with files.lock(tmp_path):
        assert set(read_all_files(tmp_path)) == {".lock"}


def test_exclusive_locks_exclude_all_others_and_nobody_starves(tmp_path):
    inside, conflicts = [0, 0], []

    def enter(alone: bool) -> None:
        with files.lock(tmp_path, shared=not alone):
            inside[alone] += 1
            time.sleep(0.01)
            if inside[1] > 1 or all(inside):
                conflicts.append(tuple(inside))
            inside[alone] -= 1

    def until_entered(alone: bool) -> None:
        for _ in range(100):
            try:
                return enter(alone)
            except RunError:
                time.sleep(0.01)
        raise AssertionError("never entered")

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(until_entered, [False, True, False, False] * 6))
    assert conflicts == []


def test_no_exclusive_lock_is_granted_while_a_shared_lock_is_requested(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    refused = []

    def meanwhile() -> uuid.UUID:
        with pytest.raises(RunError, match="in use"), files.lock(tmp_path):
            pass
        refused.append(True)
        return uuid.UUID(int=7)

    monkeypatch.setattr(files.uuid, "uuid4", meanwhile)
    with files.lock(tmp_path, shared=True):
        assert refused == [True]


@pytest.mark.parametrize("mode", [0o644, 0o444])
def test_a_folder_in_use_is_recognised_without_writing_into_it(tmp_path, mode):
    assert files.in_use(tmp_path) is False
    assert read_all_files(tmp_path) == {}
    with files.lock(tmp_path):
        (tmp_path / ".lock").chmod(mode)
        assert files.in_use(tmp_path) is True
    assert files.in_use(tmp_path) is False


def test_a_forked_child_does_not_hold_the_lock_of_a_killed_parent(tmp_path):
    """Processes that read images behave like this: they notice a few seconds later that their parent has ended."""
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:
        with files.lock(tmp_path):
            child = os.fork()
            if child == 0:
                time.sleep(60)
            os.write(write, str(child).encode())
            time.sleep(60)
        os._exit(0)
    child = int(os.read(read, 20))
    with pytest.raises(RunError, match="in use"), files.lock(tmp_path):
        pass
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    try:
        with files.lock(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.close(read)
        os.close(write)


def test_checking_whether_a_folder_is_in_use_is_not_a_use(tmp_path):
    (tmp_path / ".lock").touch()
    with ThreadPoolExecutor(4) as pool:
        results = pool.map(lambda _: files.in_use(tmp_path), range(2000))
    assert not any(results)


def test_a_failed_lock_holds_nothing(tmp_path):
    (tmp_path / ".lock.of another").mkdir()
    with pytest.raises(RunError) as error, files.lock(tmp_path):
        pass
    assert not files.in_use(tmp_path), error
