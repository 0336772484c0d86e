"""Test the page of the contact sheet: its file, and its behaviour in a browser."""

import base64
import html
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import smix.masks.build as build
from smix import load_data
from smix.data.pictures import Pictures
from smix.data.sets import ImageSet, balanced_order
from smix.masks import build_masks, load_source
from smix.masks.reasons import Reason
from smix.masks.sources import Segmentation
from smix.masks.store import MaskStore
from smix.report import sheet
from smix.report.masks import JudgedMasks, judge_store
from smix.report.sheet import write_sheet
from tests.conftest import make_set
from tests.masks.stores import BrightnessSource
from tests.report.browser import browse, needs_browser

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "a 'quoted' \"name\" & <b>bold</b> ${1}",
    "plain\u2028",
)


def hostile(count: int = 300) -> ImageSet:
    made = make_set(count)
    return ImageSet(made.images, made.labels, HOSTILE, made.masks, name="made", split="train")


def judged(folder: Path, data: ImageSet) -> JudgedMasks:
    """Return judged masks of which every third is invalid."""
    store = build_masks(data, load_source("carried"), folder / "store", refine="none")
    checked = judge_store(store, data, "<b>&</script>")
    reasons = np.where(
        checked.rows % 3 > 0, Reason.VALID, np.where(checked.rows % 2, Reason.TOO_SMALL, Reason.ON_BORDER)
    )
    return replace(checked, valid={**checked.valid, "default": checked.rows % 3 > 0}, reasons=reasons.astype(np.uint8))


@pytest.fixture
def written(tmp_path) -> tuple[Path, ImageSet]:
    data = hostile()
    return write_sheet(tmp_path / "sheet.html", judged(tmp_path, data)), data


def facts_of(path: Path) -> tuple[dict, str]:
    text = path.read_text()
    tiles = re.search(r'<script type="text/plain" id="tiles">(.*?)</script>', text, re.DOTALL)
    facts = re.search(r'<script type="application/json" id="facts">(.*?)</script>', text, re.DOTALL)
    assert tiles is not None
    assert facts is not None
    return json.loads(facts[1]), tiles[1]


def numbers(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def tile_of(facts: dict, tiles: str, place: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mask and the picture of a tile."""
    begins, shape = numbers(facts["begins"], "<u4"), tuple(numbers(facts[key], "u1")[place] for key in ("high", "wide"))
    text = tiles[begins[place] : begins[place + 1]]
    pixels = int(np.prod(shape, dtype=int))
    middle = 4 * ((-(-pixels // 8) + 2) // 3)
    bits = np.unpackbits(np.frombuffer(base64.b64decode(text[:middle]), np.uint8), count=pixels)
    picture = Image.open(io.BytesIO(base64.b64decode(text[middle:])))
    return bits.reshape(shape).astype(bool), np.asarray(picture.convert("RGB")).astype(int)


def test_each_tile_is_the_images_own_picture_and_mask(written):
    path, data = written
    facts, tiles = facts_of(path)
    rows = numbers(facts["row"], "<u4")
    assert numbers(facts["begins"], "<u4")[-1] == len(tiles)
    assert sorted(rows) == list(range(300))
    assert sorted(data.labels[rows[:4]]) == [0, 1, 2, 3]  # class-balanced
    assert (numbers(facts["label"], "<u4") == data.labels[rows]).all()
    assert np.allclose(numbers(facts["coverage"], "<f4"), data.masks[rows].mean((1, 2)))
    assert (numbers(facts["flags"], "u1") == (rows % 3 > 0)).all()
    assert facts["classes"] == list(HOSTILE)
    reasons = numbers(facts["reason"], "u1")
    assert [facts["reasons"][reason] for reason in reasons[rows % 3 == 0]] == [
        "too small" if row % 2 else "on the border" for row in rows[rows % 3 == 0]
    ]
    for place in (0, 127, 128, 299):  # the ends of the batches, too
        mask, picture = tile_of(facts, tiles, place)
        assert (mask == data.masks[rows[place]]).all()
        assert np.abs(picture - data.images[rows[place]]).mean() < 25


def test_the_page_makes_no_requests_and_escapes_names(written):
    text = written[0].read_text()
    asked = re.findall(r"""(?:src|href|action|url)\s*[=(]\s*["']?([^"'\s>)]*)""", text)
    assert set(asked) <= {"data:,", "data:image/webp;base64,"}
    assert "http:" not in text
    assert "https:" not in text
    assert "default-src 'none'" in text
    assert text.count("<script") == text.count("</script>") == 3
    assert "<!--" not in text
    assert all(html.escape(name).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in text for name in HOSTILE)


def test_the_page_begins_with_the_answer(written):
    text = re.sub(r"<[^>]*>", " ", written[0].read_text().partition("<body>")[2])
    assert "200 of 300 masks are valid by the default rule." in " ".join(text.split())[:200]


@pytest.mark.slow
def test_the_same_store_gives_the_same_bytes(written, tmp_path):
    before = written[0].read_bytes()
    write_sheet(tmp_path / "again.html", judged(tmp_path, hostile()))
    assert (tmp_path / "again.html").read_bytes() == before


def test_a_large_store_shows_a_class_balanced_part(tmp_path, monkeypatch):
    monkeypatch.setattr(sheet, "MAX_MASKS", 20)
    monkeypatch.setattr(sheet, "BATCH", 3)
    data = hostile(80)
    path = write_sheet(tmp_path / "part.html", judged(tmp_path, data))
    facts, tiles = facts_of(path)
    rows = numbers(facts["row"], "<u4")
    assert np.bincount(data.labels[rows]).tolist() == [5] * 4
    assert (tile_of(facts, tiles, 19)[0] == data.masks[rows[19]]).all()
    assert "53 of 80 masks are valid" in path.read_text()
    assert "Shown are 20" in path.read_text()


def test_many_images_are_smaller(tmp_path, monkeypatch):
    data = make_set(8, size=(200, 150))
    checked = judged(tmp_path, data)
    for fine, size in ((8, (128, 96)), (7, (64, 48))):
        monkeypatch.setattr(sheet, "FINE", fine)
        facts, tiles = facts_of(write_sheet(tmp_path / "sheet.html", checked))
        mask, picture = tile_of(facts, tiles, 0)
        assert mask.shape == picture.shape[:2] == size


def test_files_are_named_and_broken_ones_are_grey_with_the_reason(tmp_path):
    home = tmp_path / "set"
    for number, size in enumerate([(200, 300), (40, 30), (90, 90)]):
        path = home / "train/a" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((*size, 3), 80, np.uint8)).save(path)
    (home / "train/a/2.png").write_bytes(b"none")
    (home / "test").mkdir()
    data = load_data(f"folder:{home}")

    class Half(BrightnessSource):
        def __call__(self, data, index):
            return load_source("carried")(make_set(8), index)

    checked = judge_store(build_masks(data, Half(), tmp_path / "store", refine="none"), data, "set")
    facts, tiles = facts_of(write_sheet(tmp_path / "sheet.html", checked))
    rows = numbers(facts["row"], "<u4").tolist()
    sizes = dict(zip(rows, zip(numbers(facts["high"], "u1"), numbers(facts["wide"], "u1"), strict=True), strict=True))
    assert sizes == {0: (85, 128), 1: (40, 30), 2: (128, 128)}
    assert facts["names"] == [f"a/{row}.png" for row in rows]
    assert [flag & sheet.BROKEN > 0 for flag in numbers(facts["flags"], "u1")] == [row == 2 for row in rows]
    assert list(facts["problems"]) == ["2"]
    assert facts["problems"]["2"].startswith("a/2.png: ")
    mask, picture = tile_of(facts, tiles, rows.index(2))
    assert not mask.any()
    assert np.abs(picture - 128).max() <= 2


def test_an_interrupted_page_keeps_the_previous_one(written, tmp_path, monkeypatch):
    before = written[0].read_bytes()

    def fails(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sheet, "thumbnail", fails)
    with pytest.raises(KeyboardInterrupt):
        write_sheet(written[0], judged(tmp_path, hostile()))
    assert written[0].read_bytes() == before
    assert not list(tmp_path.glob(".*.tmp"))


@needs_browser
def test_a_browser_pages_sorts_and_filters_without_an_error(written, tmp_path):
    path, data = written
    coverage = data.masks.mean((1, 2))
    order = numbers(facts_of(path)[0]["row"], "<u4").tolist()

    def shown(state: str) -> tuple[list[int], str]:
        page, complaints = browse(path, tmp_path / "profile", state)
        assert complaints == ""
        status = re.search(r'<span id="status"[^>]*>(.*?)</span>', page)
        assert status is not None
        rows = re.findall(r'data-row="(\d+)"', page)
        assert page.count("<canvas") == len(rows)
        return [int(row) for row in rows], status[1]

    assert shown("") == (order[:120], "of 3: masks 1 to 120 of 300")
    assert shown("page=3") == (order[240:], "of 3: masks 241 to 300 of 300")
    assert shown("page=99&sort=nonsense") == (order[240:], "of 3: masks 241 to 300 of 300")
    rows, _ = shown("sort=coverage&order=desc&page=2")
    assert np.array_equal(coverage[rows], np.sort(coverage)[::-1][120:240])
    assert shown("show=invalid&sort=row") == (list(range(0, 300, 3)), "of 1: masks 1 to 100 of 100")
    rows, _ = shown("class=2&sort=row&show=valid")
    assert rows == [row for row in range(300) if row % 4 == 2 and row % 3]
    assert shown("show=broken") == ([], "no such masks")
    small = f"reason-{Reason.TOO_SMALL.value}"
    assert shown(f"show={small}&sort=row") == (list(range(3, 300, 6)), "of 1: masks 1 to 50 of 50")
    page, _ = browse(path, tmp_path / "profile", f"show={small}")
    assert page.count("✗ too small") == 50


def test_a_page_of_invalid_masks_alone(tmp_path, monkeypatch):
    data = hostile(80)
    path = write_sheet(tmp_path / "part.html", judged(tmp_path, data), only_invalid=True)
    facts, _ = facts_of(path)
    assert sorted(numbers(facts["row"], "<u4")) == list(range(0, 80, 3))
    text = " ".join(re.sub(r"<[^>]*>", " ", path.read_text()).split())
    assert "53 of 80 masks are valid by the default rule. This page shows the others." in text
    assert "Reasons why 27 masks are not valid reason masks meaning too small 13 less than 1 % of the image" in text
    monkeypatch.setattr(sheet, "MAX_MASKS", 20)
    path = write_sheet(tmp_path / "fewer.html", judged(tmp_path, data), only_invalid=True)
    assert "Shown are 20" in path.read_text()


STEPS = """
const told = [], key = name => dispatchEvent(new KeyboardEvent("keydown", {key: name}));
const say = () => told.push([page, find("sheet").children.length, location.hash, find("large").open, enlarged]);
const pick = (id, value) => { find(id).value = value; find(id).dispatchEvent(new Event("change")); };
say(); key("ArrowLeft"); say(); key("ArrowRight"); say(); find("next").click(); say(); key("ArrowRight"); say();
pick("page", "2"); say(); pick("sort", "row"); say(); pick("order", "desc"); say(); pick("show", "invalid"); say();
pick("show", ""); find("sheet").children[119].firstChild.click(); say(); key("ArrowRight"); say(); find("large").close();
setTimeout(() => {
  say();
  const canvas = find("sheet").querySelectorAll("canvas")[0], image = find("sheet").querySelectorAll("img")[0];
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const pink = [];
  for (let p = 0; p < pixels.length; p += 4) pink.push(+(pixels[p] > pixels[p + 1] + 80));
  document.body.dataset.told = JSON.stringify([told, row[shown[120]], pink, image.naturalWidth]);
}, 500);
"""


@needs_browser
def test_keys_buttons_and_clicks_work(written, tmp_path):
    path, data = written
    text = path.read_text()
    assert text.count("recall();\n</script>") == 1
    path.write_text(text.replace("recall();\n</script>", f"recall();\n{STEPS}</script>"))
    page, complaints = browse(path, tmp_path / "profile")
    assert complaints == ""
    result = re.search(r'data-told="([^"]*)"', page)
    assert result is not None
    told, row, pink, width = json.loads(html.unescape(result[1]))
    assert told == [
        [0, 120, "", False, 0],
        [0, 120, "", False, 0],  # there is none before the first
        [1, 120, "#page=2", False, 0],
        [2, 60, "#page=3", False, 0],
        [2, 60, "#page=3", False, 0],
        [1, 120, "#page=2", False, 0],
        [0, 120, "#sort=row", False, 0],
        [0, 120, "#sort=row&order=desc", False, 0],
        [0, 100, "#sort=row&order=desc&show=invalid", False, 0],
        [0, 120, "#sort=row&order=desc", True, 119],
        [0, 120, "#sort=row&order=desc", True, 120],  # the next one is on another page ...
        [1, 120, "#sort=row&order=desc&page=2", False, 120],  # ... which is there when the large one is closed
    ]
    assert row == 299 - 120
    assert width == 14
    assert pink == data.masks[row].reshape(-1).astype(int).tolist()


class AllObject(BrightnessSource):
    """Source that finds an object everywhere, without decoding images."""

    needs_images = False

    def __call__(self, data, index):
        return Segmentation(torch.ones(len(index), 8, 8), None)


def test_a_sheet_reads_only_the_images_and_shards_that_it_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "ROWS_PER_SHARD", 8)
    monkeypatch.setattr(build, "MAX_SHARDS", 1000)
    draws = np.random.default_rng(0)
    for n in range(400):
        path = tmp_path / f"pictures/train/{'cat' if n % 2 else 'dog'}/{n:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draws.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    (tmp_path / "pictures/test").symlink_to(tmp_path / "pictures/train")
    data = load_data(f"folder:{tmp_path / 'pictures'}")
    store = build_masks(data, AllObject(), tmp_path / "store", refine="none", size=(8, 8))
    checked = replace(judge_store(store, data), masks=MaskStore(tmp_path / "store"))
    decoded, shards = [], set()
    decode, shard = Pictures.decode, MaskStore._shard
    monkeypatch.setattr(Pictures, "decode", lambda self, name: (decoded.append(name), decode(self, name))[1])
    monkeypatch.setattr(
        MaskStore, "_shard", lambda self, number, kind: (shards.add(number), shard(self, number, kind))[1]
    )
    sheet.draw_sheet(checked, count=6)
    rows = balanced_order(data.labels, data.fingerprint)[:6]
    assert isinstance(data.images, Pictures)
    assert sorted(decoded) == sorted(data.images.names[rows])
    assert shards == {row // 8 for row in rows.tolist()}
    assert store.manifest.shard_count == 50
