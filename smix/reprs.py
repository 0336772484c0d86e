"""Short `repr` of dataclasses that hold arrays: what they are, the shape of each field, and what to do next, on at most 12 lines."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import PurePath
from typing import Any, cast

MAX_FIELDS = 10
"""Maximum number of lines for the fields; the line before them says what the object is, the line after them what to do next."""
WIDTH = 100
"""Maximum length of a value in characters."""
SHOWN = 3
"""Number of items of a long sequence that are shown."""


def short_repr(then: str = "") -> Callable[[object], str]:
    """Return a `__repr__` for a dataclass.

    Args:
        then: Useful attributes and methods, for the last line. Empty: no such line.

    >>> @dataclasses.dataclass
    ... class Batch:
    ...     "Images and their labels."
    ...     images: np.ndarray
    ...     names: list[str]
    ...     __repr__ = short_repr("len(batch)")
    >>> Batch(np.zeros((500, 32, 32, 3), np.uint8), ["cat", "dog", "deer", "frog"])
    Batch: Images and their labels
      images: uint8 of shape (500, 32, 32, 3)
      names: 4, 'cat', 'dog', 'deer', ...
      next: len(batch)
    """

    def __repr__(self: object) -> str:
        values = {field.name: _short(getattr(self, field.name)) for field in dataclasses.fields(cast(Any, self))}
        return describe(self, values, then)

    return __repr__


def describe(owner: object, values: Mapping[str, str], then: str = "") -> str:
    """Return at most 12 lines: class and summary of an object, its values, and what to do next."""
    summary = (type(owner).__doc__ or "").partition("\n")[0].partition(". ")[0].rstrip(".")
    lines = [_cut(f"{type(owner).__name__}: {summary}")]
    names = list(values)
    shown = names if len(names) <= MAX_FIELDS else names[: MAX_FIELDS - 1]
    lines += [f"  {name}: {_cut(values[name])}" for name in shown]
    if len(shown) < len(names):
        lines.append(_cut(f"  also: {', '.join(names[len(shown) :])}"))
    return "\n".join([*lines, f"  next: {then}"] if then else lines)


def _short(value: object) -> str:
    """Return an array as its type and shape, a collection as its length and first items, and anything else on one line."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        array = cast(Any, value)
        device = str(getattr(array, "device", "cpu"))
        place = "" if device == "cpu" else f" on {device}"
        return f"{str(array.dtype).removeprefix('torch.')} of shape {tuple(array.shape)}{place}"
    if isinstance(value, Mapping):
        return _items(len(value), [f"{key}" for key in islice(value, SHOWN)])
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        plain = all(isinstance(item, int | float) for item in islice(value, SHOWN))
        if plain and len(value) <= SHOWN:
            return repr(value)
        return _items(len(value), [_short(item) for item in islice(value, SHOWN)])
    if isinstance(value, PurePath):
        return str(value)
    is_record = dataclasses.is_dataclass(value) or "\n" in repr(value)
    return type(value).__name__ if is_record else _cut(repr(value))


def _items(count: int, first: Sequence[str]) -> str:
    return _cut(", ".join([str(count), *first, *(["..."] if count > len(first) else [])]))


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."
