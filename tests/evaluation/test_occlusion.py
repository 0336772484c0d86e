"""Test swapped backgrounds and hidden parts pixel by pixel."""

import pytest
import torch
from torch import Tensor

from smix.errors import DataError, OptionError
from smix.evaluation import occlusion
from smix.evaluation.occlusion import occlude, on_background, partners, swap_backgrounds

Case = tuple[Tensor, Tensor, Tensor]


@pytest.fixture
def case() -> Case:
    """Return 40 images of 10 x 14 pixels. Image i has the object value 100 + i and the background value i, so that each pixel shows its
    origin.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 4
    masks = torch.zeros(40, 10, 14, dtype=torch.bool)
    for mask in masks:
        top, left = torch.randint(0, 5, (2,), generator=generator).tolist()
        mask[top : top + 4, left : left + 5] = True
    numbers = torch.arange(40)[:, None, None]
    images = (numbers + 100 * masks).byte()[..., None].repeat(1, 1, 1, 3)
    return images, masks, labels


def test_objects_stay_and_backgrounds_are_of_another_class(case):
    images, masks, labels = case
    found = swap_backgrounds(images, masks, labels)
    assert found.rows.tolist() == list(range(40))
    assert found.left_out == 0
    for row in range(40):
        assert torch.equal(found.images[row][masks[row]], images[row][masks[row]])
        # a single value: the background of the partner, also under the object of the partner
        (partner,) = found.images[row][~masks[row]].unique().tolist()
        assert partner < 40
        assert labels[partner] != labels[row]


def test_partners_of_a_part_are_drawn_by_index_in_the_data_set(case):
    images, masks, labels = case
    rows = torch.tensor([3, 8, 9, 21, 30, 39])
    found = partners(labels[rows], rows, seed=2)
    assert (labels[rows][found] != labels[rows]).all()
    assert torch.equal(found, partners(labels[rows], rows, seed=2))
    draws = [partners(labels[rows], index, seed=2) for index in (rows + 1, rows.flip(0), torch.arange(6))]
    assert not all(torch.equal(found, each) for each in draws)
    swapped = swap_backgrounds(images[rows], masks[rows], labels[rows], seed=2)
    others = partners(labels[rows], torch.arange(6), seed=2)
    assert torch.equal(
        swapped.images, on_background(images[rows], masks[rows], images[rows][others], masks[rows][others])
    )


@pytest.mark.slow
def test_images_of_other_classes_are_equally_likely_partners(case):
    images, masks, labels = case
    labels = torch.tensor([0] * 20 + [1] * 8 + [2] * 12)
    seen = torch.zeros(40, 40)
    for seed in range(300):
        found = swap_backgrounds(images, masks, labels, seed=seed)
        partners = [found.images[row][~masks[row]][0, 0].item() for row in range(40)]
        seen[range(40), partners] += 1
    assert (seen[labels[:, None] == labels] == 0).all()
    for row, others in ((0, 20), (22, 32), (39, 28)):
        counts = seen[row][labels != labels[row]]
        expected = 300 / others
        assert ((counts - expected) ** 2 / expected).sum() < 2 * others  # chi-square


def test_partners_depend_on_seed_and_row(case):
    images, masks, labels = case
    first = swap_backgrounds(images, masks, labels)
    assert torch.equal(first.images, swap_backgrounds(images, masks, labels).images)
    assert not torch.equal(first.images, swap_backgrounds(images, masks, labels, seed=1).images)


def test_images_without_a_usable_mask_are_omitted_and_no_partners(case):
    images, masks, labels = case
    masks[3], masks[7] = False, True
    valid = torch.ones(40, dtype=torch.bool)
    valid[[3, 20]] = False
    found = swap_backgrounds(images, masks, labels, valid)
    assert found.left_out == 3
    assert set(range(40)) - set(found.rows.tolist()) == {3, 7, 20}
    partners = {image[~masks[row]][0, 0].item() for image, row in zip(found.images, found.rows, strict=True)}
    assert not partners & {3, 7, 20}
    for part in ("object", "background"):
        hidden = occlude(images, masks, part, valid)
        assert hidden.left_out == 3
        assert torch.equal(hidden.rows, found.rows)


@pytest.mark.parametrize("part", ["object", "background"])
def test_hidden_parts_have_the_mean_colour(case, part):
    images, masks, _ = case
    images[..., 2] = 200
    mean = images.double().mean((0, 1, 2)).round().byte()
    found = occlude(images, masks, part)
    hidden = masks if part == "object" else ~masks
    assert (found.images[hidden] == mean).all()
    assert torch.equal(found.images[~hidden], images[~hidden])
    given = torch.tensor([1, 2, 3], dtype=torch.uint8)
    assert (occlude(images, masks, part, colour=given).images[hidden] == given).all()


def test_grey_images_and_volumes(case):
    images, masks, labels = case
    grey = swap_backgrounds(images[..., :1], masks, labels)
    assert torch.equal(grey.images, swap_backgrounds(images, masks, labels).images[..., :1])
    volumes = images[:, None].expand(-1, 2, -1, -1, -1)
    found = swap_backgrounds(volumes, masks[:, None].expand(-1, 2, -1, -1), labels)
    assert torch.equal(found.images[:, 1], swap_backgrounds(images, masks, labels).images)


def test_the_input_is_not_changed(case):
    images, masks, labels = case
    before = images.clone(), masks.clone()
    swap_backgrounds(images, masks, labels)
    occlude(images, masks, "object")
    assert torch.equal(images, before[0])
    assert torch.equal(masks, before[1])


def test_messages_on_invalid_input(case):
    images, masks, labels = case
    with pytest.raises(DataError, match="expected masks of shape 40 x 10 x 14, got 40 x 10 x 13"):
        occlusion._check(images, masks[..., 1:], labels, None)  # bypass the type checks of the tests
    with pytest.raises(DataError, match="got 40 masks of 1 classes"):
        swap_backgrounds(images, masks, torch.zeros(40, dtype=torch.long))
    with pytest.raises(DataError, match="got 0 masks of 0 classes"):
        swap_backgrounds(images, torch.zeros_like(masks), labels)
    assert len(occlude(images, torch.zeros_like(masks), "object").images) == 0
    with pytest.raises((OptionError, TypeError), match="sky"):
        occlude(images, masks, "sky")
