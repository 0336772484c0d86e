"""The contact sheet as a page: what is in the file, and what a browser makes of it."""

import base64
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smix import load_data
from smix.data.sets import ImageSet
from smix.masks import build_masks, load_source
from smix.report.sheet import write_sheet
from tests.conftest import make_set
from tests.masks.stores import Drawn

CHROMIUM = shutil.which("chromium")
HOSTILE = ("</script><script>alert(1)</script>", "<!--", 'a "quoted" & <b>bold</b>', "plain")


def hostile(count: int = 300) -> ImageSet:
    made = make_set(count)
    return ImageSet(made.images, made.labels, HOSTILE, made.masks, name="made", split="train")


@pytest.fixture
def written(tmp_path) -> tuple[Path, ImageSet]:
    data = hostile()
    store = build_masks(data, load_source("carried"), tmp_path / "store", refine="none")
    rows = np.arange(300)[::-1]
    path = write_sheet(
        tmp_path / "sheet.html",
        store,
        data,
        rows,
        rows % 3 > 0,
        "<Masks> & more",
        "200 are valid.",
        [("valid", "67 %")],
    )
    return path, data


def facts_of(text: str) -> tuple[dict, str]:
    tiles = re.search(r'<script type="text/plain" id="tiles">(.*?)</script>', text, re.DOTALL)
    facts = re.search(r'<script type="application/json" id="facts">(.*?)</script>', text, re.DOTALL)
    assert tiles is not None
    assert facts is not None
    return json.loads(facts[1]), tiles[1]


def numbers(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def test_each_tile_is_the_images_own_picture_and_mask(written):
    path, data = written
    facts, tiles = facts_of(path.read_text())
    begins = numbers(facts["at"], "<u4")
    assert begins[-1] == len(tiles.rstrip("\n"))
    assert numbers(facts["row"], "<u4").tolist() == list(range(299, -1, -1))
    assert numbers(facts["label"], "<u4").tolist() == data.labels[::-1].tolist()
    assert np.allclose(numbers(facts["coverage"], "<f4"), data.masks[::-1].mean((1, 2)))
    assert numbers(facts["flags"], "u1").tolist() == [int(row % 3 > 0) for row in range(299, -1, -1)]
    assert facts["classes"] == list(HOSTILE)
    for place in (0, 150, 299):
        text = tiles[begins[place] : begins[place + 1]]
        bits = base64.b64decode(text[:24])  # 140 pixels: 18 bytes
        mask = np.unpackbits(np.frombuffer(bits, np.uint8), count=140).reshape(10, 14)
        assert np.array_equal(mask, data.masks[299 - place])
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(text[24:]))).convert("RGB")).astype(int)
        assert np.abs(picture - data.images[299 - place]).mean() < 25


def test_the_page_asks_for_nothing_and_names_are_no_code(written):
    text = written[0].read_text()
    assert not re.search(r"(?:src|href)\s*=", text.replace('image.src = "data:', ""))
    assert "http://" not in text
    assert "https://" not in text
    assert "<script>alert" not in text
    assert "&lt;Masks&gt; &amp; more" in text


def test_the_same_store_gives_the_same_bytes(written, tmp_path):
    before = written[0].read_bytes()
    data = hostile()
    store = build_masks(data, load_source("carried"), tmp_path / "store", refine="none")
    rows = np.arange(300)[::-1]
    write_sheet(
        tmp_path / "sheet.html",
        store,
        data,
        rows,
        rows % 3 > 0,
        "<Masks> & more",
        "200 are valid.",
        [("valid", "67 %")],
    )
    assert written[0].read_bytes() == before


def test_images_of_any_size_are_small_and_broken_ones_grey_with_the_reason(tmp_path):
    for number, size in enumerate([(200, 300), (40, 30), (90, 90)]):
        path = tmp_path / "set/train/a" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((*size, 3), 80, np.uint8)).save(path)
    (tmp_path / "set/train/a/2.png").write_bytes(b"none")
    (tmp_path / "set/test").mkdir()
    data = load_data(f"folder:{tmp_path / 'set'}")

    class Half(Drawn):
        def __call__(self, data, index):
            return load_source("carried")(make_set(8), index)

    store = build_masks(data, Half(), tmp_path / "store", refine="none")
    path = write_sheet(tmp_path / "sheet.html", store, data, np.arange(3), np.ones(3, bool), "t", "a", [])
    facts, _ = facts_of(path.read_text())
    assert numbers(facts["high"], "u1").tolist() == [43, 40, 64]
    assert numbers(facts["wide"], "u1").tolist() == [64, 30, 64]
    assert numbers(facts["flags"], "u1")[2] & 2
    assert facts["broken"]["2"].startswith("a/2: ")


def browse(path: Path, state: str, profile: Path) -> tuple[str, str]:
    """The page as the browser shows it after its scripts ran, and what it had to complain about."""
    assert CHROMIUM is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0"]
    done = subprocess.run(
        [
            CHROMIUM,
            *flags,
            f"--user-data-dir={profile}",
            "--virtual-time-budget=5000",
            "--dump-dom",
            f"file://{path}#{state}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_a_browser_pages_sorts_and_filters_without_an_error(written, tmp_path):
    path, data = written
    coverage = data.masks.mean((1, 2))

    def shown(state: str) -> tuple[list[int], str]:
        page, complaints = browse(path, state, tmp_path / "profile")
        assert complaints == ""
        status = re.search(r'<span id="page"[^>]*>(.*?)</span>', page)
        assert status is not None
        rows = re.findall(r'aria-label="Enlarge row (\d+)"', page)
        assert page.count("<canvas") == len(rows)
        return [int(row) for row in rows], status[1]

    assert shown("") == (list(range(299, 179, -1)), "1 to 120 of 300")
    assert shown("page=3") == (list(range(59, -1, -1)), "241 to 300 of 300")
    rows, _ = shown("sort=coverage&down=1")
    assert np.array_equal(coverage[rows], np.sort(coverage)[::-1][:120])
    rows, status = shown("verdict=bad&sort=row")
    assert (rows, status) == (list(range(0, 300, 3)), "1 to 100 of 100")
    rows, status = shown("label=2&sort=row&verdict=good")
    assert rows == [row for row in range(300) if row % 4 == 2 and row % 3]
    assert shown("verdict=broken") == ([], "none")
