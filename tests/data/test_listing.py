"""Test the order and the choice of images in folders against torchvision's ImageFolder."""

import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from smix.data.listing import UnreadableFolder, list_images, walk_images
from smix.data.pictures import SUFFIXES


def test_the_suffixes_are_those_of_torchvision():
    assert sorted(SUFFIXES) == sorted(IMG_EXTENSIONS)


NAMES = st.text("aAbB01-_ .é", min_size=1, max_size=4).filter(
    lambda name: not name.startswith(".") and name.strip(". ") == name
)
SUFFIX = st.sampled_from([".jpg", ".JPG", ".Jpeg", ".ppm", ".bmp", ".pgm", ".tif", ".TIFF", ".webp", ".txt", ""])
FILES = st.tuples(st.lists(NAMES, min_size=1, max_size=3), NAMES, SUFFIX).map(
    lambda parts: "/".join([*(f"d{part}" for part in parts[0]), parts[1] + parts[2]])
)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.sets(FILES, min_size=1, max_size=12))
def test_the_order_is_that_of_image_folder(tmp_path_factory, files):
    from smix.data.folders import folders_in

    root = tmp_path_factory.mktemp("root")
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    expected = ImageFolder(str(root), allow_empty=True).samples
    assert folders_in(root) == sorted({file.partition("/")[0] for file in files})
    own = [f"{root}/{label}/{name}" for label in folders_in(root) for name in list_images(root / label).names]
    assert own == [path for path, _ in expected]


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_skipped_files_are_counted_and_the_first_ones_named(tmp_path):
    touch(tmp_path, "1.jpg", "notes.txt", "b.gif", "c.heic", "d/e.mov", ".DS_Store", ".thumbs/1.jpg", "d/2.jpg")
    Image.new("L", (4, 4)).save(tmp_path / "1.png")
    listing = list_images(tmp_path)
    assert listing.names == ("1.jpg", "d/2.jpg")
    assert listing.skipped.describe() == (
        "skipped: 2 hidden (.DS_Store, .thumbs), 4 with an unknown suffix (b.gif, c.heic, d/e.mov, ...), 1 masks next to images (1.png)"
    )
    assert listing.skipped.inside("cat").masks == ("cat/1.png",)
    assert list_images(tmp_path / "d" / "none").skipped.describe() == ""


def test_masks_in_colour_next_to_images_are_used_as_images_and_named(tmp_path):
    touch(tmp_path, "1.jpg", "2.jpg")
    for name, mode in (("1_mask", "RGB"), ("2_mask", "L"), ("3", "RGB")):
        Image.new(mode, (4, 4)).save(tmp_path / f"{name}.png")
    listing = list_images(tmp_path)
    assert listing.names == ("1.jpg", "1_mask.png", "2.jpg", "3.png")
    assert listing.skipped.describe() == (
        "skipped: 1 masks next to images (2_mask.png); 1 files that are called like masks of other images have colours and are used "
        "as images (1_mask.png); if they are masks, move them to a folder of masks or save them as grey"
    )
    assert listing.skipped.inside("cat").coloured == ("cat/1_mask.png",)


def test_links_are_followed_but_not_for_ever(tmp_path):
    touch(tmp_path, "cat/1.jpg", "elsewhere/2.jpg")
    (tmp_path / "cat/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "cat/up").symlink_to(tmp_path)
    (tmp_path / "cat/self").symlink_to(tmp_path / "cat")
    listing = list_images(tmp_path / "cat")
    assert listing.names == ("1.jpg", "more/2.jpg")
    assert listing.skipped.folders == ("self", "up")


def test_links_into_each_other_are_entered_once(tmp_path):
    touch(tmp_path, "a/1.jpg", "c/2.jpg")
    (tmp_path / "a/b").symlink_to("../c")
    (tmp_path / "c/d").symlink_to("../a")
    expected = ["a/1.jpg", "a/b/2.jpg", "c/2.jpg", "c/d/1.jpg"]
    assert sorted(list_images(tmp_path).names) == expected
    assert list_images(tmp_path).skipped.folders == ("a/b/d", "c/d/b")
    skipped: list[str] = []
    assert sorted(path.relative_to(tmp_path).as_posix() for path in walk_images(tmp_path, skipped.append)) == expected
    assert skipped == [str(tmp_path / "a/b/d"), str(tmp_path / "c/d/b")]


def test_a_folder_that_vanishes_is_named_in_its_place(tmp_path):
    touch(tmp_path, "1.jpg", "a/2.jpg", "b/3.jpg")
    walked = walk_images(tmp_path)
    assert next(walked) == tmp_path / "1.jpg"
    (tmp_path / "a/2.jpg").unlink()
    (tmp_path / "a").rmdir()
    rest = list(walked)
    assert rest == [UnreadableFolder(tmp_path / "a", "No such file or directory"), tmp_path / "b/3.jpg"]
    assert str(rest[0].error).startswith(f"{tmp_path / 'a'}: the image folder cannot be read (No such file")


def test_only_the_folder_itself_is_listed_if_asked(tmp_path):
    touch(tmp_path, "1.jpg", "cat/2.jpg")
    assert list_images(tmp_path, deep=False).names == ("1.jpg",)


def test_no_warning_of_pillow_is_shown(tmp_path):
    (tmp_path / "1.tif").write_bytes(b"II*\0\x08\0\0\0\xff\xff")
    (tmp_path / "1.png").write_bytes(b"II*\0\x08\0\0\0\xff\xff")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list_images(tmp_path).names == ("1.png", "1.tif")
