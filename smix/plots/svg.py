"""Figures as files, and as elements of a page. The same figure gives the same bytes on every day and in every process."""

import base64
import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from smix import files
from smix.errors import OptionError
from smix.plots.style import SOFT, TEXT, looks

NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
KEPT = {"svg", "g", "defs", "path", "use", "text", "tspan", "image", "clipPath", "rect", "circle", "pattern"}
"""SVG elements that are kept. All others, such as metadata, style sheets and scripts, are removed."""
LINK = re.compile(r"^#(.+)$|url\(\s*[\"']?#(.*?)[\"']?\s*\)")
"""Reference from one element of an SVG to another."""
FETCHES = re.compile(r"url\((?!\s*[\"']?#)")
COLOURS = {TEXT: f"var(--text, {TEXT})", SOFT: f"var(--soft, {SOFT})"}
"""Colours that a page replaces, so that figures work in dark mode."""
PIXELS_PER_POINT = 96 / 72


@dataclass(frozen=True)
class Embedded:
    """An image as an element of a page, and its natural size in CSS pixels."""

    element: Markup
    width: float
    height: float


def save(figure: Figure, path: Path) -> Path:
    """Save a figure as a PNG or an SVG on a white background; text in an SVG is drawn as paths, so that it looks the same everywhere.

    Raises:
        OptionError: The path has a different suffix.
        RunError: No file can be written there.
    """
    check_picture(path)
    files.write_bytes(path, _written(figure, "png" if path.suffix.lower() == ".png" else "svg"))
    return path


def check_picture(path: Path) -> None:
    """Raise OptionError unless `save` can write a file of this name."""
    if path.suffix.lower() not in (".png", ".svg"):
        raise OptionError(f"out: expected an image file that ends in .png or .svg, got {path}")


def svg_text(figure: Figure) -> str:
    """Return the figure as an SVG without background, its text as text: see `embedded`."""
    return _written(figure, "svg", page=True).decode()


def embedded(svg: str, alt: str, prefix: str) -> Embedded:
    """Return an SVG of matplotlib as an element of a page, without namespaces.

    Colours of text become `var(--text, ...)` and `var(--soft, ...)`, so that they are visible in dark mode, and the font is that of the
    page. Ids that are referred to begin with the prefix, as equal images in two figures have equal ids; all others are removed. Names of
    methods and classes remain text, whatever characters they hold.

    Args:
        svg: Output of `svg_text`.
        alt: Alternative text.

    Raises:
        ParseError: It is not XML.
    """
    root = ElementTree.fromstring(svg)
    width, height = (PIXELS_PER_POINT * float(root.get(side, "0").removesuffix("pt")) for side in ("width", "height"))
    links = [LINK.findall(value) for element in root.iter() for value in element.attrib.values()]
    _clean(root, prefix, {name or other for matches in links for name, other in matches})
    root.attrib = {
        "viewBox": root.get("viewBox", ""),
        # matplotlib says this in a style sheet, which would apply to the whole page.
        "style": "font-family: system-ui, sans-serif; stroke-linejoin: round; stroke-linecap: butt",
        "role": "img",
        "aria-label": alt,
    }
    return Embedded(Markup(ElementTree.tostring(root, encoding="unicode")), width, height)


def photograph(png: bytes, alt: str) -> Embedded:
    """Return a PNG as an element of a page, in the size that its resolution gives (default: 96 pixels per inch)."""
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        pixels, resolution = image.size, image.info.get("dpi", (96, 96))[0]
    width, height = (round(96 / resolution * side) for side in pixels)
    element = Markup('<img src="data:image/png;base64,{}" width="{}" height="{}" alt="{}">').format(
        base64.b64encode(png).decode(), width, height, alt
    )
    return Embedded(element, width, height)


def _clean(element: Element, prefix: str, used: set[str]) -> None:
    """Remove namespaces, unused ids and everything that could run code or fetch a file, in place."""
    element.tag = _local(element.tag)
    attributes = {}
    for name, value in ((_local(name), value) for name, value in element.attrib.items()):
        fetches = (name == "href" and not value.startswith(("#", "data:image/"))) or FETCHES.search(value)
        unused = name == "id" and value not in used
        unrotated = value.startswith("rotate(-0 ")
        if not (name.lower().startswith("on") or fetches or unused or unrotated):
            attributes[name] = _attribute(name, value, prefix)
    element.attrib = attributes
    for child in list(element):
        if _local(child.tag) in KEPT:
            _clean(child, prefix, used)
        else:
            element.remove(child)


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _attribute(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return f"{prefix}{value}"
    if name == "href":
        return f"#{prefix}{value[1:]}" if value.startswith("#") else "".join(value.split())
    if name == "style":
        pairs = [part.strip().partition(": ") for part in value.split(";") if part.strip()]
        return "; ".join(
            f"{key}: {COLOURS.get(what, what)}" if colon else key for key, colon, what in pairs if key != "font-family"
        )
    return LINK.sub(lambda link: f"url(#{prefix}{link[2]})" if link[2] else link[0], value)


@looks
def _written(figure: Figure, kind: Literal["png", "svg"], page: bool = False) -> bytes:
    """Return a figure as a file; for a page without background, and with its text as text."""
    metadata = {"Software": None} if kind == "png" else NO_METADATA
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none" if page else "path"}), warnings.catch_warnings():
        # A class may have a name in letters that the font lacks: a browser has them, a PNG shows boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(buffer, format=kind, metadata=metadata, facecolor="none" if page else "white")
    return buffer.getvalue()
