"""Fixtures and helpers of all tests: small generated data sets, command lines in this process, and optional real data."""

import io
import itertools
import math
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

if TYPE_CHECKING:  # the tests of mixing on a GPU do without the packages of data sets and of the command line
    from smix.data.sets import ImageSet, Split
    from smix.lab.engines import Task


def pytest_configure(config: pytest.Config) -> None:
    """Keep the files of Hypothesis out of the source tree. By default it writes next to pyproject.toml."""
    with suppress(ImportError):  # may be missing on a machine with a GPU
        from hypothesis import settings
        from hypothesis.configuration import set_hypothesis_home_dir

        settings.register_profile("smix", database=None)
        settings.load_profile("smix")
        folder = tempfile.TemporaryDirectory(prefix="hypothesis-")
        set_hypothesis_home_dir(folder.name)
        config.add_cleanup(folder.cleanup)


SHARED = Path(os.environ.get("SMIX_SHARED", Path(__file__).parents[2] / "shared"))

GPU = "cpu" if os.environ.get("SMIX_REHEARSE") == "1" else "cuda"


@pytest.hookimpl(wrapper=True)  # before other plugins shuffle the tests and select by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    skip_without_gpu(items)
    mark_exhaustive(items)
    return (yield)


def skip_without_gpu(items: list[pytest.Item]) -> None:
    """Skip the tests marked `gpu` on a machine without a CUDA device."""
    if GPU == "cuda" and not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def mark_exhaustive(items: list[pytest.Item]) -> None:
    """Mark cases of stacked parameters as `exhaustive`, except enough cases to have each value of each parameter once.

    For example, a test with 60 methods and 5 sizes has 300 cases. By default 60 of them run, one for each method, with the sizes
    in turn. `make test-all` runs all.
    """
    functions: dict[tuple[object, str], list[pytest.Function]] = defaultdict(list)
    for item in items:
        if isinstance(item, pytest.Function):
            functions[item.parent, item.originalname].append(item)
    for cases in functions.values():
        sizes = [len(tuple(marker.args[1])) for marker in cases[0].iter_markers("parametrize")]
        if len(sizes) > 1 and math.prod(sizes) == len(cases):  # False if only some cases were selected
            kept = {tuple(turn % size for size in sizes) for turn in range(max(sizes))}
            for place, case in zip(itertools.product(*map(range, sizes)), cases, strict=True):
                if place not in kept:
                    case.add_marker("exhaustive")


@pytest.fixture
def gpu() -> str:
    """Return the device of the tests marked `gpu`: cuda, or cpu if `scripts/gpu.py --rehearse` runs them without a GPU."""
    return GPU


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Use one thread. On a busy machine two threads that wait for each other make small networks up to 50 times slower."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real data and weights, which is not part of the repository. Skip the test if it does not exist."""
    if not SHARED.is_dir():
        pytest.skip(f"no real data at {SHARED}: set SMIX_SHARED")
    return SHARED


@pytest.fixture(autouse=True)
def _global_random_state_untouched():
    """Check that the test does not change the global generators of torch and numpy."""
    before, numpy_before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    yield
    assert torch.equal(torch.random.get_rng_state(), before), "the global generator of torch was used"
    assert np.array_equal(np.random.get_state()[1], numpy_before), "the global generator of numpy was used"  # noqa: NPY002


def make_set(
    count: int = 40,
    size: tuple[int, int] = (10, 14),
    classes: int = 4,
    seed: int = 0,
    split: "Split" = "train",
    masks: bool = True,
) -> "ImageSet":
    """Return random images that are not square, with random boxes as masks and labels that the brightness shows."""
    from smix.data.sets import ImageSet

    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    noise = rng.integers(0, 60, (count, *size, 3))
    images = (noise + (labels * (180 // classes))[:, None, None, None]).astype(np.uint8)
    boxes = np.zeros((count, *size), bool)
    for box in boxes:
        top, left = rng.integers(0, size[0] - 4), rng.integers(0, size[1] - 4)
        box[top : top + rng.integers(2, 5), left : left + rng.integers(2, 5)] = True
    names = tuple(f"class {label}" for label in range(classes))
    return ImageSet(images, labels, names, boxes if masks else None, name="made", split=split)


def write_npz(path: Path, train: "ImageSet", test: "ImageSet") -> Path:
    """Write two splits as an npz data set, and return its path."""
    arrays = {"x_train": train.images, "y_train": train.labels, "x_test": test.images, "y_test": test.labels}
    if train.masks is not None and test.masks is not None:
        arrays |= {"mask_train": train.masks, "mask_test": test.masks}
    np.savez(path, classes=np.array(train.classes), **arrays)
    return path


@pytest.fixture
def npz(tmp_path: Path) -> str:
    """Return the name of a small npz data set: 10 x 14 pixels, 4 classes, with masks."""
    return f"npz:{write_npz(tmp_path / 'made.npz', make_set(80), make_set(24, seed=1, split='test'))}"


@pytest.fixture
def smix(monkeypatch, capsys):
    """Return a function that runs a command line in this process and returns exit code, standard output and standard error."""

    from smix import cli

    def run(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["smix", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        output = capsys.readouterr()
        return int(stopped.value.code or 0), output.out, output.err

    return run


def run_in_this_process(tasks: "Sequence[Task]", jobs: int, poll: Callable[[], None] = lambda: None) -> list[int]:
    """Stand in for `engines.run_tasks`: run the same command lines one after the other, without a process for each."""
    from smix import cli

    codes = []
    for task in tasks:
        task.log.parent.mkdir(parents=True, exist_ok=True)
        with (
            pytest.MonkeyPatch.context() as patch,
            task.log.open("a") as log,
            redirect_stdout(log),
            redirect_stderr(log),
        ):
            patch.setattr(sys, "argv", ["smix", *task.words])
            patch.setenv("SMIX_TASK", str(os.getppid()))
            with pytest.raises(SystemExit) as stopped:
                cli.main()
        codes.append(int(stopped.value.code or 0))
        poll()
    return codes


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run tasks in this process. A process for each would import torch, which costs more than a small training."""
    from smix.lab import engines

    monkeypatch.setattr(engines, "run_tasks", run_in_this_process)


@pytest.fixture
def blank_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save blank images instead of the figures of a report, whose rendering takes most of the time."""
    from PIL import Image

    png = io.BytesIO()
    Image.new("L", (1, 1)).save(png, "png")
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="1pt" height="1pt" viewBox="0 0 1 1"/>'

    def save(figure: object, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(svg.encode() if path.suffix == ".svg" else png.getvalue())
        return path

    monkeypatch.setattr("smix.report.write.save", save)
    monkeypatch.setattr("smix.report.write.svg_text", lambda figure: svg)
