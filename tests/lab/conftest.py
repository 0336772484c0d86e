"""Fixtures of the tests of comparisons and evaluations."""

import shutil
from pathlib import Path

import pytest

from smix.evaluation.records import Evaluation
from smix.lab.evaluate import evaluate
from tests.lab.trained import ALL, QUIET, sets, train_run, write_folders, write_sets
from tests.training.conftest import data  # noqa: F401


@pytest.fixture
def read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read image files in this process, because other processes take seconds to start."""
    monkeypatch.setattr("smix.lab.target.cores", lambda: 0)


@pytest.fixture(scope="session")
def data_name(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the name of the data set of `finished`."""
    return write_sets(tmp_path_factory.mktemp("shown"), *sets())


@pytest.fixture(scope="session")
def finished(data_name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run. Tests must not change it."""
    return train_run(tmp_path_factory.mktemp("runs") / "vanilla-0", data_name)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished run, to be evaluated."""
    return Path(shutil.copytree(finished, tmp_path / "vanilla-0"))


@pytest.fixture(scope="session")
def full_evaluation(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evaluation]:
    """Return a copy of the finished run and its evaluation with all options."""
    run = Path(shutil.copytree(finished, tmp_path_factory.mktemp("evaluated") / "vanilla-0"))
    return run, evaluate(run, ALL, QUIET)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Return the name of a data set of files of different sizes, and a run on it."""
    folder = tmp_path_factory.mktemp("files")
    name = write_folders(folder / "data", *sets())
    return name, train_run(folder / "vanilla-0", name, image_size=28)
