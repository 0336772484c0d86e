"""Test that a mask is found by the path of its image, and never another one."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smix.data.image_files import content_number
from smix.errors import MaskError
from smix.masks.keys import ImageKeys

STORED = ["train/cat/1.jpg", "train/cat/2.jpg", "train/dog/1.jpg", "test/cat/1.jpg", "test/dog/9.jpg"]


def keys(paths=STORED, sizes=None) -> ImageKeys:
    sizes = range(100, 100 + len(paths)) if sizes is None else sizes
    return ImageKeys(np.array(paths, object), np.array(list(sizes), np.int64))


@pytest.mark.parametrize(
    ("paths", "rows"),
    [
        (STORED, [0, 1, 2, 3, 4]),
        (["test/dog/9.jpg", "train/cat/2.jpg"], [4, 1]),
        (["/home/me/birds/train/dog/1.jpg", "/home/me/birds/test/cat/1.jpg"], [2, 3]),
        (["cat/1.jpg", "cat/2.jpg", "dog/1.jpg"], [0, 1, 2]),
        (["./train/cat/../cat/1.jpg", "train//dog/1.jpg"], [0, 2]),
        (["../birds/train/cat/1.jpg"], [0]),
        ([Path("train/cat/2.jpg")], [1]),
        (["9.jpg"], [4]),
        (["2.jpg", "9.jpg"], [1, 4]),
        (["train/cat/1.jpg", "train/cat/1.jpg"], [0, 0]),
        (["/a/train/cat/1.jpg", "/b/test/dog/9.jpg"], [0, 4]),
        ([], []),
    ],
)
def test_paths_are_matched_by_their_ends(paths, rows):
    assert keys().rows(paths).tolist() == rows


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["cat/1.jpg"], r"cat/1\.jpg is ambiguous: it matches train/cat/1\.jpg and test/cat/1\.jpg; pass longer paths"),
        (["1.jpg"], r"1\.jpg is ambiguous"),
        (["train/cat/3.jpg"], r"a mask for each of 1 images, got none for 1, such as train/cat/3\.jpg"),
        (
            ["train/cat/1.jpg", "x.jpg", "y.jpg"],
            r"each of 3 images, got none for 2, such as x\.jpg .*build masks of these",
        ),
        (["rain/cat/1.jpg"], r"got none for 1, such as rain/cat/1\.jpg"),
        (["11.jpg"], "got none"),
        (["train/cat/1.JPG"], "got none"),
        (
            ["/a/train/cat/1.jpg", "/b/train/cat/1.jpg"],
            r"one path for each image, got /a/.* and /b/.* for train/cat/1\.jpg",
        ),
        ([""], "got none"),
    ],
)
def test_a_path_that_is_missing_or_means_several_images_is_refused(paths, message):
    with pytest.raises(MaskError, match=message):
        keys().rows(paths)


def test_the_folder_of_all_paths_resolves_those_that_end_alike():
    """1.jpg lies in the root and in a folder: which one is meant is told by the other images."""
    stored = keys(["1.jpg", "2.jpg", "old/1.jpg", "old/3.jpg"])
    assert stored.rows(["/birds/1.jpg", "/birds/2.jpg"]).tolist() == [0, 1]
    assert stored.rows(["/birds/old/1.jpg", "/birds/old/3.jpg"]).tolist() == [2, 3]
    assert stored.rows(["/birds/1.jpg", "/birds/old/1.jpg"]).tolist() == [0, 2]
    with pytest.raises(
        MaskError, match=r"/birds/old/1\.jpg is ambiguous: it matches old/1\.jpg and 1\.jpg; pass longer paths"
    ):
        stored.rows(["/birds/old/1.jpg"])


def test_a_size_never_decides_between_images_of_one_name():
    stored = keys(["1.jpg", "old/1.jpg"], [10, 20])
    for size in (10, 20, 30):
        with pytest.raises(MaskError, match=r"/birds/old/1\.jpg is ambiguous: it matches old/1\.jpg and 1\.jpg"):
            stored.rows(["/birds/old/1.jpg"], [size])
    stored = keys(["train/1.jpg", "train/2.jpg", "test/1.jpg", "test/2.jpg"], [10, 11, 20, 21])
    for paths in (["1.jpg", "2.jpg"], ["1.jpg", "train/2.jpg"]):
        with pytest.raises(MaskError, match=r"1\.jpg is ambiguous: it matches train/1\.jpg and test/1\.jpg"):
            stored.rows(paths, [10, 21])


def test_a_file_of_another_size_is_refused():
    with pytest.raises(MaskError, match=r"got train/dog/1\.jpg with 7 bytes instead of 102; restore it, or build"):
        keys().rows(["train/cat/1.jpg", "train/dog/1.jpg"], [100, 7])
    with pytest.raises(MaskError, match=r"got /b/cat/9\.jpg with 7 bytes instead of 1; restore it"):
        keys(["train/1.jpg", "cat/9.jpg"], [1, 1]).rows(["/a/train/1.jpg", "/b/cat/9.jpg"], [1, 7])


def test_the_size_of_an_existing_file_is_read(tmp_path, monkeypatch):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/1.jpg").write_bytes(b"x" * 100)
    monkeypatch.chdir(tmp_path)
    for path in ("cat/1.jpg", tmp_path / "cat/1.jpg"):
        assert keys(["cat/1.jpg"]).rows([path]).tolist() == [0]
        with pytest.raises(MaskError, match="with 100 bytes instead of 99"):
            keys(["cat/1.jpg"], [99]).rows([path])


def test_the_root_of_a_data_set_tells_which_image_is_meant():
    stored = keys(["1.jpg", "old/1.jpg"], [5, 5])
    with pytest.raises(MaskError, match=r"it matches old/1\.jpg and 1\.jpg"):
        stored.rows(["/birds/old/1.jpg"], [5])
    assert stored.rows(["/birds/old/1.jpg"], [5], root="/birds").tolist() == [1]
    assert stored.rows(["/birds/old/1.jpg"], [5], root="/birds/old").tolist() == [0]
    assert stored.rows(["/old/1.jpg"], [5], root="/").tolist() == [1]


def test_the_folder_of_an_existing_file_is_never_added(tmp_path, monkeypatch):
    """Inside the folder test, cat/1.jpg is not the stored train/cat/1.jpg."""
    (tmp_path / "test/cat").mkdir(parents=True)
    (tmp_path / "test/cat/1.jpg").write_bytes(b"x" * 100)
    monkeypatch.chdir(tmp_path / "test")
    with pytest.raises(MaskError, match=r"got none for 1, such as /.*/test/cat/1\.jpg"):
        keys(["train/cat/1.jpg"]).rows(["cat/1.jpg"])
    assert keys(["train/cat/1.jpg", "test/cat/1.jpg"], [100, 100]).rows(["cat/1.jpg"]).tolist() == [1]
    assert keys(["train/cat/9.jpg"]).rows(["cat/9.jpg"]).tolist() == [0]


def test_the_content_of_at_most_64_files_is_compared(tmp_path, monkeypatch):
    files = [tmp_path / f"{number}.jpg" for number in range(200)]
    for file in files:
        file.write_bytes(file.name.encode())
    read = []
    monkeypatch.setattr("smix.masks.keys.content_number", lambda path: read.append(path) or content_number(path))
    stored, content = keys([file.name for file in files]), np.array([content_number(file) for file in files], np.uint64)
    stored.check_content(files, np.arange(200), content)
    assert (len(read), read[0], read[-1]) == (64, files[0], files[-1])
    with pytest.raises(MaskError, match=r"\(1\.jpg\), got other content in /.*/0\.jpg; restore it, or build masks"):
        stored.check_content(files, np.roll(np.arange(200), -1), content)
    stored.check_content(files, np.roll(np.arange(200), -1), np.zeros(200, np.uint64))  # not built: unknown
    stored.check_content([tmp_path / "none.jpg", files[1]], np.arange(2), content)


def test_the_file_of_keys_is_read_back():
    paths = ["a b/ü,;.jpg", "c/\u3042.png", "x"]
    again = ImageKeys.parse(keys(paths, [0, 1, 2**40]).to_bytes(), 3)
    assert again.paths.tolist() == paths
    assert again.sizes.tolist() == [0, 1, 2**40]


@pytest.mark.parametrize(
    "content",
    [b"", b"1\ta\n", b"1\ta\n2\ta\n", b"1\ta\nx\tb\n", b"1\ta\n2\tb\tc\n", b"1\ta\n\xff\tb\n", b"1\ta\n2\tb\x1b\n"],
)
def test_a_damaged_file_of_keys_is_refused(content):
    with pytest.raises(MaskError, match=r"images\.tsv: expected the sizes and different paths of 2 images"):
        ImageKeys.parse(content, 2)


COMPONENTS = st.sampled_from(["a", "b", "aa", "1.jpg", "2.jpg"])
PATHS = st.lists(COMPONENTS, min_size=1, max_size=4).map("/".join)


@pytest.mark.slow
@given(st.lists(PATHS, min_size=1, max_size=8, unique=True), st.lists(PATHS, min_size=1, max_size=4), st.booleans())
def test_a_row_is_only_returned_for_a_path_that_ends_like_it(stored, asked, absolute):
    paths = [f"/x/{path}" for path in asked] if absolute else asked

    def ends(first: str, second: str) -> bool:
        return first == second or first.endswith(f"/{second}")

    try:
        rows = keys(stored).rows(paths)
    except MaskError:
        return
    for path, row in zip(paths, rows.tolist(), strict=True):
        assert ends(path, stored[row]) or ends(stored[row], path)
    for (path, row), (other, second) in itertools.combinations(zip(paths, rows.tolist(), strict=True), 2):
        assert (row == second) == (path == other)


@pytest.mark.slow
@given(st.lists(PATHS, min_size=2, max_size=8, unique=True), st.sampled_from(["", "/data/", "x/y/"]))
def test_a_whole_data_set_below_any_folder_finds_its_rows_or_is_ambiguous(stored, start):
    told = ""
    try:
        rows = keys(stored).rows([start + path for path in stored]).tolist()
    except MaskError as error:
        told, rows = str(error), list(range(len(stored)))
    assert not told or re.search("which may be|one path for each", told)
    assert rows == list(range(len(stored)))


def test_many_images_are_found_quickly():
    paths = [f"class {number % 100}/{number}/image.jpg" for number in range(20_000)]
    rows = keys(paths).rows([f"/data/birds/{path}" for path in reversed(paths)])
    assert rows.tolist() == list(range(20_000))[::-1]
