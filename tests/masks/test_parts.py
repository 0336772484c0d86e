"""Test stores that several processes build, and the effects of kills, signals and broken images."""

import os
import pickle
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from smix import load_data
from smix.data.sets import ImageSet
from smix.errors import MaskError, OptionError, RunError
from smix.masks import MaskStore, build_masks
from smix.masks.build import MAX_SHARDS, ROWS_PER_SHARD, rows_per_shard
from smix.masks.lookup import masks_of
from smix.masks.sources import Segmentation
from smix.masks.store import Flag
from tests.masks.killed import build_until_killed
from tests.masks.stores import BrightnessSource, SourceWithMissingRows, content
from tests.training.processes import in_processes

pytestmark = pytest.mark.usefixtures("small_shards")


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_parts_in_any_order_give_the_same_store_as_one_build(data, tmp_path, expected_files, order):
    asked = []
    for number in order:
        source = BrightnessSource()
        store = build_masks(data, source, tmp_path / "parts", part=(number, 3))
        assert {row // 8 % 3 for row in source.asked} == {number - 1}
        asked += source.asked
        assert (store is None) == (number != order[-1])
        if store is None:
            with pytest.raises(MaskError, match="not finished"):
                MaskStore(tmp_path / "parts")
    assert sorted(asked) == list(range(40))
    assert content(tmp_path / "parts") == expected_files


def test_more_parts_than_shards_and_parts_of_a_limit_are_accepted(data, tmp_path):
    one = build_masks(data, BrightnessSource(), tmp_path / "one", limit=6)
    for number in range(1, 9):
        store = build_masks(data, BrightnessSource(), tmp_path / "parts", limit=6, part=(number, 8))
    assert store is not None
    assert content(store.path) == content(one.path)


def test_parts_in_concurrent_threads_give_the_same_store(data, tmp_path, expected_files):
    stores = {}

    def work(number: int) -> None:
        stores[number] = build_masks(
            data, BrightnessSource(before=lambda call: time.sleep(0.01)), tmp_path / "parts", part=(number, 4)
        )

    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(store is not None for store in stores.values()) >= 1
    assert content(tmp_path / "parts") == expected_files


def test_concurrent_builds_of_the_same_part_or_of_all_parts_are_refused(data, tmp_path):
    refused = []

    def start_second_build(call: int) -> None:
        if call == 0:
            for part in ((1, 2), (1, 1)):
                with pytest.raises(RunError, match="the folder is in use by another smix process"):
                    build_masks(data, BrightnessSource(), tmp_path, part=part)
                refused.append(part)

    build_masks(data, BrightnessSource(before=start_second_build), tmp_path, part=(1, 2))
    assert len(refused) == 2


@pytest.mark.parametrize("part", [(0, 2), (3, 2), (1, 0)])
def test_an_invalid_part_number_is_refused(data, tmp_path, part):
    with pytest.raises(OptionError, match=rf"shard: expected I/N with 1 <= I <= N, got {part[0]}/{part[1]}"):
        build_masks(data, BrightnessSource(), tmp_path / "none", part=part)
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0, 3, 8, 17, 24, 30])
def test_a_build_killed_at_a_write_redoes_at_most_one_shard(data, tmp_path, expected_files, moment):
    """The build has 33 syncs and renames. After SIGKILL no Python code runs."""
    out = tmp_path / "killed"
    (ended,) = in_processes(1, tmp_path / "logs", lambda rank: build_until_killed(out, moment))
    assert ended.code == -signal.SIGKILL, ended.err
    before = len(list(out.glob("building/0000?.json")))
    source = BrightnessSource()
    build_masks(data, source, out)
    assert content(out) == expected_files
    assert len(source.asked) == 40 - 8 * before or not source.asked
    assert len(source.asked) <= 40 - 8 * min(5, max(0, (moment - 2) // 4))


def test_sigterm_ends_a_build_like_ctrl_c(data, tmp_path, expected_files):
    def term(call: int) -> None:
        if call == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        build_masks(data, BrightnessSource(before=term), tmp_path / "cut")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    build_masks(data, BrightnessSource(), tmp_path / "cut")
    assert content(tmp_path / "cut") == expected_files


def test_a_build_stops_after_its_parent_has_ended(data, tmp_path, monkeypatch):
    monkeypatch.setenv("SMIX_TASK", "1" if os.getppid() != 1 else "2")
    with pytest.raises(KeyboardInterrupt):
        build_masks(data, BrightnessSource(), tmp_path)


@pytest.mark.parametrize(
    ("count", "rows"), [(1, 1024), (50_000, 1024), (262_144, 1024), (262_145, 2048), (1_281_167, 5120)]
)
def test_shards_have_at_least_1024_rows_and_number_at_most_256(monkeypatch, count, rows):
    monkeypatch.undo()
    assert (ROWS_PER_SHARD, MAX_SHARDS) == (1024, 256)
    assert rows_per_shard(count) == rows
    assert -(-count // rows) <= 256


class ClassSource:
    """Source with class 1 in the left half of each image and class 2 in the right quarter."""

    classes = ("left", "right")

    def describe(self, data: ImageSet) -> dict[str, str]:
        return {"name": "classes"}

    def __call__(self, data: ImageSet, index: np.ndarray) -> Segmentation:
        found = torch.zeros(len(index), 10, 28, dtype=torch.uint8)
        found[..., :14], found[..., 21:] = 1, 2
        return Segmentation((found > 0).float(), found)


def test_class_indices_are_stored_next_to_the_masks_at_their_size(data, tmp_path):
    store = build_masks(data, ClassSource(), tmp_path, save_classes=True)
    assert store.manifest.classes == ("left", "right")
    maps = store.classes(np.array([3, 39, -1]))
    assert maps.shape == (3, 10, 14)
    assert (
        maps[0].tolist() == [[1] * 7 + [0] * 3 + [2] * 4] * 10 or maps[0].tolist() == [[1] * 7 + [0] * 4 + [2] * 3] * 10
    )
    assert np.array_equal(maps > 0, store[np.array([3, 39, -1])])
    store.verify()
    (tmp_path / "classes-00002.npy").write_bytes(b"")
    assert MaskStore(tmp_path).damaged() == ["classes-00002.npy"]
    assert build_masks(data, ClassSource(), tmp_path, save_classes=True).damaged() == []


def test_a_store_without_class_indices_gives_advice(data, tmp_path):
    with pytest.raises(MaskError, match="the store has no class maps; build one with --save-classes"):
        build_masks(data, ClassSource(), tmp_path).classes(0)


def test_masks_of_another_size_are_resized_to_the_images(data, tmp_path):
    store = build_masks(data, ClassSource(), tmp_path, refine="none", size=(5, 28))
    assert store.shape == (5, 28)
    assert store[0].tolist() == [[[True] * 14 + [False] * 7 + [True] * 7] * 5]
    assert masks_of(data, str(tmp_path)).masks.shape == (40, 10, 14)
    assert masks_of(data, str(tmp_path)).masks[0, 9].tolist() == [True] * 7 + [False] * 3 + [True] * 4


def test_a_store_is_pickled_as_its_path_and_reads_the_same_masks(data, tmp_path, monkeypatch):
    store = build_masks(data, BrightnessSource(), tmp_path / "store")
    store[:]
    assert len(pickle.dumps(store)) < 4096
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(pickle.dumps(MaskStore("store")))
    monkeypatch.chdir("/")
    assert np.array_equal(again[:], store[:])


@pytest.fixture
def folder(tmp_path) -> Path:
    """Write six images of different sizes, of which one is truncated and one is not an image."""
    rng = np.random.default_rng(0)
    for number in range(6):
        path = tmp_path / "set" / "train" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20 + number, 31, 3), dtype=np.uint8)).save(path)
    (tmp_path / "set/test/a").mkdir(parents=True)
    cut = tmp_path / "set/train/a/2.png"
    cut.write_bytes(cut.read_bytes()[:200])
    (tmp_path / "set/train/b/5.png").write_text("none")
    return tmp_path / "set"


class FullSource:
    """Source that marks every pixel as object, at the size of the first image."""

    def describe(self, data: ImageSet) -> dict[str, str]:
        return {"name": "bright"}

    def __call__(self, data: ImageSet, index: np.ndarray) -> Segmentation:
        for place in index:
            assert data.images[int(place)].shape[1:] in ((31, 3), (32, 3))
        return Segmentation(torch.ones(len(index), 20, 31), None)


def test_broken_images_are_named_flagged_and_empty(folder, tmp_path):
    data = load_data(f"folder:{folder}")
    store = build_masks(data, FullSource(), tmp_path / "store")
    assert store.shape == (224, 224)
    broken = [row for row in range(6) if data.stem(row) in ("a/2", "b/5")]
    assert np.flatnonzero(store.stats["flags"] & Flag.BROKEN).tolist() == broken
    assert (~store[:].any((1, 2))).nonzero()[0].tolist() == broken
    assert list(store.problems) == broken
    assert all("the image cannot be read" in why for why in store.problems.values())
    assert store.problems[broken[0]].startswith("a/2.png: ")
    assert str(tmp_path) not in (tmp_path / "store/broken.json").read_text()
    before = content(store.path)
    build_masks(data, FullSource(), tmp_path / "store")
    assert content(store.path) == before
    build_masks(data, FullSource(), tmp_path / "limited", limit=2)
    build_masks(data, FullSource(), tmp_path / "limited")
    assert content(tmp_path / "limited") == before


def test_a_strict_build_stops_at_the_first_broken_image_and_names_it(folder, tmp_path):
    with pytest.raises(MaskError, match=r"a/2\.png: .*cannot be read"):
        build_masks(load_data(f"folder:{folder}"), FullSource(), tmp_path / "store", strict=True)


def test_the_reason_of_a_source_for_a_missing_mask_is_stored(data, tmp_path):
    store = build_masks(data, SourceWithMissingRows(17), tmp_path)
    assert store.problems == {17: "000017: no file"}
    assert store.stats["flags"][17] == Flag.BROKEN | Flag.EMPTY


def test_broken_rows_are_sorted_by_number_and_not_as_text(data, tmp_path):
    store = build_masks(data, SourceWithMissingRows(9, 10), tmp_path)
    assert store is not None
    assert list(store.problems) == [9, 10]
