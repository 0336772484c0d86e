"""Read options back from a command line, so that tests of configurations and comparisons need no real parser."""

import types
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints


def read_words(words: list[str], *kinds: type[Any]) -> list[Any]:
    """Return one object of each kind of options; every word must be used."""
    parsed: list[dict[str, Any]] = [{} for _ in kinds]
    rest = list(words)
    while rest:
        word = rest.pop(0)
        assert word.startswith("--"), f"expected an option, got {word}"
        name, _, text = word[2:].partition("=")
        name = name.replace("-", "_")
        for kind, values in zip(kinds, parsed, strict=True):
            hints = get_type_hints(kind)
            if name in hints and hints[name] is not bool:
                value = read_value(hints[name], text)
                if isinstance(value, tuple):
                    value = (*values.get(name, ()), *value)
                else:
                    assert name not in values, f"{word} is given twice"
                values[name] = value
                break
            if hints.get(name.removeprefix("no_")) is bool:
                values[name.removeprefix("no_")] = not name.startswith("no_")
                break
        else:
            raise AssertionError(f"no kind of options has {word}")
    return [kind(**values) for kind, values in zip(kinds, parsed, strict=True)]


def read_value(hint: Any, text: str) -> Any:
    if isinstance(hint, types.UnionType):  # int | None
        hint = get_args(hint)[0]
    if hint == tuple[int, ...]:
        return (int(text),)
    if hint in (int, float, str, Path):
        return hint(text)
    assert text in get_args(hint), f"{text} is not one of {hint}"
    return text


def names(kind: type[Any]) -> set[str]:
    return {field.name for field in fields(kind)}
