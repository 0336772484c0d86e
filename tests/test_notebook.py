"""Test that the notebook runs, shows its figures, and is stored without outputs."""

import base64
import io
import re
from collections import Counter
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

import smix

ROOT = Path(smix.__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "explore.ipynb"
PICTURES = {"store": 1, "methods": 1, "seen": 1, "calibration": 1}
"""Number of figures by cell."""
FONT_CACHE = "Matplotlib is building the font cache"
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which the notebook runs, with subfolders for temporary files and for Jupyter."""
    root = tmp_path_factory.mktemp("notebook")
    for name in ("work", "temporary", "jupyter", "matplotlib"):
        (root / name).mkdir()
    return root


@pytest.fixture(scope="module")
def execute(folder: Path) -> nbformat.NotebookNode:
    book = nbformat.read(NOTEBOOK, as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
            patch.setenv(name, str(folder / "jupyter"))
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("TMPDIR", str(folder / "temporary"))
        patch.setenv("MPLCONFIGDIR", str(folder / "matplotlib"))
        patch.setenv("OMP_NUM_THREADS", "1")
        where = {"metadata": {"path": str(folder / "work")}}
        NotebookClient(book, timeout=300, kernel_name="python3", resources=where).execute()
    for cell in book.cells:  # printed once on a new machine
        cell["outputs"] = [one for one in cell.get("outputs", []) if FONT_CACHE not in one.get("text", "")]
    return book


def outputs(book: nbformat.NotebookNode, kind: str) -> dict[str, list[str]]:
    """Return the outputs of a kind by cell."""
    return {
        cell.id: contents
        for cell in book.cells
        if cell.cell_type == "code"
        and (contents := [one.data[kind] for one in cell.outputs if kind in one.get("data", {})])
    }


@SLOW
def test_every_cell_runs_without_errors_and_warnings(execute: nbformat.NotebookNode):
    cells = [cell for cell in execute.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert [one.text for cell in cells for one in cell.outputs if one.output_type == "stream"] == []
    kinds = Counter(one.output_type for cell in cells for one in cell.outputs)
    assert set(kinds) == {"display_data", "execute_result"}  # no error


@SLOW
def test_figures_are_shown(execute: nbformat.NotebookNode):
    shown = outputs(execute, "image/png")
    assert {name: len(pictures) for name, pictures in shown.items()} == PICTURES
    for name, pictures in shown.items():
        for picture in pictures:
            levels = Image.open(io.BytesIO(base64.b64decode(picture))).convert("L").histogram()
            assert sum(count > 0 for count in levels) > 50, f"{name} is almost blank"


@SLOW
def test_tables_agree_with_the_text(execute: nbformat.NotebookNode):
    shown = {name: "\n".join(texts) for name, texts in outputs(execute, "text/markdown").items()}
    valid = {cells[0]: list(map(float, cells[1:])) for cells in rows(shown["rules"])}
    assert valid["true"][2] > 99  # the default rule accepts true masks and rejects both kinds of wrong masks
    assert valid["object and background swapped"][2] < 5
    assert valid["noise on a tenth of the pixels"][2] < 5
    accuracy, _ = shown["table"].split("**Every pair of methods**")
    names = ["vanilla", "smix(alpha=1,labels=visible,prob=0.5)"]
    assert [cells[0] for cells in rows(accuracy)] == [cells[0] for cells in rows(shown["calibration"])] == names
    assert all(float(cells[1].strip("*")) > 50 for cells in rows(accuracy)), "a model that has learnt little"
    assert re.search(r"^> .*2 seeds", shown["table"], re.MULTILINE)


def rows(text: str) -> list[list[str]]:
    """Return the cells of Markdown tables by row, without heads."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return lines[2:]


@SLOW
def test_no_files_are_left(execute: nbformat.NotebookNode, folder: Path):
    assert list((folder / "work").iterdir()) == []
    assert [path for path in (folder / "temporary").rglob("*") if path.is_file()] == []


def test_the_notebook_is_stored_without_outputs():
    book = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(book)
    assert 12 <= len(book.cells) <= 16
    for cell in book.cells:
        assert cell.metadata == {}
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    assert set(book.metadata) == {"kernelspec", "language_info"}
    assert set(book.metadata.language_info) == {"name"}  # without the version of Python


def test_links_of_the_notebook_lead_to_existing_files():
    text = "\n".join(
        cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "markdown"
    )
    links = re.findall(r"\]\(([^)#\s]+)", text)
    assert len(links) > 2
    assert [link for link in links if "://" in link or not (NOTEBOOK.parent / link).exists()] == []
