"""Read .npy and .npz files that other people may have made, altered or damaged.

Each function returns what was written or raises `UnreadableError`: no pickle is run, and no memory is allocated for data that a file only
claims to hold.
"""

import io
import math
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from smix.errors import SmixError
from smix.untrusted import UnreadableError, one_line, open_file

ARRAY_BYTES = 1 << 31
"""Largest sum of the arrays of an .npz file of our own, in bytes."""
_UNREADABLE = (
    *(OSError, ValueError, TypeError, EOFError, MemoryError, RuntimeError, SyntaxError, LookupError, OverflowError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError, NotImplementedError),
)
"""Errors of numpy and zipfile: which one depends on the place of the damage."""


def map_npy(file: io.BufferedReader) -> NDArray[Any]:
    """Return the array of an .npy file that `open_file` has opened, as read-only memory of the file.

    Raises:
        UnreadableError: The file is no .npy file, holds Python objects, or is shorter or longer than its header says.
    """
    try:
        file.seek(0)
        shape, in_fortran_order, dtype = _npy_header(file)
        start, size = file.tell(), os.fstat(file.fileno()).st_size
        if start + _size(shape, dtype) != size:
            raise UnreadableError(f"a header for {_size(shape, dtype):,} bytes and {size - start:,} bytes of them")
        order: Literal["F", "C"] = "F" if in_fortran_order else "C"
        if size == start:
            return np.empty(shape, dtype, order)
        return np.asarray(np.memmap(file, dtype, "r", start, shape, order))
    except _UNREADABLE as error:
        raise UnreadableError(one_line(error)) from None


def read_npz(path: Path, limit: int | None = ARRAY_BYTES, links: bool = False) -> dict[str, NDArray[Any]]:
    """Return all arrays of an .npz file by name. See `open_npz`."""
    with open_npz(path, limit, links) as arrays:
        return {name: arrays[name] for name in arrays}


@contextmanager
def open_npz(path: Path, limit: int | None = None, links: bool = True) -> Iterator[Mapping[str, NDArray[Any]]]:
    """Open an .npz file: each array is read when it is asked for in the block, and errors of reading it are turned, too.

    Args:
        limit: Largest sum of the sizes of all arrays, in bytes.
        links: Follow a symbolic link.

    Raises:
        UnreadableError: The file is no zip archive of .npy files of the sizes that their headers say, is damaged, or larger than
            `limit`.
    """
    with open_file(path, links=links) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                _check_members(archive, limit)
                file.seek(0)
                with np.load(file, allow_pickle=False) as arrays:
                    yield arrays
        except SmixError:
            raise  # of the block, though a ValueError
        except _UNREADABLE as error:
            raise UnreadableError(one_line(error)) from None


def _check_members(archive: zipfile.ZipFile, limit: int | None) -> None:
    names, total = set(), 0
    for member in archive.infolist():
        if not member.filename.endswith(".npy") or member.filename in names:
            raise UnreadableError(f'"{member.filename}" in the archive, or a name twice')
        names.add(member.filename)
        with archive.open(member) as stream:
            content = io.BytesIO(stream.read(_HEADER_BYTES))
        shape, _, dtype = _npy_header(content)
        size = _size(shape, dtype)
        if content.tell() + size != member.file_size:
            raise UnreadableError(f'a header for {size:,} bytes of "{member.filename}" and {member.file_size:,} bytes')
        total += size
    if limit is not None and total > limit:
        raise UnreadableError(f"arrays of {total:,} bytes, more than {limit:,}")


_HEADER_BYTES = 1 << 14
"""More than numpy reads of a header, 10,000 bytes."""


def _npy_header(file: io.BufferedReader | io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of an .npy file: shape, whether in Fortran order, and type of the array."""
    version = npy_format.read_magic(file)
    read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, in_fortran_order, dtype = read(file)
    if dtype.hasobject or any(length < 0 for length in shape):
        raise UnreadableError(f"an array of {dtype} and shape {shape}")
    return shape, in_fortran_order, dtype


def _size(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return math.prod(shape) * dtype.itemsize
