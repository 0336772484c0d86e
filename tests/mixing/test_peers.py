"""Test that mixes follow the distributions of timm and torchvision, two more implementations of the same papers.

Both use global generators, which are seeded and restored.
"""

from collections.abc import Iterator

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor
from torchvision.transforms import v2

from smix.mixing import CutMix, Mixup
from tests.mixing.cases import new_generator, within

pytestmark = pytest.mark.usefixtures("without_type_checks")
DRAWS, SIZE = 3000, (32, 32)


@pytest.fixture
def _global_seeds() -> Iterator[None]:
    """Seed the global generators of torch and numpy, and restore them afterwards."""
    numpy_state = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002
        yield
    np.random.set_state(numpy_state)  # noqa: NPY002


def draw_with_timm(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int] = SIZE, **options: float
) -> tuple[Tensor, Tensor]:
    """Return where the own image was replaced (or how much of it), (n, *S), and the label weight of the own image.

    In mode "elem" both images of a pair get separate draws. One half of the batch is 0, the other half is 1.
    """
    mixup = pytest.importorskip("timm.data.mixup")
    original = mixup.rand_bbox

    def rand_bbox_of_even_sides(shape: tuple[int, ...], lam: float, **others: float) -> tuple[int, int, int, int]:
        # timm keeps the last pixel of an odd side, the published code and smix do not: use only even sides.
        side = shape[-1] * np.sqrt(1 - lam) // 2 * 2
        return original(shape, 1 - ((side + 1e-6) / shape[-1]) ** 2, **others)

    monkeypatch.setattr(mixup, "rand_bbox", rand_bbox_of_even_sides)
    own = (torch.arange(DRAWS) >= DRAWS // 2).long()
    x = own.float().view(-1, 1, 1, 1).expand(-1, 1, *size).contiguous()
    mix = mixup.Mixup(**{"mixup_alpha": 0.0, **options}, mode="elem", label_smoothing=0.0, num_classes=2)
    mixed, target = mix(x.clone(), own)
    return (mixed - x)[:, 0].abs(), target.gather(1, own[:, None])[:, 0]


def draw_with_torchvision(mix: v2.Transform, size: tuple[int, int] = SIZE) -> tuple[Tensor, Tensor]:
    """Like `draw_with_timm`, for a torchvision transform: one draw per call."""
    x = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, *size)
    mixed, target = zip(*(mix(x, torch.tensor([0, 1])) for _ in range(DRAWS)), strict=True)
    return torch.stack(mixed)[:, 0, 0], torch.stack(target)[:, 0, 0]


def draw_with_smix(method: CutMix | Mixup, size: tuple[int, int] = SIZE) -> tuple[Tensor, Tensor]:
    """Like `draw_with_timm`, for a method of smix."""
    plan = method.plan(torch.zeros(DRAWS, 1, *size), generator=new_generator(0))
    return (1 - plan.weight[plan.mixed, 0]).expand(-1, *size), plan.share[plan.mixed]


def box_statistics(cut: Tensor) -> dict[str, np.ndarray]:
    """Return sides and centres along each axis of boxes that are not empty."""
    found = {}
    for axis, name in ((1, "row"), (2, "column")):
        along = cut.amax(3 - axis) > 0
        along = along[along.any(1)]
        first = along.int().argmax(1)
        side = along.sum(1)
        assert torch.equal(along.flip(1).int().argmax(1), along.shape[1] - first - side)  # the box is contiguous
        found[f"{name} side"], found[f"{name} centre"] = side.numpy(), (first + side / 2).numpy()
    return found


def assert_same_distribution(one: np.ndarray | Tensor, other: np.ndarray | Tensor) -> None:
    # Near 1 the implementations round differently.
    one, other = np.asarray(one, dtype=float).round(5), np.asarray(other, dtype=float).round(5)
    assert scipy.stats.ks_2samp(one, other).pvalue > 1e-3
    spread = (one.var() / len(one) + other.var() / len(other)) ** 0.5
    assert abs(one.mean() - other.mean()) < 4 * spread


def assert_same_boxes(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> None:
    for cut, weight in (one, other):
        assert (weight + cut.flatten(1).mean(1) - 1).abs().max() < 1e-6
    assert_same_distribution(one[1], other[1])
    figures, others = box_statistics(one[0]), box_statistics(other[0])
    for name in figures:
        assert_same_distribution(figures[name], others[name])
    empty, also = ((cut.flatten(1).amax(1) == 0).double().mean().item() for cut, _ in (one, other))
    assert abs(empty - also) <= 4 * ((empty * (1 - empty) + also * (1 - also)) / DRAWS) ** 0.5


@pytest.mark.slow
@pytest.mark.usefixtures("_global_seeds")
@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_boxes_of_cutmix_follow_the_distribution_of_timm(alpha: float, monkeypatch: pytest.MonkeyPatch):
    assert_same_boxes(draw_with_smix(CutMix(alpha=alpha)), draw_with_timm(monkeypatch, cutmix_alpha=alpha))


@pytest.mark.slow
@pytest.mark.usefixtures("_global_seeds")
@pytest.mark.parametrize(("alpha", "size"), [(1.0, SIZE), (0.5, (24, 40)), (3.0, (9, 31))], ids=str)
def test_boxes_of_cutmix_follow_the_distribution_of_torchvision(alpha: float, size: tuple[int, int]):
    other = draw_with_torchvision(v2.CutMix(alpha=alpha, num_classes=2), size)
    assert_same_boxes(draw_with_smix(CutMix(alpha=alpha), size), other)


@pytest.mark.slow
@pytest.mark.usefixtures("_global_seeds")
@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0, 4.0])
def test_weights_of_mixup_follow_the_distribution_of_timm_and_torchvision(
    alpha: float, monkeypatch: pytest.MonkeyPatch
):
    _, share = draw_with_smix(Mixup(alpha=alpha), (2, 2))
    for blended, weight in (
        draw_with_timm(monkeypatch, (2, 2), mixup_alpha=alpha),
        draw_with_torchvision(v2.MixUp(alpha=alpha, num_classes=2), (2, 2)),
    ):
        assert (weight + blended.flatten(1).mean(1) - 1).abs().max() < 1e-5
        assert_same_distribution(share, weight)


@pytest.mark.usefixtures("_global_seeds")
@pytest.mark.parametrize(("method", "alpha"), [("mixup", 0.02), ("cutmix", 0.02)])
def test_small_alphas_are_rarely_near_one_half_as_in_timm(method: str, alpha: float):
    """P(.4 < lambda < .6) is .0079. A ratio of two float32 gamma draws, which is torch's own Beta, gives .039."""
    timm = pytest.importorskip("timm.data.mixup")
    count = 20_000
    options = {"mixup_alpha": 0.0, "cutmix_alpha": 0.0, f"{method}_alpha": alpha}
    theirs, _ = timm.Mixup(**options, mode="elem")._params_per_elem(count)
    plan = Mixup(alpha=alpha).plan(torch.zeros(count, 1, 1), generator=new_generator(0))
    ours = plan.share[plan.mixed].numpy()
    for drawn in (theirs, ours):
        near = int(((drawn > 0.4) & (drawn < 0.6)).sum())
        assert 0.004 < near / len(drawn) < 0.013
        assert within(near, len(drawn), 0.00786)
        assert within(int((drawn < 0.5).sum()), len(drawn), 0.5)


def test_the_smallest_alphas_do_not_give_nan():
    for alpha in (1e-3, 1e-6, 1e-30):
        for method in (Mixup(alpha=alpha), CutMix(alpha=alpha)):
            plan = method.plan(torch.zeros(2000, 1, 4, 4), generator=new_generator(0))
            assert plan.share.isfinite().all()
            assert plan.weight.isfinite().all()
            assert plan.share.min() < 0.01
            assert plan.share.max() > 0.99
