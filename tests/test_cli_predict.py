"""Test `smix predict` end to end: tables and CSV for pictures, folders and standard input; one line for bad input."""

import csv
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smix import load_data, load_run
from smix.lab.predict import Prediction
from tests.lab.conftest import data_name, finished  # noqa: F401
from tests.lab.trained import CLASSES, train_run

OPTIONS = ["--device", "cpu", "--threads", "1"]


@pytest.fixture
def folder(tmp_path: Path, data_name: str) -> Path:  # noqa: F811
    """Write some test images into two folders, one in another format of the name, and a text file."""
    test = load_data(data_name, split="test")
    home = tmp_path / "pictures"
    for place in range(6):
        path = home / str(place % 2) / f"{place}.{'PNG' if place == 3 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(test.array[place]).save(path)
    (home / "notes.txt").write_text("none")
    return home


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)


def test_a_folder_is_predicted_as_csv(smix, finished, folder):  # noqa: F811
    code, out, err = smix("predict", finished, folder, "--top", "2", *OPTIONS)
    assert code == 0
    rows = table(out)
    assert list(rows[0]) == ["path", "label", "probability", "label_2", "probability_2", "error"]
    paths = [Path(row["path"]) for row in rows]
    assert [path.name for path in paths] == ["0.png", "2.png", "4.png", "1.png", "3.PNG", "5.png"]
    model = load_run(finished, device="cpu")
    for row, own in zip(rows, model.predict(paths), strict=True):
        first, second = np.argsort(-own, kind="stable")[:2]
        assert (row["label"], row["label_2"]) == (model.classes[first], model.classes[second])
        assert float(row["probability"]) == pytest.approx(own[first], abs=1e-5)
        assert float(row["probability_2"]) == pytest.approx(own[second], abs=1e-5)
        assert row["error"] == ""
    assert "6 images in " in err
    assert " per second" in err
    assert re.search(r"Probabilities: calibrated on \d+ validation images \(temperature ", err)


def test_all_classes_are_written_if_there_are_fewer_than_requested(smix, finished, folder):  # noqa: F811
    code, out, err = smix("predict", finished, folder / "0/0.png", "--top", "99", "--quiet", *OPTIONS)
    assert (code, err) == (0, "")
    assert len(table(out)[0]) == 2 + 2 * CLASSES
    shares = [float(value) for name, value in table(out)[0].items() if name.startswith("probability")]
    assert sum(shares) == pytest.approx(1, abs=1e-4)
    assert shares == sorted(shares, reverse=True)


def test_predictions_are_written_to_a_new_file(smix, finished, folder, tmp_path):  # noqa: F811
    out_file = tmp_path / "new" / "predictions.csv"
    code, out, _ = smix("predict", finished, folder, "--out", out_file, *OPTIONS)
    assert code == 0
    assert out == f"Written: {out_file}\n"
    before = out_file.read_text()
    assert len(table(before)) == 6
    assert [path.name for path in out_file.parent.iterdir()] == ["predictions.csv"]
    code, out, err = smix("predict", finished, folder, "--out", out_file, *OPTIONS)
    assert (code, out) == (2, "")
    assert err == f"smix: {out_file}: expected a new file, got one that exists; remove it, or choose another --out\n"
    assert out_file.read_text() == before


def test_paths_are_read_from_standard_input(smix, finished, folder, monkeypatch):  # noqa: F811
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{folder / '0/0.png'}\nmissing.png\n{folder / '1'}\n"))
    code, out, err = smix("predict", finished, "-", *OPTIONS)
    assert code == 0
    assert [Path(row["path"]).name for row in table(out)] == ["0.png", "missing.png", "1.png", "3.PNG", "5.png"]
    assert table(out)[1]["error"].startswith("missing.png: the image cannot be read (No such file")
    assert "smix: missing.png: the image cannot be read" in err


def test_a_name_that_is_not_utf_8_is_written_as_it_is(smix, finished, folder, tmp_path, monkeypatch):  # noqa: F811
    name = os.fsencode(folder) + b"/0/\xff.png"
    (folder / "0/0.png").rename(os.fsdecode(name))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(name), encoding="utf-8"))
    code, _, err = smix("predict", finished, "-", "--out", tmp_path / "rows.csv", *OPTIONS)
    assert code == 0, err
    assert (tmp_path / "rows.csv").read_bytes().splitlines()[1].startswith(name + b",")
    command = [sys.executable, "-m", "smix", "predict", str(finished), "-", *OPTIONS]
    done = subprocess.run(
        command, input=name, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "latin-1"}, check=True
    )
    assert done.stdout == (tmp_path / "rows.csv").read_bytes()


def test_unreadable_pictures_are_rows_with_a_reason(smix, finished, folder, tmp_path):  # noqa: F811
    (folder / "0/2.png").write_text("none")
    code, out, err = smix("predict", finished, folder, *OPTIONS)
    assert code == 0
    row = table(out)[1]
    assert row["error"].startswith(f"{folder / '0/2.png'}: the image cannot be read")
    assert {value for name, value in row.items() if name not in ("path", "error")} == {""}
    assert "6 images in " in err
    assert "; 1 could not be read" in err
    assert f"smix: {folder / '0/2.png'}: the image cannot be read" in err
    code, _, err = smix("predict", finished, folder, "--strict", "--out", tmp_path / "strict.csv", *OPTIONS)
    assert code == 2
    assert "0/2.png: the image cannot be read" in err
    part = tmp_path / "strict.csv.part"
    assert f"smix: the rows so far are in {part}\n" in err
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [part.name]
    assert [Path(row["path"]).name for row in table(part.read_text())] == ["0.png", "2.png"]
    assert "the image cannot be read" in table(part.read_text())[1]["error"]
    code, _, err = smix("predict", finished, folder, "--out", tmp_path / "strict.csv", *OPTIONS)
    assert code == 2
    assert err.startswith(f"smix: {part}: expected no file, got that of another command, running or interrupted; ")


def test_the_reasons_are_kept_if_no_picture_can_be_read(smix, finished, tmp_path):  # noqa: F811
    (tmp_path / "1.png").write_text("none")
    code, out, err = smix("predict", finished, tmp_path / "1.png", "--out", tmp_path / "rows.csv", *OPTIONS)
    assert code == 2
    assert "expected readable images, got 1 that cannot be read; the first: " in err
    assert out == f"Written: {tmp_path / 'rows.csv'}\n"
    assert "the image cannot be read" in table((tmp_path / "rows.csv").read_text())[0]["error"]


def test_bad_lines_and_folders_are_rows_among_others(smix, finished, folder, tmp_path, monkeypatch):  # noqa: F811
    scandir = os.scandir

    def refuse(path):
        if str(path) == str(folder / "1"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    long = "x" * 5000
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{long}\na\0b\n{folder}\n{folder / '1/1.png'}\n"))
    code, out, err = smix("predict", finished, "-", *OPTIONS)
    assert code == 0, err
    rows = table(out)
    assert [row["path"] for row in rows[:2]] == [long, "a\0b"]
    assert [Path(row["path"]).name for row in rows[2:]] == ["0.png", "2.png", "4.png", "1", "1.png"]
    assert [bool(row["error"]) for row in rows] == [True, True, False, False, False, True, False]
    assert "the image folder cannot be read (Permission denied)" in rows[5]["error"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_keeps_its_rows(smix, finished, folder, tmp_path, monkeypatch, number):  # noqa: F811
    def interrupted(*arguments: object):
        yield Prediction("0.png", (("cat", 1.0),))
        os.kill(os.getpid(), number)
        yield Prediction("1.png", (("cat", 1.0),))

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr("smix.lab.predict.predictions", interrupted)
    try:
        code, out, err = smix("predict", finished, folder, "--out", tmp_path / "rows.csv", *OPTIONS)
        assert (code, out) == (130, "")
        assert err.splitlines()[-1] == f"smix: interrupted; the rows so far are in {tmp_path / 'rows.csv.part'}"
        assert "0.png,cat,1" in (tmp_path / "rows.csv.part").read_text()
        assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["rows.csv.part"]
        code, out, err = smix("predict", finished, folder, *OPTIONS)
        assert code == 130
        assert "resume" not in err
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_file_that_was_made_meanwhile_is_not_replaced(smix, finished, folder, tmp_path, monkeypatch):  # noqa: F811
    out_file = tmp_path / "rows.csv"

    def slow(*arguments: object):
        yield Prediction("0.png", (("cat", 1.0),))
        out_file.write_text("mine")

    monkeypatch.setattr("smix.lab.predict.predictions", slow)
    code, _, err = smix("predict", finished, folder, "--out", out_file, *OPTIONS)
    assert code == 2
    assert f"{out_file}: expected a new file, got one that was made meanwhile; the content is in {out_file}.part" in err
    assert out_file.read_text() == "mine"
    assert "0.png,cat" in (tmp_path / "rows.csv.part").read_text()


def test_nothing_is_written_before_a_failure(smix, finished, folder, tmp_path):  # noqa: F811
    code, out, _ = smix("predict", finished, folder, "--batch-size", "0", *OPTIONS)
    assert (code, out) == (2, "")
    (tmp_path / "empty").mkdir()
    code, out, _ = smix("predict", finished, tmp_path / "empty", "--out", tmp_path / "rows.csv", *OPTIONS)
    assert (code, out) == (2, "")
    assert not list(tmp_path.glob("rows.csv*"))


def test_skipped_files_are_named_and_pictures_named_like_masks_are_not_skipped(smix, finished, tmp_path):  # noqa: F811
    for name in ("1.png", "1_mask.png"):
        Image.new("L", (36, 28)).save(tmp_path / name)
    for name in ("a.heic", "b.txt", ".c", "d.mov"):
        (tmp_path / name).touch()
    code, out, err = smix("predict", finished, tmp_path, *OPTIONS)
    assert code == 0
    assert [Path(row["path"]).name for row in table(out)] == ["1.png", "1_mask.png"]
    names = ", ".join(str(tmp_path / name) for name in (".c", "a.heic", "b.txt"))
    start = "Skipped: 4 (hidden, without the suffix of an image, or a link to a folder that contains it): "
    assert f"{start}{names}, ...\n" in err


def test_few_pictures_are_a_table_on_a_terminal(smix, finished, folder, monkeypatch):  # noqa: F811
    (folder / "0/2.png").write_text("none")
    on_terminal(monkeypatch)
    code, out, _ = smix("predict", finished, folder, "--top", "2", *OPTIONS)
    assert code == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", out)
    lines = [line.split() for line in text.splitlines()]
    assert ["Image", "Label", "Probability", "(%)", "Other", "classes", "(%)"] in lines
    model = load_run(finished, device="cpu")
    own = model.predict([folder / "1/1.png"])[0]
    assert f"{100 * own.max():.1f}" in text
    assert "the image cannot be read" in text
    monkeypatch.setattr(sys.modules["smix.cli.predict"], "SHOWN", 5)
    code, out, err = smix("predict", finished, folder, *OPTIONS)
    assert (code, out) == (2, "")
    assert err.startswith(
        "smix: out: more than 5 images are too many to print; write the predictions to a file with --out"
    )


def test_a_weights_file_needs_a_model_and_a_data_set(smix, finished, folder, data_name, tmp_path):  # noqa: F811
    weights = tmp_path / "model.safetensors"
    shutil.copy(finished / "weights.safetensors", weights)
    code, _, err = smix("predict", weights, folder, "--model", "resnet8", *OPTIONS)
    assert code == 2
    assert err.startswith(f"smix: {weights}: --data must be given with a weights file")
    code, out, err = smix("predict", weights, folder, "--model", "resnet8", "--data", data_name, "--quiet", *OPTIONS)
    assert code == 0
    assert err == "Probabilities: not calibrated: a weights file has no validation images\n"
    labels = [row["label"] for row in table(out)]
    model = load_run(finished, device="cpu")
    paths = [row["path"] for row in table(out)]
    assert labels == [model.classes[place] for place in model.predict(paths).argmax(1)]


@pytest.mark.slow
def test_a_run_on_data_kept_elsewhere_is_used_without_it(smix, tmp_path, data_name, folder):  # noqa: F811
    data = Path(shutil.copy(data_name.removeprefix("npz:"), tmp_path / "moved.npz"))
    run = train_run(tmp_path / "run", f"npz:{data}", epochs=1)
    data.unlink()
    code, out, _ = smix("predict", run, folder, *OPTIONS)
    assert code == 0
    assert len(table(out)) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["RUN"],
            'pictures: no images given; pass image files or folders, or "-" to read their paths from standard input',
        ),
        (["RUN", "nowhere"], "nowhere: there is no such image file or folder; check the path"),
        (["RUN", "-", "FOLDER"], 'pictures: expected either "-" or paths of images, got both; pass only one of them'),
        (["RUN", "EMPTY"], "EMPTY: expected images (.jpg, .jpeg, .png"),
        (["RUN", "-"], "standard input: expected images (.jpg, .jpeg, .png"),
        (["EMPTY", "FOLDER"], "EMPTY: expected a run or a weights file, got none"),
        (["RUN", "FOLDER", "--top", "0"], "top: expected 1 or more, got 0"),
        (["RUN", "FOLDER", "--batch-size", "0"], "batch_size: expected 1 or more, got 0"),
        (["RUN", "FOLDER", "--model", "resnet8"], "model: a run has its own model; omit --model"),
        (["RUN", "FOLDER", "--data", "cifar10"], "data: a run has its own data; omit --data"),
        (["RUN", "FOLDER", "--outt", "x.csv"], "Unknown option: --outt"),
    ],
)
def test_bad_input_is_one_line(smix, finished, folder, tmp_path, monkeypatch, words, message):  # noqa: F811
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    places = {"RUN": finished, "FOLDER": folder, "EMPTY": tmp_path / "empty"}
    places["EMPTY"].mkdir()
    code, _, err = smix("predict", *(places.get(word, word) for word in words), *OPTIONS)
    assert code == 2
    assert err.startswith(f"smix: {message.replace('EMPTY', str(places['EMPTY']))}")
    assert err.count("\n") == 1
