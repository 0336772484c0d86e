"""Test that CITATION.cff is valid and agrees with the metadata of the package."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import smix

ROOT = Path(smix.__file__).parents[1]
TYPES = {"report", "conference-paper", "article"}


@pytest.fixture(scope="module")
def citation() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_citation_has_format_version_1_2(citation: dict[str, Any]):
    """Required keys and types of schema 1.2.0, https://github.com/citation-file-format/citation-file-format."""
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    for name in ("message", "title"):
        assert isinstance(citation[name], str)
    for one in (citation, *citation["references"]):
        assert one["authors"]
        for author in one["authors"]:
            assert set(author) in ({"name"}, {"family-names", "given-names"})  # an entity or a person
    for one in citation["references"]:
        assert one["type"] in TYPES
        assert isinstance(one["title"], str)
        assert isinstance(one["year"], int)
        assert one.get("url", "https://").startswith("https://")


def test_citation_agrees_with_the_package(citation: dict[str, Any]):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["version"] == smix.__version__
    assert citation["license"] == project["license"]
    assert citation["title"].lower() == f"{project['name']}: {project['description']}".lower()
    assert [author["name"] for author in citation["authors"]] == ["The smix authors"]
    assert not {"doi", "repository", "repository-code", "url"} & set(citation)  # not known yet


def test_citation_names_the_report_and_the_papers_of_the_methods(citation: dict[str, Any]):
    references = {entry["title"]: (entry["year"], len(entry["authors"])) for entry in citation["references"]}
    assert references == {
        "Enhancing Model Performance: The Impact of Data Augmentation Techniques in Machine Learning": (2025, 1),
        "mixup: Beyond Empirical Risk Minimization": (2018, 4),
        "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features": (2019, 6),
        "FMix: Enhancing Mixed Sample Data Augmentation": (2020, 6),
    }
