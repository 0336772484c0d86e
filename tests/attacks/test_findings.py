"""Test further findings of security tests: folders that are links, endless work, external programs."""

import base64
import io
import json
import math
import os
import shutil
import sys
import time
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from smix import EvaluateConfig, evaluate, files, train
from smix.arrays import check_stored
from smix.config import MachineOptions, RunOptions, SharedConfig
from smix.data import load_data
from smix.data.pictures import MAX_PIXELS, decode
from smix.errors import DataError, MaskError, RunError, SmixError, printable
from smix.evaluation.records import Evaluation, read_evaluation, write_evaluation
from smix.lab.run_all import run_all
from smix.lab.sweep import cross
from smix.masks import build_masks, load_source
from smix.masks.export import export
from smix.masks.sources.labelme import read_shapes
from smix.mixing import parse_method
from smix.report.table import Cell, Table, csv_text, latex
from smix.training.checkpoint import load_checkpoint
from smix.training.records import read_run
from smix.untrusted import UnreadableError, open_file, to_record, with_checksum
from tests.attacks.formats import CONFIG, learner, tiny_imagenet
from tests.conftest import make_set
from tests.masks.stores import content
from tests.report.runs import write_run, write_runs
from tests.sealed import edit
from tests.training.small import OPTIONS, small_config, write_data

QUIET = MachineOptions(device="cpu", quiet=True)


# Links


@pytest.fixture
def victim(tmp_path) -> Path:
    (tmp_path / "victim" / ".mine.tmp").mkdir(parents=True)
    (tmp_path / "victim" / "report.md").write_text("precious")
    (tmp_path / "victim" / ".note.tmp").write_text("precious")
    return tmp_path / "victim"


@pytest.mark.usefixtures("blank_figures")
def test_a_report_is_not_written_through_a_link_in_the_folder_of_runs(smix, tmp_path, victim):
    write_runs(tmp_path / "runs", {"vanilla": [1.0, 1.2]})
    (tmp_path / "runs" / "report").symlink_to(victim)
    before = content(victim)
    code, _, err = smix("report", tmp_path / "runs", "--quiet")
    assert (code, err.count("\n")) == (2, 1)
    assert "report: expected a folder, got a symbolic link" in err
    assert content(victim) == before


@pytest.mark.slow
def test_evaluations_and_event_files_are_not_written_through_a_link_in_the_run(tmp_path, victim):
    data, before = write_data(tmp_path), content(victim)
    train(small_config(data, epochs=1), tmp_path / "run", OPTIONS)
    (tmp_path / "run" / "evaluation").symlink_to(victim)
    with pytest.raises(RunError, match="evaluation: expected a folder, got a symbolic link"):
        evaluate(tmp_path / "run", EvaluateConfig(), QUIET)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "tensorboard").symlink_to(victim)
    with pytest.raises(RunError, match="tensorboard: expected a folder, got a symbolic link"):
        train(small_config(data, epochs=1), tmp_path / "new", replace(OPTIONS, track="tensorboard"))
    assert content(victim) == before


@pytest.mark.parametrize("place", ["vanilla-0", "lr-0.1"])
def test_a_run_of_a_sweep_is_not_trained_through_a_link(tmp_path, npz, victim, place):
    grid = {"lr": [0.1]} if place.startswith("lr") else None
    sweep = cross(SharedConfig(data=npz, model="resnet8", epochs=1), ["vanilla"], [0], grid)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / place).symlink_to(victim)
    before = content(victim)
    with pytest.raises(RunError, match="expected a folder, got a symbolic link"):
        run_all(sweep, tmp_path / "out", RunOptions(device="cpu", quiet=True))
    assert content(victim) == before


def test_masks_are_not_exported_through_links(tmp_path, victim):
    data, out = make_set(3), tmp_path / "out"
    store = build_masks(data, load_source("carried"), tmp_path / "store")
    before = content(victim)
    out.mkdir()
    for name in (".000000.png.tmp", "000001.png"):
        (out / name).symlink_to(victim / "report.md")
    assert export(store, data, out) == 3
    assert content(victim) == before


def test_names_of_images_do_not_leave_the_data_set(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "private.png")
    annotations = tiny_imagenet(tmp_path / "ti")
    annotations.write_text(annotations.read_text() + "../../../../private.png\tn01\t0\t0\t7\t7\n")
    with pytest.raises(DataError, match=r"private\.png in val_annotations\.txt instead of a file name"):
        load_data("tiny-imagenet", tmp_path / "ti", "test")


# Programs, pipes and connections


def eps() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "eps")
    return buffer.getvalue()


def test_no_program_is_started_for_an_image(tmp_path, monkeypatch):
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/PWN\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ.get('PATH', os.defpath)}")
    (tmp_path / "a.png").write_bytes(eps())
    with pytest.raises(DataError, match="the image cannot be read"):
        decode(tmp_path / "a.png")
    shape = {"label": "a", "shape_type": "mask", "points": [[0, 0], [3, 3]], "mask": base64.b64encode(eps()).decode()}
    (tmp_path / "a.json").write_text(json.dumps({"imageHeight": 8, "imageWidth": 8, "shapes": [shape]}))
    with pytest.raises(MaskError, match="expected a labelme file"):
        read_shapes(tmp_path / "a.json", None)
    assert not (tmp_path / "PWN").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_recording_that_is_a_pipe_does_not_block(tmp_path):
    home = tmp_path / "speech_commands_v0.02"
    for word in ("no", "yes"):
        (home / word).mkdir(parents=True)
        os.mkfifo(home / word / "a_nohash_0.wav")
    (home / "testing_list.txt").write_text("yes/a_nohash_0.wav\n")
    with pytest.raises(DataError, match="a pipe, socket or device"):
        load_data("speech-commands", tmp_path)


@pytest.mark.usefixtures("blank_figures")
@pytest.mark.parametrize("data", ["hf:somebody/something", "cifar10"])
def test_a_report_does_not_download_the_data_of_a_run(smix, tmp_path, monkeypatch, data):
    write_runs(tmp_path / "runs", {"smix": [1.0, 1.2]}, data=data)
    monkeypatch.setattr("socket.socket.connect", lambda *a: pytest.fail("a connection"))
    assert smix("report", tmp_path / "runs", "--data-root", tmp_path / "data", "--quiet")[0] == 0
    assert not (tmp_path / "data").exists()


# Endless work


def test_a_checkpoint_that_refers_to_itself_is_refused(tmp_path):
    values: list[object] = [0]
    for _ in range(30):
        values = [values] * 10
    torch.save({"sha256": "", "config": {}, "x": values}, tmp_path / "deep.pt")
    torch.save({"sha256": "", "config": {}, "x": torch.zeros(1).expand(10**11)}, tmp_path / "wide.pt")
    began = time.process_time()
    for name, message in (
        ("deep.pt", "more than 1,000,000 values"),
        ("wide.pt", "a tensor that is larger than its memory"),
    ):
        with pytest.raises(RunError, match=message):
            load_checkpoint(tmp_path / name, learner(), CONFIG)
    assert time.process_time() - began < 10


def test_compressed_weights_are_refused_before_they_fill_the_memory(tmp_path):
    torch.save({"weight": torch.zeros(100)}, tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as archive,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as other,
    ):
        for member in archive.infolist():
            other.writestr(member.filename, archive.read(member))
    with open_file(tmp_path / "a.pt") as file:
        check_stored(file)
    with open_file(tmp_path / "b.pt") as file, pytest.raises(UnreadableError, match="a compressed archive"):
        check_stored(file)


def test_an_image_of_too_many_pixels_is_refused_by_its_header(tmp_path):
    side = math.isqrt(MAX_PIXELS) + 1
    header = f"P5 {side} {side} 255\n".encode()
    (tmp_path / "a.ppm").write_bytes(header)
    with pytest.raises(DataError, match="more than 134,217,728 pixels"):
        decode(tmp_path / "a.ppm")


def test_deeply_nested_values_are_read_or_refused_in_one_line(tmp_path):
    deep: object = 1
    for _ in range(600):
        deep = {"a": deep}
    evaluation = Evaluation("a", "b", 1, "c", {"accuracy": 0.5})
    write_evaluation(tmp_path / "test.json", evaluation)
    edit(tmp_path / "test.json", provenance=deep)
    # The depth that Python can read depends on its version.
    with suppress(RunError):
        assert read_evaluation(tmp_path / "test.json").data == "a"


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("result.json", {"images_seen": 10**400}),
        ("result.json", {"seconds": 1.7e308}),
        ("result.json", {"epochs": 2**70}),
        ("config.json", {"threads": 10**400}),
        ("config.json", {"threads": 2_000_000}),
        ("config.json", {"normalisation": {"mean": [0.5] * 3, "std": [0.25]}}),
    ],
    ids=str,
)
def test_unusable_numbers_are_refused(tmp_path, file, changes):
    run = write_run(tmp_path, "vanilla", 0)
    edit(run / file, **changes)
    with pytest.raises(RunError, match="expected"):
        read_run(run)


@pytest.mark.parametrize(
    "data",
    [{"size": [60000, 60000]}, {"classes": ["a"] * 30_000}, {"classes": ["x" * 3000]}, {"classes": ["b\n"]}],
    ids=lambda data: next(iter(data)),
)
def test_sizes_and_names_that_cannot_be_drawn_are_refused(tmp_path, data):
    run = write_run(tmp_path, "vanilla", 0)
    edit(run / "config.json", data={**json.loads((run / "config.json").read_text())["data"], **data})
    with pytest.raises(RunError, match=r"config\.json: expected a run file"):
        read_run(run)


# Values


@pytest.mark.parametrize("values", [(-1.7e308, 1.7e308), (0.0, 5e-324)])
def test_a_range_that_floats_cannot_divide_is_refused(tmp_path, values):
    x, y = np.resize(np.array(values), (8, 4, 4, 3)), np.arange(8) % 2
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    with pytest.raises(DataError, match=r"the range of values, .*, is too small or too large"):
        load_data(f"npz:{tmp_path / 'a.npz'}")


def test_masks_of_records_are_refused(tmp_path):
    x, y = np.zeros((8, 4, 4, 3), np.uint8), np.arange(8) % 2
    np.savez(
        tmp_path / "a.npz", x_train=x, y_train=y, x_test=x, y_test=y, mask_train=np.zeros((8, 4, 4), [("a", "u1")])
    )
    with pytest.raises(DataError, match="mask_train: expected numbers"):
        load_data(f"npz:{tmp_path / 'a.npz'}")


# Terminals, spreadsheets and LaTeX


@pytest.mark.skipif(sys.platform != "linux", reason="file names of this system are Unicode")
def test_odd_names_of_run_folders_are_not_printed(smix, tmp_path):
    write_runs(tmp_path / "runs", {"vanilla": [1.0, 1.2]})
    shutil.copytree(tmp_path / "runs" / "vanilla-0", tmp_path / "runs" / "\x1b[31mred\x07")
    _, out, err = smix("report", tmp_path / "runs", "--out", tmp_path / "report", "--quiet")
    assert not {"\x1b", "\x07"} & set(out + err)
    assert printable("\x1b[31mred\x07") in err


def test_table_cells_are_neither_formulas_nor_arguments():
    table = Table("t", "title", ("=1+1]", "@sum"), ((Cell("[x]y"), Cell("*star")),))
    assert csv_text(table).splitlines()[0] == "'=1+1],'@sum"
    text = latex(table)
    assert "{[}x{]}y & {*}star" in text


def test_records_contain_only_valid_text_and_objects():
    assert json.loads(with_checksum({"a": 1}))["a"] == 1
    with pytest.raises(SmixError, match="not text in UTF-8"):
        with_checksum({"a": "\ud800"})
    with pytest.raises(UnreadableError, match="expected object"):
        to_record([], Evaluation)


def test_links_above_the_named_folder_are_followed(tmp_path):
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "mine").symlink_to(tmp_path / "real")
    files.check_no_link(tmp_path / "mine", tmp_path / "mine" / "inner")


# Batches


@pytest.mark.parametrize("size", [(8,), (8, 8), (4, 5, 6)], ids=str)
@pytest.mark.parametrize(
    "text",
    [
        *(
            "vanilla",
            "mixup",
            "stochasticmixup",
            "cutout",
            "cutmix",
            "resizemix",
            "hmix",
            "gmix",
            "gridmix",
            "saliencymix",
            "fmix",
        ),
        *(
            "smix",
            "smix(labels=visible)",
            "smix(feather=1.5)",
            "objectpaste",
            "objectpaste(overlap=avoid)",
            "smix+fmix",
            "mixup|cutmix",
        ),
    ],
)
def test_empty_batches_are_accepted(text, size):
    method = parse_method(text)
    masks = torch.zeros(0, *size, dtype=torch.bool) if method.needs_masks else None
    for labels in (torch.zeros(0, dtype=torch.long), torch.zeros(0, 5)):
        mixed, target = method(torch.zeros(0, 3, *size), labels, masks=masks)
        assert mixed.shape == (0, 3, *size)
        assert len(target.share) == 0


def test_a_grid_of_more_cells_than_pixels_has_one_cell_per_pixel():
    x = torch.stack((torch.zeros(3, 6, 5), torch.ones(3, 6, 5)))
    mixed, target = parse_method("gridmix(cells=1000000000)")(
        x, torch.arange(2), generator=torch.Generator().manual_seed(0)
    )
    assert mixed.shape == x.shape
    assert set(mixed.unique().tolist()) <= {0.0, 1.0}
    assert ((target.share >= 0) & (target.share <= 1)).all()
