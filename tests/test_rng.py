"""Keys and generators."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from smix import rng

REPEATABLE = settings(derandomize=True, deadline=None, database=None, max_examples=300)
keys = st.tuples(
    st.integers(0, 2**31),
    st.sampled_from(["mix", "model", "order", "mix/1", "1"]),
    st.integers(0, 99),
    st.integers(0, 9),
)


def test_keys_stay_the_same_between_versions():
    """Another value would change every run that was ever started; Python's own hash of a text differs by process."""
    assert [rng.key(0, "mix"), rng.key(1, "mix"), rng.key(0, "model", step=7, rank=3)] == [
        8396927818594948338,
        4803357662328978071,
        5772035771291287465,
    ]


@REPEATABLE
@given(keys, keys)
def test_keys_differ_if_any_part_differs_and_fit_63_bits(one: tuple, other: tuple):
    assert (rng.key(*one) == rng.key(*other)) == (one == other)
    assert 0 <= rng.key(*one) < 2**63


def test_each_part_of_a_key_makes_another_stream():
    base = {"seed": 1, "purpose": "mix", "step": 11, "rank": 0}
    changes = [{}, {"seed": 11}, {"purpose": "model"}, {"step": 1}, {"step": 110}, {"rank": 1}]
    drawn = {tuple(torch.rand(4, generator=rng.generator(**{**base, **change})).tolist()) for change in changes}
    assert len(drawn) == len(changes)


def test_a_generator_repeats_its_numbers_and_leaves_the_global_one_alone():
    first, second = (torch.rand(8, generator=rng.generator(3, "mix", 5)) for _ in range(2))
    assert torch.equal(first, second)
    assert rng.generator(3, "mix").device.type == "cpu"


def test_torchs_own_generator_is_seeded_as_by_torch_itself():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        expected = torch.rand(5)
        rng.seed(7)
        assert torch.equal(torch.rand(5), expected)
