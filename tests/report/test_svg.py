import re
import warnings
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from smix.errors import OptionError, RunError
from smix.plots.layout import Heading, axes_at, sheet, write
from smix.plots.style import SOFT, TEXT, looks
from smix.plots.svg import check_picture, embedded, save, svg_text
from tests.report.pages import svg

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script> & $x_1$ fill: #1b1b1b"


@looks
def drawn(title: str = HOSTILE) -> Figure:
    """Draw a figure with lines, marks, areas and two equal images, clipped and not."""
    heading = Heading(title, "A note")
    figure, top = sheet(heading, 2)
    for left in (0.6, 3.6):
        axes = axes_at(figure, left, top, 2, 1.5)
        axes.plot([0, 1, 2], [0, 3, 1], color=TEXT, marker="s")
        axes.scatter([0, 1], [1, 2], color="#308FFF", marker="^")
        axes.bar(1, 2, color=SOFT, alpha=0.5)
        axes.imshow(np.full((2, 3, 3), 200, np.uint8), extent=(0, 2, 0, 3), interpolation="none", aspect="auto")
        axes.set_xlabel(title)
        axes.grid(True)
    write(figure, 3, top + 1.8, "soft", color=SOFT)
    return figure


def element_of(figure: Figure) -> str:
    """Return the figure as an element of a page."""
    return embedded(svg_text(figure), "Lines", "one_").element


def write_drawn(folder: Path) -> None:
    """Write the figure in each of its three forms."""
    for name in ("drawn.png", "drawn.svg"):
        save(drawn(), folder / name)
    (folder / "drawn.txt").write_text(element_of(drawn()))


@pytest.mark.slow
def test_figures_are_saved_as_png_or_svg_on_white(tmp_path):
    figure = drawn()
    with Image.open(save(figure, tmp_path / "one.png")) as png:
        assert png.size == tuple(int(150 * side) for side in figure.get_size_inches())
        assert png.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
        assert not png.info.keys() & {"Software", "Creation Time"}
    data_root = ElementTree.parse(save(figure, tmp_path / "one.SVG")).getroot()
    assert data_root.tag == f"{SVG}svg"
    first = data_root.find(f".//{SVG}path")
    assert first is not None
    assert "fill: #ffffff" in first.attrib["style"]
    assert not data_root.findall(f".//{SVG}text"), "letters of a font that the reader may lack"
    assert "var(" not in (tmp_path / "one.SVG").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.SVG", "one.png"]


@pytest.mark.parametrize("name", ["figure.jpg", "figure", "figure.png.gz"])
def test_other_file_formats_are_refused(name, tmp_path):
    with pytest.raises(OptionError, match=rf"ends in \.png or \.svg, got {re.escape(name)}"):
        check_picture(Path(name))
    with pytest.raises(OptionError, match="ends in"):
        save(drawn(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_failed_save_keeps_the_previous_file(tmp_path, monkeypatch):
    path = tmp_path / "one.png"
    path.write_bytes(b"before")
    figure = drawn()

    def broken(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(figure, "savefig", broken)
    with pytest.raises(ZeroDivisionError):
        save(figure, path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write to this folder"):
        save(drawn(), tmp_path / "file" / "one.png")


@pytest.mark.slow
def test_figures_ignore_matplotlib_settings_of_the_user(tmp_path):
    import matplotlib

    plain = [save(drawn(), tmp_path / f"plain{kind}").read_bytes() for kind in (".png", ".svg")]
    with matplotlib.rc_context(
        {"font.family": "monospace", "savefig.dpi": 50, "lines.linewidth": 9, "svg.hashsalt": "x"}
    ):
        mine = [save(drawn(), tmp_path / f"mine{kind}").read_bytes() for kind in (".png", ".svg")]
    assert plain == mine


def styles_in(data_root: ElementTree.Element) -> list[str]:
    return [element.attrib["style"] for element in data_root.iter() if "style" in element.attrib]


def test_page_svg_keeps_text_in_page_colours():
    data_root = ElementTree.fromstring(element_of(drawn()))
    texts = {"".join(text.itertext()): text.attrib["style"] for text in data_root.iter("text")}
    assert "fill: var(--text, #1b1b1b)" in texts[HOSTILE]  # a title, whole: with its dollars, brackets and colours
    assert "fill: var(--soft, #5c5c5c)" in texts["soft"]
    styles = styles_in(data_root)
    assert not [style for style in styles if TEXT in style.replace(f"var(--text, {TEXT})", "")]
    assert not [style for style in styles if SOFT in style.replace(f"var(--soft, {SOFT})", "")]
    assert "font-family: system-ui, sans-serif" in data_root.attrib["style"]
    assert sum("font-family" in style for style in styles) == 1
    assert sum("#308fff" in style for style in styles) >= 1


def test_every_svg_text_has_an_anchor():
    """Texts without an anchor are placed correctly in one font only."""
    data_root = ElementTree.fromstring(element_of(drawn()))
    assert all("text-anchor: " in text.attrib["style"] for text in data_root.iter("text"))


def test_page_svg_has_no_background_style_sheet_metadata_or_unused_ids():
    text = element_of(drawn())
    data_root = ElementTree.fromstring(text)
    first = data_root.find(".//path")
    assert first is not None
    assert first.attrib["style"] == "fill: none"
    assert {element.tag for element in data_root.iter()} <= {
        *("svg", "g", "defs", "path", "use", "text", "image", "clipPath", "rect"),
    }
    ids = [element.attrib["id"] for element in data_root.iter() if "id" in element.attrib]
    links = set(re.findall(r'(?:href="|url\()#([\w-]+)', text))
    assert len(ids) == len(set(ids)), "the two images are the same"
    assert set(ids) == links
    assert len(ids) >= 3
    assert len(list(data_root.iter("image"))) == 2
    assert all(re.fullmatch(r"data:image/png;base64,[\w+/=]+", one.attrib["href"]) for one in data_root.iter("image"))
    assert data_root.attrib["viewBox"] == f"0 0 460.8 {drawn().get_figheight() * 72:.6f}".rstrip("0")
    assert embedded(svg_text(drawn()), "Lines", "one_").width == pytest.approx(460.8 * 96 / 72)


def test_missing_glyphs_raise_no_warning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = drawn("猫 犬")
        save(figure, tmp_path / "one.png")
        assert "猫 犬" in element_of(figure)


def test_referenced_ids_get_the_prefix_and_others_are_removed():
    text = embedded(svg(), "Lines", "one_").element
    data_root = ElementTree.fromstring(text)
    assert sorted(one.get("id") for one in data_root.iter() if one.get("id")) == ["one_clip", "one_marker"]
    assert data_root.find(".//use").get("href") == "#one_marker"  # type: ignore[union-attr]
    assert 'clip-path="url(#one_clip)"' in text
    assert data_root.attrib.items() >= {"viewBox": "0 0 612 345.6", "role": "img", "aria-label": "Lines"}.items()
    assert data_root.tag == "svg"


def test_embedding_keeps_the_drawing():
    text = embedded(svg("a &lt;b&gt; &amp; c"), "Lines", "one_").element
    assert "a &lt;b&gt; &amp; c</text>" in text
    assert 'd="M 10 10 L 600 300"' in text
    assert "stroke: var(--text, #1b1b1b)" in text
    assert "stroke-linejoin: round; stroke-linecap: butt" in text


def test_scripts_and_external_references_are_removed():
    bad = (
        '<script>alert(1)</script><foreignObject><p xmlns="http://www.w3.org/1999/xhtml">x</p></foreignObject>'
        '<g onclick="alert(1)" onload="x"><image xlink:href="http://evil.example/x.png"/><use href="other.svg#x"/>'
        '<path fill="url(http://evil.example/x)" style="fill: url( \'//evil\')"/></g>'
        '<image href="data:image/png;base64,AAAA"/></svg>'
    )
    text = embedded(svg().replace("</svg>", bad), "Lines", "one_").element
    for word in ("http", "evil", "script", "alert", "onclick", "onload", "other.svg", "metadata", "foreignObject"):
        assert word not in text
    assert 'href="data:image/png;base64,AAAA"' in text


def test_alternative_text_is_escaped():
    element = embedded(svg(), "\"><script>alert('1')</script>&", "x_").element
    assert ElementTree.fromstring(element).get("aria-label") == "\"><script>alert('1')</script>&"
    assert "<script" not in element
