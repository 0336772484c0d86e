"""Read untrusted .npy and .npz files: files that other people may have made, modified or damaged.

Each function returns the arrays that were written or raises `UnreadableError`. Pickled objects are never loaded, and
the sizes in headers are compared with those of the files before memory is allocated.
"""

import io
import math
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from smix.untrusted import UnreadableError, one_line, open_file

_UNREADABLE = (
    *(OSError, ValueError, TypeError, EOFError, MemoryError, RuntimeError, SyntaxError, LookupError, OverflowError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)
"""Errors that numpy and zipfile raise for damaged files, depending on where the damage is."""


@contextmanager
def _as_unreadable() -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        raise UnreadableError(one_line(error)) from None


def check_stored(file: io.BufferedReader) -> None:
    """Raise UnreadableError if a file for torch.load is a compressed archive; reading it could exhaust the memory.

    PyTorch never compresses its files.
    """
    if zipfile.is_zipfile(file):
        with _as_unreadable(), zipfile.ZipFile(file) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise UnreadableError("a compressed archive")
    file.seek(0)


def map_npy(file: io.BufferedReader) -> NDArray[Any]:
    """Memory-map the array of an .npy file read-only. The file was opened with `open_file`.

    Raises:
        UnreadableError: The file is not an .npy file, contains Python objects, or is shorter or longer than its header says.
    """
    with _as_unreadable():
        file.seek(0)
        shape, in_fortran_order, dtype = _npy_header(file)
        start, size = file.tell(), os.fstat(file.fileno()).st_size
        if start + _size(shape, dtype) != size:
            raise UnreadableError(f"{size - start:,} bytes of data instead of {_size(shape, dtype):,}")
        order: Literal["F", "C"] = "F" if in_fortran_order else "C"
        if size == start:
            return np.empty(shape, dtype, order)
        return np.asarray(np.memmap(file, dtype, "r", start, shape, order))


def read_npz(path: Path, max_bytes: int | None = None, follow_links: bool = False) -> dict[str, NDArray[Any]]:
    """Return all arrays of an .npz file by name. See `open_npz` for the arguments and errors."""
    with open_npz(path, max_bytes, follow_links) as arrays:
        return dict(arrays)


@contextmanager
def open_npz(path: Path, max_bytes: int | None = None, follow_links: bool = True) -> Iterator["Arrays"]:
    """Open an .npz file. Each array is read when it is accessed.

    Args:
        path: File to open.
        max_bytes: Maximum total size of all arrays, in bytes. Default: the memory of this machine.
        follow_links: Follow a symbolic link instead of rejecting it.

    Raises:
        UnreadableError: The file is damaged or not a zip archive of .npy files, the size of an array does not match its header, or the
            arrays are larger than `max_bytes`.
    """
    with open_file(path, follow_links=follow_links) as file:
        with _as_unreadable():
            archive = zipfile.ZipFile(file)
            names = _check_members(archive, max_bytes or _memory())
        with archive:
            yield Arrays(archive, names)


@dataclass(frozen=True, eq=False)
class Arrays(Mapping[str, NDArray[Any]]):
    """Arrays of an open .npz file by name. Access to a damaged array raises UnreadableError."""

    archive: zipfile.ZipFile
    names: tuple[str, ...]

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self.names:
            raise KeyError(name)
        with _as_unreadable(), self.archive.open(f"{name}.npy") as stream:
            array = np.asarray(npy_format.read_array(stream, allow_pickle=False))
            if stream.read(1):  # read to the end, where zipfile verifies the checksum
                raise UnreadableError(f'more than an array in "{name}"')
            return array

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the dtype of an array by reading only its header."""
        with _as_unreadable(), self.archive.open(f"{name}.npy") as stream:
            return _npy_header(io.BytesIO(stream.read(_HEADER_BYTES)))[2]


def _memory() -> int | None:
    """Return the memory of this machine in bytes, or None if it is unknown."""
    if not hasattr(os, "sysconf"):
        return None
    return int(os.sysconf("SC_PAGE_SIZE")) * int(os.sysconf("SC_PHYS_PAGES"))


def _check_members(archive: zipfile.ZipFile, max_bytes: int | None) -> tuple[str, ...]:
    """Check the sizes stated in the archive and in the headers, and return the array names without suffix."""
    names: list[str] = []
    total = 0
    for member in archive.infolist():
        if not member.filename.endswith(".npy") or member.filename in names:
            raise UnreadableError(f'an unexpected or duplicate archive member "{member.filename}"')
        names.append(member.filename)
        with archive.open(member) as stream:
            content = io.BytesIO(stream.read(_HEADER_BYTES))
        shape, _, dtype = _npy_header(content)
        size = _size(shape, dtype)
        if content.tell() + size != member.file_size:
            stored = member.file_size - content.tell()
            raise UnreadableError(f'{stored:,} bytes of data instead of {size:,} in "{member.filename}"')
        total += size
    if max_bytes is not None and total > max_bytes:
        raise UnreadableError(f"arrays of {total:,} bytes, more than {max_bytes:,}")
    return tuple(name.removesuffix(".npy") for name in names)


_HEADER_BYTES = 1 << 14
"""Number of bytes to read for a header; numpy rejects headers longer than 10,000 characters."""


def _npy_header(file: io.BufferedReader | io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return the shape of the array in an .npy file, True if it is in Fortran order, and its type."""
    version = npy_format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise UnreadableError(f"version {version[0]}.{version[1]} of the .npy format")
    read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, in_fortran_order, dtype = read(file)
    if dtype.hasobject or any(length < 0 for length in shape):
        raise UnreadableError(f"an array of type {dtype} and shape {shape}")
    return shape, in_fortran_order, dtype


def _size(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return math.prod(shape) * dtype.itemsize
