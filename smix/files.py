"""Files that are either whole or absent: atomic writes, checksums, and one writer per folder."""

import errno
import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from smix.errors import RunError


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; when the block ends well, sync it and rename it to `path`.

    Whatever goes wrong, an existing `path` is untouched and the temporary file is removed.

    Raises:
        RunError: no file can be written there.
    """
    with _as_our_error(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        with _as_our_error(path.parent):
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def _as_our_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError, FileNotFoundError) as error:
        raise RunError(f"{folder}: expected a folder to write, got {type(error).__name__}; choose another") from None
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        raise RunError(f"{folder}: expected a folder to write, got a read-only file system; choose another") from None


def check_writable(folder: Path) -> None:
    """Raises RunError if a file cannot be written into this folder, or another process holds it. Makes nothing."""
    if folder.is_dir():
        with lock(folder):
            return
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not there.is_dir():
        raise RunError(f"{there}: expected a folder to write, got a file; choose another")
    if not os.access(there, os.W_OK):
        raise RunError(f"{there}: expected a folder to write, got one that is not ours to write; choose another")


def write_bytes(path: Path, content: bytes) -> None:
    with atomic(path) as file:
        file.write(content)


COMMIT = ".commit.json"
"""Says which files of a `write_together` get which names; while it is there, not all of them have them yet."""


def write_together(folder: Path, contents: Mapping[str, bytes], moves: Mapping[str, str] | None = None) -> None:
    """Write files that vouch for one another: all of them or none, whenever the process is killed.

    All are on the disk before the first is replaced; a full disk changes nothing. What a killed process had begun to
    replace is finished by the next who locks the folder.

    Args:
        contents: What the files are to hold, by name.
        moves: Files that are in the folder already, under another name: new name to old name.
    """
    temporaries = {name: f".{name}.next.tmp" for name in contents}
    try:
        for name, temporary in temporaries.items():
            with (folder / temporary).open("wb") as file:
                file.write(contents[name])
                file.flush()
                os.fsync(file.fileno())
        write_json(folder / COMMIT, {**(moves or {}), **temporaries})
    except BaseException:
        for temporary in temporaries.values():
            (folder / temporary).unlink(missing_ok=True)
        raise
    _finish(folder)


def _finish(folder: Path) -> None:
    for name, before in json.loads((folder / COMMIT).read_text()).items():
        if (folder / before).is_file():
            (folder / before).replace(folder / name)
    (folder / COMMIT).unlink()


def write_text(path: Path, content: str) -> None:
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_held: set[TextIO] = set()
os.register_at_fork(after_in_child=lambda: [file.close() for file in _held])
"""A process that reads images for us outlives us by seconds when we are killed: it must not hold our folder."""


@contextmanager
def lock(folder: Path, name: str = ".lock", together: bool = False, wait: bool = False) -> Iterator[None]:
    """Hold `folder` for one writer. The kernel frees the lock when the process ends, however it ends.

    What a killed writer left behind is finished (`write_together`) and, if nobody else can be writing, removed.

    Args:
        name: The file that is locked: several locks of a folder are independent.
        together: Share the folder with others who do; only those who want it alone are kept out.
        wait: Wait for the others, instead of an error.

    Raises:
        RunError: another process holds it, or it cannot be a folder that we write.
    """
    with _as_our_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
        file = (folder / name).open("w")
    with file:
        for patience in (0.05, 0.05, 0.0):  # `in_use` may be looking at it
            try:
                fcntl.flock(file, (fcntl.LOCK_SH if together else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
                break
            except BlockingIOError:
                time.sleep(patience)
        else:
            raise RunError(
                f"{folder}: expected a folder that nobody else is writing, got one in use; wait for the other command"
            )
        if not together:
            if (folder / COMMIT).is_file():
                _finish(folder)
            if name == ".lock":
                for leftover in folder.glob(".*.tmp"):
                    leftover.unlink()
        _held.add(file)
        try:
            yield
        finally:
            _held.remove(file)


def in_use(folder: Path, name: str = ".lock") -> bool:
    """Does a process hold this folder, here or, where the file system knows of locks, on another machine?"""
    try:
        with (folder / name).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
