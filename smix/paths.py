"""Compare and normalise options that are paths, since a path can be written in several ways."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATH_OPTIONS = {"data": None, "masks": "carried", "init_weights": "pretrained"}
"""Options that are paths, each with the value that is not a path. None: there is no such value."""


def same_value(name: str, first: Any, second: Any) -> bool:
    """Return True if two values of an option are equal. Paths are equal if they lead to the same file or folder on this machine.

    Relative paths are resolved from the current directory, and symbolic links are followed.

    Args:
        name: Name of the option.
        first: First value.
        second: Second value.

    >>> same_value("masks", "masks/", "./masks"), same_value("epochs", 10, 20)
    (True, False)
    """
    if name in PATH_OPTIONS and isinstance(first, str) and isinstance(second, str):
        return _map_path(name, first, Path.resolve) == _map_path(name, second, Path.resolve)
    return bool(json.loads(json.dumps(first)) == json.loads(json.dumps(second)))  # a tuple becomes a list


def normalise_path(name: str, text: str) -> str:
    """Return the value of an option with any ./ and repeated or trailing slashes removed from its path.

    >>> normalise_path("data", "npz:./sets//digits.npz")
    'npz:sets/digits.npz'
    """
    return _map_path(name, text, lambda path: path)


def data_name(data: str) -> str:
    """Return the name of a data set without its kind and the folder and suffix of its file.

    >>> data_name("npz:/somewhere/cifar10.npz")
    'cifar10'
    """
    kind, colon, place = data.partition(":")
    return Path(place).stem if colon else kind


def _map_path(name: str, text: str, change: Callable[[Path], Path]) -> str:
    """Apply `change` to the path in the value of an option.

    The name of a data set contains a path only after npz: or folder:. After hf:, it may be a name on the hub.
    """
    kind, colon, path = text.partition(":") if name == "data" else ("", "", text)
    if not path or (name == "data" and kind not in ("npz", "folder", "csv")) or path == PATH_OPTIONS[name]:
        return text
    changed = change(Path(path)).as_posix()
    return text if changed == PATH_OPTIONS[name] else f"{kind}{colon}{changed}"
