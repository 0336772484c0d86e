"""Test the store of masks: its bits, a reader of ten lines, and messages about damage and other images."""

import hashlib
import json
import math
import os
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks import MaskStore, build_masks, load_source
from smix.masks.lookup import masks_of
from smix.masks.manifest import packed_bytes, read_manifest
from smix.masks.store import STATS_DTYPE, Flag, pack, unpack
from tests.conftest import make_set
from tests.masks.stores import content, use_small_shards

shapes = st.lists(st.integers(1, 9), min_size=1, max_size=3)


@pytest.mark.slow
@given(st.data(), shapes, st.integers(0, 5))
def test_unpack_is_the_inverse_of_pack_for_1_to_3_dimensions(data, shape, count):
    masks = data.draw(arrays(bool, (count, *shape)))
    packed = pack(masks)
    assert packed.dtype == np.uint8
    assert packed.shape == (count, packed_bytes(tuple(shape)))
    assert packed.shape[1] == math.ceil(math.prod(shape) / 8)
    assert np.array_equal(unpack(packed, tuple(shape)), masks)


def test_bits_are_in_c_order_most_significant_first():
    masks = np.zeros((1, 2, 5), bool)
    masks[0, 0, 0] = masks[0, 1, 4] = masks[0, 1, 2] = True
    assert pack(masks).tolist() == [[0b10000001, 0b01000000]]


def read_with_numpy(folder: Path) -> NDArray[np.bool_]:
    """Return all masks of a store without smix, in ten lines as docs/masks.md shows."""
    manifest = json.loads((folder / "manifest.json").read_text())
    pixels = math.prod(manifest["shape"])
    rows = np.concatenate([np.load(folder / name) for name in manifest["files"] if name.startswith("shard-")])
    bits = np.unpackbits(rows, axis=1, count=pixels, bitorder="big")
    return bits.reshape(-1, *manifest["shape"]).astype(bool)


def volumes(size: tuple[int, ...], count: int = 21) -> ImageSet:
    """Return images and masks with any number of dimensions."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, *size, 1)).astype(np.uint8)
    return ImageSet(images, np.arange(count) % 3, ("a", "b", "c"), images[..., 0] > 150, name="volumes", split="train")


def build_carried(data: ImageSet, out: Path, **options) -> MaskStore:
    return build_masks(data, load_source("carried"), out, **{"refine": "none", **options})


@pytest.fixture
def data() -> ImageSet:
    return make_set()


@pytest.fixture
def store(data, tmp_path, monkeypatch) -> MaskStore:
    use_small_shards(monkeypatch)
    return build_carried(data, tmp_path / "masks")


@pytest.mark.parametrize("size", [(17,), (5, 9), (10, 14), (3, 4, 5)])
def test_a_store_and_ten_lines_of_numpy_return_the_stored_masks(size, tmp_path, monkeypatch):
    use_small_shards(monkeypatch)
    data = volumes(size)
    store = build_carried(data, tmp_path)
    assert store.manifest.shard_count == 3
    assert store.shape == size
    assert np.array_equal(store[:], data.masks)
    assert np.array_equal(read_with_numpy(tmp_path), data.masks)


def test_the_files_are_those_of_the_design(store, data):
    assert set(content(store.path)) == {"manifest.json", "stats.npy", *(f"shard-0000{i}.npy" for i in range(5))}
    shard = np.load(store.path / "shard-00000.npy")
    assert (shard.dtype, shard.shape) == (np.uint8, (8, 18))
    assert np.load(store.path / "stats.npy").dtype == STATS_DTYPE
    manifest = json.loads((store.path / "manifest.json").read_text())
    assert manifest["format"] == 4
    assert manifest["data"] == {
        "name": "made",
        "split": "train",
        "fingerprint": data.fingerprint,
        "count": 40,
        "has_paths": False,
    }
    assert manifest["shape"] == [10, 14]
    masks = hashlib.sha256(np.packbits(data.masks).tobytes()).hexdigest()
    assert manifest["source"] == {"name": "carried", "sha256": masks, "input_size": "own"}
    assert manifest["refine"] == {"name": "none"}


@pytest.mark.parametrize(
    "index",
    [
        np.array([39, 0, 8, 7, 16, 0]),
        np.arange(40)[::-1],
        np.array([-1, -40, 3]),
        slice(5, 30, 4),
        slice(None),
        np.array([], np.int64),
        np.arange(40) % 3 == 0,
        [5, 39, 0],
        np.array([7, 3], np.uint8),
    ],
    ids=["across shards, repeated", "backwards", "negative", "slice", "all", "none", "bools", "a list", "bytes"],
)
def test_rows_are_indexed_like_an_array(store, data, index):
    got = store[index]
    assert got.dtype == bool
    assert np.array_equal(got, data.masks[index])


@pytest.mark.parametrize("row", [0, 23, -1])
def test_a_single_row_is_an_array_of_one_mask(store, data, row):
    assert np.array_equal(store[row], data.masks[[row]])


def test_an_invalid_row_is_an_index_error(store):
    for index in (np.array([True, False]), np.array([0.5]), np.array([[1, 2]])):
        with pytest.raises(IndexError):
            store[index]


@pytest.mark.parametrize("row", [40, -41])
def test_a_row_outside_the_data_set_is_an_index_error(store, row):
    with pytest.raises(IndexError):
        store[row]
    with pytest.raises(IndexError):
        store[np.array([0, row])]


def test_coverage_score_and_validity_belong_to_each_mask(tmp_path):
    data = volumes((5, 9))
    data.masks[4] = False
    store = build_carried(data, tmp_path)
    assert np.allclose(store.coverage, data.masks.reshape(21, -1).mean(1), rtol=1e-6)
    assert store.scores.tolist() == [float(i != 4) for i in range(21)]
    assert store.usable.tolist() == [i != 4 for i in range(21)]
    assert store.stats["flags"][4] == Flag.EMPTY


def read_everything(folder: Path) -> tuple:
    """Return all values that a reader can obtain from a store."""
    store = MaskStore(folder)
    store.verify()
    return store[:].tolist(), store.stats.tolist(), store.shape, len(store), store.manifest


@pytest.mark.slow
def test_a_store_truncated_at_any_byte_is_refused(tmp_path):
    store = build_carried(volumes((5, 3), 12), tmp_path / "masks")
    before = read_everything(store.path)
    for name, whole in content(store.path).items():
        for length in reversed(range(len(whole))):
            os.truncate(store.path / name, length)
            if name == "manifest.json" and length == len(whole) - 1:
                assert read_everything(store.path) == before  # all except its last newline
                continue
            with pytest.raises(MaskError):
                read_everything(store.path)
        (store.path / name).write_bytes(whole)
    assert read_everything(store.path) == before


@pytest.mark.slow
def test_a_flipped_bit_in_a_store_is_reported_or_harmless(tmp_path):
    """A flipped digit in the manifest could move rows or reshape masks, so the manifest contains its own sha256."""
    store = build_carried(volumes((5, 3), 12), tmp_path / "masks")
    before = read_everything(store.path)
    told = bits = 0
    for name, whole in content(store.path).items():
        with (store.path / name).open("r+b", buffering=0) as file:
            for place, bit in product(range(len(whole)), range(8)):
                os.pwrite(file.fileno(), bytes([whole[place] ^ 1 << bit]), place)
                try:
                    after = read_everything(store.path)
                except MaskError:
                    told += 1
                else:
                    assert after == before, f"bit {bit} of byte {place} of {name}"
                os.pwrite(file.fileno(), whole[place : place + 1], place)
                bits += 1
    assert read_everything(store.path) == before
    assert told > 0.99 * bits


@pytest.mark.parametrize("name", ["shard-00003.npy", "stats.npy", "manifest.json"])
def test_a_missing_file_is_named_with_advice(store, name):
    (store.path / name).unlink()
    with pytest.raises(MaskError, match=rf"{name}.*; .*smix masks build"):
        read_everything(store.path)


def test_damage_is_detected_on_reading_and_by_verify(store, data):
    (store.path / "shard-00003.npy").write_bytes(b"")
    again = MaskStore(store.path)
    assert np.array_equal(again[:24], data.masks[:24])
    with pytest.raises(MaskError, match=r"shard-00003.npy has sha256 \w{8} instead of \w{8}; repair the store"):
        again[:25]
    with pytest.raises(MaskError, match=r"shard-00003\.npy"):
        again.verify()


def change_manifest(folder: Path, **changes) -> None:
    """Edit the manifest by hand, as a user would, without updating its checksum."""
    values = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**values, **changes}))


@pytest.mark.parametrize(
    "changes",
    [{"shape": [14, 10]}, {"rows_per_shard": 7}, {"files": {}}, {"data": None}, {"added": 1}, {"sha256": ""}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_manifest_changed_by_hand_is_refused(store, changes):
    change_manifest(store.path, **changes)
    with pytest.raises(MaskError, match=r"manifest\.json is damaged \(.*\); remove it and run the same"):
        MaskStore(store.path)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", '"format"', '{"format": 4}', "\xff\xfe"])
def test_an_invalid_manifest_is_refused(store, text):
    (store.path / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(MaskError, match=r"manifest\.json is damaged"):
        MaskStore(store.path)


@pytest.mark.parametrize("version", [0, 1, 2, 3, 5, "4"])
def test_a_store_of_another_format_is_refused_with_the_expected_version(store, version):
    change_manifest(store.path, format=version)
    with pytest.raises(
        MaskError,
        match=rf"the mask store was written by another version of smix \(format {json.dumps(version)} instead of 4\); build",
    ):
        MaskStore(store.path)


@pytest.mark.parametrize("place", ["nowhere", "."])
def test_a_folder_without_a_store_is_refused_with_advice(tmp_path, place):
    with pytest.raises(
        MaskError, match=r"expected a mask store, but there is no manifest\.json; build one with smix masks build"
    ):
        MaskStore(tmp_path / place)


def test_a_manifest_survives_a_round_trip(store):
    again = read_manifest(store.path)
    assert again == store.manifest
    assert again.to_bytes() == (store.path / "manifest.json").read_bytes()


def test_a_store_belongs_to_its_data_and_to_subsets_of_it(store, data):
    store.check_belongs(data)
    store.check_belongs(data.take(7))


def another_split(data: ImageSet) -> ImageSet:
    return replace(data, split="test")


def another_pixel(data: ImageSet) -> ImageSet:
    images = data.images.copy()
    images[3, 2, 1, 0] ^= 1
    return replace(data, images=images, fingerprint="")


def reorder(data: ImageSet) -> ImageSet:
    return replace(data, images=data.images[::-1], labels=data.labels[::-1], fingerprint="")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (another_split, r"expected masks of made test .*, got masks of another split \(made train"),
        (
            another_pixel,
            r"expected masks of made train .*, got masks of another data set \(made train, \w{8}\)",
        ),
        (reorder, r"got masks of another data set"),
    ],
)
def test_a_store_of_other_images_is_refused(store, data, other, message):
    with pytest.raises(MaskError, match=message + r".*; build masks of made"):
        store.check_belongs(other(data))
    with pytest.raises(MaskError, match=message):
        masks_of(other(data), str(store.path))


def test_a_store_built_with_a_limit_serves_fewer_images_but_not_more(data, tmp_path):
    store = build_carried(data, tmp_path, limit=12)
    assert store.built.sum() == 12
    for part in (data.take(12), data.take(5)):
        store.check_belongs(part)
        assert np.array_equal(store[part.index], part.masks)
    message = r"only 12 of 13 images of made train have masks \(12 are built\); build the rest .* larger --limit"
    with pytest.raises(MaskError, match=message):
        store.check_belongs(data.take(13))
    with pytest.raises(MaskError, match=r"28 of the requested masks are not built; build them with .* larger --limit"):
        store[:]


@pytest.mark.parametrize("limit", [None, 9])
def test_masks_of_gives_each_image_its_own_mask(store, data, limit):
    part = data.take(limit)
    for where in (str(store.path), "carried"):
        assert np.array_equal(masks_of(part, where).masks, part.masks)


def test_masks_of_returns_provenance_and_validity(data, tmp_path):
    data.masks[5] = False
    store = build_carried(data, tmp_path)
    found = masks_of(data, str(tmp_path))
    assert found.valid.tolist() == [i != 5 for i in range(40)]
    assert found.provenance["source"] == store.manifest.source
    assert found.provenance["refine"] == {"name": "none"}


def test_carried_masks_of_a_data_set_without_masks_are_refused():
    with pytest.raises(MaskError, match="made contains no object masks; build them"):
        masks_of(make_set(masks=False), "carried")


def fingerprint(data: ImageSet, where: Path | str) -> str:
    return masks_of(data, str(where)).provenance["fingerprint"]


def test_other_masks_have_another_fingerprint(data, store, tmp_path):
    other = build_carried(replace(data, masks=~data.masks), tmp_path / "other")
    build_carried(data, tmp_path / "twin")
    assert fingerprint(data, tmp_path / "twin") == fingerprint(data, store.path)
    assert fingerprint(data, other.path) != fingerprint(data, store.path)
    assert fingerprint(replace(data, masks=~data.masks), "carried") != fingerprint(data, "carried")


def test_an_extended_store_has_the_same_masks_of_the_same_images(data, tmp_path):
    source = load_source("carried")
    before = fingerprint(data.take(8), build_masks(data, source, tmp_path, limit=8).path)
    build_masks(data, source, tmp_path, limit=20)
    assert fingerprint(data.take(8), tmp_path) == before
