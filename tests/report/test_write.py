"""Test the report of finished runs from end to end: files, reproducible bytes, atomic writes, hostile and broken input."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from smix import RunOptions, TrainConfig
from smix.errors import RunError
from smix.report import write
from smix.report.comparison import summarise
from smix.report.page import Section, write_page
from smix.report.verdict import conclusion, evidence, headline
from smix.report.write import write_report
from smix.training.records import folders_in, read_run
from smix.training.runs import train
from tests.conftest import make_set, write_npz
from tests.report.evaluations import write_evaluations
from tests.report.pages import PAGES
from tests.report.runs import write_run, write_runs
from tests.report.test_svg import write_drawn

pytestmark = pytest.mark.slow

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def comparison(tmp_path_factory) -> Path:
    """Train two methods with two seeds for an epoch, and write synthetic evaluations."""
    folder = tmp_path_factory.mktemp("comparison")
    names = (HOSTILE, "$x$", "a|b", "d & e")
    sets = (make_set(80, (32, 40)), make_set(24, (32, 40), seed=1, split="test"))
    path = write_npz(folder / "made.npz", *sets)
    with np.load(path) as arrays:
        np.savez(path, **{**arrays, "classes": np.array(names)})
    for method in ("vanilla", "smix+fmix"):
        for seed in (0, 1):
            config = TrainConfig(data=f"npz:{path}", model="resnet8", epochs=1, batch_size=16, method=method, seed=seed)
            run = folder / "runs" / f"{method}-{seed}"
            result = train(config, run, RunOptions(quiet=True, device="cpu"))
            write_evaluations(run, result.test_accuracy, 0.5)
    return folder / "runs"


@pytest.fixture(scope="module")
def report(comparison, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("report")
    written = write_report(comparison, out)
    assert (written.page, written.text, written.problems) == (out / "report.html", out / "report.md", ())
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


class Reader(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs) -> None:
        self.seen.append((tag, dict(attrs)))


def test_every_figure_and_table_is_written(report):
    figures = {path.stem for path in (report / "figures").glob("*.png")}
    assert figures == {
        *(
            "accuracy-distribution",
            "accuracy-differences",
            "accuracy-per-epoch",
            "accuracy-over-time",
            "overconfidence",
        ),
        *(
            "reliability",
            "wrong-by-confidence",
            "risk-coverage",
            "confusion",
            "confusion-change",
            "class-wise",
            "corruptions",
            "attacks",
        ),
        *("background", "class-gain", "valid-masks", "contact-sheet", "pair", "mixes", "mistakes"),
    }
    photographs = {"contact-sheet", "pair", "mixes", "mistakes"}
    assert {path.stem for path in (report / "figures").glob("*.svg")} == figures - photographs
    tables = {path.stem for path in (report / "tables").glob("*.csv")}
    assert tables == {path.stem for path in (report / "tables").glob("*.tex")}
    assert tables == {
        *("accuracy", "pairs", "runs", "test-images", "calibration", "confidence", "levels", "confused", "classes"),
        *("corruptions", "each-corruption", "attacks", "background", "other-data", "cost", "class-calibration"),
    }


def test_the_markdown_links_to_existing_files_and_holds_the_conclusion(comparison, report):
    text = (report / "report.md").read_text()
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert len(pictures) == 20
    assert all((report / picture).stat().st_size > 1000 for picture in pictures)
    accuracy = summarise([read_run(path) for path in folders_in(comparison)])
    assert f"**{headline(accuracy)}**".replace("_", "\\_") in text
    assert evidence(accuracy).lower() in conclusion(accuracy).lower()
    assert "- images: 72 training, 8 validation, 24 test" in text
    assert "- masks: carried" in text
    assert "- milestones: none" in text
    assert "- data: npz:made.npz" in text, "without its path"


def test_the_page_makes_no_requests_and_links_to_existing_files(report):
    for tag, attributes in Reader(report / "report.html").seen:
        for name in ("src", "href", "srcset", "poster", "data", "action"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:", "./")), (tag, name, value[:80])
            if value.startswith("./"):
                assert (report / value).is_file()


def test_hostile_names_are_escaped_everywhere(report):
    assert "alert" not in "".join(tag for tag, _ in Reader(report / "report.html").seen)
    assert HOSTILE not in (report / "report.html").read_text()
    assert HOSTILE.replace("<", "&lt;").replace(">", "&gt;") in (report / "report.html").read_text()
    assert HOSTILE not in (report / "report.md").read_text()
    for path in (report / "figures").glob("*.svg"):
        assert "<script" not in path.read_text()


ANOTHER_PROCESS = """
import sys
from pathlib import Path

from smix import write_report
from smix.report.page import write_page
from tests.report.pages import PAGES
from tests.report.test_svg import write_drawn

comparison, out = map(Path, sys.argv[1:])
for name, make in PAGES.items():
    write_page(out / f"{name}.html", make())
write_drawn(out)
write_report(comparison, out / "report")
"""


def test_the_same_input_gives_the_same_bytes_in_another_process(comparison, report, tmp_path):
    """Pages, figures and the report are equal in a process with another hash seed, time zone, language and date."""
    here, there = tmp_path / "here", tmp_path / "there"
    environment = {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C", "SOURCE_DATE_EPOCH": "1", "PATH": ""}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    there.mkdir()
    subprocess.run([sys.executable, "-c", ANOTHER_PROCESS, comparison, there], check=True, env=environment)
    for name, make in PAGES.items():
        write_page(here / f"{name}.html", make())
    write_drawn(here)
    shutil.copytree(report, here / "report")
    assert contents(there) == contents(here)


@pytest.mark.usefixtures("blank_figures")
def test_the_default_folder_is_next_to_the_runs(tmp_path):
    write_runs(tmp_path / "runs", {"vanilla": [1.0]})
    assert write_report(tmp_path / "runs").text == tmp_path / "runs" / "report" / "report.md"


@pytest.mark.usefixtures("blank_figures")
def test_a_report_names_missing_images_and_masks(comparison, tmp_path):
    write_runs(tmp_path / "runs", {"vanilla": [1.0], "smix": [1.5]})
    written = write_report(tmp_path / "runs", tmp_path / "out")
    reasons = [problem.why for problem in written.problems]
    assert len(reasons) == 2
    assert all("expected the images that the runs used" in why and "got different images" in why for why in reasons)
    assert all("what shows them is left out" in why for why in reasons)
    assert not (tmp_path / "out" / "figures" / "mistakes.png").exists()
    assert (tmp_path / "out" / "figures" / "reliability.svg").exists()


@pytest.mark.usefixtures("blank_figures")
def test_a_failed_report_keeps_the_previous_one(tmp_path, monkeypatch):
    write_runs(tmp_path / "runs", {"vanilla": [1.0, 1.5], "mixup": [2.0, 2.5]})
    write_report(tmp_path / "runs", tmp_path / "out")
    before = contents(tmp_path / "out")
    write_run(tmp_path / "runs", "cutmix", 0, 3.0)
    broken = (*write.SECTIONS, Section("broken", "Broken", "", (lambda *_: 1 / 0,)))
    for name, replacement in (("SECTIONS", broken), ("write_page", lambda *_: 1 / 0)):
        with monkeypatch.context() as patched:
            patched.setattr(write, name, replacement)
            with pytest.raises(ZeroDivisionError):
                write_report(tmp_path / "runs", tmp_path / "out")
        assert contents(tmp_path / "out") == before
        assert not list((tmp_path / "out").glob(".report.*.tmp"))


@pytest.mark.usefixtures("blank_figures")
def test_old_figures_are_removed_and_other_files_kept(tmp_path):
    write_runs(tmp_path / "runs", {"vanilla": [1.0, 1.5], "mixup": [2.0, 2.5]})
    write_report(tmp_path / "runs", tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    for name in ("figures/mine.png", "figures/mine.svg", "tables/mine.csv"):
        (tmp_path / "out" / name).write_text("mine")
    assert (tmp_path / "out" / "figures" / "accuracy-differences.svg").exists()
    for name in ("mixup-0", "mixup-1"):
        (tmp_path / "runs" / name / "config.json").unlink()
    write_report(tmp_path / "runs", tmp_path / "out")
    assert not (tmp_path / "out" / "figures" / "accuracy-differences.svg").exists()
    assert (tmp_path / "out" / "notes.txt").exists()
    for name in ("figures/mine.png", "figures/mine.svg", "tables/mine.csv"):
        assert (tmp_path / "out" / name).read_text() == "mine"


@pytest.mark.usefixtures("blank_figures")
def test_an_edited_file_list_removes_no_other_files(tmp_path):
    write_runs(tmp_path / "runs", {"vanilla": [1.0, 1.5]})
    (tmp_path / "precious.txt").write_text("mine")
    write_report(tmp_path / "runs", tmp_path / "out")
    for content in ('["../precious.txt", "figures/../../precious.txt", 5]', "{", '"report.md"'):
        (tmp_path / "out" / ".report.json").write_text(content)
        write_report(tmp_path / "runs", tmp_path / "out")
        assert (tmp_path / "precious.txt").exists()


def test_a_blocking_file_is_reported_before_drawing(tmp_path):
    write_runs(tmp_path / "runs", {"vanilla": [1.0]})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tables").write_text("")
    with pytest.raises(RunError, match="tables: cannot write to this folder: it is a file"):
        write_report(tmp_path / "runs", tmp_path / "out")
    assert not list((tmp_path / "out").glob("**/*.svg"))


def test_the_page_names_no_folder_of_this_machine(tmp_path):
    write_runs(
        tmp_path / "one", {"vanilla": [1.0], "smix": [2.0]}, data=f"npz:{tmp_path}/birds.npz", masks=f"{tmp_path}/m"
    )
    write_runs(tmp_path / "two", {"vanilla": [1.0], "smix": [None]}, data=f"npz:{tmp_path}/birds.npz")
    written = write_report([tmp_path / "one", tmp_path / "two"], tmp_path / "out")
    assert any(str(tmp_path) in problem.why for problem in written.problems), "the terminal says it whole"
    for path in (tmp_path / "out").rglob("*"):
        if path.suffix in (".html", ".md", ".csv", ".tex", ".svg"):
            assert str(tmp_path) not in path.read_text(), path


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_an_output_path_that_is_no_folder_is_refused_before_drawing(tmp_path, out, monkeypatch):
    write_runs(tmp_path / "runs", {"vanilla": [1.0]})
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(write, "_chapter", lambda *_: pytest.fail("it was drawn"))
    with pytest.raises(RunError, match="cannot write to this folder"):
        write_report(tmp_path / "runs", tmp_path / out)


@pytest.mark.usefixtures("blank_figures")
def test_left_out_runs_are_named_on_the_page_and_in_the_markdown(tmp_path):
    write_runs(tmp_path / "runs", {"vanilla": [1.0, None], "mixup": [2.0, 2.5]})
    write_run(tmp_path / "runs", "cutmix", 0, 3.0, lr=0.05)
    written = write_report(tmp_path / "runs", tmp_path / "out")
    text, page = written.text.read_text(), written.page.read_text()
    assert "- cutmix-0: expected runs that differ only in method and seed" in text
    assert "- vanilla-1: expected a finished run" in text
    assert "| vanilla | " in text
    assert "| 1 of 2 |" in text
    for name in ("cutmix-0", "vanilla-1"):
        assert name in page


@pytest.mark.usefixtures("blank_figures")
def test_several_data_sets_have_an_overview(tmp_path):
    write_runs(tmp_path / "one", {"vanilla": [1.0, 1.5], "mixup": [2.0, 2.5]}, data="npz:birds.npz")
    write_runs(tmp_path / "two", {"vanilla": [3.0, 3.5], "smix": [2.0, None]}, data="npz:fish.npz")
    written = write_report([tmp_path / "one", tmp_path / "two"], tmp_path / "out")
    lines = (tmp_path / "out" / "tables" / "data-sets.csv").read_text().splitlines()
    assert lines[0] == 'Method,birds,"birds, std",fish,"fish, std"'
    assert [line.split(",")[0] for line in lines[1:]] == ["vanilla", "mixup", "smix"]
    text = written.text.read_text()
    assert "## birds" in text
    assert "## fish" in text
    assert re.search(r"\| smix \| - \| [\d.]+ \(1 of 2\) \|", text)
    assert {path.name.split("-")[0] for path in (tmp_path / "out" / "figures").iterdir()} == {"birds", "fish"}
    assert len(written.comparisons) == 2


@pytest.mark.usefixtures("blank_figures")
def test_a_sweep_s_cells_are_comparisons_named_by_their_folders(tmp_path):
    for cell in ("lr-0.1", "lr-0.05"):
        write_runs(tmp_path / "sweep" / cell, {"vanilla": [1.0], "mixup": [2.0]})
    written = write_report(tmp_path / "sweep", tmp_path / "out")
    head = (tmp_path / "out" / "tables" / "data-sets.csv").read_text().splitlines()[0]
    assert "digits-on-photos, lr-0.05" in head
    assert len(written.comparisons) == 2


@pytest.mark.usefixtures("blank_figures")
def test_comparisons_without_runs_are_named_and_refused_if_all(tmp_path):
    write_runs(tmp_path / "one", {"vanilla": [1.0]})
    write_runs(tmp_path / "two", {"vanilla": [None]})
    (tmp_path / "three").mkdir()
    written = write_report([tmp_path / "one", tmp_path / "two", tmp_path / "three"], tmp_path / "out")
    assert [problem.path.name for problem in written.problems if problem.path.parent == tmp_path][:2] == [
        "two",
        "three",
    ]
    with pytest.raises(RunError, match="got none that can be reported"):
        write_report([tmp_path / "two", tmp_path / "three"], tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_no_runs_and_one_run_are_refused(tmp_path):
    with pytest.raises(RunError, match="expected a folder of runs, got none"):
        write_report(tmp_path)
    run = write_run(tmp_path, "vanilla", 0)
    with pytest.raises(RunError, match="got one run; did you mean"):
        write_report(run)


@pytest.mark.usefixtures("blank_figures")
def test_one_seed_is_never_called_better_or_worse(tmp_path):
    write_runs(tmp_path / "runs", {"vanilla": [0.1], "mixup": [5.0]})
    text = write_report(tmp_path / "runs", tmp_path / "out").text.read_text()
    assert "not enough runs" in text
    assert not re.search(r"\bis (better|worse)\b|\| (better|worse) \|", text)
    assert "nan" not in re.sub(r"\bdistinguishable\b", "", text).lower().split()


def test_the_page_shows_no_nan(report):
    shown = re.sub(
        r"base64,[A-Za-z0-9+/=]+|<script>.*?</script>", "", (report / "report.html").read_text(), flags=re.DOTALL
    )
    assert not re.search(r"\b(nan|inf)\b", shown, re.IGNORECASE)
