"""Comparisons train what the tests of training train; evaluations start from a run on larger images."""

import shutil
from pathlib import Path

import pytest

from smix.evaluation.records import Evaluation
from smix.lab.evaluate import evaluate
from tests.lab.trained import ALL, QUIET, sets, trained, write_folders, write_sets
from tests.training.conftest import data  # noqa: F401


@pytest.fixture
def read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images in files are read in this process: others take seconds to start."""
    monkeypatch.setattr("smix.lab.target.cores", lambda: 0)


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of the data of `finished`."""
    return write_sets(tmp_path_factory.mktemp("shown"), *sets())


@pytest.fixture(scope="session")
def finished(shown: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that no test changes."""
    return trained(tmp_path_factory.mktemp("runs") / "vanilla-0", shown)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """The same, to be evaluated."""
    return Path(shutil.copytree(finished, tmp_path / "vanilla-0"))


@pytest.fixture(scope="session")
def whole(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evaluation]:
    """The same, asked everything."""
    run = Path(shutil.copytree(finished, tmp_path_factory.mktemp("whole") / "vanilla-0"))
    return run, evaluate(run, ALL, QUIET)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Images in files of different sizes, and a run on them."""
    folder = tmp_path_factory.mktemp("files")
    name = write_folders(folder / "data", *sets())
    return name, trained(folder / "vanilla-0", name, image_size=28)
