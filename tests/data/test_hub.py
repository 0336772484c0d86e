"""Test hf:DIR on small data sets that are saved on disk, and on a folder of images; nothing is downloaded."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from smix import build_masks, load_data
from smix.data import hub, pictures
from smix.errors import DataError
from smix.masks import load_source

datasets = pytest.importorskip("datasets")
X = np.random.default_rng(0).integers(0, 256, (6, 5, 7, 3)).astype(np.uint8)
CLASSES = ["frog", "ship", "owl"]


def png(pixels: NDArray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def table(images: list[bytes | None], labels: list[int | None], **more: object):
    features = {
        "picture": datasets.Image(),
        "kind": datasets.ClassLabel(names=CLASSES),
        "number": datasets.Value("int64"),
    }
    columns = {
        "picture": [None if content is None else {"bytes": content, "path": None} for content in images],
        "kind": labels,
        "number": list(range(len(images))),
    }
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def save(path: Path, **splits: object) -> str:
    datasets.DatasetDict(splits).save_to_disk(path)
    return f"hf:{path}"


@pytest.fixture
def name(tmp_path) -> str:
    images = [*map(png, X)]
    return save(tmp_path / "set", train=table(images[:4], [2, 0, 1, 0]), validation=table(images[4:], [1, 2]))


def test_columns_of_a_saved_set_are_found_by_their_types(name, tmp_path):
    train, test = load_data(name), load_data(name, split="test")
    assert train.classes == test.classes == tuple(CLASSES)
    assert (train.labels.tolist(), test.labels.tolist()) == ([2, 0, 1, 0], [1, 2])
    assert (train.size, train.channels, len(train)) == ((5, 7), 3, 4)
    assert np.array_equal(train.loaded().array, X[:4])
    assert np.array_equal(test.loaded().array, X[4:])
    assert [train.stem(place) for place in range(4)] == ["000000", "000001", "000002", "000003"]


def test_test_is_preferred_to_validation(tmp_path):
    one, other = table([png(X[0])], [0]), table([png(X[1])], [1])
    name = save(tmp_path / "set", train=one, validation=one, test=other)
    assert np.array_equal(load_data(name, split="test").images[0], X[1])


def test_images_are_decoded_on_access_and_subsets_stay_lazy(name, monkeypatch):
    decoded = []
    monkeypatch.setattr(hub, "decode", lambda *args: decoded.append(args[0].name) or pictures.decode(*args))
    part = load_data(name).rows(np.array([3, 1, 2])).rows(np.array([2, 0]))
    assert decoded == []
    assert np.array_equal(part.images[0], X[2])
    assert np.array_equal(part.images[1], X[3])
    assert part.index.tolist() == [2, 3]
    assert decoded == ["000002", "000003"]
    held, broken = part.images.read()
    assert broken == {}
    assert np.array_equal(held[1], X[3])


def test_grey_and_transparent_images_become_rgb_and_sizes_may_differ(tmp_path):
    grey, clear = X[0, ..., 0], np.concatenate([X[1], X[1, ..., :1]], -1)
    split = table([png(grey), png(clear), png(X[2, :3])], [0, 1, 2])
    data = load_data(save(tmp_path / "set", train=split, test=split))
    assert data.size is None
    assert np.array_equal(data.images[0], X[0, ..., :1].repeat(3, -1))
    assert np.array_equal(data.images[1], X[1])
    with pytest.raises(DataError, match=r"expected images of one size, got 7x5 and 7x3 \(000002\)"):
        data.loaded()


def test_the_fingerprint_depends_on_encoded_images_and_labels_but_not_on_the_path(name, tmp_path):
    before = load_data(name).fingerprint
    shutil.copytree(tmp_path / "set", tmp_path / "copy")
    assert load_data(f"hf:{tmp_path / 'copy'}").fingerprint == before
    images = [*map(png, X[:4])]
    relabelled = table(images, [2, 0, 1, 1])
    longer = table([png(np.pad(X[0], ((0, 9), (0, 0), (0, 0)))), *images[1:]], [2, 0, 1, 0])
    for number, other in enumerate((relabelled, longer)):
        assert load_data(save(tmp_path / str(number), train=other, test=other)).fingerprint != before


def test_selected_rows_are_read(tmp_path):
    """`select` keeps the original table and adds a list of rows."""
    whole = table([*map(png, X)], [0, 1, 2, 0, 1, 2])
    picked, again = whole.select([4, 1]), table([png(X[4]), png(X[1])], [1, 1])
    data, same = (load_data(save(tmp_path / n, train=one, test=one)) for n, one in (("a", picked), ("b", again)))
    assert data.labels.tolist() == [1, 1]
    assert np.array_equal(data.loaded().array, X[[4, 1]])
    assert data.fingerprint == same.fingerprint


def test_a_folder_of_images_is_read_by_datasets(tmp_path, monkeypatch):
    for split, places in (("train", range(4)), ("test", (4, 5))):
        for place in places:
            path = tmp_path / f"set/{split}/{CLASSES[place % 2]}/{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(X[place]))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    data = load_data(f"hf:{tmp_path / 'set'}")
    assert data.classes == ("frog", "ship")
    assert {image.tobytes() for image in data.images} == {image.tobytes() for image in X[:4]}
    assert len(load_data(f"hf:{tmp_path / 'set'}", split="test")) == 2


def test_a_broken_image_is_reported_when_it_is_read(tmp_path):
    split = table([png(X[0]), b"none", None], [0, 1, 2])
    data = load_data(save(tmp_path / "set", train=split, test=split))
    assert data.size == (5, 7)
    _, broken = data.images.read()
    assert sorted(broken) == [1, 2]
    assert "000001: the image cannot be read (UnidentifiedImageError: " in str(broken[1])
    assert "000002: the row contains no image; remove the row" in str(broken[2])
    with pytest.raises(DataError, match=r"set/train/000001: the image cannot be read"):
        data.loaded()


def test_mask_files_are_found_by_row_number(name, tmp_path):
    masks = np.random.default_rng(1).random((4, 5, 7)) < 0.5
    (tmp_path / "masks").mkdir()
    for row, mask in enumerate(masks):
        Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / f"masks/{row:06d}.png")
    store = build_masks(load_data(name), load_source(f"masks:{tmp_path / 'masks'}"), tmp_path / "store", refine="none")
    assert np.array_equal(store[np.arange(4)], masks)


def save_changed(path: Path, change) -> str:
    split = change(table([*map(png, X)], [0, 1, 2, 0, 1, 2]))
    return save(path, train=split, test=split)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one.remove_columns("picture"), r"one column of images \(Image\), got none among kind, number"),
        (
            lambda one: one.remove_columns("kind"),
            r"column of class labels \(ClassLabel\), got none among picture, number",
        ),
        (
            lambda one: one.add_column("fine", [0] * 6).cast_column("fine", datasets.ClassLabel(names=["a"])),
            r"one column of class labels \(ClassLabel\), got several: kind, fine; select or cast",
        ),
        (
            lambda one: one.add_column("back", [{"bytes": png(X[0]), "path": None}] * 6).cast_column(
                "back", datasets.Image()
            ),
            r"one column of images \(Image\), got several: picture, back; select or cast",
        ),
    ],
)
def test_unsupported_columns_are_refused_in_one_line(tmp_path, change, message):
    with pytest.raises(DataError, match=message) as caught:
        load_data(save_changed(tmp_path / "set", change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("label", "message"), [(None, "expected integer labels"), (-1, "expected labels from 0 to 2")])
def test_missing_labels_are_refused(tmp_path, label, message):
    split = table([png(X[0]), png(X[1])], [0, label])
    with pytest.raises(DataError, match=message):
        load_data(save(tmp_path / "set", train=split, test=split))


def test_missing_splits_and_sets_are_one_line_errors(tmp_path):
    split = table([png(X[0])], [0])
    name = save(tmp_path / "set", train=split)
    with pytest.raises(DataError, match="expected a split test or validation or valid or val, got train; save"):
        load_data(name, split="test")
    split.save_to_disk(tmp_path / "bare")
    with pytest.raises(DataError, match="got a data set without splits"):
        load_data(f"hf:{tmp_path / 'bare'}")
    (tmp_path / "set/dataset_dict.json").write_text("{")
    for place in (tmp_path / "set", tmp_path / "none", "nobody/nothing", ""):
        with pytest.raises(DataError, match="this is neither the folder of a data set nor") as caught:
            load_data(f"hf:{place}")
        assert "\n" not in str(caught.value)
