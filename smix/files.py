"""Files that are either whole or absent: atomic writes, checksums, and one writer per folder."""

import errno
import hashlib
import json
import os
import random
import stat
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

from filelock import lock_descriptor

from smix.errors import RunError
from smix.untrusted import UnreadableError, is_plain_name, is_text, open_file, open_to_append, read_json


@contextmanager
def atomic(path: Path, sync: bool = True) -> Iterator[BinaryIO]:
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
            if sync:
                os.fsync(file.fileno())
        temporary.chmod(0o644)
        with _as_our_error(path.parent):
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


UNFIT = {
    errno.EROFS: "a read-only file system",
    errno.ELOOP: "a symbolic link in place of a lock file",
    errno.ENOLCK: "a file system without file locks",
    errno.ENOSYS: "a file system without file locks",
}


@contextmanager
def _as_our_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError, FileNotFoundError) as error:
        raise RunError(f"{folder}: expected a folder to write, got {type(error).__name__}; choose another") from None
    except OSError as error:
        if error.errno not in UNFIT:
            raise
        raise RunError(f"{folder}: expected a folder to write, got {UNFIT[error.errno]}; choose another") from None


def check_writable(folder: Path) -> None:
    """Raise RunError if a file cannot be written into this folder, or another process holds it. Makes nothing."""
    check_name(folder)
    if folder.is_dir():
        with lock(folder):
            return
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not there.is_dir():
        raise RunError(f"{there}: expected a folder to write, got a file; choose another")
    if not os.access(there, os.W_OK):
        raise RunError(f"{there}: expected a folder to write, got one that is not ours to write; choose another")


def check_name(folder: Path) -> None:
    """Raise RunError if the path of a folder contains control characters, which a shell or a terminal would interpret."""
    if not is_text(str(folder.absolute())):
        raise RunError(f"{folder}: expected a path without control characters; choose another")


def check_no_link(base: Path, folder: Path) -> None:
    """Raise RunError if a folder that smix itself names below `base`, a folder that the user named, is or lies behind a link."""
    for path in (folder, *folder.parents):
        if path == base:
            return
        if path.is_symlink():
            raise RunError(
                f"{path}: expected a folder, got a symbolic link; remove it, or name its target in the command"
            )


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
            with _as_our_error(folder):
                (folder / temporary).unlink(missing_ok=True)
            with (folder / temporary).open("xb") as file:  # new: no link is followed
                file.write(contents[name])
                file.flush()
                os.fsync(file.fileno())
        write_json(folder / COMMIT, {**(moves or {}), **temporaries})
    except BaseException:
        for temporary in temporaries.values():
            with suppress(OSError):
                (folder / temporary).unlink()
        raise
    _finish(folder)


def _finish(folder: Path) -> None:
    """Complete an interrupted `write_together`. The folder is untrusted, so no file outside it is touched."""
    try:
        moves = read_json(folder / COMMIT, links=False)
        if not isinstance(moves, dict) or not all(
            is_plain_name(name) and _is_inside(folder, before) for name, before in moves.items()
        ):
            raise UnreadableError("an invalid name or a path outside the folder")
    except UnreadableError as error:
        raise RunError(
            f"{folder / COMMIT}: expected names of files in this folder, got {error}; remove {COMMIT}, and use the folder only if "
            "you trust its author"
        ) from None
    for name, before in moves.items():
        if (folder / before).is_file():
            (folder / before).replace(folder / name)
    (folder / COMMIT).unlink()


def _is_inside(folder: Path, name: object) -> bool:
    """Return whether a name is a path at most one level below a folder, without symbolic links."""
    parts = name.split("/") if isinstance(name, str) else []
    paths = [folder.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]
    return 1 <= len(parts) <= 2 and all(map(is_plain_name, parts)) and not any(path.is_symlink() for path in paths)


def append_text(path: Path, content: str) -> None:
    """Append text to a file (see `open_to_append`). Raises RunError if it cannot be written."""
    with _as_our_error(path.parent), open_to_append(path) as file:
        file.write(content.encode())


def write_text(path: Path, content: str) -> None:
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def sha256(path: Path, links: bool = True, limit: int | None = None) -> str:
    """Return the sha256 of a regular file in hexadecimal digits. Raises UnreadableError: see `open_file`."""
    with open_file(path, limit, links) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


PATIENCE = 0.5
"""Seconds to wait for a lock before the folder counts as in use: `in_use` and `lock(together=True)` hold it for an instant."""
PATIENCE_TO_JOIN = 10.0
"""The same for `lock(together=True)`: hundreds of tasks of a cluster may join at once."""
POLL = 0.05
"""Mean seconds between two attempts, drawn at random: processes that wait together must not try together."""
_waits = random.Random()

_held: set[FileIO] = set()


def _close_all() -> None:
    for file in _held:
        file.close()


if hasattr(os, "register_at_fork"):
    # A process that reads images for us outlives us by seconds when we are killed: it must not hold our folder.
    os.register_at_fork(after_in_child=_close_all)


@contextmanager
def lock(folder: Path, name: str = ".lock", together: bool = False, wait: bool = False) -> Iterator[None]:
    """Hold a folder for one writer. The operating system frees the lock when the process ends, however it ends.

    The files of a writer that was killed are completed (`write_together`) or, if nobody else can be writing, removed.

    Args:
        name: File to lock: locks with different names are independent.
        together: Share the folder with others that also pass `together=True`, and exclude only those that do not.
        wait: Wait until no process holds the folder alone, instead of raising an error. Only without `together`; processes
            that share the folder are not waited for.

    Raises:
        RunError: another process holds the folder, or the folder cannot be written.
    """
    check_name(folder)
    with _as_our_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = _join(folder / name) if together else _take(folder / name, wait)
    if file is None:
        raise RunError(
            f"{folder}: expected a folder that nobody else is writing, got one in use; wait for the other command"
        )
    _held.add(file)
    try:
        if not together:
            if (folder / COMMIT).is_file():
                _finish(folder)
            if name == ".lock":
                for leftover in folder.glob(".*.tmp"):
                    if leftover.is_symlink() or leftover.is_file():
                        leftover.unlink()
        yield
    finally:
        _held.remove(file)
        file.close()
        if together:
            _remove(Path(file.name))


def in_use(folder: Path) -> bool:
    """Return whether a process holds this folder alone, on this or, where the file system shares locks, another machine."""
    file = folder / ".lock"
    extra = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # no link, and no pipe that waits
    try:
        descriptor = os.open(file, (os.O_RDWR if os.access(file, os.W_OK) else os.O_RDONLY) | extra)
    except OSError:
        return False
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode) and not _lock_within(descriptor, PATIENCE)
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _take(path: Path, wait: bool) -> FileIO | None:
    """Lock a file alone; None if others hold it. Each of those that share it holds a file of its own, named after it."""
    file = _locked(path, None if wait else PATIENCE)
    if file is None:
        return None
    try:
        for member in path.parent.glob(f"{path.name}.*"):
            other = _locked(member)
            if other is None:
                file.close()
                return None
            other.close()
            _remove(member)  # its process was killed
    except BaseException:
        file.close()
        raise
    return file


def _join(path: Path) -> FileIO | None:
    """Lock a new file next to this one; None if another process holds this one alone."""
    gate = _locked(path, PATIENCE_TO_JOIN)
    if gate is None:
        return None
    with gate:  # nobody can take the folder before the new file is locked
        return _locked(path.with_name(f"{path.name}.{uuid.uuid4().hex}"))


def _locked(path: Path, patience: float | None = 0.0) -> FileIO | None:
    """Open and lock a file; None if it is still locked after these seconds. With None, wait for as long as it takes.

    The lock is exclusive, as locks are on every system that filelock supports, and ends when the file is closed. The
    file is created if it is missing and never changed. A symbolic link is refused: what it points to is not ours.
    """
    extra = os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    file = FileIO(str(path), "r+", opener=lambda name, flags: os.open(name, flags | extra, 0o666))
    try:
        if _lock_within(file.fileno(), patience):
            return file
    except BaseException:
        file.close()
        raise
    file.close()
    return None


def _lock_within(descriptor: int, patience: float | None) -> bool:
    """Lock an open file; return False if it is still locked after these seconds. With None, wait for as long as it takes."""
    end = time.monotonic() + (patience or 0.0)
    while not lock_descriptor(descriptor, blocking=patience is None):
        if time.monotonic() >= end:
            return False
        time.sleep(_waits.uniform(0, 2 * POLL))
    return True


def _remove(path: Path) -> None:
    """Remove a lock file that nobody holds; Windows refuses while another process looks at it, and then the next one removes it."""
    with suppress(OSError):
        path.unlink()
