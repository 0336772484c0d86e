"""A topic of a report: sentences, tables and figures that answer one question. How they are written is write.py's."""

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure

from smix.data.sets import ImageSet
from smix.report.material import Masks
from smix.report.page import Facts
from smix.report.style import Style
from smix.report.table import Table

Styles = Mapping[str, Style]


@dataclass(frozen=True, eq=False)
class Drawn:
    """A figure, and what is said of it."""

    name: str
    """Name of its files."""
    title: str
    alt: str
    """Alternative text: what it shows."""
    figure: Figure
    caption: str = ""
    photographs: bool = False
    """It shows images: written as PNG alone."""


Part = Table | Drawn | Facts | str


@dataclass(frozen=True, eq=False)
class Topic:
    """One question, and what answers it."""

    name: str
    title: str
    lead: str
    parts: tuple[Part, ...]
    folded: bool = False
    """Long, and rarely read."""


@dataclass(frozen=True, eq=False)
class Beside:
    """Assets of a report that the folders of runs do not hold. None: not available."""

    images: ImageSet | None
    """The test split."""
    masks: Masks | None


def topic(name: str, title: str, lead: str, *parts: Part | None, folded: bool = False) -> Topic:
    """Return a topic of the existing parts."""
    return Topic(name, title, lead, tuple(part for part in parts if part is not None), folded)


def drawn(
    name: str, title: str, alt: str, figure: Figure | None, caption: str = "", photographs: bool = False
) -> Drawn | None:
    """None: there is nothing to draw."""
    return None if figure is None else Drawn(name, title, alt, figure, caption, photographs)
