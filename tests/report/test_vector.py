"""A picture as SVG becomes a part of a page."""

from xml.etree import ElementTree

import pytest

from smix.report.vector import drawing
from tests.report.pages import svg


def test_what_is_referred_to_is_renamed_and_other_names_go():
    text = drawing(svg(), "Lines", "one_").element
    data_root = ElementTree.fromstring(text)
    assert sorted(one.get("id") for one in data_root.iter() if one.get("id")) == ["one_clip", "one_marker", "one_svg"]
    assert data_root.find(".//use").get("href") == "#one_marker"  # type: ignore[union-attr]
    assert 'clip-path="url(#one_clip)"' in text
    assert data_root.attrib == {"viewBox": "0 0 612 345.6", "role": "img", "aria-label": "Lines", "id": "one_svg"}
    assert data_root.tag == "svg"


def test_the_drawing_itself_stays():
    text = drawing(svg("a &lt;b&gt; &amp; c"), "Lines", "one_").element
    assert "a &lt;b&gt; &amp; c</text>" in text
    assert 'd="M 10 10 L 600 300"' in text
    assert "stroke: var(--text, #1b1b1b)" in text
    assert '[id="one_svg"] { *{stroke-linejoin: round; stroke-linecap: butt} }' in text


def test_what_could_run_or_fetch_is_left_out():
    bad = (
        '<script>alert(1)</script><foreignObject><p xmlns="http://www.w3.org/1999/xhtml">x</p></foreignObject>'
        '<g onclick="alert(1)" onload="x"><image xlink:href="http://evil.example/x.png"/><use href="other.svg#x"/>'
        '<path fill="url(http://evil.example/x)" style="fill: url( \'//evil\')"/></g>'
        '<image href="data:image/png;base64,AAAA"/></svg>'
    )
    text = drawing(svg().replace("</svg>", bad), "Lines", "one_").element
    for word in ("http", "evil", "script", "alert", "onclick", "onload", "other.svg", "metadata", "foreignObject"):
        assert word not in text
    assert 'href="data:image/png;base64,AAAA"' in text


@pytest.mark.parametrize(
    ("head", "size"),
    [
        ('width="612pt" height="306pt"', (816, 408)),
        ('width="400" height="30px"', (400, 30)),
        ('width="4in" height="2.54cm" viewBox="0 0 1 1"', (384, 96)),
        ('width="100%" height="50%" viewBox="0 0 30.5,20"', (30.5, 20)),
        ('viewBox="0 0 3 2"', (3, 2)),
    ],
)
def test_the_natural_size_is_that_of_the_file_or_of_its_viewbox(head, size):
    found = drawing(f'<svg xmlns="http://www.w3.org/2000/svg" {head}/>', "x", "x_")
    assert (found.width, found.height) == pytest.approx(size)
    assert "viewBox" in found.element


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<svg width="3" height="3"/>', "expected an SVG with its namespace, got svg"),
        ('<svg xmlns="http://www.w3.org/2000/svg"/>', "expected an SVG with a viewBox or a width and a height"),
    ],
)
def test_what_is_no_picture_is_an_error(text, message):
    with pytest.raises(ValueError, match=message):
        drawing(text, "x", "x_")


def test_an_alternative_text_is_no_code():
    element = drawing(svg(), "\"><script>alert('1')</script>&", "x_").element
    assert ElementTree.fromstring(element).get("aria-label") == "\"><script>alert('1')</script>&"
    assert "<script" not in element
