"""Test the resampler against tests/reference/move.py and against torch's antialiased interpolation."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from smix.mixing import Move, tensors
from smix.mixing.move import apply_move, no_move, resample
from smix.mixing.tensors import batch_slices
from tests.mixing.cases import images, new_generator
from tests.reference import move as reference

pytestmark = pytest.mark.usefixtures("without_type_checks")

SIZES = pytest.mark.parametrize("size", [(9,), (24, 40), (7, 5), (4, 5, 3)], ids=str)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)


def random_moves(count: int, size: tuple[int, ...], seed: int = 0) -> Move:
    """Return moves with scales from 1/5 to 3, half of the axes mirrored, and the image at least partly in the frame."""
    shape = (count, len(size))
    sides = torch.tensor(size)
    scale = 0.2 * 15 ** torch.rand(shape, generator=new_generator(seed))
    middle = (0.1 + 0.8 * torch.rand(shape, generator=new_generator(seed + 1))) * sides
    scale = torch.where(torch.rand(shape, generator=new_generator(seed + 2)) < 0.5, -scale, scale)
    return Move(scale, middle - scale * sides / 2)


@pytest.mark.parametrize("size", [(9,), (16,), (5, 8), (8, 5), (3, 4, 5)], ids=str)
def test_images_are_moved_as_by_the_formula(size: tuple[int, ...]):
    count = 12
    x, move = images(count, size, channels=2), random_moves(count, size)
    assert 0.3 < (move.scale > 0).float().mean() < 0.7
    expected = [
        reference.resample(image, tuple(scale), tuple(offset))
        for image, scale, offset in zip(x.numpy(), move.scale.tolist(), move.offset.tolist(), strict=True)
    ]
    np.testing.assert_allclose(resample(x, move).numpy(), np.stack(expected), rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("size", "box"),
    [((32, 32), (11, 11)), ((32, 32), (3, 25)), ((24, 40), (17, 9)), ((40, 24), (1, 23)), ((9, 7), (9, 2))],
    ids=str,
)
def test_shrinking_into_a_box_equals_antialiased_interpolation(size: tuple[int, int], box: tuple[int, int]):
    x, first = images(2, size), (size[0] - box[0], (size[1] - box[1]) // 2)
    scale = torch.tensor([[b / s for b, s in zip(box, size, strict=True)]] * 2)
    found = resample(x, Move(scale, torch.tensor([first, first]).float()))
    expected = torch.zeros_like(x)
    rows, columns = (slice(a, a + b) for a, b in zip(first, box, strict=True))
    expected[:, :, rows, columns] = F.interpolate(x, box, mode="bilinear", antialias=True, align_corners=False)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("size", "grown"), [((12, 12), (24, 24)), ((9, 14), (15, 20)), ((10, 7), (30, 8))], ids=str)
def test_enlarging_equals_bilinear_interpolation_cropped_to_the_frame(size: tuple[int, int], grown: tuple[int, int]):
    x = images(2, size)
    first = [(large - small) // 3 for large, small in zip(grown, size, strict=True)]
    scale = torch.tensor([[large / small for large, small in zip(grown, size, strict=True)]] * 2)
    found = resample(x, Move(scale, -torch.tensor([first, first]).float()))
    whole = F.interpolate(x, grown, mode="bilinear", align_corners=False)
    rows, columns = (slice(a, a + side) for a, side in zip(first, size, strict=True))
    torch.testing.assert_close(found, whole[:, :, rows, columns], rtol=0, atol=1e-5)


@DTYPES
@SIZES
def test_the_identity_returns_the_image_exactly(size: tuple[int, ...], dtype: torch.dtype):
    x = images(5, size).to(dtype)
    found = resample(x, no_move(5, len(size), x.device))
    assert torch.equal(found, x)
    assert found.dtype == dtype


def test_autocast_does_not_change_pixels():
    x, move = images(5, (7, 5)), random_moves(5, (7, 5))
    expected = resample(x, move)
    with torch.autocast("cpu", torch.bfloat16):
        assert (resample(x, no_move(5, 2, x.device)) - x).abs().max() == 0
        assert (resample(x, move) - expected).abs().max() == 0


@DTYPES
@SIZES
def test_a_negative_scale_mirrors_exactly(size: tuple[int, ...], dtype: torch.dtype):
    x = images(4, size).to(dtype)
    for axis, length in enumerate(size):
        move = no_move(4, len(size), x.device)
        move.scale[1:3, axis] = -1
        move.offset[1:3, axis] = length
        found = resample(x, move)
        assert torch.equal(found[1:3], x[1:3].flip(axis + 2))
        assert torch.equal(found[[0, 3]], x[[0, 3]])


@SIZES
def test_mirroring_and_scaling_commute(size: tuple[int, ...]):
    x = images(3, size)
    scale, offset = torch.full((3, len(size)), 0.6), torch.full((3, len(size)), 1.3)
    straight = resample(x.flip(-1), Move(scale, offset))
    scale, offset = scale.clone(), offset.clone()
    offset[:, -1] += 0.6 * size[-1]
    scale[:, -1] *= -1
    torch.testing.assert_close(resample(x, Move(scale, offset)), straight, rtol=0, atol=1e-5)


@SIZES
def test_shifts_by_whole_pixels_are_exact_and_fill_with_0(size: tuple[int, ...]):
    x = images(3, size)
    move = no_move(3, len(size), x.device)
    move.offset[:, -1] = torch.tensor([2.0, -1.0, size[-1]])
    expected = torch.zeros_like(x)
    expected[0, ..., 2:], expected[1, ..., :-1] = x[0, ..., :-2], x[1, ..., 1:]
    assert torch.equal(resample(x, move), expected)


@DTYPES
@SIZES
def test_a_constant_image_keeps_its_value_at_any_position(size: tuple[int, ...], dtype: torch.dtype):
    move = random_moves(40, size, seed=5)
    x = torch.full((40, 1, *size), 1.7, dtype=dtype)
    found = resample(x, move)
    ends = torch.stack([move.offset, move.offset + move.scale * torch.tensor(size)])
    inside = torch.ones(40, 1, *size, dtype=torch.bool)
    for axis, length in enumerate(size):
        centre = torch.arange(length) + 0.5
        low, high = ends[:, :, axis].amin(0)[:, None], ends[:, :, axis].amax(0)[:, None]
        # A centre exactly on the edge of the image may be inside or outside.
        assert (torch.stack([centre - low, centre - high]).abs() > 1e-4).all()
        within = (centre > low) & (centre < high)
        inside &= within.view(40, 1, *[1] * axis, length, *[1] * (len(size) - 1 - axis))
    assert 0.1 < inside.float().mean() < 0.9
    torch.testing.assert_close(found, torch.where(inside, x, 0), rtol=1e-6 if dtype.itemsize > 2 else 0, atol=0)


@DTYPES
def test_other_dtypes_are_computed_in_float32_and_rounded_once(dtype: torch.dtype):
    x, move = images(6, (11, 8)).to(dtype), random_moves(6, (11, 8))
    expected = resample(x.float(), move)
    found = resample(x, move)
    assert found.dtype == dtype
    if dtype == torch.float64:
        torch.testing.assert_close(found, expected.double(), rtol=0, atol=1e-5)
    else:
        assert torch.equal(found, expected.to(dtype))


@pytest.fixture
def chunks_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit chunks to four images of 2 x 54 values."""
    monkeypatch.setattr(tensors, "CPU_CHUNK", 4 * 2 * 54)


@pytest.mark.usefixtures("chunks_of_four")
@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 13])
def test_a_batch_moved_in_chunks_equals_the_batch_moved_at_once(count: int):
    x, move = images(count, (6, 9), channels=2), random_moves(count, (6, 9))
    assert len(batch_slices(count, x[0].numel(), x.device)) == -(-count // 4)
    rows = torch.randperm(count, generator=new_generator(0))
    torch.testing.assert_close(apply_move(x, move, rows), resample(x[rows], move), rtol=0, atol=1e-6)
    torch.testing.assert_close(apply_move(x, move), resample(x, move), rtol=0, atol=1e-6)


@pytest.mark.usefixtures("chunks_of_four")
@pytest.mark.parametrize(("size", "layout"), [((6, 9), torch.channels_last), ((4, 5, 3), torch.channels_last_3d)])
@DTYPES
def test_the_memory_format_is_kept(size: tuple[int, ...], layout: torch.memory_format, dtype: torch.dtype):
    x = images(11, size).to(dtype).to(memory_format=layout)
    move, rows = random_moves(len(x), size), torch.arange(len(x)).flip(0)
    found = apply_move(x, move, rows)
    assert found.is_contiguous(memory_format=layout)
    torch.testing.assert_close(found, apply_move(x.contiguous(), move, rows), rtol=0, atol=1e-6)


def test_the_gradient_is_the_transposed_move(monkeypatch: pytest.MonkeyPatch):
    """The gradient of a linear map is its transpose."""
    monkeypatch.setattr(tensors, "CPU_CHUNK", 4 * 6)
    x, move = images(10, (6,), channels=1).requires_grad_(), random_moves(10, (6,))
    rows = torch.randperm(len(x), generator=new_generator(0))
    rise = images(len(x), (6,), channels=1, seed=1)
    apply_move(x, move, rows).backward(rise)
    expected = np.zeros((len(x), 6))
    for to, source in enumerate(rows.tolist()):
        matrix = reference.weights(6, move.scale[to].item(), move.offset[to].item())
        expected[source] = np.array(matrix).T @ rise[to, 0].numpy()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad[:, 0].numpy(), expected, rtol=0, atol=1e-5)


def test_where_chooses_one_of_two_moves_per_sample():
    one, other = random_moves(7, (6, 9)), no_move(7, 2, torch.device("cpu"))
    chosen = torch.arange(7) % 3 == 0
    both = one.where(chosen, other)
    assert torch.equal(both.scale, torch.where(chosen[:, None], one.scale, 1.0))
    assert torch.equal(both.offset, torch.where(chosen[:, None], one.offset, 0.0))
    assert torch.equal(both[2:5].offset, both.offset[2:5])
