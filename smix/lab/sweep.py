"""A sweep: configurations by name. Its file has a line a run; its runs have a folder each. Nothing is trained here."""

import ast
import dataclasses
import itertools
import json
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from smix import files
from smix.config import SharedConfig, TrainConfig
from smix.errors import OptionError, unknown
from smix.mixing import parse_method, split_methods
from smix.untrusted import UnreadableError, parse_json, read_text

LONGEST_NAME = 200
"""Characters of the name of a run: file systems allow 255 bytes."""
Sweep = Mapping[str, TrainConfig]
"""The runs in their order. A name is the run's folder, below that of the sweep."""

KINDS = get_type_hints(TrainConfig)


def cross(
    config: SharedConfig,
    methods: Sequence[str],
    seeds: Iterable[int],
    grid: Mapping[str, Sequence[Any]] | None = None,
) -> Sweep:
    """All combinations of methods, seeds and the values of `grid`.

    Args:
        config: What all runs share.
        methods: Texts that `parse_method` understands.
        grid: Other values of fields of `config`.

    Returns:
        Named METHOD-SEED; with a grid, FIELD-VALUE--FIELD-VALUE/METHOD-SEED: what `smix report` can compare is one folder. Seeds
        are outermost: a sweep that is cut has equal seeds of everything.

    Raises:
        OptionError: a method or a value is wrong, or one is there twice.
    """
    seeds, grid = list(seeds), dict(grid or {})
    if not methods or not seeds or not all(grid.values()):
        raise OptionError(
            f"sweep: expected at least one method, one seed and one value of each field, got {len(methods)} methods, "
            f"{len(seeds)} seeds and {[len(values) for values in grid.values()]} values"
        )
    for field in grid:
        if field in ("method", "seed"):
            raise OptionError(f"grid: expected another field than {field}; give --{field}s instead")
        if field not in KINDS:
            raise unknown("grid", field, [name for name in KINDS if name not in ("method", "seed")])
    parsed = {method: parse_method(method) for method in methods}
    cells = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    sweep: dict[str, TrainConfig] = {}
    for seed, cell, method in itertools.product(seeds, cells, methods):
        shared = dataclasses.replace(config, **cell)
        # Which masks there are is nothing to a method that uses none: it need not be trained again for others.
        if not parsed[method].needs_masks:
            shared = dataclasses.replace(shared, masks=SharedConfig.masks)
        folder = "--".join(slug(f"{field}-{value}") for field, value in cell.items())
        sweep[f"{folder}/{slug(method)}-{seed}".lstrip("/")] = shared.run(method, seed)
    if len(set(parsed.values())) < len(methods) or len(sweep) < len(methods) * len(seeds) * len(cells):
        also = f" and {grid}" if grid else ""
        raise OptionError(f"sweep: expected different methods and seeds, got {', '.join(methods)} and {seeds}{also}")
    return sweep


def slug(text: str) -> str:
    """A method's text as a part of a file name: smix(alpha=0.7,labels=area)+fmix is smix-alpha-0.7-labels-area+fmix."""
    return re.sub(r"[^a-z0-9.+]+", "-", text.lower().replace(")", "")).strip("-")


def parse_grid(texts: Sequence[str]) -> dict[str, list[Any]]:
    """The grid that FIELD=VALUE,VALUE texts say, such as lr=0.1,0.05. Commas inside brackets do not split.

    Raises:
        OptionError: no such field, or a value that is none of its kind.
    """
    grid: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        field = name.strip().replace("-", "_")
        if not equals or field in grid:
            raise OptionError(f'grid: expected FIELD=VALUE,VALUE, each field once, got "{text}"')
        if field not in KINDS:
            raise unknown("grid", field, KINDS)
        grid[field] = [_value(field, value) for value in split_methods(values)]
    return grid


def write_sweep(path: Path | str, sweep: Sweep, append: bool = False) -> Sweep:
    """Write the file of a sweep; append: after the runs it holds. Returns all its runs.

    Raises:
        SmixError: `path` cannot be written, is there already, or holds a run of such a name.
    """
    path = Path(path)
    if path.exists() and not append:
        raise OptionError(f"{path}: expected a new file, got one that is there; add to it with --append, or remove it")
    before = read_sweep(path) if path.exists() else {}
    for name in sweep:
        if name in before:
            raise OptionError(f"{path}: expected runs of other names, got {name} once more; leave it out")
    whole = {**before, **sweep}
    lines = (json.dumps({"name": name, "config": config.to_json()}) + "\n" for name, config in whole.items())
    files.write_text(path, "".join(lines))
    return whole


def read_sweep(path: Path | str) -> Sweep:
    """The sweep of a file; what a line leaves out has its default.

    Raises:
        OptionError: a line that is no run; it says which.
    """
    path = Path(path)
    try:
        lines = read_text(path).splitlines()
    except UnreadableError as error:
        raise OptionError(
            f"{path}: expected the file of a sweep, got {error}; make one with smix sweep write {path}"
        ) from None
    sweep: dict[str, TrainConfig] = {}
    for number, line in enumerate(lines, 1):
        try:
            name, config = _read_line(line)
        except OptionError as error:
            raise OptionError(f"{path}, line {number}: {error}") from None
        if name in sweep:
            raise OptionError(f"{path}, line {number}: expected another name, got {name} once more; name it otherwise")
        sweep[name] = config
    if not sweep:
        raise OptionError(f"{path}: expected a run a line, got an empty file; make one with smix sweep write")
    return sweep


def _read_line(line: str) -> tuple[str, TrainConfig]:
    try:
        found = parse_json(line)
        name, values = found["name"], dict(found["config"])
    except (ValueError, TypeError, KeyError):
        short = line if len(line) < 60 else f"{line[:57]}..."
        raise OptionError(f'expected {{"name": ..., "config": {{...}}}}, got {short or "an empty line"}') from None
    if (
        not isinstance(name, str)
        or len(name) > LONGEST_NAME
        or not re.fullmatch(r"[\w+-][\w.+-]*(/[\w+-][\w.+-]*)*", name)
    ):
        raise OptionError(
            f'name: expected a folder below that of the sweep, such as "smix-0", got {json.dumps(name):.80}'
        )
    return name, TrainConfig.from_json(values)


def _value(field: str, text: str) -> Any:
    kind = KINDS[field]
    value: Any = text
    if not _fits(text, kind):
        try:
            value = ast.literal_eval(text.capitalize() if text in ("true", "false", "none") else text)
        except (ValueError, SyntaxError):
            value = text
    if not text or not _fits(value, kind):
        raise OptionError(f'grid: expected {_in_words(kind)} for {field}, got "{text}"')
    return value


def _fits(value: Any, kind: Any) -> bool:
    """Return whether a value that was read from a text fits a field of this type."""
    if get_origin(kind) is types.UnionType:
        return any(_fits(value, one) for one in get_args(kind))
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is tuple:
        return isinstance(value, list | tuple) and all(_fits(one, get_args(kind)[0]) for one in value)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, {float: float | int, Path: str}.get(kind, kind))


def _in_words(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
