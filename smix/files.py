"""Files that are either whole or absent: atomic writes, checksums, and one writer per folder."""

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

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


def write_bytes(path: Path, content: bytes) -> None:
    with atomic(path) as file:
        file.write(content)


COMMIT = ".commit.json"
"""Names the files of a `write_together` that are on the disk; while it is there, not all of them have their names yet."""


def write_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files that vouch for one another: all of them or none, whenever the process is killed.

    All are on the disk before the first is replaced; a full disk changes nothing. What a killed process had begun to
    replace is finished by the next who locks the folder.
    """
    temporaries = {name: _next(folder, name) for name in contents}
    try:
        for name, temporary in temporaries.items():
            with temporary.open("wb") as file:
                file.write(contents[name])
                file.flush()
                os.fsync(file.fileno())
        write_json(folder / COMMIT, list(contents))
    except BaseException:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
        raise
    _finish(folder)


def _finish(folder: Path) -> None:
    for name in json.loads((folder / COMMIT).read_text()):
        if (temporary := _next(folder, name)).is_file():
            temporary.replace(folder / name)
    (folder / COMMIT).unlink()


def _next(folder: Path, name: str) -> Path:
    return folder / f".{name}.next.tmp"


def write_text(path: Path, content: str) -> None:
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for one writer. The kernel frees the lock when the process ends, however it ends.

    What a killed writer left behind is finished (`write_together`), or removed.

    Raises:
        RunError: another process holds it, or it cannot be a folder that we write.
    """
    with _as_our_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".lock").touch()
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"{folder}: expected a folder that nobody else is writing, got one in use; wait for the other command"
            ) from None
        if (folder / COMMIT).is_file():
            _finish(folder)
        for leftover in folder.glob(".*.tmp"):
            leftover.unlink()
        yield
