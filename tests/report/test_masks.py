import numpy as np
import pytest

from smix.errors import MaskError
from smix.masks import build_masks, load_source
from smix.report import masks as report
from smix.report.judge import check
from smix.report.mask_figures import contact_sheet, coverage_chart, valid_chart
from tests.conftest import make_set

COVERED = [0.0, 0.0, 0.005, 0.1, 0.3, 0.5, 0.97, 1.0]


@pytest.fixture
def data():
    """40 images of 20 x 20 whose masks cover what `COVERED` says, in turn."""
    made = make_set(40, size=(20, 20))
    drawn = np.zeros((40, 400), bool)
    for row in range(40):
        drawn[row, : round(400 * COVERED[row % 8])] = True
    return type(made)(
        made.images, made.labels, made.classes, drawn.reshape(40, 20, 20), name="npz:/somewhere/made.npz", split="train"
    )


@pytest.fixture
def store(data, tmp_path):
    return build_masks(data, load_source("carried"), tmp_path / "store", refine="none", limit=32)


def test_three_criteria_side_by_side(store):
    checked = check(store, "made")
    covered = np.array(COVERED)[checked.rows % 8]
    covered[covered == 0.005] = 2 / 400
    assert len(checked.rows) == 32
    assert checked.share("figure14") == pytest.approx(100 * (covered >= 0.01).mean())
    # The masks are bands from the top: those of 0.5 touch more than three quarters of the border's part ...
    assert checked.share("default") < checked.share("figure14")
    assert set(np.flatnonzero(checked.valid["default"])) <= set(np.flatnonzero((covered >= 0.01) & (covered <= 0.95)))
    # 0.5 nats of entropy are a coverage of 20.0 to 80.0 %.
    assert checked.share("published") == pytest.approx(100 * ((covered > 0.2) & (covered < 0.8)).mean())


def test_only_masks_that_are_built_are_judged(store, data):
    checked = check(store, "made")
    assert set(checked.rows) == set(data.take(32).index)
    cells = [next(iter(column.cells)) for column in report.check_table([checked]).columns]
    assert cells[1] == "32 of 40"


def test_the_chart_has_a_valid_and_an_invalid_bar_for_each_store(store):
    checked = check(store, "made")
    figure = valid_chart([checked, checked])
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == pytest.approx([checked.share("figure14")] * 2 + [100 - checked.share("figure14")] * 2)


def test_the_contact_sheet_shows_images_with_their_own_masks_in_pink(store, data):
    figure = contact_sheet(data, check(store, "made"), count=6)
    assert len(figure.axes) == 6
    assert data.masks is not None
    order = [row for row in data.take(32).index if store.built[row]]
    for axes, row in zip(figure.axes, order, strict=False):
        shown = axes.images[0].get_array()
        assert (shown[:, :20] == data.images[row]).all()
        assert ((shown[:, 20:] != data.images[row]).any(-1) == data.masks[row]).all()
    notes = [text.get_text() for text in figure.texts[1:]]
    assert all(
        ("✗" in note) != bool(check(store, "made").valid["default"][list(check(store, "made").rows).index(row)])
        for note, row in zip(notes, order, strict=False)
    )


def test_the_histogram_counts_every_mask_once(store):
    checked = check(store, "made")
    figure = coverage_chart([checked, checked])
    assert len(figure.axes) == 2
    counted = sum(bar.get_height() for bar in figure.axes[0].patches)
    assert counted == len(checked.rows)
    good = sum(bar.get_height() for bar in figure.axes[0].patches[:50])
    assert good == checked.valid["default"].sum()


def test_each_class_has_its_shares_and_many_classes_are_shortened(store, data):
    checked = check(store, "made")
    table = report.class_table(checked, data)
    assert list(table.columns[0].cells) == list(data.classes)
    assert [int(cell) for cell in table.columns[1].cells] == [8] * 4
    for label in range(4):
        mine = data.labels[checked.rows] == label
        expected = 100 * checked.valid["default"][mine].mean()
        assert float(list(table.columns[-1].cells)[label]) == pytest.approx(expected, abs=0.05)
    many = type(data)(
        data.images, np.arange(40), tuple(f"c{place}" for place in range(40)), data.masks, name="many", split="train"
    )
    assert len(list(report.class_table(checked, many).columns[0].cells)) == 20


def test_memory_does_not_grow_with_the_store(store, monkeypatch):
    """Masks are read a few at a time, and judged as if they were read at once."""
    whole = check(store, "made")
    asked = []
    monkeypatch.setattr("smix.report.judge.BATCH", 5)
    real = type(store).__getitem__
    monkeypatch.setattr(type(store), "__getitem__", lambda self, rows: asked.append(len(rows)) or real(self, rows))
    parts = check(store, "made")
    assert max(asked) == 5
    assert all(np.array_equal(parts.valid[key], whole.valid[key]) for key in whole.valid)


def test_names_without_the_path(store):
    assert report.short_name(store) == "made train"


def test_a_broken_store_is_found(store):
    shard = store.path / store.manifest.shards[0]["file"]
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x55")
    with pytest.raises(MaskError, match="sha256"):
        check(store, "made")
