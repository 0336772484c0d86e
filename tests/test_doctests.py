"""Test that the examples in docstrings run, and that every public name has one.

Examples assume that `np`, `torch` and `smix` are imported, as in the documentation of NumPy and PyTorch, and the names of their module.
"""

import ast
import doctest
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

import smix

ROOT = Path(smix.__file__).parent


def docstrings(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, int, str]]:
    """Yield name, line and text of the docstrings of functions, classes and their members, and of constants."""
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            yield f"{prefix}{statement.name}", statement.lineno, ast.get_docstring(statement) or ""
            yield from docstrings(statement.body, f"{prefix}{statement.name}.")
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            text = following.value if isinstance(following, ast.Expr) else None
            if isinstance(target, ast.Name) and isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield f"{prefix}{target.id}", statement.lineno, text.value


@cache
def examples() -> dict[str, list[doctest.DocTest]]:
    """Return the examples of each module. They are read from the source, since checked functions are wrapped in tests."""
    found: dict[str, list[doctest.DocTest]] = {}
    for file in sorted(ROOT.rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        if ">>>" not in source:
            continue
        tree = ast.parse(source)
        module = ".".join(file.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
        texts = [("", 0, ast.get_docstring(tree) or ""), *docstrings(tree.body)]
        tests = [
            doctest.DocTestParser().get_doctest(text, {}, f"{module}.{name}", str(file), line)
            for name, line, text in texts
            if ">>>" in text
        ]
        found[module] = tests
    return found


@pytest.mark.parametrize("module", examples())
def test_the_examples_of_a_module_run(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for test in examples()[module]:
        test.globs = {**vars(import_module(module)), "np": np, "torch": torch, "smix": smix}
        written: list[str] = []
        with torch.random.fork_rng(devices=[]):
            result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(
                test, out=written.append, clear_globs=False
            )
        assert result.attempted > 0
        assert not result.failed, "".join(written)


@pytest.mark.parametrize("namespace", ["smix", "smix.masks", "smix.evaluation"])
def test_every_public_name_has_an_example(namespace: str):
    package = import_module(namespace)
    modules = {path.name for path in ROOT.iterdir() if path.is_dir()}
    with_example = {test.name.rpartition(".")[2] for tests in examples().values() for test in tests}
    names = {name for name in getattr(package, "__all__", ()) if not name.startswith("__")} - modules
    assert not names - with_example
