"""Write files atomically, compute checksums, and lock folders so that only one process writes to them."""

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
    """Open a temporary file next to `path`, and rename it to `path` at the end of the block.

    If the block or the disk fails, an existing `path` is unchanged and the temporary file is removed.

    Args:
        path: File to write; its folder is created if it is missing.
        sync: Flush the file to the disk before it is renamed.

    Raises:
        RunError: The folder cannot be created or written to.
    """
    with _as_run_error(path.parent):
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
        with _as_run_error(path.parent):
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


PART = ".part"
"""Ending of the name of an unfinished file of `partial`."""


@contextmanager
def partial(path: Path) -> Iterator[BinaryIO]:
    """Open a new file `path`.part, and rename it to `path` at the end of the block.

    If the block or the disk fails, the file keeps its content under the name `path`.part; an empty one is removed.

    Args:
        path: File to write; its folder is created if it is missing.

    Raises:
        RunError: The folder cannot be created or written to, `path`.part exists, or `path` exists at the end of the block.
    """
    part = part_of(path)
    with _as_run_error(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        check_no_part(part)
        file = part.open("xb")
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            if not part.stat().st_size:
                part.unlink()
        raise
    try:
        try:
            os.link(part, path)  # unlike a rename, this never replaces a file
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if os.path.lexists(path):
                raise FileExistsError from None
            part.rename(path)
        part.unlink(missing_ok=True)
    except FileExistsError:
        raise RunError(
            f"{path}: expected a new file, got one that was made meanwhile; the content is in {part}, rename it"
        ) from None


def part_of(path: Path) -> Path:
    """Return the name of an unfinished file of `partial`."""
    return path.with_name(f"{path.name}{PART}")


def check_no_part(part: Path) -> None:
    """Raise RunError if an unfinished file of `partial` exists: it may be in use, or the only copy of its content."""
    if os.path.lexists(part):
        raise RunError(f"{part}: expected no file, got that of another command, running or interrupted; remove it")


UNSUITABLE = {
    errno.EROFS: "a read-only file system",
    errno.ELOOP: "a symbolic link instead of a lock file",
    errno.ENOLCK: "a file system without file locks",
    errno.ENOSYS: "a file system without file locks",
}
"""Description of each error number that means that smix cannot use a folder."""


@contextmanager
def _as_run_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError, FileNotFoundError) as error:
        raise RunError(f"{folder}: cannot write to this folder: {type(error).__name__}; choose another") from None
    except OSError as error:
        if error.errno not in UNSUITABLE:
            raise
        raise RunError(f"{folder}: cannot write to this folder: {UNSUITABLE[error.errno]}; choose another") from None


def check_writable(folder: Path) -> None:
    """Check that files can be written to a folder, without creating the folder.

    Raises:
        RunError: The folder cannot be written to, or another process has locked it.
    """
    check_name(folder)
    if folder.is_dir():
        with lock(folder):
            return
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise RunError(f"{existing}: cannot write to this folder: it is a file; choose another")
    if not os.access(existing, os.W_OK):
        raise RunError(f"{existing}: cannot write to this folder: no write permission; choose another")


def check_name(folder: Path) -> None:
    """Raise RunError if a folder path contains control characters that a shell or terminal would interpret."""
    if not is_text(str(folder.absolute())):
        raise RunError(f"{folder}: the path contains control characters; choose another")


def check_no_link(base: Path, folder: Path) -> None:
    """Raise RunError if a folder below `base`, or one of its parents up to `base`, is a symbolic link.

    Links are allowed in `base`, which the user has named, but not below it, where smix chooses the names.
    """
    for path in (folder, *folder.parents):
        if path == base:
            return
        if path.is_symlink():
            raise RunError(
                f"{path}: expected a folder, got a symbolic link; remove it, or name its target in the command"
            )


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically. See `atomic` for the errors."""
    with atomic(path) as file:
        file.write(content)


COMMIT = ".commit.json"
"""File with the old and new names of the files of `write_together`. While it exists, some may not be renamed yet."""


def write_together(folder: Path, contents: Mapping[str, bytes], moves: Mapping[str, str] | None = None) -> None:
    """Write several files atomically: all of them or none, even if the process is killed.

    All files are on the disk before the first one is replaced, so that a full disk changes nothing. If the process is killed while it
    replaces them, the next process that locks the folder completes the replacement.

    Args:
        folder: Folder of the files, which the caller has locked.
        contents: Content of each file, by name.
        moves: Existing files to rename: old name by new name.

    Raises:
        RunError: A file cannot be written.
    """
    temporaries = {name: f".{name}.next.tmp" for name in contents}
    try:
        for name, temporary in temporaries.items():
            with _as_run_error(folder):
                (folder / temporary).unlink(missing_ok=True)
            with (folder / temporary).open("xb") as file:  # "x": no link is followed
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
    """Complete an interrupted `write_together`. Since the folder is untrusted, no file outside it is touched."""
    try:
        moves = read_json(folder / COMMIT, follow_links=False)
        if not isinstance(moves, dict) or not all(
            is_plain_name(name) and _is_inside(folder, current) for name, current in moves.items()
        ):
            raise UnreadableError("an invalid name or a path outside the folder")
    except UnreadableError as error:
        raise RunError(
            f"{folder / COMMIT}: expected names of files in this folder, got {error}; remove {COMMIT}, and use the folder only if "
            "you trust its author"
        ) from None
    for name, current in moves.items():
        if (folder / current).is_file():
            (folder / current).replace(folder / name)
    (folder / COMMIT).unlink()


def _is_inside(folder: Path, name: object) -> bool:
    """Return whether a name is a path at most one level below a folder, without symbolic links."""
    parts = name.split("/") if isinstance(name, str) else []
    paths = [folder.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]
    return 1 <= len(parts) <= 2 and all(map(is_plain_name, parts)) and not any(path.is_symlink() for path in paths)


def append_text(path: Path, content: str) -> None:
    """Append text to a file (see `open_to_append`). Raises RunError if it cannot be written."""
    with _as_run_error(path.parent), open_to_append(path) as file:
        file.write(content.encode())


def write_text(path: Path, content: str) -> None:
    """Write a text file in UTF-8 atomically. See `atomic` for the errors."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically. See `atomic` for the errors."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def sha256(path: Path, follow_links: bool = True, max_bytes: int | None = None) -> str:
    """Return the sha256 of a regular file in hexadecimal digits. See `open_file` for the arguments and errors."""
    with open_file(path, max_bytes, follow_links) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


PATIENCE = 0.5
"""Seconds to wait for a lock before a folder counts as in use, since `in_use` and `lock(shared=True)` lock it for an instant."""
SHARED_PATIENCE = 10.0
"""Seconds to wait with `lock(shared=True)`, since hundreds of cluster jobs may start at once."""
POLL = 0.05
"""Mean seconds between two attempts. They are random, so that waiting processes do not all try at the same time."""
_waits = random.Random()

_held: set[FileIO] = set()


def _close_all() -> None:
    for file in _held:
        file.close()


if hasattr(os, "register_at_fork"):
    # If this process is killed, a DataLoader worker outlives it by seconds and must not keep the folder locked.
    os.register_at_fork(after_in_child=_close_all)


@contextmanager
def lock(folder: Path, name: str = ".lock", shared: bool = False, wait: bool = False) -> Iterator[None]:
    """Lock a folder for one writer. The operating system releases the lock when the process ends, for whatever reason.

    Unfinished files of a writer that was killed are completed (`write_together`) or, if no other process can be writing, removed.

    Args:
        folder: Folder to lock; it is created if it is missing.
        name: Name of the lock file. Locks with different names are independent.
        shared: Share the lock with processes that also pass `shared=True`, and exclude only those that do not.
        wait: Wait until no process has an exclusive lock, instead of raising an error. It has no effect on a shared lock, and
            processes that share the lock are not waited for.

    Raises:
        RunError: Another process has locked the folder, or the folder cannot be written to.
    """
    check_name(folder)
    with _as_run_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = _lock_shared(folder / name) if shared else _lock_alone(folder / name, wait)
    if file is None:
        raise RunError(f"{folder}: the folder is in use by another smix process; wait for it to finish")
    _held.add(file)
    try:
        if not shared:
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
        if shared:
            _remove(Path(file.name))


def in_use(folder: Path) -> bool:
    """Return True if a process has an exclusive lock on a folder, on this machine or, if the file system shares locks, on another."""
    file = folder / ".lock"
    extra = getattr(os, "O_NOFOLLOW", 0) | getattr(
        os, "O_NONBLOCK", 0
    )  # refuse a symbolic link, and do not wait for a pipe
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


def _lock_alone(path: Path, wait: bool) -> FileIO | None:
    """Lock a file exclusively, or return None if another process has locked it or one of the files of `_lock_shared`."""
    file = _locked(path, None if wait else PATIENCE)
    if file is None:
        return None
    try:
        for sharer in path.parent.glob(f"{path.name}.*"):
            other = _locked(sharer)
            if other is None:
                file.close()
                return None
            other.close()
            _remove(sharer)  # its process was killed
    except BaseException:
        file.close()
        raise
    return file


def _lock_shared(path: Path) -> FileIO | None:
    """Lock a new file next to this one, or return None if another process has locked this one exclusively."""
    gate = _locked(path, SHARED_PATIENCE)
    if gate is None:
        return None
    with gate:  # no process can lock the folder exclusively before the new file is locked
        return _locked(path.with_name(f"{path.name}.{uuid.uuid4().hex}"))


def _locked(path: Path, patience: float | None = 0.0) -> FileIO | None:
    """Open and lock a file, or return None if it is still locked after `patience` seconds (None: wait without limit).

    The lock is exclusive and released when the file is closed. The file is created if it is missing, and never changed. A symbolic
    link is rejected, since its target may lie outside the folder.
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
    """Lock an open file, or return False if it is still locked after `patience` seconds (None: wait without limit)."""
    end = time.monotonic() + (patience or 0.0)
    while not lock_descriptor(descriptor, blocking=patience is None):
        if time.monotonic() >= end:
            return False
        time.sleep(_waits.uniform(0, 2 * POLL))
    return True


def _remove(path: Path) -> None:
    """Remove an unlocked lock file. On Windows, the last process that has it open does so."""
    with suppress(OSError):
        path.unlink()
