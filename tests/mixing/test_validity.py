"""Which masks are good enough, against literal formulas."""

import pytest
import torch

from smix.mixing import Validity
from smix.mixing.validity import binary_entropy, edge_density
from tests.mixing.cases import boxes, seeded
from tests.reference import smix as reference

PIXELS = 400


def covering(*counts: int) -> torch.Tensor:
    """Masks of 16 x 25 pixels with that many of the 400 pixels set."""
    return (torch.arange(PIXELS) < torch.tensor(counts)[:, None]).view(-1, 1, 16, 25).float()


@pytest.mark.parametrize(
    ("validity", "counts"),
    [
        # 1 % is 4 pixels, 95 % is 380; the entropy of p reaches 1/2 nat at p = 0.1997 and 0.8003, just below 80 and above 320.
        (Validity(), {0: False, 3: False, 4: True, 5: True, 200: True, 380: True, 381: False, 400: False}),
        (Validity.figure14(), {0: False, 3: False, 4: True, 5: True, 399: True, 400: True}),
        (Validity.published(), {0: False, 4: False, 79: False, 80: True, 200: True, 320: True, 321: False, 400: False}),
        (Validity(min_coverage=0.0, max_coverage=1.0), {0: True, 400: True}),
        (Validity(min_coverage=0.25, max_coverage=0.5), {99: False, 100: True, 200: True, 201: False}),
    ],
    ids=["default", "figure14", "published", "anything", "bounds"],
)
def test_coverage_and_entropy_rules(validity: Validity, counts: dict[int, bool]):
    assert validity(covering(*counts)).tolist() == list(counts.values())


@pytest.mark.parametrize("rule", [Validity(), Validity.figure14(), Validity.published()], ids=repr)
def test_rules_agree_with_the_formulas_for_every_coverage(rule: Validity):
    counts = range(PIXELS + 1)
    expected = [
        rule.min_coverage <= count / PIXELS <= rule.max_coverage
        and (rule.min_entropy == 0 or reference.binary_entropy(count / PIXELS) >= rule.min_entropy)
        for count in counts
    ]
    assert rule(covering(*counts)).tolist() == expected


def test_the_entropy_is_in_nats():
    shares = [0.0, 1e-3, 0.2, 0.5, 0.9, 1.0]
    expected = torch.tensor([reference.binary_entropy(share) for share in shares])
    torch.testing.assert_close(binary_entropy(torch.tensor(shares)), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("size", [(6, 11), (17,), (3, 4, 6)], ids=str)
@pytest.mark.parametrize("kind", ["boxes", "soft"])
def test_edge_density_is_the_gradients_sum_over_the_pixels(size: tuple[int, ...], kind: str):
    masks = boxes(7, size).float() if kind == "boxes" else torch.rand(7, 1, *size, generator=seeded(0))
    expected = torch.tensor([reference.edge_density(mask) for mask in masks[:, 0].numpy()])
    torch.testing.assert_close(edge_density(masks), expected, rtol=1e-5, atol=1e-6)


def test_the_edge_criterion_is_valid_above_not_at_its_bound():
    masks = torch.zeros(2, 1, 4, 5)
    masks[0, 0, 0, :] = 1  # 5 steps down of 20 pixels
    masks[1, 0, 0, 2] = 1  # 3 steps
    for bound, expected in ((0.1, [True, True]), (0.15, [True, False]), (0.2, [True, False]), (0.25, [False, False])):
        assert Validity(max_coverage=1.0, min_edges=bound)(masks).tolist() == expected


def test_every_criterion_must_hold():
    rule = Validity(min_coverage=0.01, max_coverage=1.0, min_entropy=0.5, min_edges=0.05)
    noise = (torch.rand(1, 1, 16, 25, generator=seeded(0)) > 0.5).float()
    few_edges, no_object = covering(200), covering(0)
    assert rule(torch.cat([noise, few_edges, no_object])).tolist() == [
        True,
        reference.edge_density(few_edges[0, 0].numpy()) > 0.05,
        False,
    ]
    assert Validity(max_coverage=1.0, min_edges=0.5)(torch.cat([noise, few_edges])).tolist() == [True, False]
