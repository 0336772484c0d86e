"""A picture as SVG, made a part of a page: HTML without namespaces, whose ids cannot be those of another picture."""

import re
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from markupsafe import Markup

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
LEFT_OUT = {"metadata", "script", "foreignObject"}
FETCHES = re.compile(r"url\((?!\s*[\"']?#)")
PIXELS = {"": 1.0, "px": 1.0, "pt": 96 / 72, "in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4}
"""CSS pixels in a unit of length."""


@dataclass(frozen=True)
class Drawing:
    """An element to put into a page, and its natural size in CSS pixels."""

    element: Markup
    width: float
    height: float


def drawing(svg: str, alt: str, prefix: str) -> Drawing:
    """The SVG as one element with the role of an image.

    What nothing in it refers to has no id any more, the others begin with `prefix`. Metadata and whatever could run or
    fetch something are left out; the rules of a style sheet in it hold within it alone.

    Args:
        svg: The text of a file, with a viewBox or a width and a height.
        alt: What a reader hears who does not see it.

    Raises:
        ValueError: it is another XML, or has no size.
        ParseError: it is no XML.
    """
    root = ElementTree.fromstring(svg)
    if root.tag != f"{SVG}svg":
        raise ValueError(f"expected an SVG with its namespace, got {root.tag}")
    width, height = _size(root)
    _clean(root)
    name = f"{prefix}svg"
    _rename(root, prefix)
    for sheet in root.iter("style"):
        sheet.text = f'[id="{name}"] {{ {sheet.text or ""} }}'
    root.attrib = {
        **{key: value for key, value in root.attrib.items() if key not in ("width", "height", "version")},
        "viewBox": root.get("viewBox", f"0 0 {width:g} {height:g}"),
        "role": "img",
        "aria-label": alt,
    }
    if root.find(".//style") is not None:
        root.set("id", name)
    return Drawing(Markup(ElementTree.tostring(root, encoding="unicode")), width, height)


def _size(root: Element) -> tuple[float, float]:
    """Its own, or else that of its viewBox."""
    sides = [re.fullmatch(r"\s*([\d.]+)\s*([a-z]*)\s*", root.get(side, "")) for side in ("width", "height")]
    known = [float(side[1]) * PIXELS[side[2]] for side in sides if side is not None and side[2] in PIXELS]
    box = [float(side) for side in root.get("viewBox", "").replace(",", " ").split()]
    if len(known) < 2 and len(box) < 4:
        raise ValueError("expected an SVG with a viewBox or a width and a height, got one without")
    return (known[0], known[1]) if len(known) == 2 else (box[2], box[3])


def _clean(element: Element) -> None:
    """Names without their namespaces; nothing that could run, or fetch."""
    element.tag = element.tag.removeprefix(SVG)
    kept = {}
    for key, value in element.attrib.items():
        key = key.removeprefix(XLINK)
        runs = key.lower().startswith("on")
        fetches = (key == "href" and not value.startswith(("#", "data:image/"))) or FETCHES.search(value)
        if not (runs or fetches or key.startswith("{")):
            kept[key] = value
    element.attrib = kept
    for child in list(element):
        if child.tag.removeprefix(SVG) in LEFT_OUT or not child.tag.startswith(SVG):
            element.remove(child)
        else:
            _clean(child)


def _rename(root: Element, prefix: str) -> None:
    """Every id that is referred to begins with the prefix, here and where it is; the others go."""
    url = re.compile(r"url\(\s*[\"']?#(.*?)[\"']?\s*\)")
    used = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "href" and value.startswith("#"):
                used.add(value[1:])
                element.set(key, f"#{prefix}{value[1:]}")
            elif key != "id" and "url(" in value:
                used.update(url.findall(value))
                element.set(key, url.sub(rf"url(#{prefix}\1)", value))
    for element in root.iter():
        if (name := element.attrib.pop("id", None)) in used:
            element.set("id", f"{prefix}{name}")
