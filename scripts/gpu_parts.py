"""Define the parts of a run on a GPU (`scripts/gpu.py`) and the packages that they need.

Imports only the standard library, because nothing else may be installed.
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
    """A command that runs in its own process, with its own record."""

    name: str
    arguments: tuple[str, ...]
    """Arguments of the Python interpreter."""
    modules: tuple[str, ...] = ()
    """Modules of the source tree that the part imports. Required packages are found from their imports."""
    packages: tuple[str, ...] = ()
    """Required packages that are not imported at the top of a module."""
    optional: tuple[str, ...] = ()
    """Packages without which the part is incomplete."""
    seconds: float = TIME_LIMIT
    """Seconds after which the part is killed."""
    junit: Path | None = None
    """JUnit file with the result of each test; None: a part without tests."""

    def needs(self) -> set[str]:
        """Return the names of all required packages."""
        return packages(self.modules) | set(self.packages)

    def missing(self) -> list[str]:
        """Return the packages that it needs, that are not installed and that have no stand-in."""
        return [name for name in sorted(self.needs() - STANDINS.keys()) if not installed(name)]


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def all_parts(out: Path, rehearse: bool) -> list[Part]:
    """Return the tests marked `gpu`, one part for each file, and the benchmarks.

    Args:
        out: Folder of the results.
        rehearse: Run the benchmarks on the CPU with tiny sizes.
    """
    return [*_tests(out), *_benchmarks(str(out), rehearse)]


def _tests(out: Path) -> Iterator[Part]:
    # Replace the options of pyproject.toml, which require jaxtyping and beartype and turn warnings into errors: warnings of an unknown
    # machine are not failures.
    options = ("-m", "gpu", "-rfEs", "-o", "addopts=", "-o", "filterwarnings=default", "-p", "no:cacheprovider")
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        if "pytest.mark.gpu" not in file.read_text(encoding="utf-8"):
            continue
        name = _module(file)
        junit = out / "tests" / f"{name}.xml"
        folders = [folder for folder in file.parents if folder.is_relative_to(ROOT / "tests")]
        conftests = [_module(folder / "conftest.py") for folder in folders if (folder / "conftest.py").is_file()]
        arguments = ("-m", "pytest", str(file.relative_to(ROOT)), *options, f"--junitxml={junit}")
        yield Part(name, arguments, (name, *conftests), ("pytest",), junit=junit)


def _benchmarks(out: str, rehearse: bool) -> list[Part]:
    device = ("--device", "cpu" if rehearse else "cuda")

    def benchmark(
        name: str,
        module: str,
        options: tuple[str, ...],
        tiny: tuple[str, ...],
        modules: tuple[str, ...] = (),
        packages: tuple[str, ...] = (),
        optional: tuple[str, ...] = (),
    ) -> Part:
        command = ("-m", f"benchmarks.{module}", "--out", out, *options, *(tiny if rehearse else ()))
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
    """Return the third-party packages that these modules of the source tree import, directly or indirectly."""
    third_party: set[str] = set()
    seen: set[str] = set()
    queue = list(modules)
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        top, _, _ = name.partition(".")
        if not (ROOT / top).is_dir():
            third_party.add(top)
        elif (file := _file(name)) is not None:
            parents = name.split(".")[:-1]
            queue += [".".join(parents[: count + 1]) for count in range(len(parents))]
            queue += _imports(ast.parse(file.read_text(encoding="utf-8")).body)
    return third_party - set(sys.stdlib_module_names)


def _imports(statements: list[ast.stmt]) -> Iterator[str]:
    """Yield the modules that are imported at the top level, not those inside functions."""
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
