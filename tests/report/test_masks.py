import csv
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from rich.console import Console

from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks import MaskStore, build_masks, controls, load_source
from smix.masks.criteria import StoreValidity
from smix.mixing import Validity
from smix.report import mask_check, mask_reasons, masks, sheet
from smix.report.mask_check import INVALID, VALID, draw_coverage, draw_valid
from smix.report.masks import ClassShares, JudgedMasks, judge_carried, judge_store
from smix.report.sheet import draw_invalid, draw_sheet
from smix.report.table import terminal
from tests.conftest import make_set, write_npz
from tests.masks.stores import BrightnessSource
from tests.report.pictures import assert_readable, texts_of

COVERED = [0.0, 0.0, 0.005, 0.1, 0.3, 0.5, 0.97, 1.0]
"""By bands from the top of the image; those of 0.5 are chessboards, which only the default rule calls invalid."""
GOOD = {
    "figure14": [False, False, False, True, True, True, True, True],
    "published": [False, False, False, False, True, True, False, False],  # 0.5 nats: 20.0 to 80.0 %
    "default": [False, False, False, True, True, False, False, False],
}
WHY = ["empty", "empty", "too small", "valid", "valid", "too rough", "covers nearly all", "covers nearly all"]


@pytest.fixture
def data():
    """Return 40 images of 20 x 20 pixels whose masks cover the shares in `COVERED`, in turn."""
    made = make_set(40, size=(20, 20))
    drawn = np.zeros((40, 400), bool)
    for row in range(40):
        drawn[row, : round(400 * COVERED[row % 8])] = True
    drawn[5::8] = (np.indices((20, 20)).sum(0) % 2 == 0).reshape(400)
    return type(made)(
        made.images, made.labels, made.classes, drawn.reshape(40, 20, 20), name="npz:/somewhere/made.npz", split="train"
    )


@pytest.fixture
def store(data, tmp_path):
    return build_masks(data, load_source("carried"), tmp_path / "store", refine="none", limit=32)


def none_of(data, store) -> JudgedMasks:
    """Return the judged masks of an empty store."""
    nothing = np.zeros(0, np.float32)
    return JudgedMasks("made", data, store, np.zeros(0, np.int64), nothing, nothing, dict.fromkeys(GOOD, nothing > 0))


def rendered(*parts: object, width: int = 80) -> str:
    console = Console(width=width, highlight=False)
    with console.capture() as capture:
        for part in parts:
            console.print(part, markup=False)
    return capture.get()


def test_three_criteria_side_by_side(store, data):
    checked = judge_store(store, data, "made")
    assert len(checked.rows) == 32
    assert checked.valid.keys() == GOOD.keys()
    for criterion, good in GOOD.items():
        assert checked.valid[criterion].tolist() == [good[row % 8] for row in checked.rows]
        assert checked.share(criterion) == pytest.approx(100 * np.mean([good[row % 8] for row in checked.rows]))


def test_broken_masks_are_valid_by_no_rule(data, tmp_path, monkeypatch):
    class HalfBroken(BrightnessSource):
        def __call__(self, data, index):
            result = super().__call__(data, index)
            result.object[data.index[index] % 2 == 0] = np.nan
            return result

    anything = StoreValidity(Validity(0, 1, max_roughness=0, min_free_border=0))
    monkeypatch.setattr(masks, "CRITERIA", {"anything": anything})
    checked = judge_store(build_masks(data, HalfBroken(), tmp_path / "half", refine="none", limit=3), data)
    assert (checked.valid["anything"] == (checked.coverage > 0)).all()
    assert not checked.valid["anything"][checked.rows % 2 == 0].any()


def test_only_masks_that_are_built_are_judged(store, data):
    checked = judge_store(store, data, "made")
    assert set(checked.rows) == set(data.take(32).index)
    assert "32 of 40" in rendered(terminal(mask_check.check_table([checked])))


def test_masks_are_read_a_few_at_a_time(store, data, monkeypatch):
    complete = judge_store(store, data, "made")
    asked = []
    monkeypatch.setattr(masks, "PIXELS", 5 * 400 + 399)
    real = MaskStore.__getitem__
    monkeypatch.setattr(MaskStore, "__getitem__", lambda self, rows: asked.append(len(rows)) or real(self, rows))
    parts = judge_store(store, data, "made")
    assert asked == [5] * 6 + [2]
    assert all(np.array_equal(parts.valid[key], complete.valid[key]) for key in complete.valid)
    monkeypatch.setattr(masks, "PIXELS", 1)
    assert all(
        np.array_equal(judge_store(store, data, "made").valid[key], complete.valid[key]) for key in complete.valid
    )


def test_each_class_has_its_shares(store, data):
    checked = judge_store(store, data, "made")
    result = checked.by_class()
    assert [one.name for one in result] == list(data.classes)
    assert [one.masks for one in result] == [8] * 4
    for label, one in enumerate(result):  # 4 classes: the masks of a class cover COVERED[label] and COVERED[label + 4]
        mine = checked.rows[data.labels[checked.rows] == label] % 8
        assert set(mine) == {label, label + 4}
        assert one.coverage == pytest.approx(100 * data.masks[:8][mine].mean())
        assert one.valid == {
            key: pytest.approx(100 * np.mean([good[kind] for kind in mine])) for key, good in GOOD.items()
        }


def test_classes_without_masks_are_left_out(data, tmp_path):
    labels = np.where(np.arange(40) < 39, 2, 0)
    lone = type(data)(data.images, labels, ("a", "b", "c"), data.masks, name="lone", split="train")
    store = build_masks(lone, load_source("carried"), tmp_path / "lone", refine="none", limit=1)
    (result,) = judge_store(store, lone).by_class()
    assert (result.name, result.masks) == (lone.classes[lone.labels[judge_store(store, lone).rows[0]]], 1)


def test_of_many_classes_those_with_the_lowest_and_the_highest_share():
    shares = np.random.default_rng(0).permutation(41).astype(float)
    classes = [ClassShares(f"c{share:.0f}", 1, 0.0, dict.fromkeys(GOOD, share)) for share in shares]
    names = [row[0].text for row in mask_check.class_table("made", classes).rows]
    assert names == [f"c{place}" for place in (*range(10), *range(31, 41))]
    few = [row[0].text for row in mask_check.class_table("made", classes[:20]).rows]
    assert few == [one.name for one in classes[:20]]


def test_tables_fit_a_terminal_of_80_columns_without_cutting_words(store, data):
    checked = judge_store(store, data, "made")
    text = rendered(
        *map(terminal, (mask_check.check_table([checked]), mask_check.class_table("made", checked.by_class())))
    )
    assert max(map(len, text.splitlines())) <= 80
    for word in ("coverage", "figure14", "published", "default", "Empty"):
        assert word in text


def test_names_are_neither_markup_nor_terminal_control_sequences():
    hostile = ClassShares("[red]a[/blue]\x1b[2J\n", 1, 0.0, dict.fromkeys(GOOD, 0.0))
    text = rendered(terminal(mask_check.class_table("[/b]", [hostile])), width=120)
    assert "[/b]" in text
    assert "[red]a[/blue]\ufffd[2J" in text


def test_the_chart_has_a_valid_and_an_invalid_bar_for_each_store(store, data):
    checked = judge_store(store, data, "$made$ <of> a name that is too long for a line")
    figure = draw_valid([checked, checked])
    assert_readable(figure)
    bars = [(bar.get_width(), to_hex(bar.get_facecolor()).upper()) for bar in figure.axes[0].patches]
    share = checked.share("figure14")
    assert bars == [(pytest.approx(share), VALID), (pytest.approx(100 - share), INVALID)] * 2
    assert {"valid", "invalid", f"{share:.1f} %", f"{100 - share:.1f} %", "$made$ <of> a name"} <= set(texts_of(figure))


@pytest.mark.slow
def test_the_histogram_has_every_mask_but_the_empty_ones(store, data):
    checked = judge_store(store, data, "made")
    figure = draw_coverage([checked, checked])
    assert_readable(figure)
    assert len(figure.axes) == 2
    bars = figure.axes[1].patches
    empty = (checked.coverage == 0).mean()
    assert sum(bar.get_height() for bar in bars) == pytest.approx(100 * (1 - empty))
    assert sum(bar.get_height() for bar in bars[:100]) == pytest.approx(checked.share("default"))
    assert {"made: 32 masks", f"{100 * empty:.1f} % of them empty (not drawn)"} <= set(texts_of(figure))
    assert sorted(line.get_xdata()[0] for line in figure.axes[1].lines) == [1, 95]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()


def test_the_contact_sheet_shows_images_with_their_own_masks_in_pink(store, data):
    checked = judge_store(store, data, "made")
    figure = draw_sheet(checked, 6)
    assert_readable(figure)
    assert len(figure.axes) == 6
    order = [row for row in data.take(32).index if store.built[row]][:6]
    notes = [text for text in texts_of(figure) if re.match(r"[\d.]+ %", text)]
    for axes, row, note in zip(figure.axes, order, notes, strict=True):
        shown = axes.images[0].get_array()
        assert (shown[:, :20] == data.images[row]).all()
        assert ((shown[:, 20:] != data.images[row]).any(-1) == data.masks[row]).all()
        assert note == f"{100 * COVERED[row % 8]:.1f} %, {data.classes[data.labels[row]]}"
    reasons = [text.removeprefix("✗ ") for text in texts_of(figure) if text.startswith("✗ ")]
    assert reasons == [WHY[row % 8] for row in order if WHY[row % 8] != "valid"]


def test_pages_of_invalid_masks_show_all_of_them_sorted_by_reason(store, data, monkeypatch):
    checked = judge_store(store, data, "made")
    wrong = [row for row in checked.rows.tolist() if WHY[row % 8] != "valid"]
    monkeypatch.setattr(sheet, "PICTURED", 10)
    pages = list(draw_invalid(checked))
    assert len(pages) == -(-len(wrong) // 10)
    assert_readable(pages[0])
    captions = [text for page in pages for text in texts_of(page) if text.startswith("✗ ")]
    order = ["empty", "too small", "covers nearly all", "too rough"]
    assert captions == [f"✗ {why}" for why in sorted((WHY[row % 8] for row in wrong), key=order.index)]
    assert any(
        f"Page 1 of {len(pages)}: {len(wrong)} masks are not valid" in text.replace("\n", " ")
        for text in texts_of(pages[0])
    )
    monkeypatch.setattr(sheet, "PAGES", 1)
    assert len(list(draw_invalid(checked))) == 1


def test_every_invalid_mask_has_its_reason_on_the_terminal_and_in_a_file(store, data):
    checked = judge_store(store, data, "made")
    counts = Counter(WHY[row % 8] for row in checked.rows.tolist() if WHY[row % 8] != "valid")
    assert {reason.text: count for reason, count in checked.reason_counts().items()} == counts
    text = rendered(*mask_reasons.reason_lines(checked), width=200)
    assert re.search(
        rf"too small: less than 1 % of the image +{counts['too small']} +{100 * counts['too small'] / 32:.1f}", text
    )
    rows = mask_reasons.invalid_table([checked]).rows
    assert {int(row[1].text): row[4].text for row in rows} == {
        row: WHY[row % 8] for row in checked.rows.tolist() if WHY[row % 8] != "valid"
    }
    assert mask_reasons.reason_lines(none_of(data, store)) == []


def test_the_share_that_passes_stands_next_to_controls(store, data, monkeypatch):
    checked = judge_store(store, data, "made")
    monkeypatch.setattr(controls, "MIN_MASKS", 4)
    (table,) = mask_reasons.control_lines(checked)[:1]
    text = rendered(table, width=200)
    for name in ("these masks", "masks of other images", "the mean mask", "shuffled pixels"):
        assert name in text
    assert mask_reasons.control_lines(none_of(data, store)) == []


def test_masks_that_do_no_better_than_those_of_other_images_are_warned_of(tmp_path):
    photographs = make_set(60, size=(20, 20))
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:20, :20]
    centres, radii = rng.uniform(6, 14, (2, 60)), rng.uniform(3, 6, 60)
    discs = np.stack([np.hypot(y - a, x - b) < r for a, b, r in zip(*centres, radii, strict=True)])
    images = rng.integers(0, 120, (60, 20, 20, 3)) + 100 * discs[..., None]
    values = {"classes": photographs.classes, "name": "made", "split": "train"}
    for drawn, warned in ((discs, False), (np.roll(discs, 1, 0), True)):
        data = ImageSet(images.astype(np.uint8), photographs.labels, masks=drawn, **values)
        store = build_masks(data, load_source("carried"), tmp_path / str(warned), refine="none")
        text = " ".join(rendered(*mask_reasons.control_lines(judge_store(store, data, "made")), width=200).split())
        assert (
            "Warning: the masks of made follow their images no better than masks of other images do (" in text
        ) == warned
        summary = mask_check.build_summary(store)[0]
        assert "60 masks of made train, 100.0 % pass the criteria, mean coverage" in summary


def test_images_without_edges_are_named_and_the_masks_are_not_warned_of(tmp_path, recwarn, monkeypatch):
    masks = np.zeros((40, 60, 90), bool)
    masks[:, 15:45, 20:60] = True
    data = replace(make_set(40, size=(60, 90)), images=np.full((40, 60, 90, 3), 90, np.uint8), masks=masks)
    store = build_masks(data, load_source("carried"), tmp_path / "store", refine="none")
    monkeypatch.setattr(controls, "LONGEST_SIDE", 30)
    sizes = []

    def compare(images, masks, criteria):
        sizes.extend([images.shape[1:3], masks.shape[1:]])
        return controls.compare_with_controls(images, masks, criteria)

    monkeypatch.setattr(mask_reasons, "compare_with_controls", compare)
    text = " ".join(rendered(*mask_reasons.control_lines(judge_store(store, data, "made")), width=200).split())
    assert "The masks of made cannot be compared with controls: the images have no edges" in text
    assert "Warning" not in text
    assert not recwarn.list
    assert sizes == [(20, 30)] * 2


def test_a_store_in_which_hardly_any_mask_passes_is_warned_of(tmp_path):
    """A network with random weights usually calls every pixel object."""
    data = replace(make_set(40), masks=np.ones((40, *make_set(1).size), bool))
    store = build_masks(data, load_source("carried"), tmp_path / "store", refine="none")
    text = " ".join(rendered(*mask_reasons.control_lines(judge_store(store, data, "made")), width=200).split())
    assert "Warning: 0 of 40 masks of made pass the criteria, too few to compare" in text
    line, reasons = mask_check.build_summary(store)
    assert "40 masks of made train, 0.0 % pass the criteria" in line
    assert reasons == "Not valid: covers nearly all 40"


@pytest.mark.slow
def test_charts_of_a_store_without_masks_are_empty_and_can_be_read(store, data):
    none = none_of(data, store)
    assert_readable(draw_coverage([none]))
    assert_readable(draw_sheet(none))
    assert_readable(draw_valid([none]))


@pytest.mark.slow
def test_check_writes_every_file_and_names_broken_masks(tmp_path):
    train = make_set(40, size=(12, 8), classes=2)
    data = type(train)(train.images, train.labels, ('</b>, "x"', "[/y]"), train.masks, name="m", split="train")
    name = f"npz:{write_npz(tmp_path / 'made.npz', data, data)}"

    class NoMask(BrightnessSource):
        def __call__(self, data, index):
            result = super().__call__(data, index)
            result.object[data.index[index] == 7] = np.nan
            return result

    from smix import load_data

    store = build_masks(load_data(name), NoMask(), tmp_path / "s", refine="none")
    lines, files = mask_check.write_check([store.path], None, None, tmp_path)
    folder = tmp_path / "s-check"
    assert sorted(files) == sorted(folder.iterdir())
    assert {file.name for file in files} == {
        *("valid.png", "coverage.png", "classes.csv", "invalid.csv"),
        *("contact-sheet-made-train.png", "contact-sheet-made-train.html"),
    }
    text = rendered(*lines)
    assert "1 image has no mask" in text
    invalid = list(csv.reader((folder / "invalid.csv").read_text().splitlines()))
    assert [row[1:3] + row[4:] for row in invalid if row[1] == "7"] == [
        ["7", "000007", "unusable", "000007: the output of the source is not finite"]
    ]
    _, files = mask_check.write_check([store.path], None, tmp_path / "only", tmp_path, only_invalid=True)
    assert {file.name for file in files} == {
        *("valid.png", "coverage.png", "classes.csv", "invalid.csv"),
        *("invalid-made-train-01.png", "invalid-made-train.html"),
    }
    assert "000007: the output of the source is not finite" in text
    with (folder / "classes.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert [row[1] for row in rows] == ["Class", '</b>, "x"', "[/y]"]
    result = judge_store(store, data).by_class()
    assert [[float(value) for value in (row[2], *row[4:])] for row in rows[1:]] == [
        [one.masks, *one.valid.values()] for one in result
    ]


def test_stores_whose_names_would_be_one_file_get_two():
    pair = ["a b", "a/b"]
    assert mask_check._file_names(pair) == ["a-b-1", "a-b-2"]
    assert mask_check._file_names(pair[:1]) == ["a-b"]


def test_names_without_the_path(store, data):
    assert judge_store(store, data).name == "made train"


def test_carried_masks_are_judged_like_those_of_a_store(store, data):
    """The store of the fixture holds the same class-balanced part of the masks as the data set."""
    carried, stored = judge_carried(data, 32), judge_store(store, data)
    assert carried.name == stored.name
    assert (carried.rows == stored.rows).all()
    assert carried.coverage == pytest.approx(stored.coverage)
    assert all((carried.valid[criterion] == stored.valid[criterion]).all() for criterion in GOOD)
    assert carried.by_class() == stored.by_class()
    without = type(data)(data.images, data.labels, data.classes, name="without", split="train")
    with pytest.raises(MaskError, match="expected a data set with masks"):
        judge_carried(without)


def test_a_broken_store_is_reported(store, data):
    shard = store.path / "shard-00000.npy"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x55")
    with pytest.raises(MaskError, match="damaged files: shard-00000"):
        judge_store(store, data, "made")
