import re
import warnings
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from smix.errors import OptionError, RunError
from smix.report.layout import Heading, axes_at, sheet, write
from smix.report.render import check_picture, save, svg_text
from smix.report.style import SOFT, TEXT, looks

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script> & $x_1$ fill: #1b1b1b"


@looks
def drawn(title: str = HOSTILE) -> Figure:
    """With all that a figure can have: lines, marks, images twice, areas, clipped and not."""
    heading = Heading(title, "A note")
    figure = sheet(heading, 2)
    for left in (0.6, 3.6):
        axes = axes_at(figure, left, heading.height, 2, 1.5)
        axes.plot([0, 1, 2], [0, 3, 1], color=TEXT, marker="s")
        axes.scatter([0, 1], [1, 2], color="#308FFF", marker="^")
        axes.bar(1, 2, color=SOFT, alpha=0.5)
        axes.imshow(np.full((2, 3, 3), 200, np.uint8), extent=(0, 2, 0, 3), interpolation="none", aspect="auto")
        axes.set_xlabel(title)
        axes.grid(True)
    write(figure, 3, heading.height + 1.8, "soft", colour=SOFT)
    return figure


def write_drawn(folder: Path) -> None:
    """Write the figure in each of its three forms."""
    for name in ("drawn.png", "drawn.svg"):
        save(drawn(), folder / name)
    (folder / "drawn.txt").write_text(svg_text(drawn()))


@pytest.mark.slow
def test_a_figure_is_a_png_or_an_svg_on_white(tmp_path):
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
def test_other_pictures_are_refused(name, tmp_path):
    with pytest.raises(OptionError, match=rf"ends in \.png or \.svg, got {re.escape(name)}"):
        check_picture(Path(name))
    with pytest.raises(OptionError, match="ends in"):
        save(drawn(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_what_goes_wrong_leaves_the_file_as_it_was(tmp_path, monkeypatch):
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
    with pytest.raises(RunError, match="expected a folder to write"):
        save(drawn(), tmp_path / "file" / "one.png")


@pytest.mark.slow
def test_the_settings_of_the_user_do_not_matter(tmp_path):
    import matplotlib

    plain = [save(drawn(), tmp_path / f"plain{kind}").read_bytes() for kind in (".png", ".svg")]
    with matplotlib.rc_context(
        {"font.family": "monospace", "savefig.dpi": 50, "lines.linewidth": 9, "svg.hashsalt": "x"}
    ):
        mine = [save(drawn(), tmp_path / f"mine{kind}").read_bytes() for kind in (".png", ".svg")]
    assert plain == mine


def styles_in(data_root: ElementTree.Element) -> list[str]:
    return [element.attrib["style"] for element in data_root.iter() if "style" in element.attrib]


def test_text_for_a_page_is_text_in_the_colours_of_the_page():
    data_root = ElementTree.fromstring(svg_text(drawn()))
    texts = {"".join(text.itertext()): text.attrib["style"] for text in data_root.iter(f"{SVG}text")}
    assert "fill: var(--text, #1b1b1b)" in texts[HOSTILE]  # a title, whole: with its dollars, brackets and colours
    assert "fill: var(--soft, #5c5c5c)" in texts["soft"]
    styles = styles_in(data_root)
    assert not [style for style in styles if TEXT in style.replace(f"var(--text, {TEXT})", "")]
    assert not [style for style in styles if SOFT in style.replace(f"var(--soft, {SOFT})", "")]
    assert "font-family: system-ui, sans-serif" in data_root.attrib["style"]
    assert sum("font-family" in style for style in styles) == 1
    assert sum("#308fff" in style for style in styles) >= 1


def test_every_text_says_how_it_stands_to_its_place():
    """Else it would be where it belongs in one font alone."""
    data_root = ElementTree.fromstring(svg_text(drawn()))
    assert all("text-anchor: " in text.attrib["style"] for text in data_root.iter(f"{SVG}text"))


def test_what_is_for_a_page_has_no_ground_no_style_sheet_no_metadata_and_only_ids_that_are_used():
    text = svg_text(drawn())
    data_root = ElementTree.fromstring(text)
    first = data_root.find(f".//{SVG}path")
    assert first is not None
    assert first.attrib["style"] == "fill: none"
    assert {element.tag.removeprefix(SVG) for element in data_root.iter()} <= {
        *("svg", "g", "defs", "path", "use", "text", "image", "clipPath", "rect"),
    }
    ids = [element.attrib["id"] for element in data_root.iter() if "id" in element.attrib]
    links = set(re.findall(r'(?:href="|url\()#([\w-]+)', text))
    assert len(ids) == len(set(ids)), "the two images are the same"
    assert set(ids) == links
    assert len(ids) >= 3
    assert len(list(data_root.iter(f"{SVG}image"))) == 2
    assert all(
        re.fullmatch(r"data:image/png;base64,[\w+/=]+", one.attrib["href"]) for one in data_root.iter(f"{SVG}image")
    )
    assert data_root.attrib["viewBox"] == f"0 0 460.8 {drawn().get_figheight() * 72:.6f}".rstrip("0")
    assert data_root.attrib["width"] == "460.8pt"


def test_names_in_letters_that_the_font_lacks_are_drawn_without_a_word(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = drawn("猫 犬")
        save(figure, tmp_path / "one.png")
        assert "猫 犬" in svg_text(figure)
