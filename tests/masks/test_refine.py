"""Test refinement against OpenCV, against loops written from the method, and the properties of `default`."""

import inspect

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from smix.errors import MaskError, OptionError
from smix.masks import refine as ours
from smix.masks.refine import REFINEMENTS, refine
from tests.reference import refinement as loops

SIZES = [(32, 32), (64, 64), (20, 33), (47, 13), (9, 5), (3, 4), (1, 6), (5, 1), (2, 2)]
PER_CASE = 50
ELLIPSE = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))


def blob(rng: np.random.Generator, height: int, width: int) -> NDArray[np.bool_]:
    cloud = cv2.GaussianBlur(rng.random((height, width)), (0, 0), rng.uniform(0.5, 4))
    return cloud > np.quantile(cloud, rng.random())


def disc(rng: np.random.Generator, height: int, width: int) -> NDArray[np.bool_]:
    return round_mask(
        (height, width), rng.uniform(0, height), rng.uniform(0, width), rng.uniform(0.5, max(height, width))
    )


def noise(rng: np.random.Generator, height: int, width: int) -> NDArray[np.bool_]:
    return rng.random((height, width)) < rng.random()


def at_border(rng: np.random.Generator, height: int, width: int) -> NDArray[np.bool_]:
    """Return boxes that reach the border of the image, some with a hole, and sometimes full or empty masks."""
    mask = np.zeros((height, width), bool)
    deep, long = rng.integers(0, height + 1), rng.integers(0, width + 1)
    mask[:deep, :long] = True
    mask[deep // 3 : deep // 2, long // 3 : long // 2] = False
    return np.rot90(mask[::-1], 2) if rng.random() < 0.5 else mask


def lines(rng: np.random.Generator, height: int, width: int) -> NDArray[np.bool_]:
    """Return polylines of 1 to 3 pixels: closed rings, arches and crossings."""
    image = np.zeros((height, width), np.uint8)
    corners = rng.integers(0, (width, height), (rng.integers(2, 7), 2)).astype(np.int32)
    cv2.polylines(image, [corners], bool(rng.random() < 0.5), 1, int(rng.integers(1, 4)))
    return image > 0


FAMILIES = [blob, disc, noise, at_border, lines]
FAMILY = pytest.mark.parametrize("family", FAMILIES)
SIZE = pytest.mark.parametrize("size", SIZES, ids=str)


def random_masks(family, size: tuple[int, int], count: int = PER_CASE) -> NDArray[np.bool_]:
    rng = np.random.default_rng((FAMILIES.index(family), *size))
    return np.stack([family(rng, *size) for _ in range(count)])


def round_mask(size: tuple[int, int], row: float, column: float, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 < radius**2


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def grey(masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return masks.astype(np.uint8) * 255


def cv_blur(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return cv2.GaussianBlur(image, (0, 0), 1)


def cv_threshold(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return cv2.adaptiveThreshold(image, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 5, -2)


def cv_opening(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return cv2.morphologyEx(image, cv2.MORPH_OPEN, ELLIPSE)


def cv_contours(image: NDArray[np.uint8]) -> list[NDArray[np.int32]]:
    return list(cv2.findContours(image, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0])


def cv_largest(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    filled = np.zeros_like(image)
    if contours := cv_contours(image):
        cv2.drawContours(filled, [max(contours, key=cv2.contourArea)], -1, 255, cv2.FILLED)
    return filled


def apply_to_each(step, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.stack([step(image) for image in images])


def test_opencv_behaves_as_the_method_describes():
    """Its 3 x 3 ellipse is a cross, and sigma 1 gives 7 taps; another major version may change either."""
    assert np.array_equal(ELLIPSE, [[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    image = np.random.default_rng(0).integers(0, 256, (12, 17)).astype(np.uint8)
    assert np.array_equal(
        cv_blur(image), cv2.GaussianBlur(image, (7, 7), 1, sigmaY=1, borderType=cv2.BORDER_REFLECT_101)
    )
    assert not np.array_equal(cv_blur(image), cv2.GaussianBlur(image, (5, 5), 1))


@FAMILY
@SIZE
def test_step_a_blur_equals_opencv_exactly(family, size):
    images = grey(random_masks(family, size))
    assert np.array_equal(ours.gaussian_blur(images), apply_to_each(cv_blur, images))


@FAMILY
@SIZE
def test_step_b_threshold_equals_opencv_exactly(family, size):
    blurred = apply_to_each(cv_blur, grey(random_masks(family, size)))
    assert np.array_equal(ours.adaptive_threshold(blurred), apply_to_each(cv_threshold, blurred) > 0)


@FAMILY
@SIZE
def test_step_c_opening_equals_opencv_exactly(family, size):
    masks = random_masks(family, size)
    assert np.array_equal(ours.opening(masks), apply_to_each(cv_opening, grey(masks)) > 0)


@FAMILY
@SIZE
def test_step_d_filled_largest_contour_equals_opencv_exactly(family, size):
    """Masks are arbitrary, not only opened ones: their contours touch and cross themselves."""
    masks = random_masks(family, size)
    for some in (masks, apply_to_each(cv_opening, grey(masks)) > 0):
        assert np.array_equal(ours.largest_contour(some), apply_to_each(cv_largest, grey(some)) > 0)


@FAMILY
@SIZE
def test_published_equals_the_four_steps_of_opencv_exactly(family, size):
    masks = random_masks(family, size)
    theirs = apply_to_each(lambda image: cv_largest(cv_opening(cv_threshold(cv_blur(image)))), grey(masks))
    assert np.array_equal(refine(masks, "published"), theirs > 0)


def test_among_contours_of_equal_area_the_first_of_opencv_is_taken():
    """Masks have two to four equal pieces at random places, so that each is a tie."""
    rng = np.random.default_rng(3)
    for _ in range(100):
        mask = np.zeros((24, 35), bool)
        for place in rng.choice(12, rng.integers(2, 5), replace=False):
            top, left = 8 * (place // 4) + rng.integers(4), 8 * (place % 4) + rng.integers(4)
            mask[top : top + 3, left : left + 4] = True
        areas = [cv2.contourArea(contour) for contour in cv_contours(grey(mask))]
        assert len(areas) > 1
        assert len(set(areas)) == 1
        assert np.array_equal(ours.largest_contour(mask[None])[0], cv_largest(grey(mask)) > 0)


def test_an_object_inside_the_ring_of_another_is_filled_with_it():
    mask = round_mask((30, 37), 15, 18, 13) & ~round_mask((30, 37), 15, 18, 9) | round_mask((30, 37), 15, 18, 5)
    assert np.array_equal(ours.largest_contour(mask[None])[0], round_mask((30, 37), 15, 18, 13))


@pytest.mark.parametrize("size", SIZES)
def test_blur_and_threshold_equal_opencv_on_any_grey_image(size):
    images = np.random.default_rng(size).integers(0, 256, (PER_CASE, *size)).astype(np.uint8)
    assert np.array_equal(ours.gaussian_blur(images), apply_to_each(cv_blur, images))
    assert np.array_equal(ours.adaptive_threshold(images), apply_to_each(cv_threshold, images) > 0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [(9, 13), (7, 4), (1, 3)])
def test_blur_threshold_and_opening_equal_loops_written_from_the_method(family, size):
    for mask in random_masks(family, size, 4):
        image = grey(mask)
        blurred = loops.gaussian_blur(image)
        above = loops.adaptive_threshold(blurred)
        assert np.array_equal(ours.gaussian_blur(image[None])[0], blurred)
        assert np.array_equal(ours.adaptive_threshold(blurred[None])[0], above)
        assert np.array_equal(ours.opening(above[None])[0], loops.opening(above))


def test_the_margin_of_two_requires_values_from_0_to_255():
    masks = random_masks(disc, (32, 32))
    on_0_to_1 = ours.adaptive_threshold(ours.gaussian_blur(masks.astype(np.uint8)))
    on_0_to_255 = ours.adaptive_threshold(ours.gaussian_blur(grey(masks)))
    assert not on_0_to_1.any()
    assert on_0_to_255.any((1, 2)).mean() > 0.5


def test_the_threshold_keeps_the_rim_of_a_wide_object_and_the_filling_restores_it():
    mask = round_mask((40, 53), 20, 26, 15)
    rim = ours.adaptive_threshold(ours.gaussian_blur(grey(mask[None])))[0]
    assert not (rim & round_mask((40, 53), 20, 26, 10)).any()
    assert np.array_equal(refine(mask[None], "published")[0], mask)


BORDER_DISCS = [
    ((32, 32), 16, 0),
    ((32, 32), 31, 16),
    ((64, 64), 0, 32),
    ((40, 56), 20, 55),
    ((40, 56), 39, 55),
    ((40, 56), 20, 4),
]


@pytest.mark.parametrize("radius", [14, 20])
@pytest.mark.parametrize(("size", "row", "column"), BORDER_DISCS)
def test_default_keeps_a_disc_that_touches_the_border_and_published_does_not(size, row, column, radius):
    mask = round_mask(size, row, column, radius)
    assert iou(refine(mask[None], "default")[0], mask) >= 0.95
    assert iou(refine(mask[None], "published")[0], mask) <= 0.5


def box(*places: tuple[slice, slice], size: tuple[int, int] = (20, 31)) -> NDArray[np.bool_]:
    mask = np.zeros(size, bool)
    for place in places:
        mask[place] = True
    return mask


LINE = np.s_[10:11, 2:29]
BODY = np.s_[2:12, 3:13]  # 100 pixels

UNCHANGED = {
    "a line of one pixel": box(LINE),
    "a thin arm on a body": box(BODY, np.s_[5:6, 13:30]),
    "a diagonal": np.eye(20, 31, dtype=bool),
    "a small piece that touches at a corner": box(BODY, np.s_[12:14, 13:16]),
    "two pieces of one size": box(np.s_[2:8, 2:8], np.s_[2:8, 20:26]),
    "a piece of a tenth": box(BODY, np.s_[15:17, 20:25]),
    "a bay that is open to the side": box(BODY) & ~box(np.s_[5:7, 8:13]),
    "a bay that is open to the image's border": box(np.s_[0:12, 3:13]) & ~box(np.s_[0:6, 6:9]),
    "a hole of 3 %": box(BODY) & ~box(np.s_[5:6, 6:9]),
    "a wide hole": box(BODY) & ~box(np.s_[3:11, 4:12]),
    "a ring closed by diagonal neighbours": np.pad([[0, 1, 0], [1, 0, 1], [0, 1, 0]], 4).astype(bool),
    "an island in a hole": box(BODY) & ~box(np.s_[3:11, 4:12]) | box(np.s_[6:7, 7:8]),
    "nothing": box(),
    "everything": ~box(),
    "one pixel in a corner": box(np.s_[0:1, 30:31]),
    "two objects in a signal, close together": np.isin(np.arange(70), 33, invert=True),
    "a hollow cube": np.pad(~np.pad(np.ones((2, 2, 2), bool), 2), 1),
}


@pytest.mark.parametrize("mask", UNCHANGED.values(), ids=UNCHANGED.keys())
def test_default_does_not_change_good_masks(mask):
    assert np.array_equal(refine(mask[None], "default")[0], mask)


CHANGED = {
    "a hole of 2 % is filled": (box(BODY) & ~box(np.s_[5:6, 6:8]), box(BODY)),
    "a hole of one pixel is filled": (box(BODY) & ~box(np.s_[5:6, 6:7]), box(BODY)),
    "small holes are filled one by one": (box(BODY) & ~box(*(np.s_[5:6, c : c + 1] for c in (4, 6, 8))), box(BODY)),
    "a hole closed by diagonal neighbours is filled": (
        box(BODY) & ~box(np.s_[10:11, 11:12]) & ~box(np.s_[11:12, 12:13]),
        box(BODY) & ~box(np.s_[11:12, 12:13]),
    ),
    "a small hole beside a large one is filled": (
        box(BODY) & ~box(np.s_[3:6, 4:12]) & ~box(np.s_[8:9, 8:9]),
        box(BODY) & ~box(np.s_[3:6, 4:12]),
    ),
    "a piece below a tenth is dropped": (box(BODY, np.s_[15:18, 20:23]), box(BODY)),
    "many small pieces are dropped": (box(BODY, *(np.s_[15:18, c : c + 3] for c in (1, 8, 15, 22))), box(BODY)),
    "pieces are measured with their holes filled": (
        box(BODY) & ~box(np.s_[3:11, 4:12]) | box(np.s_[15:18, 20:23]),
        box(BODY) & ~box(np.s_[3:11, 4:12]),
    ),
    "a speck in a signal is dropped": ((np.arange(40) < 12) | (np.arange(40) == 30), np.arange(40) < 12),
    "a bubble in a cube is filled": (
        np.pad(~np.pad(np.ones((1, 1, 1), bool), 2), 1),
        np.pad(np.ones((5, 5, 5), bool), 1),
    ),
}


@pytest.mark.parametrize(("mask", "expected"), CHANGED.values(), ids=CHANGED.keys())
def test_default_repairs_holes_and_specks(mask, expected):
    assert np.array_equal(refine(mask[None], "default")[0], expected)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [(17, 26), (9, 13), (7, 4), (1, 3)])
def test_default_equals_a_flood_fill_written_from_its_rule(family, size):
    for mask in random_masks(family, size, 6):
        assert np.array_equal(refine(mask[None], "default")[0], loops.refine_default(mask))


@pytest.mark.parametrize("shape", [(6, 23), (6, 5, 6, 7)])
def test_default_equals_the_flood_fill_in_one_and_three_dimensions(shape):
    for density in (0.3, 0.6, 0.9, 0.97):
        masks = np.random.default_rng(shape).random(shape) < density
        assert np.array_equal(refine(masks, "default"), np.stack([loops.refine_default(mask) for mask in masks]))


@pytest.mark.parametrize("side", [32, 128, 513])
def test_default_keeps_several_objects_and_thin_parts_at_every_size(side):
    """A body with a one-pixel-thin arm and a second object of 1/8 its area are kept; a speck is removed and a one-pixel hole filled."""
    unit = side // 32
    mask = np.zeros((side, side), bool)
    mask[2 * unit : 18 * unit, 3 * unit : 11 * unit] = True
    mask[10 * unit, 11 * unit : 28 * unit] = True
    mask[22 * unit : 26 * unit, 20 * unit : 24 * unit] = True
    specks = mask.copy()
    specks[28 * unit : 28 * unit + 2, 2:4] = True
    specks[4 * unit, 5 * unit] = False
    assert np.array_equal(refine(specks[None], "default")[0], mask)


def test_an_empty_batch_is_accepted():
    for how in REFINEMENTS:
        assert refine(np.zeros((0, 9, 5), bool), how).shape == (0, 9, 5)


@pytest.mark.slow
@given(arrays(bool, st.tuples(st.just(1), st.integers(1, 9), st.integers(1, 12))))
def test_default_is_idempotent_and_keeps_at_least_the_largest_piece(mask):
    once = refine(mask, "default")
    assert np.array_equal(refine(once, "default"), once)
    count, pieces = cv2.connectedComponents(grey(mask[0]), connectivity=8)
    if count > 1:
        sizes = np.bincount(pieces.ravel())[1:]
        assert once.sum() >= sizes.max()
        assert once.any()
    else:
        assert not once.any()


@pytest.mark.slow
@given(arrays(bool, st.tuples(st.just(1), st.integers(3, 20), st.integers(3, 25))))
def test_published_gives_one_piece_without_holes_or_an_empty_mask(mask):
    found = grey(refine(mask, "published")[0])
    assert cv2.connectedComponents(found, connectivity=8)[0] <= 2
    assert len(cv2.findContours(found, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]) <= 1


@pytest.mark.parametrize("how", REFINEMENTS)
def test_masks_of_a_batch_are_refined_independently_and_the_input_is_unchanged(how):
    masks = np.concatenate([random_masks(family, (20, 33), 4) for family in FAMILIES])
    before = masks.copy()
    together = refine(masks, how)
    assert together.dtype == bool
    assert np.array_equal(masks, before)
    assert np.array_equal(together, np.concatenate([refine(masks[i : i + 1], how) for i in range(len(masks))]))


def test_none_changes_nothing():
    masks = random_masks(noise, (20, 33))
    assert np.array_equal(refine(masks, "none"), masks)


def test_an_unknown_refinement_is_refused_with_the_nearest_name():
    # Without the type checks of the tests: users may pass any text.
    with pytest.raises(OptionError, match='got "publishd"; did you mean "published"'):
        inspect.unwrap(refine)(random_masks(disc, (9, 5)), "publishd")


@pytest.mark.parametrize("shape", [(3, 8), (3, 4, 5, 6)])
def test_published_refuses_signals_and_volumes_and_names_the_alternatives(shape):
    with pytest.raises(MaskError, match=r"2 spatial dimensions.*--refine default or none"):
        refine(np.ones(shape, bool), "published")
    assert refine(np.ones(shape, bool), "none").all()
    assert refine(np.ones(shape, bool), "default").all()


def test_the_described_parameters_determine_the_masks(monkeypatch):
    """Changing any parameter changes the masks, so none is missing and none is unused."""
    masks = np.concatenate([random_masks(blob, (20, 33)), random_masks(noise, (20, 33))])
    before = refine(masks, "default")
    assert ours.PARAMETERS["default"] == {"min_piece": ours.MIN_PIECE, "min_hole": ours.MIN_HOLE}
    for name in ours.PARAMETERS["default"]:
        with monkeypatch.context() as patch:
            patch.setattr(ours, name.upper(), 3 * ours.PARAMETERS["default"][name])
            assert not np.array_equal(refine(masks, "default"), before)
