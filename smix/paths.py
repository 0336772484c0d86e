"""Options that name files and folders: the same one can be written in many ways."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATH_OPTIONS = {"data": None, "masks": "carried", "init_weights": "pretrained"}
"""The names of these options, and the value of each that is no path."""


def same_value(name: str, one: Any, other: Any) -> bool:
    """Return whether two values of an option mean the same: for data, masks and init, the same file or folder of this machine.

    Relative paths are those of the current directory, and symbolic links are followed.
    """
    if name in PATH_OPTIONS and isinstance(one, str) and isinstance(other, str):
        return _changed(name, one, Path.resolve) == _changed(name, other, Path.resolve)
    return bool(json.loads(json.dumps(one)) == json.loads(json.dumps(other)))  # a tuple is a list


def shortest(name: str, text: str) -> str:
    """Return the value of such an option without ./, doubled and trailing slashes in its path."""
    return _changed(name, text, lambda path: path)


def _changed(name: str, text: str, change: Callable[[Path], Path]) -> str:
    """Only paths are changed: of data sets those of npz: and folder:, as hf: may be followed by a name of the hub."""
    kind, colon, path = text.partition(":") if name == "data" else ("", "", text)
    if not path or (name == "data" and kind not in ("npz", "folder")) or path == PATH_OPTIONS[name]:
        return text
    changed = change(Path(path)).as_posix()
    return text if changed == PATH_OPTIONS[name] else f"{kind}{colon}{changed}"
