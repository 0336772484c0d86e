"""Test building a store: interrupted, resumed, extended and repaired, on a full disk, and by two builds at once."""

import errno
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from smix.data.sets import ImageSet
from smix.errors import DataError, MaskError, RunError
from smix.masks import MaskStore, build_masks, load_source
from smix.masks.build import confidence, resize_masks
from smix.masks.refine import REFINEMENTS, refine
from smix.masks.sources import Segmentation
from smix.masks.store import COST, Flag
from tests.conftest import make_set
from tests.masks.stores import BrightnessSource, SourceWithMissingRows, content, raise_at

pytestmark = pytest.mark.usefixtures("small_shards")


@pytest.mark.parametrize("method", REFINEMENTS)
def test_a_mask_is_segmented_shrunk_refined_and_stored(data, tmp_path, method):
    store = build_masks(data, BrightnessSource(finer=3), tmp_path, refine=method)
    bright = torch.from_numpy(data.images.mean(-1) / 255).float() + 0.25 > 0.5
    assert 0.1 < bright.float().mean() < 0.9
    assert np.array_equal(store[:], refine(bright.numpy(), method))
    assert store.manifest.refine["name"] == method


def test_each_image_is_segmented_once(data, tmp_path):
    source = BrightnessSource()
    build_masks(data, source, tmp_path)
    assert sorted(source.asked) == list(range(40))


@pytest.mark.parametrize("error", [RuntimeError("cable"), KeyboardInterrupt()], ids=["an error", "Ctrl-C"])
@pytest.mark.parametrize("call", [0, 1, 3, 4, 14])
def test_an_interrupted_build_resumes_to_the_same_bytes(data, tmp_path, expected_files, error, call):
    out = tmp_path / "cut"
    with pytest.raises(type(error)):
        build_masks(data, BrightnessSource(before=raise_at(call, error)), out)
    assert not (out / "manifest.json").exists()
    finished = sorted(int(path.stem) for path in out.glob("building/0000?.json"))
    source = BrightnessSource()
    build_masks(data, source, out)
    assert content(out) == expected_files
    assert sorted(source.asked) == [row for row in range(40) if row // 8 not in finished]


def test_an_interrupted_build_is_reported_as_incomplete(data, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build_masks(data, BrightnessSource(before=raise_at(7, KeyboardInterrupt())), tmp_path)
    with pytest.raises(MaskError, match="the mask store is not finished; finish it with the same smix masks build"):
        MaskStore(tmp_path)


def test_a_store_stays_readable_while_it_is_extended(data, tmp_path):
    before = build_masks(data, BrightnessSource(), tmp_path, limit=12)
    rows = np.flatnonzero(before.built)
    masks = before[rows]
    with pytest.raises(KeyboardInterrupt):
        build_masks(data, BrightnessSource(before=raise_at(9, KeyboardInterrupt())), tmp_path)
    again = MaskStore(tmp_path)
    again.verify()
    assert np.array_equal(np.flatnonzero(again.built), rows)
    assert np.array_equal(again[rows], masks)


def test_a_build_whose_first_batch_fails_does_not_block_the_next_build(data, tmp_path):
    with pytest.raises(MaskError, match="has no masks"):
        build_masks(replace(data, masks=None), load_source("carried"), tmp_path)
    assert content(tmp_path) == {}
    assert build_masks(data, BrightnessSource(), tmp_path).built.all()


def test_a_limit_is_class_balanced_and_can_be_extended_to_the_same_bytes(data, tmp_path, expected_files):
    out = tmp_path / "grown"
    asked = set()
    for limit in (8, 20, None):
        source = BrightnessSource()
        store = build_masks(data, source, out, limit=limit)
        assert np.array_equal(np.sort(data.take(limit).index), store.built.nonzero()[0])
        assert np.bincount(data.labels[store.built]).tolist() == [len(data.take(limit)) // 4] * 4
        assert asked.isdisjoint(source.asked)
        asked.update(source.asked)
    assert content(out) == expected_files


@pytest.mark.parametrize("limit", [5, 12, 40])
def test_an_equal_or_smaller_limit_computes_nothing_and_loses_nothing(data, tmp_path, limit):
    build_masks(data, BrightnessSource(), tmp_path, limit=12)
    before = content(tmp_path)
    source = BrightnessSource()
    build_masks(data, source, tmp_path, limit=limit)
    assert len(source.asked) == max(0, limit - 12)
    assert (content(tmp_path) == before) == (limit <= 12)


@pytest.mark.parametrize("limit", [0, -3, 41])
def test_a_limit_above_the_size_of_the_data_set_is_refused_before_anything_is_written(data, tmp_path, limit):
    with pytest.raises(DataError, match=rf"made train: the limit must be from 1 to 40 images, got {limit}"):
        build_masks(data, BrightnessSource(), tmp_path / "none", limit=limit)
    assert not (tmp_path / "none").exists()


def other_pixel(data: ImageSet) -> ImageSet:
    return replace(data, images=data.images ^ np.uint8(1), fingerprint="")


def other_size(data: ImageSet) -> ImageSet:
    return replace(data, images=data.images[:, :9], masks=None)


@pytest.mark.parametrize(
    ("change", "options", "named"),
    [
        (other_pixel, {}, "data"),
        (lambda data: replace(data, split="test"), {}, "data"),
        (other_size, {}, "shape"),
        (lambda data: data, {"size": (5, 7)}, "shape"),
        (lambda data: data, {"save_classes": True}, "classes"),
        (lambda data: data, {"source": BrightnessSource("other")}, "source"),
        (lambda data: data, {"refine": "published"}, "refine"),
    ],
    ids=[
        "other images",
        "other split",
        "other size",
        "other size of the masks",
        "with classes",
        "other source",
        "other refinement",
    ],
)
def test_a_store_of_other_settings_is_refused_and_unchanged(data, tmp_path, change, options, named):
    build_masks(data, BrightnessSource(), tmp_path, limit=12)
    before = content(tmp_path)
    message = rf"the existing masks were built with {named} .*, not .*; choose another --out"
    with pytest.raises(MaskError, match=message):
        build_masks(change(data), **{"source": BrightnessSource(), "out": tmp_path, **options})
    assert content(tmp_path) == before


def test_a_subset_of_a_split_is_refused(data, tmp_path):
    for part in (data.take(12), data.rows(np.arange(40)[::-1])):
        with pytest.raises(MaskError, match="but this is a subset of made; pass the whole split"):
            build_masks(part, BrightnessSource(), tmp_path)


def flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize("damage", [flip_bit, truncate, Path.unlink], ids=["flipped", "cut", "deleted"])
@pytest.mark.parametrize(
    ("name", "rows"),
    [("shard-00000.npy", range(8)), ("shard-00004.npy", range(32, 40)), ("stats.npy", range(40))],
)
def test_damage_is_repaired_by_another_build(data, tmp_path, expected_files, name, rows, damage):
    out = tmp_path / "whole"
    damage(out / name)
    source = BrightnessSource()
    build_masks(data, source, out)
    assert content(out) == expected_files
    assert sorted(source.asked) == list(rows)


@pytest.mark.parametrize("limit", [4, 12, None])
@pytest.mark.parametrize("name", ["shard-00000.npy", "stats.npy", "broken.json"])
@pytest.mark.parametrize("damage", [flip_bit, truncate, Path.unlink], ids=["flipped", "cut", "deleted"])
def test_a_repair_keeps_all_valid_masks_for_any_limit(data, tmp_path, name, damage, limit):
    store = build_masks(data, SourceWithMissingRows(9, 10), tmp_path, refine="none")
    before, empty = content(store.path), set(np.flatnonzero(~store[:].any((1, 2))))
    damage(tmp_path / name)
    source = SourceWithMissingRows(9, 10)
    build_masks(data, source, tmp_path, refine="none", limit=limit)
    if name == "stats.npy" and limit is not None:  # the list of built empty masks is lost
        assert 0 < len(empty) < 20
        assert set(np.flatnonzero(~MaskStore(tmp_path).built)) <= empty
    else:
        assert content(tmp_path) == before
    asked = {"shard-00000.npy": set(range(8)), "broken.json": {9, 10}, "stats.npy": set(range(40))}[name]
    assert set(source.asked) <= asked


def test_a_broken_manifest_is_not_overwritten_and_says_what_to_do(data, tmp_path, expected_files):
    out = tmp_path / "whole"
    truncate(out / "manifest.json")
    before = content(out)
    with pytest.raises(MaskError, match=r"remove it and run the same"):
        build_masks(data, BrightnessSource(), out)
    assert content(out) == before
    (out / "manifest.json").unlink()
    build_masks(data, BrightnessSource(), out)
    assert content(out) == expected_files


class FullDisk:
    """Replacement of fsync that reports a full disk at the n-th call and all later calls."""

    def __init__(self, monkeypatch, syncs: int, number: int) -> None:
        self.left, self.number = syncs, number
        monkeypatch.setattr(os, "fsync", self)

    def __call__(self, handle: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(("syncs", "number"), [*((syncs, errno.ENOSPC) for syncs in range(10)), (4, errno.EDQUOT)])
def test_a_full_disk_is_a_one_line_error_and_keeps_built_masks(
    data, tmp_path, expected_files, monkeypatch, syncs, number
):
    """Ten syncs commit the first shards, so the disk is full once in each of their files."""
    out = tmp_path / "full"
    built = build_masks(data, BrightnessSource(), out, limit=12)
    rows = built.built.nonzero()[0]
    masks = built[rows]
    with monkeypatch.context() as patch:
        FullDisk(patch, syncs, number)
        with pytest.raises(MaskError) as caught:
            build_masks(data, BrightnessSource(), out)
    message = str(caught.value)
    assert message.startswith(f"{out}: no space is left on the disk, and the masks need {40 * 18} bytes; free some")
    assert "\n" not in message
    assert not list(out.glob("*.tmp")) + list(out.glob(".*.tmp"))
    store = MaskStore(out)
    store.verify()
    assert np.array_equal(store[rows], masks)
    build_masks(data, BrightnessSource(), out)
    assert content(out) == expected_files


@pytest.mark.parametrize("syncs", range(16))
def test_a_full_disk_during_the_first_build_leaves_no_store_and_no_damage(
    data, tmp_path, expected_files, monkeypatch, syncs
):
    """The first build has fourteen syncs: settings, two for each of five shards, stats, manifest, and the list of names."""
    with monkeypatch.context() as patch:
        FullDisk(patch, syncs, errno.ENOSPC)
        if syncs < 14:
            with pytest.raises(MaskError, match="no space is left"):
                build_masks(data, BrightnessSource(), tmp_path / "full")
            assert not (tmp_path / "full" / "manifest.json").exists()
            assert not [path for path in (tmp_path / "full").rglob("*") if path.suffix == ".tmp"]
        else:
            build_masks(data, BrightnessSource(), tmp_path / "full")
    source = BrightnessSource()
    build_masks(data, source, tmp_path / "full")
    assert content(tmp_path / "full") == expected_files
    assert len(source.asked) == (0 if syncs >= 14 else 40 - 8 * min(5, max(0, (syncs - 1) // 2)))


def test_a_disk_without_space_for_the_folder_is_the_same_line(data, tmp_path, monkeypatch):
    def report_full_disk(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", report_full_disk)
    with pytest.raises(MaskError, match="no space is left on the disk, and the masks need 720 bytes"):
        build_masks(data, BrightnessSource(), tmp_path / "new")


def test_other_disk_errors_are_not_reported_as_a_full_disk(data, tmp_path, monkeypatch):
    FullDisk(monkeypatch, 0, errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        build_masks(data, BrightnessSource(), tmp_path)


def test_a_second_build_in_the_same_folder_is_refused(data, tmp_path, expected_files):
    out = tmp_path / "both"
    refused = []

    def start_second_build(call: int) -> None:
        if call == 1:
            with pytest.raises(RunError, match="the folder is in use by another smix process"):
                build_masks(data, BrightnessSource(), out)
            refused.append(call)

    build_masks(data, BrightnessSource(before=start_second_build), out)
    assert refused == [1]
    assert content(out) == expected_files


def test_a_file_in_place_of_the_folder_is_refused(data, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match=r"file: cannot write to this folder: FileExistsError; choose another"):
        build_masks(data, BrightnessSource(), tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


class ConstantSource:
    """Source with the same output for every image."""

    def __init__(self, answer: torch.Tensor, classes: torch.Tensor | None = None) -> None:
        self.answer, self.classes = answer, classes

    def describe(self, data: ImageSet) -> dict[str, str]:
        return {"name": "fixed"}

    def __call__(self, data: ImageSet, index: np.ndarray) -> Segmentation:
        classes = None if self.classes is None else self.classes.expand(len(index), -1, -1)
        return Segmentation(self.answer.expand(len(index), -1, -1), classes)


@pytest.mark.parametrize(
    ("value", "flags", "score"),
    [
        (0.0, Flag.EMPTY, 0),
        (0.5, Flag.EMPTY, 0),
        (0.75, 0, 0.75),
        (1.0, 0, 1),
        (torch.nan, Flag.BROKEN | Flag.EMPTY, 0),
    ],
)
def test_a_mask_without_object_or_finite_scores_is_flagged(data, tmp_path, value, flags, score):
    store = build_masks(data, ConstantSource(torch.full((1, 10, 14), value)), tmp_path, limit=3)
    assert store.stats["flags"][store.built].tolist() == [flags] * 3
    assert store.usable.sum() == (0 if flags else 3)
    assert store.scores[store.built].tolist() == [score] * 3


def test_a_mask_with_a_pixel_that_is_not_finite_is_broken_and_empty(data, tmp_path):
    answer = torch.ones(1, 10, 14)
    answer[0, 3, 5] = torch.inf
    store = build_masks(data, ConstantSource(answer), tmp_path, limit=3)
    assert store.coverage[store.built].tolist() == [0] * 3
    assert not store[np.flatnonzero(store.built)].any()
    assert not store.usable.any()


@pytest.mark.parametrize("renamed", range(19))
def test_a_build_killed_at_a_rename_loses_no_finished_shard(data, tmp_path, expected_files, monkeypatch, renamed):
    """The build has nineteen renames: settings, two for each of five shards, the list of names, five shards, stats, manifest. The
    exception stands in for the kill.
    """
    real, done = Path.replace, []

    def replace(path: Path, target: Path) -> Path:
        if len(done) == renamed:
            raise Killed
        done.append(target)
        return real(path, target)

    source = BrightnessSource()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(Killed):
            build_masks(data, source, tmp_path / "cut")
    again = BrightnessSource()
    build_masks(data, again, tmp_path / "cut")
    # Of the rows that were segmented before the kill, at most the shard that was not yet complete on the disk is segmented again.
    assert len(set(source.asked) & set(again.asked)) <= 8
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


class Killed(BaseException):
    pass


def test_the_score_is_the_mean_confidence_on_the_raw_object_and_coverage_is_that_of_the_stored_mask(data, tmp_path):
    answer = torch.zeros(1, 10, 14)
    answer[0, 2:8, 3:9] = 0.75
    answer[0, 4, 5] = 0.25  # a hole that the refinement fills
    answer[0, 4, 8] = 1.0
    store = build_masks(data, ConstantSource(answer), tmp_path, limit=3)
    assert store.coverage[store.built] == pytest.approx(36 / 140)
    assert store.scores[store.built] == pytest.approx((34 * 0.75 + 1) / 35)


def test_classes_determine_the_object_for_any_confidence(data, tmp_path):
    classes = torch.zeros(1, 10, 14, dtype=torch.uint8)
    classes[0, 2:8, 3:9] = 7
    store = build_masks(data, ConstantSource(torch.full((1, 10, 14), 0.25), classes), tmp_path, limit=3)
    assert np.array_equal(store[store.built.nonzero()[0]], classes.numpy().repeat(3, 0) == 7)
    assert store.scores[store.built] == pytest.approx(0.25)


def test_confidence_is_0_without_an_object_and_finite_for_scores_that_are_not():
    answer = torch.stack([torch.zeros(3, 4), torch.full((3, 4), torch.nan), torch.full((3, 4), 0.8)])
    assert confidence(Segmentation(answer, None)).tolist() == pytest.approx([0, 0, 0.8])


@pytest.mark.parametrize("times", [(1, 1), (2, 2), (3, 2), (4, 5)])
def test_a_pixel_is_object_if_at_least_half_of_its_area_is(times):
    size = (7, 5)
    fine = torch.rand(20, size[0] * times[0], size[1] * times[1], generator=torch.Generator().manual_seed(0)) < 0.5
    blocks = fine.view(20, size[0], times[0], size[1], times[1]).float().mean((2, 4))
    assert (blocks == 0.5).any() or times == (1, 1)
    assert torch.equal(resize_masks(fine, size), blocks >= 0.5)


@pytest.mark.parametrize("size", [(6,), (4, 6), (4, 6, 2)])
def test_masks_of_1_to_3_dimensions_are_shrunk(size):
    fine = torch.zeros(1, *(2 * length for length in size), dtype=torch.bool)
    fine[(0, *(slice(0, 4) for _ in size))] = True
    expected = torch.zeros(1, *size, dtype=torch.bool)
    expected[(0, *(slice(0, 2) for _ in size))] = True
    assert torch.equal(resize_masks(fine, size), expected)


def test_masks_of_a_coarser_source_are_enlarged():
    coarse = torch.tensor([[[True, False], [False, True]]])
    assert torch.equal(resize_masks(coarse, (4, 6)), coarse.repeat_interleave(2, 1).repeat_interleave(3, 2))


def test_equal_images_under_another_name_share_a_store(data, tmp_path, expected_files):
    source = BrightnessSource()
    build_masks(replace(data, name="npz:elsewhere.npz"), source, tmp_path / "whole")
    assert source.asked == []
    assert content(tmp_path / "whole") == expected_files


def test_build_times_are_stored_next_to_the_masks(data, tmp_path):
    with pytest.raises(RuntimeError):
        build_masks(data, BrightnessSource(before=raise_at(7, RuntimeError("cable"))), tmp_path)
    store = build_masks(data, BrightnessSource(), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / COST).read_text().splitlines()]
    assert sum(line["masks"] for line in lines) == 40
    assert len(lines) == 2
    assert store.seconds == pytest.approx(sum(line["seconds"] for line in lines))
    build_masks(data, BrightnessSource(), tmp_path)
    assert len((tmp_path / COST).read_text().splitlines()) == 2, "nothing was built"


@pytest.mark.parametrize("text", ["", "{", "[]\n", '{"masks": 1}\n'])
def test_without_recorded_times_the_seconds_are_unknown(data, tmp_path, text):
    store = build_masks(data, BrightnessSource(), tmp_path)
    (tmp_path / COST).write_text(text)
    assert math.isnan(store.seconds)
    (tmp_path / COST).unlink()
    assert math.isnan(store.seconds)


def test_existing_masks_are_not_refined_unless_asked(tmp_path):
    data = make_set()
    data.masks[:, 0, 0] = True  # a piece that the default refinement drops
    exact = build_masks(data, load_source("carried"), tmp_path / "exact")
    assert np.array_equal(exact[:], data.masks)
    refined = build_masks(data, load_source("carried"), tmp_path / "refined", refine="default")
    assert not np.array_equal(refined[:], data.masks)
    assert build_masks(data, BrightnessSource(), tmp_path / "network").manifest.refine["name"] == "default"
