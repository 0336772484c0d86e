"""Test mask stores of image files: rows by path in training, evaluation and report, whatever the split and the order."""

import json
import shutil
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torchvision.datasets import ImageFolder

from smix import load_data
from smix.data import MaskedFolder
from smix.errors import MaskError
from smix.masks import MaskStore, build_masks, load_source
from smix.masks.lookup import masks_of
from tests.masks.stores import content

SIZE = (12, 18)


def box(number: int) -> NDArray[np.uint8]:
    """Return a mask that only this number has."""
    mask = np.zeros(SIZE, np.uint8)
    mask[number % 8 : number % 8 + 4, number // 8 : number // 8 + 6] = 255
    return mask


def save(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def birds(tmp_path) -> Path:
    """Write pictures that show the box of their number, and masks of the same names in a folder of their own."""
    rng = np.random.default_rng(0)
    number = 0
    for split, count in (("train", 12), ("test", 5)):
        for label in ("owl", "wren"):
            for place in range(count):
                picture = rng.integers(0, 100, (*SIZE, 3)).astype(np.uint8)
                picture[box(number) > 0] = 250
                save(tmp_path / f"birds/{split}/{label}/{place}.png", picture)
                save(tmp_path / f"drawn/{split}/{label}/{place}.png", box(number))
                number += 1
    return tmp_path / "birds"


def build(birds: Path, split: str = "all", **options) -> MaskStore:
    data = load_data(f"folder:{birds}", split=split)
    out = options.pop("out", birds.parent / "store")
    store = build_masks(data, load_source(f"masks:{birds.parent / 'drawn'}"), out, "none", **options)
    assert store is not None
    return store


def check(data, masks) -> None:
    """Check that each mask is the box that its image shows."""
    bright = np.stack([image.min(-1) > 200 for image in data.images])
    assert np.array_equal(masks, bright)


def test_one_store_serves_both_splits_in_any_order(birds):
    store = build(birds)
    assert (len(store), store.manifest.data.split, store.has_paths) == (34, "all", True)
    lines = (store.path / "images.tsv").read_text().splitlines()
    size = (birds / "test/wren/4.png").stat().st_size
    assert len(lines) == 34
    assert f"{size}\ttest/wren/4.png" in lines
    for split in ("train", "test"):
        data = load_data(f"folder:{birds}", split=split)
        for part in (data, data.take(7), data.rows(np.arange(len(data))[::-1])):
            for each in (part, part.loaded()):
                check(part, masks_of(each, str(store.path)).masks[np.arange(len(part))])
    folder = ImageFolder(str(birds / "train"))
    rows = store.align(folder)
    check(load_data(f"folder:{birds}"), store[rows])
    assert np.array_equal(store.lookup([path for path, _ in folder.samples]), rows)


def test_files_that_are_added_later_do_not_move_masks(birds):
    store = build(birds)
    save(birds / "train/owl/0a.png", box(50)[..., None].repeat(3, 2))
    data = load_data(f"folder:{birds}", split="test")
    check(data, masks_of(data, str(store.path)).masks[np.arange(10)])
    with pytest.raises(MaskError, match=r"a mask for each of 25 images, got none for 1, such as /.*/train/owl/0a\.png"):
        masks_of(load_data(f"folder:{birds}"), str(store.path))


def test_the_folder_may_be_moved(birds):
    store = build(birds)
    moved = birds.rename(birds.parent / "elsewhere")
    data = load_data(f"folder:{moved}", split="test")
    check(data, masks_of(data, str(store.path)).masks[np.arange(10)])


def test_files_that_changed_places_are_refused(birds):
    """Two pictures are exchanged: their sizes tell it."""
    store = build(birds)
    first, second = birds / "train/owl/1.png", birds / "train/wren/1.png"
    second.write_bytes(second.read_bytes() + b"\0")
    store = build(birds, out=birds.parent / "again")
    first.rename(birds / "x.png")
    second.rename(first)
    (birds / "x.png").rename(second)
    with pytest.raises(MaskError, match=r"train/owl/1\.png with \d+ bytes instead of \d+; restore it"):
        masks_of(load_data(f"folder:{birds}"), str(store.path))


@pytest.fixture
def bitmaps(tmp_path) -> Path:
    """Write pictures whose names and sizes in bytes are the same in both splits, with a mask for each."""
    for number, split in enumerate(("train", "test")):
        for label in ("owl", "wren"):
            for place in range(3):
                value = 100 * number + 10 * place + (label == "owl")
                save(tmp_path / f"birds/{split}/{label}/{place}.bmp", np.full((*SIZE, 3), value, np.uint8))
                save(tmp_path / f"drawn/{split}/{label}/{place}.png", box(value % 40))
    return tmp_path / "birds"


OTHER = r"expected the image that the mask was built for \(.*\.bmp\), got other content in .*\.bmp; restore it"


def test_other_images_of_the_same_names_and_sizes_are_refused(bitmaps, monkeypatch):
    out, train, test = bitmaps.parent, bitmaps / "train", bitmaps / "test"
    source = load_source(f"masks:{out / 'drawn/train'}")
    flat = build_masks(load_data(f"folder:{train}", split="all"), source, out / "flat", "none")
    whole = build(bitmaps)
    half = build(bitmaps, "train", out=out / "half")
    assert flat.lookup([train / "owl/1.bmp"]).tolist() == [1]
    for find in (
        lambda: MaskedFolder(test, flat),
        lambda: flat.align(ImageFolder(str(test))),
        lambda: flat.align(load_data(f"folder:{test}", split="all")),
    ):
        with pytest.raises(MaskError, match=OTHER):
            find()
    shutil.copytree(test, out / "other/train")
    with pytest.raises(MaskError, match=OTHER):
        whole.align(load_data(f"folder:{out / 'other'}", split="all"))
    (out / "train").symlink_to(test)
    with pytest.raises(MaskError, match=OTHER):
        MaskedFolder(out / "train", whole)
    monkeypatch.chdir(test)
    with pytest.raises(MaskError, match=r"got none for 6, such as /.*/test/owl/0\.bmp"):
        MaskedFolder(".", half)
    assert MaskedFolder(".", whole).rows.tolist() == whole.align(load_data(f"folder:{bitmaps}", split="test")).tolist()


@pytest.mark.parametrize(
    ("paths", "got"),
    [
        ("birds/1.png", "str"),
        (Path("1.png"), "PosixPath"),
        (None, "NoneType"),
        ([None, "1.png"], "items of type NoneType"),
    ],
)
def test_what_is_no_sequence_of_paths_is_refused(birds, monkeypatch, paths, got):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # which would refuse other types first
    with pytest.raises(MaskError, match=rf"expected a sequence of paths, got {got}; pass \[path\] for one image"):
        build(birds, limit=2).lookup(paths)


def test_two_files_of_one_size_that_changed_places_are_refused(bitmaps):
    store = build(bitmaps)
    first, second = bitmaps / "train/owl/0.bmp", bitmaps / "train/owl/2.bmp"
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    with pytest.raises(MaskError, match=OTHER):
        masks_of(load_data(f"folder:{bitmaps}"), str(store.path))


def test_content_is_kept_when_a_store_is_extended(bitmaps):
    whole = content(build(bitmaps, out=bitmaps.parent / "whole").path)
    part = build(bitmaps, limit=5)
    assert np.array_equal(part.stats["content"] > 0, part.built)
    assert content(build(bitmaps).path) == whole


def test_a_csv_file_finds_the_masks_of_its_folder(birds):
    store = build(birds)
    table = ["path,label,split"]
    for split in ("test", "train"):  # in another order than that of the store
        table += [
            f"birds/{path.relative_to(birds)},bird,{split}" for path in sorted((birds / split).rglob("*.png"))[::-1]
        ]
    (birds.parent / "birds.csv").write_text("\n".join(table))
    for split in ("train", "test"):
        data = load_data(f"csv:{birds.parent / 'birds.csv'}", split=split)
        check(data, masks_of(data, str(store.path)).masks[np.arange(len(data))])


def test_masks_of_a_csv_file_are_carried(birds, smix):
    lines = ["path,label,split,mask"]
    for path in sorted(birds.rglob("*.png")):
        name = path.relative_to(birds)
        mask = "" if name.as_posix() == "train/owl/3.png" else f"drawn/{name}"
        lines.append(f"birds/{name},{path.parent.name},{name.parts[0]},{mask}")
    file, out = birds.parent / "birds.csv", birds.parent / "store"
    file.write_text("\n".join(lines))
    code, said, told = smix("masks", "build", "--data", f"csv:{file}", "--source", "carried", "--out", out)
    assert (code, told.count("Error")) == (0, 0)
    assert "1 image has no mask" in said
    store = MaskStore(out)
    assert store.manifest.source["name"] == "carried"
    data = load_data(f"csv:{file}", split="test")
    check(data, masks_of(data, str(out)).masks[np.arange(10)])
    assert not store[store.lookup(["train/owl/3.png"])].any()


def test_a_data_set_in_memory_does_not_fit_a_store_of_files(birds):
    store = build(birds)
    digits = load_data("digits-on-photos")
    with pytest.raises(MaskError, match=r"expected masks of digits-on-photos train .*got masks of another split"):
        masks_of(digits, str(store.path))
    with pytest.raises(MaskError, match=r"Rows: the data set does not list the paths of its images .*; use its rows"):
        store.align(type("Rows", (), {"__len__": lambda self: 34})())


def test_a_store_of_arrays_has_no_paths(tmp_path):
    data = load_data("digits-on-photos")
    store = build_masks(data, load_source("carried"), tmp_path / "store", limit=20)
    for find in (store.lookup, store.align):
        with pytest.raises(
            MaskError, match=r"built for images in memory \(digits-on-photos\), which have no paths; use the rows"
        ):
            find(["1.png"])
    assert not (tmp_path / "store/images.tsv").exists()
    assert store.align(data.take(5)).tolist() == data.take(5).index.tolist()


@pytest.mark.parametrize("damage", ["missing", "changed", "link"])
def test_damaged_paths_are_refused_and_repaired_by_the_same_build(birds, damage):
    store = build(birds)
    before, file = content(store.path), store.path / "images.tsv"
    if damage == "missing":
        file.unlink()
    elif damage == "changed":
        file.write_bytes(file.read_bytes().replace(b"train/owl/1.png", b"train/owl/2.png", 1))
    else:
        file.rename(birds.parent / "elsewhere")
        file.symlink_to(birds.parent / "elsewhere")
    again = MaskStore(store.path)
    with pytest.raises(MaskError, match=r"images\.tsv .*; repair the store with the same smix masks build"):
        again.lookup(["train/owl/1.png"])
    with pytest.raises(MaskError, match=r"images\.tsv"):
        again.verify()
    build(birds)
    assert content(store.path) == before
    MaskStore(store.path).verify()


def test_an_interrupted_build_ends_with_the_same_files(birds, small_shards):
    whole = content(build(birds, out=birds.parent / "whole").path)
    for part in (2, 1, 3):
        data = load_data(f"folder:{birds}", split="all")
        build_masks(
            data, load_source(f"masks:{birds.parent / 'drawn'}"), birds.parent / "parts", "none", part=(part, 3)
        )
    assert content(birds.parent / "parts") == whole


def test_a_store_of_the_previous_format_is_refused(birds):
    store = build(birds)
    values = json.loads((store.path / "manifest.json").read_text())
    (store.path / "manifest.json").write_text(json.dumps({**values, "format": 3}))
    with pytest.raises(MaskError, match=r"format 3 instead of 4"):
        MaskStore(store.path)


def test_a_limit_covers_all_splits(birds):
    store = build(birds, limit=10)
    data = load_data(f"folder:{birds}")
    with pytest.raises(MaskError, match=r"only \d+ of 24 images of folder:.* train have masks \(10 are built\)"):
        masks_of(data, str(store.path))


def test_masks_without_the_folder_of_the_split_are_found_if_no_other_split_has_the_name(birds):
    drawn = birds.parent / "drawn"
    shutil.copytree(drawn / "train", drawn, dirs_exist_ok=True)
    shutil.rmtree(drawn / "train")
    shutil.rmtree(drawn / "test")
    store = build(birds)
    usable = store.usable
    paths = load_data(f"folder:{birds}", split="all").files.paths.tolist()
    both = {f"{label}/{place}.png" for label in ("owl", "wren") for place in range(5)}
    assert [path for path, valid in zip(paths, usable, strict=True) if not valid] == [
        path for path in paths if path.partition("/")[2] in both
    ]
    data = load_data(f"folder:{birds}")
    masks = store[store.align(data)]
    assert all(
        (not mask.any()) or np.array_equal(mask, image.min(-1) > 200)
        for mask, image in zip(masks, data.images, strict=True)
    )


def test_exported_masks_of_all_splits_are_read_back(birds, smix):
    store = build(birds)
    out = birds.parent / "exported"
    assert smix("masks", "export", store.path, "--out", out, "--quiet")[0] == 0
    assert (out / "test/wren/4.png").is_file()
    again = build_masks(
        load_data(f"folder:{birds}", split="all"), load_source(f"masks:{out}"), birds.parent / "again", "none"
    )
    assert np.array_equal(again[:], store[:])
    for inside in ("train/masks", "test", "val"):
        code, _, told = smix("masks", "export", store.path, "--out", birds / inside, "--quiet")
        assert code == 2
        assert "the folder lies inside the folder of the images" in told


@pytest.mark.slow
def test_check_train_evaluate_and_report_with_one_store(birds, smix):
    where = birds.parent
    words = [
        "masks",
        "build",
        "--data",
        f"folder:{birds}",
        "--source",
        f"masks:{where / 'drawn'}",
        "--out",
        where / "store",
    ]
    code, said, _ = smix(*words)
    assert code == 0
    assert "34 masks of" in said
    code, said, _ = smix("masks", "check", where / "store")
    assert code == 0
    run = [
        "--data",
        f"folder:{birds}",
        "--masks",
        where / "store",
        "--model",
        "resnet8",
        "--epochs",
        1,
        "--device",
        "cpu",
        "--quiet",
    ]
    code, _, told = smix("train", *run, "--method", "smix", "--out", where / "runs" / "smix-0")
    assert (code, told) == (0, "")
    code, _, told = smix(
        "evaluate", where / "runs" / "smix-0", "--masks", where / "store", "--device", "cpu", "--quiet"
    )
    assert (code, told) == (0, "")
    code, said, told = smix("report", where / "runs", "--out", where / "report")
    assert (code, "left out" in told) == (0, False)


@pytest.mark.slow
def test_a_drawn_split_is_kept_in_the_run_folder(birds, smix, tmp_path):
    shutil.rmtree(birds / "test")
    out = tmp_path / "run"
    words = [
        "train",
        "--data",
        f"folder:{birds}",
        "--method",
        "mixup",
        "--model",
        "resnet8",
        "--epochs",
        1,
        "--device",
        "cpu",
    ]
    code, _, told = smix(*words, "--out", out)
    assert code == 0
    assert "has no test images:" in told
    kept = load_data(f"csv:{out / 'split.csv'}", split="test")
    assert kept.files.paths.tolist() == [
        path.removeprefix("train/") for path in load_data(f"folder:{birds}", split="test").files.paths
    ]
    assert kept.classes == ("owl", "wren")


@pytest.mark.slow
def test_validation_images_of_the_data_set_are_used(birds, smix, tmp_path):
    (birds / "test").rename(birds / "val")
    shutil.copytree(birds / "val", birds / "test")
    words = [
        "train",
        "--data",
        f"folder:{birds}",
        "--method",
        "vanilla",
        "--model",
        "resnet8",
        "--epochs",
        1,
        "--device",
        "cpu",
    ]
    code, said, _ = smix(*words, "--val-fraction", 0, "--out", tmp_path / "run", "--quiet")
    assert code == 0
    assert "validation accuracy" in said
    provenance = json.loads((tmp_path / "run/config.json").read_text())
    assert provenance["data"]["images"] == {"training": 24, "validation": 10, "test": 10}
    assert provenance["data"]["validated_on"] == "validation images"
    assert (tmp_path / "run/validation.npz").is_file()


@pytest.mark.parametrize("methods", ["smix,mixup", "cutmix"])
def test_mix_takes_pictures_of_different_sizes(birds, smix, methods):
    store = build(birds)
    save(birds / "train/owl/2.png", np.zeros((30, 20, 3), np.uint8))
    save(birds.parent / "drawn/train/owl/2.png", np.full((30, 20), 255, np.uint8))
    store = build(birds, out=birds.parent / "other")
    out = birds.parent / "mix.png"
    code, _, told = smix(
        "mix", "--data", f"folder:{birds}", "--masks", store.path, "--methods", methods, "--count", 4, "--out", out
    )
    assert (code, told) == (0, "")
    assert out.is_file()


class Listed:
    """A data set that lists paths relative to its root, as data sets of one's own often do."""

    def __init__(self, root: Path, paths: list[str]) -> None:
        self.root, self.paths = root, paths

    def __len__(self) -> int:
        return len(self.paths)


@pytest.mark.parametrize("inside", [False, True])
def test_relative_paths_are_those_in_the_root_of_the_data_set_or_refused(birds, monkeypatch, inside):
    """owl/0.png exists in train and in test: its mask depends on the folder that the data set reads from."""
    store = build(birds)
    test = Listed(birds / "test", [f"owl/{place}.png" for place in range(5)])
    if inside:
        monkeypatch.chdir(birds / "train")
        with pytest.raises(
            MaskError,
            match=r"expected paths of existing files, got owl/0\.png \(.*/test/owl/0\.png and .*/train/owl/0\.png\)",
        ):
            store.align(test)
    else:
        assert store.align(test).tolist() == store.lookup([birds / "test" / path for path in test.paths]).tolist()
    with pytest.raises(MaskError, match=r"got none\.png \(no such file\); list full paths"):
        store.align(Listed(birds / "test", ["none.png"]))


def test_a_store_of_a_split_refuses_the_paths_of_another_split(birds):
    store = build(birds, "train")
    with pytest.raises(MaskError):
        store.align(Listed(birds / "test", [f"owl/{place}.png" for place in range(5)]))


def test_images_of_the_same_names_and_sizes_have_another_fingerprint(tmp_path):
    for folder, value in (("a", 0), ("b", 255)):
        for split in ("train", "test"):
            for label in ("owl", "wren"):
                for place in range(3):
                    save(tmp_path / f"{folder}/{split}/{label}/{place}.bmp", np.full((*SIZE, 3), value, np.uint8))
    first, second = (load_data(f"folder:{tmp_path / folder}", split="test") for folder in ("a", "b"))
    assert first.files.sizes.tolist() == second.files.sizes.tolist()
    assert first.fingerprint != second.fingerprint
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    assert load_data(f"folder:{tmp_path / 'copy'}", split="test").fingerprint == first.fingerprint
