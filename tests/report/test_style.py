import itertools

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from smix.plots.style import COLOURS, FEWER, MARKERS, MORE, PLAIN, TEXT, looks, styles

LIGHT, DARK = "#ffffff", "#161616"


def linear(colour: str) -> np.ndarray:
    """Return the linear intensities of an sRGB colour."""
    value = np.array(to_rgb(colour))
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2.2."""
    low, high = sorted(float(linear(colour) @ (0.2126, 0.7152, 0.0722)) + 0.05 for colour in (one, other))
    return high / low


def test_contrast_by_the_ends_of_its_scale():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # a known borderline of 4.5


@pytest.mark.parametrize("ground", [LIGHT, DARK])
@pytest.mark.parametrize("colour", COLOURS)
def test_every_colour_is_visible_in_light_and_dark_mode(colour, ground):
    assert contrast(colour, ground) >= 3


# Vienot et al. 1999: what is left of a colour for people without red, or without green receptors, in linear light.
WITHOUT = {
    "red": [[0.1121, 0.8853, -0.0005], [0.1127, 0.8897, -0.0001], [0.0045, 0.0000, 1.0019]],
    "green": [[0.2920, 0.7054, -0.0003], [0.2934, 0.7089, 0.0000], [-0.02098, 0.02559, 1.0019]],
}


@pytest.mark.parametrize("without", WITHOUT)
def test_ten_methods_have_distinct_colour_blind_safe_colours_and_markers(without):
    result = styles([PLAIN, *(f"method {n}" for n in range(9))])
    assert len({style.marker for style in result.values()}) == 10
    to_linear = np.array(WITHOUT[without])
    seen = np.array([to_linear @ np.array(to_rgb(style.colour)) ** 2.2 for style in result.values()]).clip(0, 1)
    distances = [np.linalg.norm(one - other) for one, other in itertools.combinations(seen ** (1 / 2.2), 2)]
    assert min(distances) > 0.1
    assert np.linalg.norm(np.array(to_rgb(MORE)) - to_rgb(FEWER)) > 0.5


def test_ninety_nine_methods_differ_in_colour_or_marker():
    result = styles([f"method {n}" for n in range(99)])
    assert len(set(result.values())) == 99
    assert len(COLOURS) == 9
    assert len(set(MARKERS)) == 11


def test_vanilla_always_has_the_text_colour():
    for methods in (["vanilla", "mixup"], ["mixup", "vanilla"], ["vanilla"]):
        result = styles(methods)
        assert list(result) == methods
        assert result["vanilla"].colour == TEXT
        assert "vanilla" not in [method for method, style in result.items() if style.colour in COLOURS]
    # The others have theirs whether vanilla is among them or not.
    assert styles(["mixup", "smix"]) == {
        m: s for m, s in styles(["vanilla", "mixup", "smix"]).items() if m != "vanilla"
    }


def test_looks_applies_the_style_and_restores_the_settings():
    before = dict(matplotlib.rcParams)

    @looks
    def size():
        return matplotlib.rcParams["font.size"], matplotlib.rcParams["text.parse_math"]

    with matplotlib.rc_context({"font.size": 77, "text.parse_math": True, "axes.facecolor": "red"}):
        mine = dict(matplotlib.rcParams)
        assert size() == (10, False)
        assert looks(lambda: matplotlib.rcParams["axes.facecolor"])() == "none"
        assert dict(matplotlib.rcParams) == mine
    assert dict(matplotlib.rcParams) == before
