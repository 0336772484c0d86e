"""Parts of a run on a GPU (`scripts/gpu.py`): what each of them runs, and which packages it needs.

Only the standard library is imported here, since nothing else may be installed.
"""

import ast
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
STANDINS = {file.stem: file.parent for file in sorted((ROOT / "scripts/standins").glob("*/*.py"))}
"""Folders to put on the path in place of packages that are not installed, by package."""
TIME_LIMIT = 480.0
"""Seconds after which a part is killed."""


@dataclass(frozen=True)
class Part:
    """A command that is run, recorded and repeated independently of the others."""

    name: str
    words: tuple[str, ...]
    """Arguments of the Python interpreter."""
    modules: tuple[str, ...] = ()
    """Modules of the source tree that it imports; their imports tell which packages it needs."""
    packages: tuple[str, ...] = ()
    """Packages that it needs and that no import statement at the top of a module tells."""
    optional: tuple[str, ...] = ()
    """Packages without which it does less."""
    seconds: float = TIME_LIMIT
    junit: Path | None = None
    """File with the result of each test."""

    def needs(self) -> set[str]:
        return packages(self.modules) | set(self.packages)

    def missing(self) -> list[str]:
        """Return the packages that it needs, that are not installed and that have no stand-in."""
        return [name for name in sorted(self.needs() - STANDINS.keys()) if not installed(name)]


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def all_parts(out: Path, rehearse: bool) -> list[Part]:
    """Return the tests marked `gpu`, a part for each file, and the benchmarks; on the CPU and tiny if this is a rehearsal."""
    return [*_tests(out), *_benchmarks(str(out), rehearse)]


def _tests(out: Path) -> Iterator[Part]:
    # The options of pyproject.toml ask for jaxtyping and beartype, and make warnings errors: warnings of a machine that nobody
    # has seen are not failures.
    options = ("-m", "gpu", "-rfEs", "-o", "addopts=", "-o", "filterwarnings=default", "-p", "no:cacheprovider")
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        if "pytest.mark.gpu" not in file.read_text(encoding="utf-8"):
            continue
        name = _module(file)
        junit = out / "tests" / f"{name}.xml"
        folders = [folder for folder in file.parents if folder.is_relative_to(ROOT / "tests")]
        conftests = [_module(folder / "conftest.py") for folder in folders if (folder / "conftest.py").is_file()]
        words = ("-m", "pytest", str(file.relative_to(ROOT)), *options, f"--junitxml={junit}")
        yield Part(name, words, (name, *conftests), ("pytest",), junit=junit)


def _benchmarks(out: str, rehearse: bool) -> list[Part]:
    device = ("--device", "cpu" if rehearse else "cuda")

    def benchmark(
        name: str,
        module: str,
        words: tuple[str, ...],
        tiny: tuple[str, ...],
        modules: tuple[str, ...] = (),
        packages: tuple[str, ...] = (),
        optional: tuple[str, ...] = (),
    ) -> Part:
        command = ("-m", f"benchmarks.{module}", "--out", out, *words, *(tiny if rehearse else ()))
        return Part(f"benchmarks.{name}", command, (f"benchmarks.{module}", *modules), packages, optional)

    def training(part: str, modules: tuple[str, ...] = ()) -> Part:
        tiny = ("--models", "resnet8", "--batch", "8", "--scale", "0.01", "--threads", "1")
        return benchmark(f"training.{part}", "training", ("--only", part), tiny, modules)

    command_line = ("smix.cli", "smix.training.runs", "smix.lab.run_all")
    return [
        benchmark(
            "mixing",
            "mixing",
            device,
            ("--sizes", "16", "--scale", "0.01", "--threads", "1"),
            ("smix.mixing",),
            optional=("matplotlib", "timm", "torchvision"),
        ),
        benchmark(
            "masks",
            "masks",
            ("--only", "build", "--images", "32" if rehearse else "2048"),
            ("--input-size", "64", "--rounds", "1"),
            ("smix.masks.sources.torchvision",),
            ("sklearn",),
        ),
        benchmark(
            "corruptions",
            "corruptions",
            (*device, "--rounds", "1", "--images", "4" if rehearse else "3000"),
            ("--threads", "1"),
        ),
        training("steps"),
        training("peers", ("benchmarks.training_peers",)),
        training("start", ("benchmarks.training_start", *command_line)),
        training("card", command_line),
    ]


def packages(modules: Iterable[str]) -> set[str]:
    """Return the packages, other than those of Python itself, that are imported along with these modules of the source tree."""
    found: set[str] = set()
    seen: set[str] = set()
    queue = list(modules)
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        top, _, _ = name.partition(".")
        if not (ROOT / top).is_dir():
            found.add(top)
        elif (file := _file(name)) is not None:
            parents = name.split(".")[:-1]
            queue += [".".join(parents[: count + 1]) for count in range(len(parents))]
            queue += _imports(ast.parse(file.read_text(encoding="utf-8")).body)
    return found - set(sys.stdlib_module_names)


def _imports(statements: list[ast.stmt]) -> Iterator[str]:
    """Yield what is imported when a module is; imports inside functions are not."""
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            yield statement.module or ""
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)
        elif isinstance(statement, ast.If) and "TYPE_CHECKING" not in ast.unparse(statement.test):
            yield from _imports(statement.body)


def _file(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _module(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)
