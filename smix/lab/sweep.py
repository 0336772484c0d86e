"""Sweeps: named configurations. A sweep file has one line per run; each run has a folder with its name."""

import ast
import dataclasses
import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, get_type_hints

from smix import files
from smix.config import SharedConfig, TrainConfig
from smix.errors import OptionError, unknown
from smix.mixing import parse_method, split_methods
from smix.untrusted import UnreadableError, parse_json, read_text, typed

NAME = re.compile(r"[\w+-][\w.+-]{0,249}(/[\w+-][\w.+-]{0,249}){0,3}")
"""Name of a run. File systems allow 255 bytes for each folder."""
Sweep = Mapping[str, TrainConfig]
"""Configurations by name, in order. A name is the path of the run's folder relative to the folder of the sweep."""

KINDS = get_type_hints(TrainConfig)


def cross(
    config: SharedConfig, methods: Sequence[str], seeds: Iterable[int], grid: Mapping[str, Sequence[Any]] | None = None
) -> Sweep:
    """Return all combinations of methods, seeds and the values of `grid`.

    Args:
        config: Options that all runs share.
        methods: Methods as strings that `parse_method` accepts.
        seeds: Seeds.
        grid: Values of further fields of `config`, as `parse_grid` returns them.

    Returns:
        Runs named METHOD-SEED or, with a grid, FIELD-VALUE--FIELD-VALUE/METHOD-SEED, so that each folder is one comparison.
        Seeds are the outermost loop: an interrupted sweep has equally many seeds of everything.

    Raises:
        OptionError: A method or a value is invalid, or occurs twice.
    """
    seeds, grid = list(seeds), dict(grid or {})
    if not methods or not seeds or not all(grid.values()):
        raise OptionError(
            f"sweep: expected at least one method, one seed and one value of each field, got {len(methods)} methods, "
            f"{len(seeds)} seeds and {[len(values) for values in grid.values()]} values"
        )
    parsed = {method: parse_method(method) for method in methods}
    cells = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    sweep: dict[str, TrainConfig] = {}
    for seed, cell, method in itertools.product(seeds, cells, methods):
        shared = dataclasses.replace(config, **cell)
        # A method without masks is the same run whatever the masks are, and need not be trained again for others.
        if not parsed[method].needs_masks:
            shared = dataclasses.replace(shared, masks=SharedConfig.masks)
        folder = "--".join(slug(f"{field}-{value}") for field, value in cell.items())
        sweep[f"{folder}/{slug(method)}-{seed}".lstrip("/")] = shared.run(method, seed)
    if len(set(parsed.values())) < len(methods) or len(sweep) < len(methods) * len(seeds) * len(cells):
        also = f" and {grid}" if grid else ""
        raise OptionError(f"sweep: expected distinct methods and seeds, got {', '.join(methods)} and {seeds}{also}")
    return sweep


def slug(text: str) -> str:
    """Convert a string to a part of a file name.

    >>> slug("smix(alpha=0.7,labels=area)+fmix")
    'smix-alpha-0.7-labels-area+fmix'
    """
    return re.sub(r"[^a-z0-9.+]+", "-", text.lower().replace(")", "")).strip("-")


def parse_grid(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Parse a grid of strings FIELD=VALUE,VALUE, such as lr=0.1,0.05. Commas inside brackets do not separate values.

    Raises:
        OptionError: There is no such field, or a value has the wrong type.
    """
    grid: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        field = name.strip().replace("-", "_")
        if not equals or field in grid:
            raise OptionError(f'grid: expected FIELD=VALUE,VALUE, each field once, got "{text}"')
        if field in ("method", "seed"):
            raise OptionError(f"grid: {field} is set by --{field}s; omit it from --grid")
        if field not in KINDS:
            raise unknown("grid", field, [name for name in KINDS if name not in ("method", "seed")])
        grid[field] = [_parse_value(field, value) for value in split_methods(values)]
    return grid


def _parse_value(field: str, text: str) -> Any:
    """Return the value of a field: the string itself if the field can hold it, otherwise the parsed Python literal."""
    candidates: list[Any] = [text]
    with suppress(ValueError, SyntaxError):
        candidates.append(ast.literal_eval(text.capitalize() if text in ("true", "false", "none") else text))
    for value in candidates if text else []:
        try:
            return typed(value, KINDS[field])
        except UnreadableError:
            continue
    kind = KINDS[field]
    raise OptionError(f'grid: expected {getattr(kind, "__name__", kind)} for {field}, got "{text}"')


def write_sweep(path: Path | str, sweep: Sweep, append: bool = False) -> Sweep:
    """Write a sweep file, and return all its runs.

    Args:
        path: Path of the file, JSON Lines: {"name": ..., "config": {...}}.
        sweep: Runs to write.
        append: Keep the runs of an existing file, and write these after them.

    Raises:
        SmixError: The file cannot be written, exists already, or contains a run of the same name.
    """
    path = Path(path)
    if path.exists() and not append:
        raise OptionError(f"{path}: the file exists; add to it with --append, or remove it")
    existing = read_sweep(path) if path.exists() else {}
    for name in sweep:
        if name in existing:
            raise OptionError(f"{path}: the file already has a run named {name}; remove one of them")
    runs = {**existing, **sweep}
    files.write_text(path, _to_lines(runs))
    return runs


def write_snapshot(sweep: Sweep, out: Path) -> Path:
    """Write a sweep to a file in `out` that is named by its content, so that tasks that refer to it never find other runs.

    Raises:
        SmixError: The file cannot be written, or a name is not a valid folder path.
    """
    lines = _to_lines(sweep)
    path = out / f".sweep-{hashlib.sha256(lines.encode()).hexdigest()[:16]}.jsonl"
    files.write_text(path, lines)
    return path


def _to_lines(sweep: Sweep) -> str:
    for name in sweep:
        check_name(name)
    return "".join(json.dumps({"name": name, "config": config.to_json()}) + "\n" for name, config in sweep.items())


def check_name(name: object) -> None:
    """Raise OptionError unless this is a folder path relative to the sweep folder."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise OptionError(
            f'name: expected a folder path relative to the sweep folder, such as "smix-0", got {json.dumps(name):.80}'
        )


def read_sweep(path: Path | str) -> Sweep:
    """Return the runs of a sweep file. Options that a line omits have their defaults.

    Raises:
        OptionError: A line is invalid; the message gives its number.
    """
    path = Path(path)
    try:
        lines = read_text(path).splitlines()
    except UnreadableError as error:
        raise OptionError(
            f"{path}: expected a sweep file, got {error}; make one with smix sweep write {path}"
        ) from None
    sweep: dict[str, TrainConfig] = {}
    for number, line in enumerate(lines, 1):
        try:
            name, config = _read_line(line)
        except OptionError as error:
            raise OptionError(f"{path}, line {number}: {error}") from None
        if name in sweep:
            raise OptionError(f"{path}, line {number}: the name {name} is used twice; rename one run")
        sweep[name] = config
    if not sweep:
        raise OptionError(f"{path}: expected one run per line, got an empty file; make one with smix sweep write")
    return sweep


def _read_line(line: str) -> tuple[str, TrainConfig]:
    try:
        content = parse_json(line)
        name, values = content["name"], dict(content["config"])
    except (ValueError, TypeError, KeyError):
        short = line if len(line) < 60 else f"{line[:57]}..."
        raise OptionError(f'expected {{"name": ..., "config": {{...}}}}, got {short or "an empty line"}') from None
    check_name(name)
    return name, TrainConfig.from_json(values)
