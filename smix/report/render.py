"""Figures as files and as part of a page. The same figure is the same bytes, on every day and in every process."""

import io
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

from smix import files
from smix.errors import OptionError
from smix.report.style import SOFT, TEXT, looks

NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
LINK = re.compile(r"(?:^|url\()#([^)\s]+)")
"""Reference from one element of an SVG to another."""
COLOURS = {TEXT: f"var(--text, {TEXT})", SOFT: f"var(--soft, {SOFT})"}
"""Colours that a page replaces, so that figures work in dark mode."""


def save(figure: Figure, path: Path) -> Path:
    """Save a figure as a PNG or an SVG, on white; text in an SVG is drawn, so that it looks the same everywhere.

    Raises:
        OptionError: the path has another suffix.
        RunError: no file can be written there.
    """
    check_picture(path)
    files.write_bytes(path, _png(figure) if path.suffix.lower() == ".png" else _svg(figure, "path"))
    return path


def check_picture(path: Path) -> None:
    """Raises OptionError if `save` would write no picture of this name."""
    if path.suffix.lower() not in (".png", ".svg"):
        raise OptionError(f"out: expected a picture that ends in .png or .svg, got {path}")


def svg_text(figure: Figure) -> str:
    """The figure as the text of an SVG for a page: without a ground, its text as text in the reader's sans-serif font.

    What has the colours of text here is `var(--text, ...)` and `var(--soft, ...)` there, so that it is seen in the dark as well. Only
    what is referred to has an id. Names of methods and classes are in it as text, whatever signs they have.
    """
    root = ElementTree.fromstring(_svg(figure, "none"))
    for parent in list(root.iter()):
        for child in [child for child in parent if _without_namespace(child.tag) in ("metadata", "style")]:
            parent.remove(child)
    used = {name for element in root.iter() for value in element.attrib.values() for name in LINK.findall(value)}
    for element in root.iter():
        element.tag = _without_namespace(element.tag)
        attributes = {_without_namespace(key): value for key, value in element.attrib.items()}
        element.attrib.clear()
        for key, value in attributes.items():
            # Two equal images have equal ids; and most text is not turned.
            if not (key == "id" and value not in used) and not value.startswith("rotate(-0 "):
                element.set(key, _attribute(key, value))
    root.set("xmlns", "http://www.w3.org/2000/svg")
    # What matplotlib says in a style sheet, which would hold for a whole page.
    root.set("style", "font-family: system-ui, sans-serif; stroke-linejoin: round; stroke-linecap: butt")
    return ElementTree.tostring(root, encoding="unicode").strip() + "\n"


@looks
def _png(figure: Figure) -> bytes:
    return _written(figure, "png", {"Software": None}, "white")


@looks
def _svg(figure: Figure, text: Literal["path", "none"]) -> bytes:
    with matplotlib.rc_context({"svg.fonttype": text}):
        return _written(figure, "svg", NO_METADATA, "white" if text == "path" else "none")


def _written(figure: Figure, kind: str, metadata: Mapping[str, None], ground: str) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A class may have a name in letters that the font lacks: a browser has them, and a PNG has boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(buffer, format=kind, metadata=metadata, facecolor=ground)
    return buffer.getvalue()


def _without_namespace(name: str) -> str:
    return name.rpartition("}")[2]


def _attribute(key: str, value: str) -> str:
    if key == "href":
        return "".join(value.split())
    if key != "style":
        return value
    pairs = [part.strip().partition(": ") for part in value.split(";") if part.strip()]
    return "; ".join(
        f"{name}: {COLOURS.get(what, what)}" if colon else name for name, colon, what in pairs if name != "font-family"
    )
