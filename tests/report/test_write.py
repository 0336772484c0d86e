import re

import pytest

from smix.errors import RunError
from smix.report.conclusion import conclusion
from smix.report.write import write_report
from smix.training.records import runs_in
from smix.training.runs import train
from tests.conftest import make_set, write_npz


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    from smix import RunOptions, TrainConfig

    folder = tmp_path_factory.mktemp("comparison")
    name = f"npz:{write_npz(folder / 'made.npz', make_set(80), make_set(24, seed=1, split='test'))}"
    for method in ("vanilla", "smix+fmix"):
        config = TrainConfig(data=name, model="resnet8", epochs=1, batch_size=16, method=method)
        train(config, folder / "runs" / f"{method}-0", RunOptions(quiet=True))
    return folder / "runs"


def test_everything_that_the_report_names_is_there(comparison, tmp_path):
    report = write_report(comparison, tmp_path / "report")
    text = report.text.read_text()
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", text):
        assert (tmp_path / "report" / picture).read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "report.md", "table.csv", "runs.csv", "accuracy-distribution.png", "accuracy-per-epoch.png", "mixes.png",
    }  # fmt: skip
    assert conclusion(runs_in(comparison)) in text
    assert "- images: 72 training, 8 validation, 24 test" in text
    assert "- masks: carried" in text
    assert "- milestones: none" in text


def test_the_same_runs_give_the_same_bytes(comparison, tmp_path):
    one, other = (write_report(comparison, tmp_path / name) for name in ("a", "b"))
    assert one.text.read_bytes() == other.text.read_bytes()
    for first, second in zip(one.pictures, other.pictures, strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_it_goes_beside_the_runs_by_default(comparison):
    assert write_report(comparison).text == comparison / "report" / "report.md"


def test_no_runs(tmp_path):
    with pytest.raises(RunError, match="expected a folder of runs"):
        write_report(tmp_path)
