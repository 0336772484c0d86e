"""The page of a report: one self-contained HTML file that begins with the answer, for phones, dark mode and print; and its Markdown.

A `Page` has chapters (one per comparison), these have sections, and these have parts: tables, figures and facts. In `sections.py` a
section lists what makes its parts: `write.py` replaces each by the `Part` that it makes. All content is text to the page, never code.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from matplotlib.figure import Figure as MatplotlibFigure

from smix import files
from smix.evaluation.statistics import NOT_ENOUGH
from smix.plots.layout import sanitised
from smix.plots.svg import Embedded, embedded, photograph
from smix.report.comparison import Comparison, Problem, ReportAssets
from smix.report.table import UNKNOWN, Table, in_markdown, markdown

LONG = 26
"""Words in a table that are longer may take several lines."""
LONG_TABLE = 40
"""Number of rows from which on a table is closed until a reader opens it, such as one row for each of 200 classes."""
RESERVED = ("overview", "missing", "contents")
"""Anchors of the page itself."""

Draw = Callable[[Comparison, ReportAssets], MatplotlibFigure | None]
"""Function that draws a figure, or returns None if there is nothing to show."""


@dataclass(frozen=True, eq=False)
class FigureSpec:
    """A figure that is to be drawn."""

    name: str
    """Name of its files and of its anchor."""
    draw: Draw
    raster: bool = False
    """True if it shows photographs, so that it is saved as PNG only."""


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure that is drawn."""

    name: str
    title: str
    """Subject of the figure: its alternative text, and the caption of the enlarged figure."""
    image: str | bytes
    """SVG as matplotlib writes it, or PNG."""


@dataclass(frozen=True)
class Facts:
    """Names and values, such as options and versions."""

    rows: tuple[tuple[str, str], ...]
    title: str

    @property
    def name(self) -> str:
        """Name of the anchor."""
        return self.title


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a section, ready for the page."""

    content: Table | Figure | Facts
    files: tuple[str, ...] = ()
    """Files with the same content, relative to the page."""
    anchor: str = ""

    @property
    def name(self) -> str:
        """Name of its anchor, if it is the only part of this name."""
        return self.content.name

    @property
    def kind(self) -> str:
        """Table, Figure or Facts."""
        return type(self.content).__name__


Maker = Callable[[Comparison, ReportAssets], Table | Facts | None]
"""Function that makes a table or facts, or returns None if there is nothing to show."""


@dataclass(frozen=True, eq=False)
class Section:
    """A question and its answer."""

    name: str
    """Name of its anchor."""
    title: str
    lead: str | Callable[[Comparison, ReportAssets], str]
    """One or two sentences on what the section shows."""
    parts: Sequence[FigureSpec | Maker | Part] = ()
    folded: bool = False
    """Closed until a reader opens it: long tables, the configuration. Open in print."""
    anchor: str = ""


@dataclass(frozen=True)
class Highlight:
    """A key number of a report."""

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True, eq=False)
class Chapter:
    """One comparison. The only chapter of a page has no heading."""

    name: str
    title: str
    answer: str
    """One sentence in large type: who wins, by how much, and whether the difference is statistically significant."""
    evidence: str = ""
    highlights: Sequence[Highlight] = ()
    sections: Sequence[Section] = ()
    anchor: str = ""


@dataclass(frozen=True, eq=False)
class Page:
    """A report."""

    title: str
    chapters: Sequence[Chapter]
    answer: str = ""
    """Joint answer of several chapters, in large type."""
    overview: Part | None = None
    """Table of several chapters: methods as rows, data sets as columns."""
    problems: Sequence[Problem] = ()
    """Runs that are left out."""
    foot: str = ""
    """Last line, which names the program that wrote the page."""


def write_page(path: Path, page: Page) -> Path:
    """Write a page as HTML, atomically; the same page gives the same bytes.

    Raises:
        RunError: No file can be written there.
    """
    environment = Environment(loader=PackageLoader("smix.report"), autoescape=True, finalize=_finalize)
    environment.filters |= {"align": _alignments, "link": _link, "kind": _suffix, "image": _image}
    page = anchored(page)
    pieces = environment.get_template("report.html").generate(
        page=page,
        alone=page.chapters[0] if len(page.chapters) == 1 else None,
        NOT_ENOUGH=NOT_ENOUGH,
        LONG_TABLE=LONG_TABLE,
        unknown=(UNKNOWN, ""),
    )
    with files.atomic(path) as file:
        for piece in pieces:
            file.write(piece.encode(errors="replace"))
    return path


def page_in_markdown(page: Page) -> str:
    """Return a page in Markdown, with links to its figures."""
    environment = Environment(
        loader=PackageLoader("smix.report"),
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"md": in_markdown, "table": markdown}
    text = environment.get_template("report.md").render(page=page, alone=len(page.chapters) == 1)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def anchored(page: Page) -> Page:
    """Return the page with anchors of the form `chapter.section.part`, without the chapter if there is only one."""
    chapters = []
    for chapter in _placed(page.chapters, taken=RESERVED):
        sections = _placed(chapter.sections, "" if len(page.chapters) == 1 else f"{chapter.anchor}.", RESERVED)
        sections = [replace(section, parts=_placed(section.parts, f"{section.anchor}.")) for section in sections]
        chapters.append(replace(chapter, sections=sections))
    return replace(page, chapters=chapters, overview=page.overview and replace(page.overview, anchor="overview"))


def _placed(items: Sequence[Any], prefix: str = "", taken: Iterable[str] = ()) -> list[Any]:
    """Return chapters, sections or parts with their anchors."""
    names = anchors([item.name for item in items], taken)
    return [replace(item, anchor=f"{prefix}{name}") for item, name in zip(items, names, strict=True)]


def anchors(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Return a unique anchor of a to z, 0 to 9 and "-" for each name, none of which is in `taken`."""
    used, unique = set(taken), []
    for name in names:
        plain = anchor = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") or "part"
        number = 1
        while anchor in used:
            number += 1
            anchor = f"{plain}-{number}"
        used.add(anchor)
        unique.append(anchor)
    return unique


def _alignments(table: Table) -> list[str]:
    """Return the kind of each column: "name" (the first), "number" if all known values begin as one, else "text" or, if long, "prose"."""
    kinds = ["name"]
    for n in range(1, len(table.head)):
        known = [row[n].text for row in table.rows if row[n].text not in (UNKNOWN, NOT_ENOUGH, "")]
        text = "prose" if max(map(len, known), default=0) > LONG else "text"
        kinds.append("number" if all(re.match(r"[-+<>\u2212 ]*\.?\d", each) for each in known) else text)
    return kinds


def _image(part: Part) -> Embedded:
    assert isinstance(part.content, Figure), "only figures have images"
    alt, image = sanitised(part.content.title), part.content.image
    return embedded(image, alt, f"{part.anchor}_") if isinstance(image, str) else photograph(image, alt)


def _link(name: str) -> str:
    """Return the address of a file next to the page; no name can make it point elsewhere."""
    return f"./{quote(name, errors='replace')}"


def _suffix(name: str) -> str:
    return PurePath(name).suffix.lstrip(".").upper() or name


def _finalize(value: object) -> object:
    """Return the text that a template writes. Markup is our own."""
    return sanitised(value) if isinstance(value, str) and not isinstance(value, Markup) else value
