"""Test the provenance of a comparison."""

import pytest

from smix.report.comparison import ReportAssets
from smix.report.reading import read_comparison
from smix.report.runs import options, versions
from tests.report.runs import write_run
from tests.sealed import edit


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("cifar10", "cifar10"),
        ("npz:/some/where/a.npz", "npz:a.npz"),
        ("folder:/some/where/birds", "folder:birds"),
        ("hf:owner/name", "hf:owner/name"),
        ("hf:/some/where/saved", "hf:saved"),
    ],
)
def test_data_names_are_shown_without_paths(tmp_path, data, expected):
    write_run(tmp_path, "vanilla", 0, data=data, init_weights="/some/where/w.pt")
    result = dict(options(read_comparison(tmp_path), ReportAssets({})).rows)
    assert (result["data"], result["init-weights"]) == (expected, "w.pt")


def test_differing_versions_are_all_listed(tmp_path):
    for seed, processes in ((0, 1), (1, 4)):
        path = write_run(tmp_path, "smix", seed) / "config.json"
        edit(path, processes=processes, compile=True)
    result = dict(versions(read_comparison(tmp_path), ReportAssets({})).rows)
    assert (result["processes"], result["compile"], result["torch"]) == ("1, 4", "True", "2.15.0")
    assert "threads" not in result
