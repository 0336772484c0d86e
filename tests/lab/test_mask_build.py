"""Test `smix masks build` from the command line: parts, jobs, exports, and invalid arguments."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smix import MaskStore, load_data
from tests.masks.stores import content


@pytest.fixture
def build_masks(smix, npz):
    """Return a function that builds the carried masks of `npz` and returns exit code, output and errors."""

    def run(out: Path, *words: object) -> tuple[int, str, str]:
        return smix("masks", "build", "--data", npz, "--source", "carried", "--out", out, "--quiet", *words)

    return run


@pytest.mark.usefixtures("in_this_process")
def test_parts_and_jobs_give_the_bytes_of_one_process(build_masks, tmp_path):
    assert build_masks(tmp_path / "one")[0] == 0
    code, printed, _ = build_masks(tmp_path / "parts", "--shard", "1/2")
    assert (code, "the store is complete once" in printed or "80 masks" in printed) == (0, True)
    code, printed, _ = build_masks(tmp_path / "parts", "--shard", "2/2")
    assert (code, "80 masks" in printed) == (0, True)
    code, printed, _ = build_masks(tmp_path / "jobs", "--jobs", "2")
    assert (code, "80 masks" in printed) == (0, True)
    assert content(tmp_path / "parts") == content(tmp_path / "one")
    assert content(tmp_path / "jobs") == content(tmp_path / "one")


@pytest.mark.slow
def test_exported_masks_are_read_back(build_masks, smix, npz, tmp_path):
    build_masks(tmp_path / "store")
    for format in ("png", "coco"):
        code, printed, _ = smix(
            "masks", "export", tmp_path / "store", "--out", tmp_path / format, "--format", format, "--quiet"
        )
        assert (code, "80 masks" in printed) == (0, True)
        words = [
            "--data",
            npz,
            "--source",
            f"masks:{tmp_path / format}",
            "--out",
            tmp_path / f"{format}-again",
            "--quiet",
        ]
        assert smix("masks", "build", *words)[0] == 0
        assert np.array_equal(MaskStore(tmp_path / f"{format}-again")[:], MaskStore(tmp_path / "store")[:])


@pytest.mark.slow
def test_broken_images_are_counted_and_named_and_stop_a_strict_build(smix, tmp_path):
    for number in range(8):
        for folder in ("images/train/a", "masks"):
            path = tmp_path / folder / f"{number}.{'jpg' if 'images' in folder else 'png'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            shape = (12, 10 + number, 3)[: 3 if "images" in folder else 2]
            Image.fromarray(np.full(shape, 255, np.uint8)).save(path)
    (tmp_path / "images/test").mkdir()
    (tmp_path / "masks/6.png").unlink()
    words = ["--data", f"folder:{tmp_path / 'images'}", "--source", f"masks:{tmp_path / 'masks'}", "--quiet"]
    code, printed, _ = smix("masks", "build", *words, "--out", tmp_path / "store")
    assert code == 0
    assert "1 image has no mask:" in printed
    assert "a/6: no mask" in printed
    assert MaskStore(tmp_path / "store").shape == (224, 224)
    code, _, err = smix("masks", "build", *words, "--strict", "--size", "16", "--out", tmp_path / "strict")
    assert (code, "train/a/6: no mask; repair the image or its mask" in err) == (2, True)
    code, printed, _ = smix("masks", "check", tmp_path / "store")
    assert (code, "a/6: no mask" in printed) == (0, True)


def test_damaged_shards_are_named_and_other_stores_are_still_checked(build_masks, smix, tmp_path):
    for name in ("a", "b", "c"):
        build_masks(tmp_path / name)
    shard = tmp_path / "a/shard-00000.npy"
    shard.write_bytes(shard.read_bytes()[:-1])
    code, printed, err = smix(
        "masks", "check", tmp_path / "a", tmp_path / "none", tmp_path / "b", tmp_path / "c", "--verify"
    )
    assert code == 2
    assert "a: damaged files: shard-00000.npy; repair the store with the same smix masks build" in err
    assert "none: expected a mask store" in err
    assert len(err.strip().splitlines()) == 1
    assert printed.count("all files match their checksums") == 2


def test_a_build_without_any_mask_fails(smix, npz, tmp_path):
    Image.fromarray(np.full((10, 14), 7, np.uint8)).save(tmp_path / "000000.png")
    words = [
        "--data",
        npz,
        "--source",
        f"masks:{tmp_path}",
        "--style",
        "binary",
        "--out",
        tmp_path / "store",
        "--quiet",
    ]
    code, _, err = smix("masks", "build", *words)
    assert code == 2
    assert "000000.png: style binary needs values 0 and 1" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shard", "3"], 'shard: expected I/N, such as 3/8, got "3"'),
        (["--shard", "3/2"], "shard: expected I/N with 1 <= I <= N, got 3/2"),
        (["--shard", "1/2", "--jobs", "2"], "omit --jobs and --engine"),
        (["--jobs", "0"], "jobs: expected 1 or more, got 0"),
        (["--hflip-tta"], "hflip-tta: the source carried has no such option; omit --hflip-tta"),
        (["--classes", "cat"], "classes: the source carried has no such option; omit --classes"),
        (["--upscale", "esrgan:x"], "upscale: the source carried has no such option"),
        (["--size", "0"], "size: expected 1 or more"),
        (["--score-threshold", "2"], "score_threshold: expected a score in [0, 1], got 2"),
    ],
)
def test_invalid_arguments_are_one_line_errors_and_leave_no_files(build_masks, tmp_path, words, message):
    code, _, err = build_masks(tmp_path / "store", *words)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "store").exists()


def test_an_error_of_every_job_is_reported_once_before_they_start(smix, npz, tmp_path):
    words = ["--data", npz, "--source", f"masks:{tmp_path}", "--jobs", "2", "--out", tmp_path / "store", "--quiet"]
    code, _, err = smix("masks", "build", *words)
    assert code == 2
    assert "has a mask here, such as 000000.png" in err
    assert not (tmp_path / "store-logs").exists()


def test_object_classes_from_the_command_line(smix, npz, tmp_path):
    data = load_data(npz)
    for row in range(len(data)):
        Image.fromarray(np.full(data.size, 1 + row % 2, np.uint8)).save(tmp_path / f"{row:06d}.png")
    (tmp_path / "classes.txt").write_text("nothing\nodd\neven\n")
    (tmp_path / "map.txt").write_text(json.dumps({name: ["odd"] for name in data.classes}))
    words = [
        "--data",
        npz,
        "--source",
        f"masks:{tmp_path}",
        "--style",
        "classes",
        "--object-classes",
        tmp_path / "map.txt",
    ]
    assert smix("masks", "build", *words, "--save-classes", "--out", tmp_path / "store", "--quiet")[0] == 0
    store = MaskStore(tmp_path / "store")
    assert store.coverage.tolist() == [float(row % 2 == 0) for row in range(80)]
    assert store.manifest.classes == ("odd", "even")
    assert store.classes(0).max() == 1
