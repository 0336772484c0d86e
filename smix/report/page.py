"""The page of a report: one HTML file that asks for nothing, begins with the answer, and is read on a phone, in the dark and on paper.

What is on it is composed elsewhere: chapters (one a comparison) of sections of tables, pictures, facts and notes. All of it is text to
the page, and never code.
"""

import base64
import io
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from matplotlib.figure import Figure as MatplotlibFigure
from PIL import Image

from smix import files
from smix.evaluation.statistics import NOT_ENOUGH
from smix.report.records import Comparison, Problem, ReportAssets
from smix.report.table import UNKNOWN, Cell, Table
from smix.report.vector import Drawing, drawing

LONG = 26
"""Words in a table that are longer may take several lines."""
OURS = ("overview", "missing", "contents")
"""Anchors of the page's own parts."""


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure, and how it is drawn."""

    name: str
    """Name of its files and of its anchor."""
    title: str
    alt: str
    """Alternative text: what the figure shows, in one sentence."""
    draw: Callable[[Comparison, ReportAssets], MatplotlibFigure | None]
    """Draws the figure; None: there is nothing to draw."""
    caption: str = ""
    raster: bool = False
    """Shows photographs: saved as PNG only."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and what is said of it; either an SVG or a PNG."""

    name: str
    """Name of its place on the page, such as "reliability"."""
    title: str
    alt: str
    """Alternative text: what it shows, in a sentence."""
    svg: str | None = None
    """The text of a file. Colours written as `var(--text, #1b1b1b)` or `var(--soft, #5c5c5c)` follow the page into the dark."""
    png: bytes | None = None
    """Shown at the size that its resolution gives (96 pixels an inch without one)."""
    caption: str = ""
    files: tuple[str, ...] = ()
    """The same picture as files, relative to the page: linked."""

    def __post_init__(self) -> None:
        assert (self.svg is None) != (self.png is None), f"{self.name}: a picture is either an SVG or a PNG"


@dataclass(frozen=True)
class Linked:
    """A table, and the files that hold the same, relative to the page."""

    table: Table
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """Names and what they are: options, versions."""

    rows: tuple[tuple[str, str], ...]
    title: str = ""


Part = Table | Linked | Picture | Facts | str
"""A str is a paragraph of plain text."""


@dataclass(frozen=True, eq=False)
class Section:
    """One question, and what answers it."""

    name: str
    """Name of its anchor; a name that is taken gets a number."""
    title: str
    lead: str
    """One or two sentences on what the section shows."""
    parts: Sequence[Part] = ()
    folded: bool = False
    """Closed until somebody opens it: long tables, the config. Open on paper."""


@dataclass(frozen=True)
class Highlight:
    """A figure that a reader takes along."""

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True, eq=False)
class Chapter:
    """One comparison. The only chapter of a page has no heading of its own."""

    name: str
    title: str
    answer: str
    """One sentence, shown large: who wins, by how much, how sure."""
    evidence: str = ""
    """Evidence for the answer, in the size of the text."""
    highlights: Sequence[Highlight] = ()
    sections: Sequence[Section] = ()


@dataclass(frozen=True, eq=False)
class Page:
    """A report."""

    title: str
    chapters: Sequence[Chapter]
    """One or more."""
    answer: str = ""
    """Answer of several chapters together, shown large."""
    overview: Table | Linked | None = None
    """Overview of several chapters: methods down, data sets across."""
    problems: Sequence[Problem] = ()
    """Runs that are left out: named beside the answer."""
    foot: str = ""
    """The last line: what made the page."""


@dataclass(frozen=True, eq=False)
class _Placed:
    """A chapter, a section or a part, and its anchor."""

    anchor: str
    item: Any
    inside: Sequence["_Placed"] = ()

    @property
    def kind(self) -> str:
        return type(self.item).__name__


def write_page(path: Path, page: Page) -> Path:
    """Write the page: whole or not at all; the same page is the same bytes.

    Raises:
        RunError: no file can be written there.
    """
    surroundings = Environment(loader=PackageLoader("smix.report"), autoescape=True, finalize=_finalized)
    surroundings.filters |= {"align": _alignments, "link": _link, "kind": _suffix, "shown": _shown, "data": _data}
    chapters = _placed(page)
    parts = surroundings.get_template("page.html").generate(
        page=page,
        chapters=chapters,
        alone=chapters[0] if len(chapters) == 1 else None,
        overview=_Placed("overview", _linked(page.overview)) if page.overview else None,
        problems=_by_reason(page.problems),
        NOT_ENOUGH=NOT_ENOUGH,
        unknown=(UNKNOWN, ""),
    )
    with files.atomic(path) as file:
        for part in parts:
            file.write(part.encode(errors="replace"))
    return path


def _placed(page: Page) -> list[_Placed]:
    """All that has an anchor: `#chapter.section.part`, without the chapter if there is only one."""
    alone = len(page.chapters) == 1
    chapters = []
    for chapter, name in zip(page.chapters, _anchors([one.name for one in page.chapters], OURS), strict=True):
        before = "" if alone else f"{name}."
        sections = []
        for section, own in zip(chapter.sections, _anchors([one.name for one in chapter.sections], OURS), strict=True):
            parts = [_linked(part) for part in section.parts]
            places = _anchors([_name(part) for part in parts])
            inside = [_Placed(f"{before}{own}.{place}", part) for part, place in zip(parts, places, strict=True)]
            sections.append(_Placed(before + own, section, inside))
        chapters.append(_Placed(name, chapter, sections))
    return chapters


def _linked(part: Part) -> Linked | Picture | Facts | str:
    return Linked(part) if isinstance(part, Table) else part


def _name(part: Linked | Picture | Facts | str) -> str:
    match part:
        case Linked(table):
            return table.name
        case Picture():
            return part.name
        case Facts():
            return part.title or "facts"
    return "text"


def _anchors(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Return for each name an anchor of a to z, 0 to 9 and "-"; no two are the same, nor any that is taken."""
    used, found = set(taken), []
    for name in names:
        plain = anchor = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") or "part"
        number = 1
        while anchor in used:
            number += 1
            anchor = f"{plain}-{number}"
        used.add(anchor)
        found.append(anchor)
    return found


def _by_reason(problems: Sequence[Problem]) -> list[tuple[list[str], str]]:
    """The runs that are left out for the same reason, together: their folders with those around them, which tell data sets apart."""
    reasons: dict[str, list[str]] = {}
    for one in problems:
        reasons.setdefault(one.why, []).append("/".join(PurePath(one.path).parts[-2:]))
    return [(names, why) for why, names in reasons.items()]


def _alignments(table: Table) -> list[str]:
    """Return the kind of each column: "name" (the first), "number" if all known values begin as one, else "text" or, if long, "prose"."""
    columns = [[row[n].text for row in table.rows] for n in range(len(table.head))]
    return ["name", *map(_alignment, columns[1:])]


def _alignment(column: Sequence[str]) -> str:
    known = [text for text in column if text not in (UNKNOWN, NOT_ENOUGH, "")]
    if all(re.match(r"[-+<>\u2212 ]*\.?\d", text) for text in known):
        return "number"
    return "prose" if max(map(len, known)) > LONG else "text"


def _data(cell: Cell) -> Markup:
    """The attribute that the cell is sorted by; none of text, and of what is not known."""
    value = cell.value
    return Markup(f' data-value="{float(value)!r}"') if value is not None and math.isfinite(value) else Markup()


def _shown(placed: _Placed) -> Drawing:
    """The picture as an element and its size in CSS pixels."""
    picture: Picture = placed.item
    alt = _printable(picture.alt)
    if picture.svg is not None:
        return drawing(picture.svg, alt, f"{placed.anchor}_")
    assert picture.png is not None
    with Image.open(io.BytesIO(picture.png), formats=["PNG"]) as image:
        pixels, resolution = image.size, image.info.get("dpi", (96, 96))[0]
    width, height = (round(96 / resolution * side) for side in pixels)
    element = Markup('<img src="data:image/png;base64,{}" width="{}" height="{}" alt="{}">').format(
        base64.b64encode(picture.png).decode(), width, height, alt
    )
    return Drawing(element, width, height)


def _link(name: str) -> str:
    """The address of a file beside the page: never another place, whatever it is called."""
    return f"./{quote(name, errors='replace')}"


def _suffix(name: str) -> str:
    return PurePath(name).suffix.lstrip(".").upper() or name


def _finalized(value: object) -> object:
    """Return the text that a template writes. Markup is our own."""
    return _printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _printable(text: str) -> str:
    """Without signs that are not seen but obeyed, such as those that turn the direction of writing."""
    if text.isprintable():
        return text
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if sign not in "\n\t" and unicodedata.category(sign)[0] == "C" else sign
        for sign in text
    )
