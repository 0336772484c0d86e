"""Test the HTML of a report without a browser."""

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree.ElementTree import ParseError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smix.report import page as page_module
from smix.report.page import LONG_TABLE, Chapter, Page, Part, Section, write_page
from smix.report.table import Cell, Table, number
from tests.report.pages import HOSTILE, METHODS, PAGES, picture, png, small_page, svg

VOID = {"meta", "link", "img", "br", "input", "hr"}
CODE = ("script", "style")
INLINE = ("a", "b", "bdi", "span")
"""What is around it is the same word."""


class Reader(HTMLParser):
    """Parse a well-formed page into elements, attributes and visible text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(path.read_text())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {tag}"
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag not in INLINE:
            self.texts.append(" ")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in CODE:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    def values(self, name: str) -> list[str]:
        return [values[name] for _, values in self.elements if name in values]

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    return {name: write_page(folder / f"{name}.html", make()) for name, make in PAGES.items()}


@pytest.fixture(params=PAGES)
def path(request, written) -> Path:
    return written[request.param]


@pytest.mark.slow
def test_the_page_makes_no_requests(path):
    reader = Reader(path)
    text = path.read_text()
    links = [value for value in reader.values("href") if not value.startswith("#")]
    assert links[0] == "data:,"
    # Nothing but files beside the page: neither another scheme nor another machine, and nothing that is loaded by itself.
    assert all(re.fullmatch(r"\./[\w.~%/-]*", link) for link in links[1:])
    assert all(value.startswith("data:image/png;base64,") for value in reader.values("src"))
    assert not {"srcset", "data", "poster", "action", "background", "formaction"} & {
        name for _, values in reader.elements for name in values
    }
    assert not {"iframe", "object", "embed", "audio", "video", "base", "foreignobject"} & {
        tag for tag, _ in reader.elements
    }
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    assert "@import" not in text
    assert "http:" not in text
    assert "https:" not in text
    assert "default-src 'none'" in reader.values("content")[1]


def test_ids_are_unique_and_links_resolve(path):
    reader = Reader(path)
    ids = reader.values("id")
    assert len(set(ids)) == len(ids)
    assert {value[1:] for value in reader.values("href") if value.startswith("#")} <= set(ids)
    assert set(re.findall(r"url\(#([^)]*)\)", path.read_text())) <= set(ids)


def test_headings_are_in_order(path):
    levels = [int(tag[1]) for tag, _ in Reader(path).elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_tables_and_figures_are_labelled(path):
    reader = Reader(path)
    assert all("lang" in values for tag, values in reader.elements if tag == "html")
    assert all(values["scope"] in ("row", "col") for tag, values in reader.elements if tag == "th")
    assert all(values["alt"] is not None for tag, values in reader.elements if tag == "img")
    assert all(values["role"] == "img" and "aria-label" in values for tag, values in reader.elements if tag == "svg")
    assert reader.count("caption") == reader.count("table")
    assert reader.count("figcaption") == reader.count("figure") == reader.count("svg") + reader.count("img")


def test_hostile_names_are_escaped(written):
    text = written["hostile"].read_text()
    reader = Reader(written["hostile"])
    assert text.count("<script") == text.count("</script>") == 1
    assert text.count("<style") == text.count("</style>") == 1
    assert "<!--" not in text
    assert not {"b", "bdi", "a"} & {tag for tag, values in reader.elements if "onerror" in values}
    assert not any(name.startswith("on") for _, values in reader.elements for name in values)
    for name in HOSTILE[:6] + HOSTILE[8:12]:
        assert " ".join(name.split()) in reader.text
    # What would turn the writing, or end the text, is shown as a sign that nobody knows.
    assert not set("\u202e\u2066\x00\ud800") & set(text)
    assert "evil\ufffdgnp.exe\ufffd" in reader.text
    assert "\ufffd" in reader.text


def test_one_comparison_begins_with_the_answer_and_missing_runs(written):
    reader = Reader(written["small"])
    text = reader.text
    assert text.startswith(
        "Comparison on cifar10 Comparison on cifar10 fmix wins by 1.2 points. Over five seeds. "
        "Accuracy of fmix 94.83 % 95 % interval 94.5 to 95.2 % Runs 15 Not in this report "
        "cifar10/smix-1, cifar10/smix-2: expected a finished run, got 3 of 60 epochs; start it again "
        "cifar10/old: expected numbers, got NaN Accuracy Every run Config Accuracy On the test split."
    )
    assert text.endswith("Made by smix. Close")
    assert reader.values("id")[:3] == ["missing", "contents", "accuracy"]
    assert {"accuracy", "accuracy.accuracy", "accuracy.lines", "accuracy.lines-2", "runs.runs"} <= set(
        reader.values("id")
    )


def test_several_comparisons_begin_with_answer_and_overview(written):
    reader = Reader(written["large"])
    assert "Thirteen methods fmix wins on all three. Methods and data sets Method CIFAR-10" in reader.text
    assert "fmix wins on CIFAR-10. CIFAR-100 fmix wins on CIFAR-100. Tiny ImageNet fmix wins" in reader.text
    assert "Not in this report" not in reader.text
    assert {"overview", "cifar-10", "cifar-10.accuracy", "tiny-imagenet.pairs.pairs"} <= set(reader.values("id"))
    assert all(reader.text.count(method) > 3 for method in METHODS)


def test_long_sections_are_folded(written):
    assert Reader(written["small"]).count("details") == 2


@pytest.mark.parametrize(("rows", "folded"), [(LONG_TABLE, 0), (200, 1)])
def test_long_tables_are_folded(tmp_path, rows, folded):
    table = Table(
        "ece", "ECE of each class", ("Class", "mixup"), tuple((Cell(f"c{n}"), number(n)) for n in range(rows))
    )
    page = Page("Classes", [Chapter("a", "A", "An answer.", sections=[Section("s", "S", "", [Part(table)])])])
    reader = Reader(write_page(tmp_path / "page.html", page))
    assert reader.count("details") == reader.count("summary") == folded
    assert reader.count("tr") == rows + 1
    assert ("ECE of each class: 200 rows" in reader.text) == bool(folded)


def cells_of(path: Path, table: int = 0) -> list[list[tuple[str, str | None, str]]]:
    """Return, for each row of a table, the inner HTML, the sort value and the class of each cell."""
    body = re.findall(r"<tbody>(.*?)</tbody>", path.read_text(), re.DOTALL)[table]
    rows = []
    for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL):
        result = re.findall(r"<t[hd]([^>]*)>(.*?)</t[hd]>", row)
        values = [(re.search('data-value="([^"]*)"', one), re.search('class="([^"]*)"', one)) for one, _ in result]
        rows.append([(inner, v and v[1], c[1]) for (_, inner), (v, c) in zip(result, values, strict=True) if c])
    return rows


def test_cells_have_full_values_and_unknown_ones_none(written):
    cells = cells_of(written["small"])
    assert cells[0] == [
        *(("vanilla", None, "name"), ("89.96", "89.96", "number"), ("0.27", "0.27", "number")),
        *(("worse", None, "text"), ("3", "3.0", "number")),
    ]
    assert cells[1][2] == ('<span class="soft">not enough runs</span>', None, "number")
    assert cells[2][3] == ('<span class="soft">-</span>', None, "text")
    assert cells[3][1] == ("94.83", "94.83", "number best")
    assert cells[5][2][1] == "1e-07"


def test_one_run_shows_its_mean_and_a_soft_note(tmp_path):
    row = (Cell("a", best=True), Cell("62.32 (not enough runs)", 62.3215), Cell("nan", float("nan")), Cell("y" * 40))
    table = Table("t", "T", ("Method", "Mean", "None", "Words"), (row,))
    path = write_page(
        tmp_path / "page.html", Page("P", [Chapter("c", "C", "A.", sections=[Section("s", "S", "", [Part(table)])])])
    )
    assert cells_of(path) == [
        [
            ("a", None, "name best"),
            ('62.32 (<span class="soft">not enough runs</span>)', "62.3215", "number"),
            ("nan", None, "text"),
            ("y" * 40, None, "prose"),
        ]
    ]


def test_photographs_have_the_size_that_their_resolution_gives(tmp_path):
    pictures = [
        picture("a", "A.", image=png(700, 35, dpi=120)),
        picture("b", "B.", image=png(700, 35)),
    ]
    path = write_page(
        tmp_path / "page.html", Page("P", [Chapter("c", "C", "A.", sections=[Section("s", "S", "", pictures)])])
    )
    images = [values for tag, values in Reader(path).elements if tag == "img"]
    assert [(one["width"], one["height"]) for one in images] == [
        ("560", "28"),
        ("700", "35"),
    ]


def test_a_failed_page_keeps_the_previous_one(tmp_path):
    path = write_page(tmp_path / "page.html", small_page())
    before = path.read_bytes()
    broken = picture("b", "B.", image=svg().replace("</svg>", ""))
    with pytest.raises(ParseError):
        write_page(path, Page("P", [Chapter("c", "C", "A.", sections=[Section("s", "S", "", [broken])])]))
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]


@given(st.lists(st.text(max_size=8) | st.sampled_from(["a", "a-2", "A", "contents"])))
def test_anchors_are_unique_and_plain(names):
    result = page_module.anchors(names, page_module.RESERVED)
    assert len(set(result)) == len(result) == len(names)
    assert not set(result) & set(page_module.RESERVED)
    assert all(re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", one) for one in result)


def test_text_has_enough_contrast_in_light_and_dark_mode(written):
    text = written["small"].read_text()
    day, night = (
        dict(re.findall(r"--([a-z]+): (#\w{6})", block)) for block in re.findall(r":root[^{]*{([^}]*)}", text)[:2]
    )
    assert day.keys() == night.keys()

    def luminance(colour: str) -> float:
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for colours in (day, night):
        for ink in ("text", "soft", "bad", "mark"):
            for ground in ("ground", "tile"):
                light, dark = sorted((luminance(colours[ink]), luminance(colours[ground])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)
