"""The provenance of a comparison."""

import pytest

from smix.report.reading import read_comparison
from smix.report.records import ReportAssets
from smix.report.runs import options, versions
from tests.report.runs import write_run
from tests.sealed import edit


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("cifar10", "cifar10"),
        ("npz:/some/where/a.npz", "npz:a.npz"),
        ("folder:/some/where/birds", "folder:birds"),
        ("hf:owner/name", "hf:owner/name"),
        ("hf:/some/where/saved", "hf:saved"),
    ],
)
def test_names_of_data_lose_their_paths_and_nothing_else(tmp_path, data, said):
    write_run(tmp_path, "vanilla", 0, data=data, init_weights="/some/where/w.pt")
    found = dict(options(read_comparison(tmp_path), ReportAssets({})).rows)
    assert (found["data"], found["init-weights"]) == (said, "w.pt")


def test_versions_that_differ_are_all_said(tmp_path):
    for seed, processes in ((0, 1), (1, 4)):
        path = write_run(tmp_path, "smix", seed) / "config.json"
        edit(path, processes=processes, compile=True)
    found = dict(versions(read_comparison(tmp_path), ReportAssets({})).rows)
    assert (found["processes"], found["compile"], found["torch"]) == ("1, 4", "True", "2.15.0")
    assert "threads" not in found
