"""Test validity criteria of masks against literal formulas."""

import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from smix.errors import OptionError
from smix.mixing import Validity
from smix.mixing.validity import binary_entropy, border_coverage, edge_density
from tests.mixing.cases import boxes, new_generator
from tests.reference import smix as reference

PIXELS = 400
ANY_SHAPE = {"max_roughness": 0.0, "min_free_border": 0.0}


def masks_of_area(*counts: int) -> torch.Tensor:
    """Return one mask of 16 x 25 pixels for each count, with this number of the 400 pixels set."""
    return (torch.arange(PIXELS) < torch.tensor(counts)[:, None]).view(-1, 1, 16, 25).float()


@pytest.mark.parametrize(
    ("validity", "counts"),
    [
        # 1 % is 4 pixels, 95 % is 380; the entropy of p reaches 1/2 nat at p = 0.1997 and 0.8003, just below 80 and above 320.
        (
            Validity(max_roughness=0.0, min_free_border=0.0),
            {0: False, 3: False, 4: True, 5: True, 200: True, 380: True, 381: False, 400: False},
        ),
        (Validity.figure14(), {0: False, 3: False, 4: True, 5: True, 399: True, 400: True}),
        (Validity.published(), {0: False, 4: False, 79: False, 80: True, 200: True, 320: True, 321: False, 400: False}),
        (Validity(min_coverage=0.0, max_coverage=1.0), {0: True, 400: True}),
        (
            Validity(min_coverage=0.25, max_coverage=0.5, max_roughness=0.0),
            {99: False, 100: True, 200: True, 201: False},
        ),
    ],
    ids=["default coverage", "figure14", "published", "anything", "bounds"],
)
def test_coverage_and_entropy_rules(validity: Validity, counts: dict[int, bool]):
    assert validity(masks_of_area(*counts)).tolist() == list(counts.values())


RULES = [
    Validity(),
    Validity.figure14(),
    Validity.published(),
    Validity(max_roughness=0.9),
    Validity(min_free_border=0.95),
    Validity(min_edges=0.05, min_entropy=0.3),
]


def literal_criteria(rule: Validity, mask: NDArray[np.float32]) -> bool:
    """Compute each criterion by its definition; `mask` has two or three dimensions."""
    coverage, edges = float(mask.astype(np.float64).mean()), reference.edge_density(mask)
    outermost = [
        mask[pixel]
        for pixel in itertools.product(*map(range, mask.shape))
        if any(place in (0, length - 1) for place, length in zip(pixel, mask.shape, strict=True))
    ]
    free = 1 - sum(outermost) / len(outermost)
    return (
        rule.min_coverage <= coverage <= rule.max_coverage
        and (rule.min_entropy == 0 or reference.binary_entropy(coverage) >= rule.min_entropy)
        and (rule.min_edges == 0 or edges > rule.min_edges)
        and (rule.max_roughness == 0 or edges <= rule.max_roughness * min(coverage, 1 - coverage))
        and (rule.min_free_border == 0 or free >= rule.min_free_border * (1 - coverage))
    )


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_rules_agree_with_the_formulas(rule: Validity):
    rng = np.random.default_rng(0)
    noise = (rng.random((200, 9, 14)) < rng.random((200, 1, 1))).astype(np.float32)
    counts = range(1, PIXELS)  # for empty and full masks the sums are equal for any rounding
    for masks in (
        noise,
        masks_of_area(*counts)[:, 0].numpy(),
        boxes(60, (9, 14))[:, 0].float().numpy(),
        boxes(60, (5, 6, 7))[:, 0].float().numpy(),
    ):
        found = rule(torch.from_numpy(masks)[:, None]).tolist()
        assert found == [literal_criteria(rule, mask) for mask in masks]


def test_the_criteria_of_the_report_do_not_depend_on_shape():
    noise = (torch.rand(20, 1, 16, 25, generator=new_generator(0)) > 0.5).float()
    for rule in (Validity.figure14(), Validity.published()):
        assert rule(noise).all()
        assert rule(1 - masks_of_area(80)).all()


def random_shapes(rows: slice, columns: slice, size: tuple[int, int] = (20, 31)) -> torch.Tensor:
    mask = torch.zeros(1, 1, *size)
    mask[0, 0, rows, columns] = 1
    return mask


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (random_shapes(np.s_[5:12], np.s_[8:15]), True),
        (1 - random_shapes(np.s_[5:12], np.s_[8:15]), False),
        (1 - random_shapes(np.s_[0:12], np.s_[8:15]), False),
        # Cropped by the border: at an edge, at a corner, half of the image, two thirds of it.
        (random_shapes(np.s_[0:12], np.s_[8:15]), True),
        (random_shapes(np.s_[12:20], np.s_[20:31]), True),
        (random_shapes(np.s_[0:20], np.s_[0:15]), True),
        (random_shapes(np.s_[0:20], np.s_[10:31]), True),
        (random_shapes(np.s_[9:12], np.s_[2:29]), True),
        # A line of one pixel, and a chequered background.
        (random_shapes(np.s_[9:10], np.s_[2:29]), False),
        ((torch.arange(20)[:, None] + torch.arange(31)).remainder(2).float()[None, None], False),
    ],
)
def test_the_default_accepts_objects_and_refuses_noise_and_inverted_masks(mask: torch.Tensor, expected: bool):
    assert Validity()(mask).tolist() == [expected]


def test_noise_of_any_density_is_refused_at_every_size():
    for side in (32, 64, 128):
        for density in (0.1, 0.3, 0.7, 0.9):
            noise = (torch.rand(40, 1, side, side, generator=new_generator(side)) < density).float()
            assert not Validity()(noise).any()


def test_an_object_at_the_start_of_a_signal_is_valid():
    signal = (torch.arange(40) < 13).float()[None, None]
    assert Validity()(signal).tolist() == [True]


@pytest.mark.parametrize("size", [(6, 11), (3, 4, 6), (2, 5), (1, 1)], ids=str)
def test_border_coverage_is_that_of_the_outermost_pixels(size: tuple[int, ...]):
    masks = torch.rand(5, 1, *size, generator=new_generator(0))
    outermost = [
        pixel
        for pixel in itertools.product(*map(range, size))
        if any(place in (0, length - 1) for place, length in zip(pixel, size, strict=True))
    ]
    expected = torch.stack([masks[(slice(None), 0, *pixel)] for pixel in outermost]).mean(0)
    torch.testing.assert_close(border_coverage(masks), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "option", ["min_coverage", "max_coverage", "min_entropy", "min_edges", "max_roughness", "min_free_border"]
)
@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_numbers_out_of_range_are_refused_by_name(option: str, value: float):
    with pytest.raises(OptionError, match=f"validity: expected .*{option}.*got"):
        Validity(**{option: value})


def test_the_entropy_is_in_nats():
    shares = [0.0, 1e-3, 0.2, 0.5, 0.9, 1.0]
    expected = torch.tensor([reference.binary_entropy(share) for share in shares])
    torch.testing.assert_close(binary_entropy(torch.tensor(shares)), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("size", [(6, 11), (17,), (3, 4, 6)], ids=str)
@pytest.mark.parametrize("kind", ["boxes", "soft"])
def test_edge_density_is_the_gradients_sum_over_the_pixels(size: tuple[int, ...], kind: str):
    masks = boxes(7, size).float() if kind == "boxes" else torch.rand(7, 1, *size, generator=new_generator(0))
    expected = torch.tensor([reference.edge_density(mask) for mask in masks[:, 0].numpy()])
    torch.testing.assert_close(edge_density(masks), expected, rtol=1e-5, atol=1e-6)


def test_the_edge_criterion_excludes_its_bound():
    masks = torch.zeros(2, 1, 4, 5)
    masks[0, 0, 0, :] = 1  # 5 vertical steps of 20 pixels
    masks[1, 0, 0, 2] = 1  # 3 steps
    for bound, expected in ((0.1, [True, True]), (0.15, [True, False]), (0.2, [True, False]), (0.25, [False, False])):
        assert Validity(max_coverage=1.0, min_edges=bound, **ANY_SHAPE)(masks).tolist() == expected


def test_every_criterion_must_hold():
    rule = Validity(min_coverage=0.01, max_coverage=1.0, min_entropy=0.5, min_edges=0.05, **ANY_SHAPE)
    noise = (torch.rand(1, 1, 16, 25, generator=new_generator(0)) > 0.5).float()
    few_edges, no_object = masks_of_area(200), masks_of_area(0)
    assert rule(torch.cat([noise, few_edges, no_object])).tolist() == [
        True,
        reference.edge_density(few_edges[0, 0].numpy()) > 0.05,
        False,
    ]
    assert Validity(max_coverage=1.0, min_edges=0.5, **ANY_SHAPE)(torch.cat([noise, few_edges])).tolist() == [
        True,
        False,
    ]
