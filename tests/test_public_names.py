"""Test the public names, the cost of importing them, and that imports have no side effects."""

import ast
import json
import os
import pkgutil
import pydoc
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import smix

NAMES = [
    "CutMix",
    "Cutout",
    "EvaluateConfig",
    "FMix",
    "Fallback",
    "GMix",
    "GridMix",
    "HMix",
    "ImageSet",
    "METHODS",
    "MaskStore",
    "Method",
    "Mixup",
    "Move",
    "ObjectPaste",
    "Plan",
    "RandomChoice",
    "ResizeMix",
    "RunOptions",
    "SMix",
    "SaliencyMix",
    "SharedConfig",
    "StochasticMixup",
    "Target",
    "TrainConfig",
    "Validity",
    "Vanilla",
    "__version__",
    "build_masks",
    "compare",
    "evaluate",
    "load_data",
    "load_run",
    "parse_method",
    "train",
    "write_report",
]
PARTS = ["data", "evaluation", "lab", "masks", "mixing", "models", "report", "training"]
MODULES = sorted(
    module.name for module in pkgutil.walk_packages(smix.__path__, "smix.") if not module.name.endswith("__main__")
)
PACKAGES = ["smix", "smix.data", "smix.evaluation", "smix.masks", "smix.mixing"]
HEAVY = ["torch", "torchvision", "numpy", "scipy", "sklearn", "matplotlib", "PIL", "rich", "onnxruntime"]


def python(script: str, *words: str) -> str:
    """Run code in a new interpreter and return its output."""
    environment = {**os.environ, "PYTHONPATH": str(Path(smix.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_list_of_public_names():
    assert sorted(smix.__all__) == sorted([*NAMES, *PARTS])
    assert len(set(smix.__all__)) == len(smix.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_exists(name):
    assert getattr(smix, name) is not None
    assert name in dir(smix)


def test_every_public_name_is_imported_by_a_star_import():
    namespace: dict[str, object] = {}
    exec("from smix import *", namespace)
    assert set(NAMES) <= set(namespace)


@pytest.mark.parametrize("name", PARTS)
def test_subpackages_are_available_without_a_separate_import(name):
    assert getattr(smix, name) is import_module(f"smix.{name}")
    assert name in dir(smix)


@pytest.mark.parametrize("name", ["SMixx", "cutmix", "_private"])
def test_an_unknown_name_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match=f"No smix attribute {name}"):
        getattr(smix, name)


@pytest.mark.parametrize("package", PACKAGES)
def test_dir_shows_public_names_only(package):
    module = import_module(package)
    assert sorted(dir(module)) == sorted(module.__all__)
    import_module(next(name for name in MODULES if name.startswith(f"{package}.")))
    assert sorted(dir(module)) == sorted(module.__all__), "a submodule that was imported is not shown"


def public_classes() -> list[type]:
    names = [getattr(import_module(package), name) for package in PACKAGES for name in import_module(package).__all__]
    return list(dict.fromkeys(each for each in names if isinstance(each, type)))


@pytest.mark.parametrize("owner", public_classes(), ids=lambda owner: owner.__name__)
def test_help_starts_with_what_a_class_does(owner):
    """Dataclasses without a docstring get their signature instead, and jaxtyping's shapes can fill a screen."""
    lines = [line.strip("| ").rstrip() for line in pydoc.plain(pydoc.render_doc(owner)).splitlines()]
    start = next(n for n, line in enumerate(lines) if line.startswith("class "))
    summary = owner.__doc__.partition("\n")[0]
    assert summary[0].isupper()
    assert not summary.startswith(f"{owner.__name__}(")
    assert summary.endswith((".", ")", ":")) or len(summary) > 60
    assert summary in lines[start + 1 : start + 4]
    assert "object at 0x" not in "".join(lines[start : start + 4])


@pytest.mark.parametrize("package", ["smix", "smix.data", "smix.evaluation", "smix.masks"])
def test_type_checkers_see_every_name_of_a_stub(package):
    """A name of a stub is public for mypy only if it is imported as itself."""
    stub = Path(import_module(package).__file__ or "").with_suffix(".pyi")
    statements = [node for node in ast.parse(stub.read_text()).body if isinstance(node, ast.ImportFrom)]
    names = [(alias.name, alias.asname) for node in statements for alias in node.names]
    assert names
    assert all(name == shown for name, shown in names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["smix", "smix.config", "smix.errors", "smix.files", "smix.signals", "smix.progress"])
def test_imports_of_the_command_line_do_not_load_torch(name):
    heavy = HEAVY if name != "smix.progress" else [one for one in HEAVY if one != "rich"]
    script = "import importlib, json, sys; importlib.import_module(sys.argv[1]); print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(python(script, name))
    assert name in loaded
    assert not set(heavy) & set(loaded)


@pytest.mark.slow
def test_a_public_name_loads_only_its_own_subpackage():
    loaded = python("import sys; from smix import SMix; print(*sys.modules)").split()
    assert "smix.mixing.smix" in loaded
    assert not {"smix.training.runs", "smix.lab.run_all", "smix.masks.store", "torchvision", "matplotlib"} & set(loaded)


IMPORT_ONE_BY_ONE = """
import gc, os, random, signal, sys, threading, warnings
from importlib import import_module

# Side effects of third-party imports are not tested.
import cyclopts.config, jaxtyping, jinja2, matplotlib.figure, matplotlib.style, numpy, PIL.Image, rich.progress, rich.table
import safetensors.torch
import scipy.ndimage, scipy.stats, sklearn.datasets, torch, torch.export, torchvision.transforms.v2

warnings.simplefilter("error")
gc.disable()  # a garbage collection in a child would copy all memory of torch


def state():
    return {
        "default dtype": str(torch.get_default_dtype()),
        "default device": str(torch.get_default_device()),
        "threads of torch": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn": [torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32],
        "precision": torch.get_float32_matmul_precision(),
        "generator of torch": torch.random.get_rng_state().sum().item(),
        "generator of numpy": str(numpy.random.get_state()),
        "generator of Python": hash(random.getstate()),
        "errors of numpy": str(numpy.geterr()),
        "print options of numpy": str(numpy.get_printoptions()),
        "backend of matplotlib": str(dict.__getitem__(matplotlib.rcParams, "backend")),
        "style of matplotlib": str({k: v for k, v in dict.items(matplotlib.rcParams) if k != "backend"}),
        "warnings": str(warnings.filters),
        "signals": str([signal.getsignal(number) for number in signal.valid_signals()]),
        "environment": str(sorted(os.environ.items())),
        "folder": os.getcwd(),
        "path": str(sys.path),
        "hooks": str([sys.excepthook, sys.displayhook, sys.meta_path]),
        "streams": str([sys.stdout, sys.stderr]),
        "thread count": threading.active_count(),
        "names of torchvision": len(vars(torchvision)),
    }


for order in (*([name] for name in sys.argv[1:]), sys.argv[1:], sys.argv[:0:-1]):
    sys.stdout.flush()
    child = os.fork()  # torch is imported once, and each module of smix is imported first in a fork
    if not child:
        try:
            before = state()
            for name in order:
                import_module(name)
            after = state()
            for key in before:
                if before[key] != after[key]:
                    print(f"{order[0]} changes {key}: {before[key]} -> {after[key]}")
        except BaseException as error:
            print(f"{order[0]} first: {type(error).__name__}: {error}")
        finally:
            sys.stdout.flush()
            os._exit(0)
    _, code = os.waitpid(child, 0)
    if code:
        print(f"{order[0]}: exit status {code}")
    print("done", order[0])
"""


@pytest.mark.slow
def test_every_module_can_be_imported_first_and_has_no_side_effects():
    lines = python(IMPORT_ONE_BY_ONE, *MODULES).splitlines()
    assert len(MODULES) > 30
    assert [line for line in lines if not line.startswith("done ")] == []
    assert lines == [f"done {name}" for name in (*MODULES, MODULES[0], MODULES[-1])]
