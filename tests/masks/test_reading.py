"""Test how outputs of networks become objects, by hand and against torch's softmax and argmax."""

import pytest
import torch

from smix.masks.sources import reading
from smix.masks.sources.reading import (
    Instances,
    Segmentation,
    average_flipped,
    class_numbers,
    read_instances,
    read_scores,
)


def random_scores(count: int = 3, classes: int = 5, levels: int | None = None) -> torch.Tensor:
    scores = 4 * torch.randn(count, classes, 7, 9, generator=torch.Generator().manual_seed(0))
    return scores if levels is None else (scores * levels / 8).round()


@pytest.mark.parametrize("levels", [None, 1, 3], ids=["no ties", "many ties", "some ties"])
@pytest.mark.parametrize("background", [0, 2, None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_are_read_by_softmax_and_argmax(levels, background, dtype):
    scores = random_scores(levels=levels).to(dtype)
    keep = torch.tensor([[1, 1, 0, 1, 1], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)
    if background is not None:
        keep[:, background] = False
    found = read_scores(scores, keep, background)
    probabilities, best = scores.float().softmax(1), scores.float().argmax(1)
    for image in range(3):
        inside = keep[image][best[image]]
        assert torch.equal(found.mask()[image], inside)
        assert torch.equal(found.classes[image].long(), torch.where(inside, class_numbers(best, background)[image], 0))
        expected = (probabilities[image] * keep[image][:, None, None]).sum(0)
        assert torch.allclose(found.object[image], expected, atol=1e-5)
    assert levels is None or ((scores == scores.amax(1, keepdim=True)).sum(1) > 1).any()


def test_scores_that_are_not_finite_give_masks_that_are_not_finite():
    scores = random_scores(2)
    scores[0, 1, 3, 4] = torch.nan
    found = read_scores(scores, torch.ones(2, 5, dtype=torch.bool), None)
    assert not found.object[0].isfinite().all()
    assert found.object[1].isfinite().all()


def instance(rows: tuple[int, int], label: int, score: float, sure: float = 0.9) -> tuple:
    mask = torch.zeros(6, 8)
    mask[rows[0] : rows[1]] = sure
    return mask.logit(), label, score


def instances(*found: tuple) -> Instances:
    masks = torch.stack([one[0] for one in found]) if found else torch.zeros(0, 6, 8)
    return Instances(
        masks,
        torch.tensor([one[1] for one in found], dtype=torch.int64),
        torch.tensor([float(one[2]) for one in found]),
    )


def test_confident_instances_of_chosen_classes_are_united():
    one = instances(
        instance((0, 2), 1, 0.9), instance((1, 3), 2, 0.5, 0.95), instance((4, 5), 3, 0.99), instance((5, 6), 1, 0.49)
    )
    keep = torch.tensor([[False, True, True, False], [False, False, True, True]])
    found = read_instances([one, one], keep, 0.5, 0)
    assert found.classes[0, :, 0].tolist() == [1, 2, 2, 0, 0, 0]
    assert found.classes[1, :, 0].tolist() == [0, 2, 2, 0, 3, 0]
    assert found.object[0, :, 0].tolist() == pytest.approx([0.9, 0.95, 0.95, 0, 0, 0])
    none = read_instances([instances(), one], keep, 0.999, 0)
    assert not none.mask().any()
    assert none.object.shape == (2, 6, 8)


def test_an_instance_does_not_cover_pixels_of_low_confidence():
    found = read_instances(
        [instances(instance((0, 2), 0, 0.9, 0.5), instance((2, 3), 0, 0.9, 0.51))],
        torch.ones(1, 1, dtype=torch.bool),
        0.5,
        None,
    )
    assert found.classes[0, :, 0].tolist() == [0, 0, 1, 0, 0, 0]


# The second of two pixels is smaller than the first; of four, the inner ones are interpolated at a quarter of the distance.
COARSE, FINE = [3.0, -2.0], [3.0, 1.75, -0.75, -2.0]


def test_coarse_scores_are_enlarged_before_argmax():
    scores = torch.tensor([[[[0.0, 0.0]], [COARSE]]])
    found = read_scores(scores, torch.tensor([[False, True]]), 0, (1, 4))
    assert found.classes.tolist() == [[[1, 1, 0, 0]]]
    assert torch.allclose(found.object, torch.tensor([[FINE]]).sigmoid())
    assert read_scores(scores, torch.tensor([[False, True]]), 0).classes.tolist() == [[[1, 0]]]
    some = random_scores()
    keep = torch.ones(3, 5, dtype=torch.bool)
    larger = torch.nn.functional.interpolate(some, (20, 31), mode="bilinear", align_corners=False)
    assert torch.equal(read_scores(some, keep, None, (20, 31)).classes.long(), larger.argmax(1) + 1)
    assert torch.equal(read_scores(some, keep, None, (3, 4)).classes, read_scores(some, keep, None).classes)


def test_coarse_instances_are_enlarged():
    coarse = Instances(torch.tensor([[COARSE]]), torch.tensor([1]), torch.tensor([0.9]))
    nothing = Instances(torch.zeros(0, 1, 2), torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    found = read_instances([coarse, nothing], torch.ones(2, 3, dtype=torch.bool), 0.5, 0, (1, 4))
    assert torch.allclose(found.object, torch.stack([torch.tensor([FINE]).sigmoid(), torch.zeros(1, 4)]))
    assert found.classes.tolist() == [[[1, 1, 0, 0]], [[0] * 4]]


@pytest.mark.gpu
def test_a_gpu_gives_the_masks_of_the_cpu_in_any_number_of_steps(monkeypatch, gpu):
    scores, keep = random_scores(), torch.tensor([[1, 1, 0, 1, 0]] * 3, dtype=torch.bool)
    one = read_scores(scores, keep, 2, (14, 20))
    for at_once in (1, 2 * 5 * 14 * 20, 2**27):
        monkeypatch.setattr(reading, "SCORES_PER_STEP", at_once)
        other = read_scores(scores.to(gpu), keep.to(gpu), 2, (14, 20))
        assert torch.allclose(other.object.cpu(), one.object, atol=1e-4)
        assert (other.classes.cpu() == one.classes).float().mean() > 0.99


def test_average_flipped_takes_the_mean_and_the_more_confident_class():
    one = Segmentation(torch.tensor([[[0.9, 0.8, 0.4, 0.0]]]), torch.tensor([[[1, 1, 0, 0]]], dtype=torch.uint8))
    mirrored = Segmentation(torch.tensor([[[0.0, 0.9, 0.0, 0.6]]]), torch.tensor([[[0, 2, 0, 2]]], dtype=torch.uint8))
    both = average_flipped(one, mirrored)
    assert both.object.tolist() == [[pytest.approx([0.75, 0.4, 0.65, 0.0])]]
    assert both.classes.tolist() == [[[1, 0, 2, 0]]]
    assert average_flipped(Segmentation(one.object, None), Segmentation(mirrored.object, None)).mask().tolist() == [
        [[True, False, True, False]]
    ]
