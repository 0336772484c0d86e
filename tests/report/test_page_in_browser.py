"""Test the page of a report in a browser: on a phone, on a desktop, in light and dark mode, and in print."""

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from smix.report.page import Page, write_page
from smix.report.table import Table
from tests.report.browser import browse, needs_browser
from tests.report.pages import hostile_page, large_page, small_page

pytestmark = [needs_browser, pytest.mark.slow]

PHONE, DESK, PAPER = 420, 1280, 688
"""Widths in CSS pixels. Paper: A4 between its margins."""

WATCH = """<script>
const complaints = [];
addEventListener("error", event => complaints.push(event.message), true);
addEventListener("unhandledrejection", event => complaints.push(String(event.reason)));
addEventListener("securitypolicyviolation", event => complaints.push(event.violatedDirective + " " + event.blockedURI));
for (const kind of ["error", "warn"]) console[kind] = (...words) => complaints.push(words.join(" "));
</script>"""

LOOK = """
const all_of = what => [...document.querySelectorAll(what)].filter(one => one.checkVisibility());
const ids = () => [...document.querySelectorAll("[id]")].map(one => one.id);
const colour = (what, name) => { const one = document.querySelector(what); return one && getComputedStyle(one)[name]; };
const natural = figure => parseFloat(getComputedStyle(figure).getPropertyValue("--natural"));
const LINE = "svg path[d^='M 10']";
const look = () => ({
  complaints,
  asked: performance.getEntriesByType("resource").map(one => one.name).filter(name => !name.startsWith("data:")),
  widths: [innerWidth, document.documentElement.scrollWidth],
  images: [...document.images].map(one => one.naturalWidth),
  pictures: all_of("figure svg, figure img").map(one => [one.clientWidth, one.clientHeight, natural(one.closest("figure"))]),
  cut: all_of("table").filter(one => one.offsetWidth > one.closest(".table").offsetWidth).length,
  reached: all_of(".scroll").map(one => [one.scrollWidth > one.clientWidth, one.tabIndex === 0]),
  doubles: ids().length - new Set(ids()).size,
  nav: [colour("nav", "position"), colour("nav", "display")],
  colours: [colour("body", "backgroundColor"), colour("body", "color"), colour(LINE, "stroke"), colour("svg text", "fill")],
});
const wait = time => new Promise(done => setTimeout(done, time));
"""

TELL = """
addEventListener("load", async () => {
  await wait(200);
  parent.postMessage(await (async () => { STEPS })(), "*");
});
"""


def visit(path: Path, folder: Path, steps: str, width: int = DESK, dark: bool = False, paper: bool = False) -> Any:
    """Return what the page reports after it is loaded into a frame of this width and `steps` are executed.

    A window cannot be as narrow as a phone; a frame can, and media queries go by its width.

    Args:
        steps: The body of an async function in JavaScript that returns what can be written as JSON.
        paper: Lay it out as for a printer.
    """
    text = path.read_text()
    if paper:
        text = text.replace("@media print", "@media all").replace("@media screen", "@media tv")
    tell = f"<script>{LOOK}{TELL.replace('STEPS', steps)}</script>"
    copy = folder / "copy.html"
    copy.write_text(text.replace("<head>", f"<head>{WATCH}").replace("</body>", f"{tell}</body>"))
    frame = folder / "frame.html"
    frame.write_text(
        "<!doctype html><body><pre></pre>"
        "<script>onmessage = event => { document.querySelector('pre').textContent = JSON.stringify(event.data); };</script>"
        f"<iframe src='copy.html' style='border: 0; width: {width}px; height: 900px'></iframe></body>"
    )
    dom, complaints = browse(frame, folder / "profile", dark=dark)
    assert complaints == ""
    result = re.search("<pre>(.*?)</pre>", dom, re.DOTALL)
    assert result is not None
    assert result[1], "the steps did not end"
    return json.loads(html.unescape(result[1]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def small(folder) -> Path:
    return write_page(folder / "small.html", small_page())


def check(seen: dict, width: int) -> None:
    assert seen["complaints"] == []
    assert seen["asked"] == []
    assert seen["widths"][0] == width
    assert seen["widths"][1] <= width
    assert all(natural > 0 for natural in seen["images"])
    assert all(wide > 0 and high > 0 for wide, high, _ in seen["pictures"])
    assert all(
        over == stop for over, stop in seen["reached"]
    )  # what scrolls is a stop of the Tab key, and nothing else
    assert seen["doubles"] == 0


@pytest.mark.parametrize(("width", "dark"), [(PHONE, True), (DESK, False)])
def test_the_page_is_complete_in_light_and_dark_mode(small, folder, width, dark):
    seen = visit(small, folder, "return look();", width, dark)
    check(seen, width)
    assert seen["images"] == [7]
    assert len(seen["pictures"]) == 3
    ink, soft, ground = ("rgb(236, 236, 236)", "rgb(168, 168, 168)", "rgb(22, 22, 22)")
    if not dark:
        ink, soft, ground = ("rgb(27, 27, 27)", "rgb(92, 92, 92)", "rgb(255, 255, 255)")
    assert seen["colours"] == [ground, ink, ink, soft]
    assert seen["nav"][0] == ("sticky" if width == DESK else "static")
    # A picture becomes no smaller than can be read: on a phone it scrolls in its box.
    for wide, _, natural in seen["pictures"]:
        assert 0.7 * natural - 1 <= wide <= natural + 1
    assert any(over for over, _ in seen["reached"]) == (width == PHONE)


@pytest.mark.parametrize(("make", "width"), [(hostile_page, PHONE), (large_page, PHONE)])
def test_unusual_names_and_many_methods_fit(folder, make, width):
    path = write_page(folder / "page.html", make())
    check(visit(path, folder, "return look();", width), width)


@pytest.mark.parametrize("make", [small_page, large_page])
def test_print_shows_complete_tables_without_controls(folder, make):
    path = write_page(folder / "page.html", make())
    seen = visit(path, folder, "dispatchEvent(new Event('beforeprint')); return look();", PAPER, dark=True, paper=True)
    assert seen["complaints"] == []
    assert seen["widths"][1] <= PAPER
    assert seen["cut"] == 0
    assert seen["nav"][1] == "none"
    assert seen["colours"][:2] == ["rgb(255, 255, 255)", "rgb(27, 27, 27)"]


SORT = """
const table = document.querySelector("table"), told = [];
for (const head of table.querySelectorAll("thead th"))
  for (let n = 0; n < 3; n++) {
    head.querySelector("button").click();
    const rows = [...table.tBodies[0].rows].map(row => row.cells[0].textContent);
    told.push([rows, [...table.querySelectorAll("[aria-sort]")].map(one => [one.cellIndex, one.getAttribute("aria-sort")])]);
  }
return [told, complaints, document.querySelectorAll("table")[1].querySelectorAll("button").length];
"""


def test_a_column_header_sorts_up_down_and_resets(small, folder):
    told, complaints, of_one_row = visit(small, folder, SORT)
    assert complaints == []
    assert of_one_row == 0
    as_it_was = ["vanilla", "smix", "cutmix", "Fmix", "fmix 10", "fmix 9"]
    up_and_down = [
        (
            ["cutmix", "Fmix", "fmix 9", "fmix 10", "smix", "vanilla"],
            ["vanilla", "smix", "fmix 10", "fmix 9", "Fmix", "cutmix"],
        ),
        (
            ["fmix 9", "vanilla", "cutmix", "smix", "Fmix", "fmix 10"],
            ["Fmix", "smix", "cutmix", "vanilla", "fmix 9", "fmix 10"],
        ),
        # What is not known is last both times, equal ones stay in their order.
        (
            ["fmix 9", "cutmix", "vanilla", "Fmix", "smix", "fmix 10"],
            ["vanilla", "Fmix", "cutmix", "fmix 9", "smix", "fmix 10"],
        ),
        (
            ["smix", "fmix 10", "Fmix", "vanilla", "fmix 9", "cutmix"],
            ["vanilla", "fmix 9", "Fmix", "smix", "fmix 10", "cutmix"],
        ),
        (
            ["vanilla", "cutmix", "Fmix", "fmix 9", "smix", "fmix 10"],
            ["fmix 9", "vanilla", "cutmix", "Fmix", "smix", "fmix 10"],
        ),
    ]
    expected = []
    for column, (up, down) in enumerate(up_and_down):
        expected += [[up, [[column, "ascending"]]], [down, [[column, "descending"]]], [as_it_was, []]]
    assert told == expected


def test_many_methods_fit_and_numbers_sort_with_full_precision(folder):
    page = large_page()
    table = page.chapters[1].sections[1].parts[0].content
    assert isinstance(table, Table)
    steps = """
    const table = document.getElementById("cifar-100.pairs.pairs").querySelector("table");
    table.querySelectorAll("thead button")[1].click();
    return [[...table.tBodies[0].rows].map(row => row.cells[0].textContent), look()];
    """
    rows = sorted(table.rows, key=lambda row: row[1].value or 0.0)
    assert len({row[1].text for row in rows}) < len(rows) == len({row[1].value for row in rows})
    told, seen = visit(write_page(folder / "page.html", page), folder, steps)
    assert told == [row[0].text for row in rows]
    check(seen, DESK)


ENLARGE = """
const [figure, other] = document.querySelectorAll("figure"), picture = figure.querySelector("svg");
const dialog = document.querySelector("dialog");
const told = [], say = () => told.push([dialog.open, dialog.contains(picture), figure.contains(picture),
  ids().length - new Set(ids()).size, colour(LINE, "stroke"), document.activeElement.textContent]);
const before = figure.offsetHeight;
say();
figure.querySelector(".files button").focus();
figure.querySelector(".files button").click();
say();
const large = [picture.getBoundingClientRect().width, figure.offsetHeight - before, dialog.querySelector(".explanation").textContent];
dialog.querySelector("button").click();
say();
other.querySelector(".frame").click();
const second = dialog.querySelector("svg").getAttribute("aria-label");
dialog.querySelector(".large").click();
say();
other.querySelector(".frame").click();
dialog.close();
dialog.dispatchEvent(new Event("close"));
say();
return [told, large, second, figure.offsetHeight - before, complaints];
"""


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_a_figure_is_enlarged_and_restored(small, folder, width):
    told, (wide, grown, caption), second, left, complaints = visit(small, folder, ENLARGE, width)
    ink = "rgb(27, 27, 27)"
    assert [one[:5] for one in told] == [
        [False, False, True, 0, ink],
        [True, True, False, 0, ink],
        [False, False, True, 0, ink],
        [False, False, True, 0, ink],
        [False, False, True, 0, ink],
    ]
    assert [one[5] for one in told[1:3]] == ["Close", "Enlarge"]  # the keyboard goes with it, and returns
    assert caption == "Lines."
    assert wide >= 816
    assert (grown, left) == (0, 0)  # the page does not jump
    assert second == "Lines again."
    assert complaints == []


GO = """
const folded = id => document.getElementById(id).querySelector("details").open, told = [folded("runs"), folded("config")];
const current = () => [...document.querySelectorAll("nav a[aria-current=true]")].map(one => one.textContent);
location.hash = "#runs.runs";
await wait(100);
told.push(folded("runs"), folded("config"));
location.hash = "#config";
await wait(100);
told.push(folded("config"));
location.hash = "#%";
for (let n = 0; n < 100 && !current().length; n++) {
  // Again each time: going to an address scrolls, too, and may do so later.
  scrollTo(0, document.getElementById("accuracy").offsetTop);
  // What is in sight is known when a frame is drawn. The clock is virtual: a computation gives the browser real time for it.
  for (let i = 0; i < 2e7; i++) Math.sqrt(i);
  await wait(50);
}
const here = current(), theme = document.querySelector("nav button"), themes = [];
for (let n = 0; n < 3; n++) {
  themes.push([theme.textContent, colour("body", "backgroundColor"), colour("svg text", "fill")]);
  theme.click();
}
document.querySelectorAll("details").forEach(one => one.open = false);
dispatchEvent(new Event("beforeprint"));
told.push(folded("config"));
dispatchEvent(new Event("afterprint"));
told.push(folded("config"));
return [told, here, themes, complaints];
"""


def test_anchors_open_folded_sections_and_the_theme_can_be_switched(small, folder):
    told, here, themes, complaints = visit(small, folder, GO, dark=True)
    assert told == [False, False, True, False, True, True, False]
    assert here == ["Accuracy"]
    night = ["Light page", "rgb(22, 22, 22)", "rgb(168, 168, 168)"]
    assert themes == [night, ["Dark page", "rgb(255, 255, 255)", "rgb(92, 92, 92)"], night]
    assert complaints == []


def test_an_empty_page_has_no_errors(folder):
    path = write_page(folder / "page.html", Page("Nothing", []))
    check(visit(path, folder, "return look();", PHONE), PHONE)
