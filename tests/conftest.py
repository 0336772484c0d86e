"""What all tests share: small data sets made on the spot, and the real weights that may lie beside the project."""

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
    """Keep what Hypothesis writes out of the source tree, where it would put it next to pyproject.toml."""
    with suppress(ImportError):  # the environment of a GPU may lack it
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
    """Mark cases of products as `exhaustive`, except for as many as it takes to have each value of each parameter once.

    A test with stacked parameters, 60 methods and 5 sizes say, has 300 cases: by default 60 run, each with another method,
    and with the sizes in turn. `make test-all` runs them all.
    """
    functions: dict[tuple[object, str], list[pytest.Function]] = defaultdict(list)
    for item in items:
        if isinstance(item, pytest.Function):
            functions[item.parent, item.originalname].append(item)
    for cases in functions.values():
        sizes = [len(tuple(marker.args[1])) for marker in cases[0].iter_markers("parametrize")]
        if len(sizes) > 1 and math.prod(sizes) == len(cases):  # else only some were asked for
            kept = {tuple(turn % size for size in sizes) for turn in range(max(sizes))}
            for place, case in zip(itertools.product(*map(range, sizes)), cases, strict=True):
                if place not in kept:
                    case.add_marker("exhaustive")


@pytest.fixture
def gpu() -> str:
    """Return the device of the tests marked `gpu`: cuda, or cpu where `scripts/gpu.py --rehearse` runs them without a GPU."""
    return GPU


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Two threads that wait for each other on a busy machine make small networks up to 50 times slower."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and weights that is not part of the project; skips the test where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no real data at {SHARED}: set SMIX_SHARED")
    return SHARED


@pytest.fixture(autouse=True)
def _global_random_state_untouched():
    """No test of ours, and so no function of ours, may leave torch's or numpy's global generators changed."""
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
    """Random images, not square, whose masks are random boxes and whose labels can be told from their brightness."""
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
    """The two splits as an npz data set."""
    arrays = {"x_train": train.images, "y_train": train.labels, "x_test": test.images, "y_test": test.labels}
    if train.masks is not None and test.masks is not None:
        arrays |= {"mask_train": train.masks, "mask_test": test.masks}
    np.savez(path, classes=np.array(train.classes), **arrays)
    return path


@pytest.fixture
def npz(tmp_path: Path) -> str:
    """The name of a small data set in a file: 10 x 14 pixels, 4 classes, with masks."""
    return f"npz:{write_npz(tmp_path / 'made.npz', make_set(80), make_set(24, seed=1, split='test'))}"


@pytest.fixture
def smix(monkeypatch, capsys):
    """Runs a command line in this process; returns exit code, standard output and standard error."""

    from smix import cli

    def run(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["smix", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        said = capsys.readouterr()
        return int(stopped.value.code or 0), said.out, said.err

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
    """Save blank pictures in place of the figures of a report. Rendering them is most of what a report costs."""
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
