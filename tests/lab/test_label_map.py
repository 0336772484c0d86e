"""Test label maps: their effect on logits, labels and names, and invalid maps."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from smix.errors import DataError, OptionError
from smix.lab.label_map import grouped, label_map, map_by_name, read_label_map
from tests.conftest import make_set

OWN = ("tabby", "tiger cat", "beagle", "husky", "truck")


class Logits(nn.Module):
    """Network whose logits are the first pixels of each channel."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)


def test_grouped_classes_are_one_output_and_other_classes_stay():
    mapping = label_map(
        {"dog": [3, "beagle"], "cat": ["tabby", "tiger cat"], "car": None}, ("car", "cat", "dog"), OWN, "m"
    )
    assert mapping.outputs == ((0, 1), (2, 3), (4,))
    assert mapping.names == ("tabby or tiger cat", "beagle or husky", "truck")
    assert mapping.label == (-1, 0, 1)
    assert mapping.classes == {"car": None, "cat": ["tabby", "tiger cat"], "dog": ["beagle", "husky"]}
    assert mapping.labels(np.array([0, 1, 2, 3, 4, 4])).tolist() == [0, 0, 1, 1, 2, 2]


def test_several_classes_of_the_data_may_map_to_one_class_of_the_network():
    mapping = label_map(
        {"cat": ["tabby"], "kitten": ["tabby"], "van": ["truck"]}, ("cat", "kitten", "van", "sea"), OWN, "m"
    )
    assert mapping.label == (0, 0, 4, -1)
    assert mapping.names == OWN


@given(
    st.integers(1, 6).flatmap(lambda k: st.lists(st.integers(0, k - 1), min_size=k, max_size=k)), st.integers(0, 2**31)
)
@settings(max_examples=60, deadline=None)
def test_the_probability_of_a_group_is_the_sum_of_those_of_its_members(group, seed):
    outputs = [tuple(np.flatnonzero(np.array(group) == one).tolist()) for one in sorted(set(group))]
    logits = torch.from_numpy(np.random.default_rng(seed).normal(0, 20, (7, len(group)))).float()
    expected = torch.stack([logits.double().softmax(1)[:, list(members)].sum(1) for members in outputs], 1)
    torch.testing.assert_close(grouped(logits, outputs).double().softmax(1), expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(grouped(logits, [(place,) for place in range(len(group))]), logits)


def test_gradients_reach_all_members_of_a_group():
    logits = torch.tensor([[1.0, 1.0, 3.0]], requires_grad=True)
    grouped(logits, [(0, 1), (2,)])[0, 0].backward()
    assert logits.grad.tolist() == [[0.5, 0.5, 0.0]]


def test_the_network_keeps_its_mode_and_is_returned_unchanged_without_groups():
    mapping = label_map({"cat": ["tabby", "husky"]}, ("cat",), OWN, "m")
    model = mapping.model(Logits().eval())
    assert not model.training
    images = torch.linspace(-1, 2, 15).view(3, 5, 1, 1)
    assert torch.equal(model(images), grouped(images.flatten(1), mapping.outputs))
    same = Logits()
    assert label_map({"cat": ["husky"]}, ("cat",), OWN, "m").model(same) is same


def test_images_of_other_classes_are_omitted_and_rows_refer_to_the_complete_split():
    data = make_set(12, classes=4, split="test")
    labelled = label_map({"class 3": ["truck"], "class 1": ["husky", "beagle"]}, data.classes, OWN, "m").data(data)
    assert labelled.index.tolist() == [1, 3, 5, 7, 9, 11]
    assert labelled.labels.tolist() == [2, 3, 2, 3, 2, 3]
    assert labelled.classes == ("tabby", "tiger cat", "beagle or husky", "truck")
    assert labelled.fingerprint == data.fingerprint
    with pytest.raises(DataError, match="label map: made test has no images of the mapped classes"):
        label_map({"class 1": None}, data.classes, OWN, "m").data(data)


def test_equal_names_are_mapped_automatically():
    assert map_by_name(OWN, OWN, "other") is None
    mapping = map_by_name(("husky", "tabby"), OWN, "other")
    assert mapping is not None
    assert mapping.label == (3, 0)
    assert mapping.names == OWN


def test_names_unknown_to_the_network_are_listed():
    with pytest.raises(
        OptionError, match=r"2 of 3 classes of other are unknown to the network: sea, sky; map them with --label-map"
    ):
        map_by_name(("sea", "tabby", "sky"), OWN, "other")
    with pytest.raises(
        OptionError, match=r"9 of 9 classes of other are unknown to the network: c0, c1, c2, c3, c4, \.\.\.; map"
    ):
        map_by_name([f"c{i}" for i in range(9)], OWN, "other")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"cta": ["tabby"]}, 'm: expected classes of the data, got "cta"; did you mean "cat"?'),
        ({"cat": ["taby"]}, 'm: expected classes of the network, got "taby"; did you mean "tabby"?'),
        ({"cat": ["zzz"]}, 'got "zzz"; they are tabby, tiger cat, beagle, husky, truck'),
        ({"cat": [5]}, "m: expected classes of the network, got number 5"),
        ({"cat": [-1]}, "got number -1"),
        (
            {"cat": ["tabby", "truck"], "dog": ["truck"]},
            '"truck" is in the different groups of "cat" and "dog"; a class of the network can be',
        ),
    ],
)
def test_unknown_names_and_overlaps_are_refused(named, message):
    with pytest.raises(OptionError) as caught:
        label_map(named, ("cat", "dog"), OWN, "m")
    assert message in str(caught.value)


def test_a_file_may_have_names_numbers_lists_and_null(tmp_path):
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"cat": ["tabby", 1], "dog": "beagle", "car": 4, "sea": None}))
    assert read_label_map(path) == {"cat": ["tabby", 1], "dog": ["beagle"], "car": [4], "sea": None}


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"{", "Expecting property name"),
        (b"", "Expecting value"),
        (b"{}", "an empty file"),
        (b"[1]", "a list"),
        (b'{"cat": {}}', '{} for "cat"'),
        (b'{"cat": []}', '[] for "cat"'),
        (b'{"cat": 1.5}', '1.5 for "cat"'),
        (b'{"cat": true}', 'true for "cat"'),
        (b'{"cat": [["a"]]}', '[["a"]] for "cat"'),
        (b'{"cat": "a", "cat": "b"}', 'a duplicate key "cat"'),
        (b'{"cat": "\xff"}', "not text in UTF-8"),
    ],
)
def test_a_broken_file_is_a_one_line_error(tmp_path, content, got):
    path = tmp_path / "map.json"
    path.write_bytes(content)
    with pytest.raises(OptionError) as caught:
        read_label_map(path)
    assert str(path) in str(caught.value)
    assert "expected JSON such as" in str(caught.value)
    assert got in str(caught.value)


def test_a_missing_file_is_a_one_line_error(tmp_path: Path):
    with pytest.raises(OptionError, match=r"label map: there is no file .*none.json; check the path"):
        read_label_map(tmp_path / "none.json")
