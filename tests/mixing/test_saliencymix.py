"""Test SaliencyMix: the spectral residual against tests/reference/saliencymix.py, its peaks, and the boxes around them."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from smix.mixing import SaliencyMix
from smix.mixing.saliencymix import peak, saliency
from tests.mixing.cases import images, new_generator
from tests.reference import saliencymix as reference

pytestmark = pytest.mark.usefixtures("without_type_checks")

SIZES = pytest.mark.parametrize("size", [(32, 32), (24, 40), (100, 150), (53,), (9, 12, 15)], ids=str)


def zoom(size: tuple[int, ...]) -> float:
    return max(max(size) / 64, 1)


def spots(size: tuple[int, ...], centres: torch.Tensor, kind: str, ground: float = 0.0) -> torch.Tensor:
    """Return images (B, 1, *size) with one bright spot on a flat background. Spots are larger in large images, as in photographs."""
    offsets = []
    for axis, length in enumerate(size):
        offset = torch.arange(length) - centres[:, axis, None]
        offsets.append(offset.view(-1, 1, *[1] * axis, length, *[1] * (len(size) - 1 - axis)) / zoom(size))
    squared = sum(offset.square() for offset in offsets)
    assert isinstance(squared, torch.Tensor)
    if kind == "square":
        return ground + torch.stack([o.abs().expand(squared.shape) < 1.5 for o in offsets]).all(0).float()
    return ground + ((squared <= 4).float() if kind == "disc" else torch.exp(-squared / 4))


def places(count: int, size: tuple[int, ...], margin: int, seed: int = 0) -> torch.Tensor:
    along = [
        torch.randint(margin, n - margin, (count,), generator=new_generator(seed + axis)) for axis, n in enumerate(size)
    ]
    return torch.stack(along, 1)


@pytest.mark.parametrize("size", [(12, 12), (11, 14), (24, 40), (53,), (80,), (6, 7, 5)], ids=str)
def test_the_map_equals_the_spectral_residual(size: tuple[int, ...]):
    """In small images the log of rounding errors at frequency 0 is visible."""
    grey = images(3, size, channels=1) + torch.linspace(0, 2, size[-1])
    found = saliency(grey)[:, 0].numpy()
    expected = np.stack([reference.saliency(image[0]) for image in grey.numpy()])
    np.testing.assert_allclose(found, expected, rtol=0, atol=(0.01 if size == (24, 40) else 0.06) * expected.max())


@pytest.mark.slow
@pytest.mark.parametrize("size", [(24, 40), (100, 37), (53,), (19, 20, 21)], ids=str)
def test_the_map_equals_the_spectral_residual_away_from_the_border(size: tuple[int, ...]):
    """Compared where the Gaussian does not reach beyond the image."""
    grey = images(1, size, channels=1)
    found, expected = saliency(grey)[0, 0].numpy(), reference.saliency(grey[0, 0].numpy())
    inner = (slice(8, -8),) * len(size)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found[inner], expected[inner], rtol=0, atol=1e-2 * expected.max())


def test_peaks_of_noise_are_at_the_border_no_more_often_than_its_area_suggests():
    count = 600
    found = peak(saliency(images(count, (32, 32), channels=1)), (32, 32))
    at_border = ((found < 2) | (found >= 30)).any(1).float().mean().item()
    area = 1 - (28 / 32) ** 2
    assert at_border < area + 4 * math.sqrt(area * (1 - area) / count)


@pytest.mark.parametrize(("kind", "margin"), [("disc", 0), ("square", 0), ("cloud", 3)])
@SIZES
def test_a_bright_spot_is_found_within_2_pixels(size: tuple[int, ...], kind: str, margin: int):
    centres = places(40, size, round(margin * zoom(size)))
    for ground in (0.0, -2.0):
        off = (peak(saliency(spots(size, centres, kind, ground)), size) - centres).abs().amax(1)
        assert int((off > 2 * zoom(size)).sum()) == 0


@pytest.mark.parametrize(("map_size", "size"), [((5, 7), (5, 7)), ((8, 8), (12, 20)), ((64,), (90,)), ((3, 4, 5),) * 2])
def test_the_peak_is_the_first_largest_value_in_pixels_of_the_image(map_size: tuple[int, ...], size: tuple[int, ...]):
    maps = torch.randint(0, 6, (50, 1, *map_size), generator=new_generator(0)).float()
    expected = [reference.peak(each[0], size) for each in maps.numpy()]
    assert peak(maps, size).tolist() == [list(map(float, place)) for place in expected]


@pytest.mark.parametrize("per_batch", [False, True])
@pytest.mark.parametrize("kept", [0.0, 0.35, 0.8, 1.0])
@SIZES
def test_the_box_has_the_sides_of_cutmix_and_is_centred_on_the_peak_of_the_partner(
    size: tuple[int, ...], kept: float, per_batch: bool, fix_lambda: Callable[[float], None]
):
    """The partner is that of the sample itself; with one draw per batch it is that of the first sample."""
    fix_lambda(kept)
    x = images(7, size) + 4 * spots(size, places(7, size, 3), "disc")
    plan = SaliencyMix(per_batch=per_batch).plan(x, generator=new_generator(3))
    assert plan.mixed.all()
    peaks = peak(saliency(x.mean(1, keepdim=True)), size).long().tolist()
    assert len({tuple(place) for place in peaks}) > 4
    for i in range(7):
        centre = peaks[plan.partner[0 if per_batch else i]]
        expected = reference.map_of_box(size, kept, tuple(centre))
        assert np.array_equal(plan.weight[i, 0].numpy(), expected)
        assert plan.share[i].item() == pytest.approx(expected.mean(), abs=1e-6)


@SIZES
def test_the_spot_of_the_partner_is_pasted_at_its_original_position(
    size: tuple[int, ...], fix_lambda: Callable[[float], None]
):
    fix_lambda(0.6)
    centres = places(30, size, 5 if min(size) > 12 else 3)
    x = spots(size, centres, "disc", -2.0)
    plan = SaliencyMix().plan(x, generator=new_generator(1))
    mixed = plan.blend(x)
    for i in plan.mixed.nonzero().flatten().tolist():
        centre = tuple(centres[plan.partner[i]].tolist())
        assert plan.weight[(i, 0, *centre)] == 0
        assert mixed[(i, 0, *centre)] == -1


def test_saliency_is_that_of_the_mean_of_the_channels():
    x = images(9, (24, 40))
    grey = x.mean(1, keepdim=True)
    assert torch.equal(*(SaliencyMix().plan(each, generator=new_generator(1)).weight for each in (x, grey)))


@pytest.mark.parametrize("value", [0.0, 1.0, -2.1, 1e3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@SIZES
def test_images_without_structure_give_legal_boxes(
    size: tuple[int, ...], dtype: torch.dtype, value: float, fix_lambda: Callable[[float], None]
):
    fix_lambda(0.5)
    x = torch.full((4, 2, *size), value, dtype=dtype)
    plan = SaliencyMix().plan(x, generator=new_generator(1))
    grey = x.float().mean(1, keepdim=True)
    flat = saliency(grey)
    assert flat.isfinite().all()
    assert (flat.amax() - flat.amin()).item() < 1e-6
    assert plan.blend(x).isfinite().all()
    for i in plan.mixed.nonzero().flatten().tolist():
        centre = tuple(peak(flat, size)[plan.partner[i]].long().tolist())
        assert all(0 <= c < n for c, n in zip(centre, size, strict=True))
        assert np.array_equal(plan.weight[i, 0].numpy(), reference.map_of_box(size, 0.5, centre))


def test_small_images_have_a_peak():
    for size in itertools.chain([(1,), (2,), (1, 1)], itertools.product((1, 2, 3), repeat=3)):
        found = peak(saliency(images(5, size, channels=1)), size)
        assert ((found >= 0) & (found < torch.tensor(size))).all()
