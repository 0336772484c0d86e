"""Read untrusted files: files that other people may have made, modified or damaged.

Each function returns the content that was written or raises `UnreadableError`. They do not block on a named pipe, and do not return
NaN, infinity or text that is not valid Unicode. See smix/arrays.py for arrays, and docs/security.md for what is trusted.
"""

import dataclasses
import hashlib
import io
import json
import math
import os
import re
import stat
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import msgspec

from smix.errors import SmixError

JSON_BYTES = 1 << 24
"""Maximum size of a JSON file written by smix, in bytes."""

LONGEST_NAME = 200
"""Maximum length of a class name in characters, so that it can be shown in figures."""
TERMINAL_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
"""Colours, cursor movements and links that other libraries write for a terminal (ECMA-48)."""
Record = TypeVar("Record")
Name = TypeVar("Name", bound=Hashable)


class UnreadableError(SmixError):
    """A file cannot be read or was modified. The message is a phrase, such as "a symbolic link", to be put into the caller's message."""


class OtherVersionError(UnreadableError):
    """A file was written by another version of smix."""


def one_line(error: BaseException, limit: int = 1200) -> str:
    r"""Return the message of an error on one line, preceded by its type unless it is a `SmixError`.

    Messages of other libraries are given whole, as the advice is often in their last lines, without colours and other terminal
    escapes. Of one longer than `limit` characters, such as a list of all layers of a network, the middle is left out.

    >>> one_line(OSError("\x1b[31mNo such model\x1b[0m\n  If it is private, log in."))
    'OSError: No such model If it is private, log in.'
    """
    text = str(error) if isinstance(error, SmixError) else f"{type(error).__name__}: {error}"
    text = re.sub(r" <_io\.[^>]*>", "", text)  # Pillow shows the address of the file object, which differs each time
    text = " ".join(TERMINAL_ESCAPE.sub("", text).split())
    end = limit // 3
    return text if len(text) <= limit else f"{text[: limit - end - 5]} ... {text[-end:]}"


def is_text(text: str) -> bool:
    """Return True if a string is valid Unicode without control characters, and can therefore be used as a name."""
    return not re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", text)


def is_plain_name(name: object) -> bool:
    """Return True if a value can name a file directly inside a folder: no path separator, drive, wildcard or control character.

    >>> is_plain_name("result.json"), is_plain_name("../result.json")
    (True, False)
    """
    return (
        isinstance(name, str)
        and name not in ("", ".", "..")
        and name.isprintable()
        and len(name.encode()) <= 255
        and not re.search(r'[/\\:<>"|?*]', name)
    )


def first_duplicate(names: Iterable[Name]) -> Name | None:
    """Return the first name that occurs for the second time, or None if all names differ.

    >>> first_duplicate(["cat", "dog", "cat"])
    'cat'
    """
    seen: set[Name] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]


def is_file(path: Path) -> bool:
    """Return True for a file or a link to one, and False also if its folder cannot be read."""
    return os.path.isfile(path)  # noqa: PTH113 - pathlib raises an error in some versions of Python


@contextmanager
def open_file(path: Path, max_bytes: int | None = None, follow_links: bool = True) -> Iterator[io.BufferedReader]:
    """Open a regular file for reading.

    Args:
        path: File to open.
        max_bytes: Maximum size in bytes. Default: any size.
        follow_links: Follow a symbolic link instead of rejecting it. Pass False for files of a run or a mask store.

    Raises:
        UnreadableError: The file is missing, not readable, larger than `max_bytes`, or not a regular file.
    """
    # Without O_NONBLOCK, opening a named pipe waits until a process writes to it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags | (0 if follow_links else getattr(os, "O_NOFOLLOW", 0)))
    except OSError as error:
        is_link = not follow_links and path.is_symlink()
        raise UnreadableError("a symbolic link" if is_link else error.strerror or type(error).__name__) from None
    except ValueError as error:  # a NUL in the name, or a name that is not UTF-8
        raise UnreadableError(f"a file name that cannot be used ({one_line(error)})") from None
    try:
        status = os.fstat(descriptor)
        if not follow_links and not hasattr(os, "O_NOFOLLOW") and path.is_symlink():
            raise UnreadableError("a symbolic link")
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError("a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device")
        if max_bytes is not None and status.st_size > max_bytes:
            raise UnreadableError(f"{status.st_size:,} bytes, more than {max_bytes:,}")
    except UnreadableError:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as file:
        yield file


def check_file(path: Path) -> None:
    """Raise UnreadableError unless `path` is a regular file that can be opened. Used before a library opens the file."""
    with open_file(path):
        pass


def read_bytes(path: Path, max_bytes: int | None = None, follow_links: bool = True) -> bytes:
    """Return the content of a regular file. See `open_file` for the arguments and errors."""
    with open_file(path, max_bytes, follow_links) as file:
        try:
            return file.read()
        except (OSError, MemoryError) as error:
            raise UnreadableError(one_line(error)) from None


def open_to_append(path: Path) -> BinaryIO:
    """Open a file for appending, and create it if it does not exist. A symbolic link is rejected, since its target may be
    elsewhere.

    Raises:
        OSError: The file cannot be written.
    """
    extra = os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    return open(path, "ab", opener=lambda name, flags: os.open(name, flags | extra, 0o666))


def read_end(path: Path, start: int = 0, max_bytes: int = 1 << 20) -> str:
    """Return the end of a log: at most its last `max_bytes` bytes, from byte `start` on. Empty if the file cannot be read."""
    try:
        with open_file(path, follow_links=False) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - max_bytes))
            return file.read(max_bytes).decode(errors="replace")
    except UnreadableError:
        return ""


def read_text(path: Path, max_bytes: int | None = 1 << 26, follow_links: bool = True) -> str:
    """Return the content of a text file in UTF-8. See `open_file` for the arguments and errors."""
    try:
        return read_bytes(path, max_bytes, follow_links).decode()
    except UnicodeDecodeError:
        raise UnreadableError("a file that is not text in UTF-8") from None


def read_json(path: Path, max_bytes: int | None = JSON_BYTES, follow_links: bool = True) -> Any:
    """Return the content of a JSON file. See `open_file` and `parse_json` for the arguments and errors."""
    return parse_json(read_bytes(path, max_bytes, follow_links))


def parse_json(content: bytes | str) -> Any:
    """Return the value of a JSON document.

    Raises:
        UnreadableError: The document is not JSON in UTF-8, has a duplicate key, a number that is not finite or a string that
            is not valid Unicode, or is nested too deeply for Python.
    """
    try:
        text = content.decode() if isinstance(content, bytes) else content
        values = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_not_finite, parse_float=_finite)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(
                values, ensure_ascii=False
            ).encode()  # fails on half of a surrogate pair, which is not valid Unicode
    except RecursionError:
        raise UnreadableError("JSON that is nested too deeply") from None
    except UnicodeError:
        raise UnreadableError("a file that is not text in UTF-8") from None
    except json.JSONDecodeError as error:
        raise UnreadableError(f"invalid JSON ({one_line(error).partition(': ')[2]})") from None
    except (ValueError, MemoryError) as error:
        raise UnreadableError(one_line(error)) from None
    return values


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise UnreadableError(f'a duplicate key "{first_duplicate(name for name, _ in pairs)}"')
    return values


def _not_finite(text: str) -> float:
    raise UnreadableError(f"the number {text}")


def _finite(text: str) -> float:
    return value if math.isfinite(value := float(text)) else _not_finite(text)


def to_record(values: Any, record_type: type[Record]) -> Record:
    """Convert JSON values written by smix to a dataclass. Missing fields, unknown fields and wrong types are rejected.

    Args:
        values: Content of the file.
        record_type: The dataclass.

    Raises:
        UnreadableError: A field does not match the dataclass; the message names it.
    """
    record: Record = typed(values, record_type)
    try:
        written = json.loads(json.dumps(dataclasses.asdict(cast(Any, record))))
    except RecursionError:
        raise UnreadableError("JSON that is nested too deeply") from None
    if written != values:
        names = [name for name in (*written, *values) if name not in values or values[name] != written.get(name, ...)]
        raise UnreadableError(f'an unknown, missing or altered field "{names[0]}"')
    return record


def typed(values: Any, kind: Any, name: str = "") -> Any:
    """Convert JSON values to a type that msgspec supports. Unknown keys are ignored.

    Args:
        values: Content of a file.
        kind: The type.
        name: Name of the values in messages.

    Raises:
        UnreadableError: A key is missing, or has a value of the wrong type.

    >>> typed([{"width": 3}], list[dict[str, str]], "images")
    Traceback (most recent call last):
    smix.untrusted.UnreadableError: images[0][...]: expected str, got int
    """
    try:
        return msgspec.convert(values, kind)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        # msgspec wraps an error of __post_init__, and appends the place: "Expected `str`, got `int` - at `$[0].width`".
        text, _, place = str(error.__cause__ or error).partition(" - at `$")
        text = text.replace("Object missing required field", "no").replace("`", "").replace("Expected", "expected", 1)
        where = f"{name}{place.strip('`')}".strip(".")
        raise UnreadableError(f"{where}: {text}" if where else text) from None


def with_checksum(values: Mapping[str, Any]) -> bytes:
    """Return the content of a JSON file with an object and the sha256 of that object.

    Raises:
        UnreadableError: A string is not valid Unicode, such as a file name that is not UTF-8, so that the file could not be
            read again.
    """
    values = parse_json(json.dumps(values, allow_nan=False))  # as it will be read: keys are strings
    return (json.dumps({**values, "sha256": _checksum(values)}, indent=1) + "\n").encode()


def read_checked(path: Path, format: int | None = None) -> dict[str, Any]:
    """Return the object in a file written by `with_checksum`, without its sha256.

    Args:
        path: File to read.
        format: Expected value of "format". Default: any.

    Raises:
        OtherVersionError: The file has another format. Its sha256 is not checked.
        UnreadableError: The file is missing, is a symbolic link, or was changed since it was written.
    """
    values = read_json(path, follow_links=False)
    if not isinstance(values, dict):
        raise UnreadableError("JSON that is not an object")
    if format is not None and values.get("format", format) != format:
        got = json.dumps(values["format"])
        raise OtherVersionError(f"format {got:.20} instead of {format}")
    if values.pop("sha256", None) != _checksum(values):
        raise UnreadableError("a file that was changed since it was written")
    return values


def _checksum(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
