"""Test the documentation: every method has a row and a figure, and links lead to existing files."""

import re
import runpy
from pathlib import Path

import pytest

from smix.mixing import METHODS, parse_method

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "benchmarks/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def test_every_method_has_a_row_with_a_figure():
    rows = re.findall(r"^\| `(.+?)` \| (?:!\[\]\((.+?)\))? ?\|", (ROOT / "docs/methods.md").read_text(), re.MULTILINE)
    shown = {text.replace("\\|", "|"): picture for text, picture in rows}
    assert set(METHODS) <= set(shown)
    for text, picture in shown.items():
        parse_method(text)
        assert text == "vanilla" or (ROOT / "docs" / picture).is_file()


def test_the_readme_names_every_method():
    text = (ROOT / "README.md").read_text()
    assert [name for name in METHODS if f"`{name}`" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_existing_files(page: Path):
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_the_picture_of_the_layers_is_drawn_from_the_contract():
    namespace = runpy.run_path(str(ROOT / "docs" / "architecture.py"))
    assert (ROOT / "docs" / "architecture.svg").read_text() == namespace["draw"]()
    described = {module for layer in namespace["layers"]() for module in layer} & set(namespace["DESCRIPTIONS"])
    assert described == set(namespace["DESCRIPTIONS"])
