"""Test docs/porting.md: its code runs, its tables name every argument of the peers, and its statements about them are true."""

import inspect
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torch import Tensor
from torch.nn.functional import one_hot
from torchvision import tv_tensors
from torchvision.transforms import v2

import smix

PAGE = (Path(smix.__file__).parents[1] / "docs" / "porting.md").read_text()
BEGINNING, *SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)
BY_TITLE = {section.partition("\n")[0]: section for section in SECTIONS}
NEEDS = {"timm": "timm", "kornia": "kornia"}
SIDE = 32


@pytest.fixture(autouse=True)
def _seed_global_generators() -> Iterator[None]:
    """Seed the global generators of torch, numpy and Python, which the peers use, and restore them afterwards."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002
        random.seed(0)
        yield
    np.random.set_state(numpy_state)  # noqa: NPY002
    random.setstate(python_state)


def blocks(text: str) -> str:
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE))


def first_column(title: str) -> str:
    """Return the first column of the tables of a section: the names of the peer's arguments."""
    return "\n".join(line.split(" | ")[0] for line in BY_TITLE[title].splitlines() if line.startswith("|"))


def test_the_page_has_these_sections():
    assert list(BY_TITLE) == [
        "Differences from all of them",
        "timm",
        "torchvision",
        "kornia",
        "The FMix repository",
        "openmixup and hmix-gmix",
    ]
    assert [title for title, text in BY_TITLE.items() if blocks(text)] == [
        "timm",
        "torchvision",
        "kornia",
        "The FMix repository",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("title", [title for title, text in BY_TITLE.items() if blocks(text)])
def test_the_code_of_a_section_runs(title: str):
    if title in NEEDS:
        pytest.importorskip(NEEDS[title])
    names: dict[str, Any] = {}
    exec(compile(blocks(BEGINNING), "beginning of porting.md", "exec"), names)
    exec(compile(blocks(BY_TITLE[title]), f"{title} in porting.md", "exec"), names)
    assert names["mixed"].shape == names["x"].shape
    assert torch.isfinite(names["loss"])
    assert isinstance(names["target"], smix.Target)


def calls_of_smix() -> list[str]:
    """Return the calls of public names in text and tables, except first columns, which contain names of the peers."""
    lines = [line.partition(" | ")[2] if line.startswith("|") else line for line in PAGE.splitlines()]
    spans = re.findall(r"`([A-Z]\w*\([^`]*\))`", "\n".join(lines))
    return sorted({span for span in spans if span.partition("(")[0] in smix.__all__})


@pytest.mark.parametrize("call", calls_of_smix())
def test_every_call_on_the_page_is_valid(call: str):
    names = {name: getattr(smix, name) for name in smix.__all__}
    letters = {"a": 0.5, "b": 0.7, "d": 2.0, "m": 0.2, "p": 0.3, "q": 0.6, "r": 0.4, "s": 0.1}
    assert isinstance(eval(call, names, letters), smix.Method)


def test_the_page_contains_calls():
    assert len(calls_of_smix()) > 15


def test_links_lead_to_existing_places():
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (Path(smix.__file__).parents[1] / "docs" / link).exists(), link


def timm_mixup(**options: Any) -> Any:
    pytest.importorskip("timm")
    from timm.data import Mixup

    return Mixup(**{"label_smoothing": 0, **options})


def kornia(name: str, **options: Any) -> Any:
    augmentation = pytest.importorskip("kornia.augmentation")
    return getattr(augmentation, name)(data_keys=["input", "class"], **options)


def peer_arguments() -> list[tuple[str, str, str]]:
    return [
        ("timm", "timm.data", "Mixup"),
        ("timm", "timm.data", "FastCollateMixup"),
        ("torchvision", "torchvision.transforms.v2", "MixUp"),
        ("torchvision", "torchvision.transforms.v2", "CutMix"),
        ("kornia", "kornia.augmentation", "RandomMixUpV2"),
        ("kornia", "kornia.augmentation", "RandomCutMixV2"),
    ]


@pytest.mark.parametrize(("title", "module", "name"), peer_arguments())
def test_the_tables_name_every_argument_of_a_peer(title: str, module: str, name: str):
    peer = getattr(pytest.importorskip(module), name)
    named = set(re.findall(r"\w+", first_column(title)))
    assert set(inspect.signature(peer).parameters) <= named


def test_the_table_of_fmix_names_every_argument():
    named = set(re.findall(r"\w+", first_column("The FMix repository")))
    assert {"alpha", "decay_power", "shape", "size", "max_soft", "reformulate", "train"} <= named


# The following tests compare distributions over 2,000 draws each: of the label weight of the own image and, for boxes, of the
# fraction of draws in which a pixel belongs to the own image.

DRAWS = 2000


def draw_with_smix(method: smix.Method) -> tuple[Tensor, Tensor]:
    plan = method.plan(torch.zeros(DRAWS, 1, SIDE, SIDE))
    weight = plan.weight.expand(-1, 1, SIDE, SIDE)[plan.mixed]
    return plan.share[plan.mixed], weight.mean((0, 1))


def draw_with_smix_per_batch(method: smix.Method) -> tuple[Tensor, Tensor]:
    """Draw one mix per batch and return the first sample that has a partner."""
    plans = [method.plan(torch.zeros(4, 1, SIDE, SIDE)) for _ in range(DRAWS)]
    chosen = [(plan, plan.mixed.nonzero()[0].item()) for plan in plans if plan.mixed.any()]
    shares = torch.stack([plan.share[row] for plan, row in chosen])
    return shares, torch.stack([plan.weight.expand(-1, 1, SIDE, SIDE)[row, 0] for plan, row in chosen]).mean(0)


def draw_with_timm(**options: Any) -> tuple[Tensor, Tensor]:
    count = 400
    mix = timm_mixup(mode="elem", num_classes=count, **options)
    labels = torch.arange(count)
    shares, own = [], []
    for _ in range(DRAWS // count):
        images = torch.zeros(count, 1, SIDE, SIDE)
        images[: count // 2] = 1  # flip(0) pairs ones with zeros
        mixed, soft = mix(images, labels)
        shares.append(soft[labels, labels])
        own.append(torch.cat([mixed[: count // 2], 1 - mixed[count // 2 :]]))
    return torch.cat(shares), torch.cat(own).mean((0, 1))


def draw_with_torchvision(transform: Any) -> tuple[Tensor, Tensor]:
    images = torch.stack([torch.ones(1, SIDE, SIDE), torch.zeros(1, SIDE, SIDE)])
    drawn = [transform(images, torch.arange(2)) for _ in range(DRAWS)]
    return torch.stack([soft[0, 0] for _, soft in drawn]), torch.stack([mixed[0, 0] for mixed, _ in drawn]).mean(0)


def draw_with_kornia(transform: Any, own_column: bool) -> tuple[Tensor, Tensor]:
    """Mix images that show their row numbers, so that the pixels of each image can be identified."""
    count = 400
    rows = torch.arange(count)
    images = rows.float().view(-1, 1, 1, 1).expand(-1, 1, SIDE, SIDE)
    shares, own = [], []
    for _ in range(DRAWS // count):
        mixed, labels = transform(images, rows)
        labels = labels.view(-1, 3)
        other = labels[:, 1] != rows
        shares.append((labels[:, 2] if own_column else 1 - labels[:, 2])[other])
        own.append((mixed == images)[other].float())
    return torch.cat(shares), torch.cat(own).mean((0, 1))


SAME: dict[str, tuple[Callable[[], tuple[Tensor, Tensor]], Callable[[], tuple[Tensor, Tensor]], bool]] = {
    "timm mixup": (lambda: draw_with_timm(mixup_alpha=0.3), lambda: draw_with_smix(smix.Mixup(alpha=0.3)), False),
    "torchvision MixUp": (
        lambda: draw_with_torchvision(v2.MixUp(alpha=0.3, num_classes=2)),
        lambda: draw_with_smix_per_batch(smix.Mixup(alpha=0.3, per_batch=True)),
        False,
    ),
    "torchvision CutMix": (
        lambda: draw_with_torchvision(v2.CutMix(alpha=0.7, num_classes=2)),
        lambda: draw_with_smix_per_batch(smix.CutMix(alpha=0.7, per_batch=True)),
        True,
    ),
    "kornia RandomMixUpV2": (
        lambda: draw_with_kornia(kornia("RandomMixUpV2"), own_column=False),
        lambda: draw_with_smix(smix.Mixup(alpha=1.0)),
        False,
    ),
    "kornia RandomCutMixV2": (
        lambda: draw_with_kornia(kornia("RandomCutMixV2", beta=0.7, use_correct_lambda=True), own_column=True),
        lambda: draw_with_smix(smix.CutMix(alpha=0.7, edge="inside")),
        True,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", SAME)
def test_smix_and_peer_have_the_same_distribution(case: str):
    peer, smix_method, boxes = SAME[case]
    (share, own), (our_share, our_own) = peer(), smix_method()
    assert ks_2samp(share, our_share).pvalue > 0.001
    if boxes:
        assert (own - our_own).abs().max() < 5 * (
            2 * 0.25 / 1500
        ) ** 0.5  # five standard errors of the most uncertain pixel


def test_every_claim_of_the_same_distribution_is_tested():
    assert PAGE.count("The same distribution") == len(SAME)


def test_boxes_of_timm_are_a_little_larger():
    share, _ = draw_with_timm(mixup_alpha=0, cutmix_alpha=1.0)
    smix_share, _ = draw_with_smix(smix.CutMix(alpha=1.0))
    error = (share.var() / len(share) + smix_share.var() / len(smix_share)) ** 0.5
    assert 1 - share.mean() == pytest.approx(0.31, abs=0.02)
    assert 1 - smix_share.mean() == pytest.approx(0.30, abs=0.02)
    assert smix_share.mean() - share.mean() == pytest.approx(0.012, abs=float(4 * error))


def test_boxes_cover_the_stated_area():
    assert 1 - draw_with_smix(smix.CutMix(edge="inside"))[0].mean() == pytest.approx(0.49, abs=0.02)


def test_equivalents_of_switch_prob_and_prob_of_timm():
    share, _ = draw_with_timm(mixup_alpha=50.0, cutmix_alpha=50.0, switch_prob=0.25, prob=0.6)
    choice = smix.RandomChoice((smix.Mixup(alpha=50.0), smix.CutMix(alpha=50.0)), weights=(0.75, 0.25), prob=0.6)
    plan = choice.plan(torch.zeros(DRAWS, 1, SIDE, SIDE))
    cut = ((plan.weight == 0) | (plan.weight == 1)).flatten(1).all(1) & plan.mixed
    assert (share < 1).float().mean() == pytest.approx(0.6, abs=0.04)
    assert plan.mixed.float().mean() == pytest.approx(0.6, abs=0.04)
    assert (cut.sum() / plan.mixed.sum()) == pytest.approx(0.25, abs=0.04)


def test_label_smoothing_of_timm_equals_that_of_the_loss_but_not_of_bce():
    images, labels, logits = torch.rand(6, 3, 8, 8), torch.tensor([0, 1, 2, 3, 1, 0]), torch.randn(6, 4)
    _, soft = timm_mixup(mode="elem", num_classes=4, label_smoothing=0.1)(images.clone(), labels)
    _, plain = timm_mixup(mode="elem", num_classes=4)(images.clone(), labels)
    assert float(soft.min()) == pytest.approx(0.1 / 4)
    assert float(plain.min()) == 0
    partner, share = torch.arange(5, -1, -1), torch.rand(6)
    rows = one_hot(labels, 4).float()
    for y, kind in ((labels, "ce"), (rows, "bce")):
        unmixed = torch.zeros(6, dtype=torch.bool)
        target = smix.Target(y, y[partner], share, ~unmixed, unmixed)
        mixed = target.soft(4)
        assert torch.allclose(mixed.sum(1), torch.ones(6))
        smooth = target.loss(logits, kind=kind, label_smoothing=0.1)
        expected = mixed * 0.9 + 0.1 / 4
        if kind == "ce":
            assert torch.allclose(smooth, -(expected * logits.log_softmax(1)).sum(1).mean(), atol=1e-6)
        else:
            bce = torch.nn.functional.binary_cross_entropy_with_logits
            assert torch.allclose(smooth, bce(logits, expected), atol=1e-6)
            peer = timm_mixup(mixup_alpha=1e6, multi_label=True, num_classes=4, label_smoothing=0.1)
            _, peer_labels = peer(images, rows)
            assert torch.allclose(peer_labels, (rows + rows[partner]) / 2 * 0.9 + 0.1 / 2, atol=2e-3)


def test_defaults_of_timm_are_those_of_the_page():
    pytest.importorskip("timm")
    from timm.data import Mixup

    defaults = {name: parameter.default for name, parameter in inspect.signature(Mixup).parameters.items()}
    assert (defaults["label_smoothing"], defaults["num_classes"]) == (0.1, 1000)
    assert (defaults["mode"], defaults["correct_lam"]) == ("batch", True)


def test_timm_writes_into_the_images_refuses_odd_batches_and_pairs_backwards():
    images = torch.eye(4).view(4, 4, 1, 1).repeat(1, 1, 8, 8)
    before = images.clone()
    mixed, soft = timm_mixup(num_classes=4)(images, torch.arange(4))
    assert mixed is images
    assert not torch.equal(images, before)
    assert ((soft > 0) == (torch.eye(4) + torch.eye(4).flip(0) > 0)).all()
    with pytest.raises(AssertionError, match="should be even"):
        timm_mixup(num_classes=4)(images[:3], torch.arange(3))


@pytest.mark.parametrize("mode", ["elem", "pair"])
def test_timm_loses_the_own_label_of_uint8_images(mode: str):
    images, labels = torch.randint(256, (8, 3, 8, 8), dtype=torch.uint8), torch.arange(8)
    _, soft = timm_mixup(mode=mode, num_classes=8)(images.clone(), labels)
    assert (soft[labels, labels] == 0).all()


def test_labels_of_timm_without_correction_are_wrong():
    images, labels = torch.zeros(400, 1, SIDE, SIDE), torch.arange(400)
    images[:200] = 1
    mixed, soft = timm_mixup(mixup_alpha=0, cutmix_alpha=1.0, mode="elem", correct_lam=False, num_classes=400)(
        images, labels
    )
    assert ((soft[labels, labels] - mixed.mean((1, 2, 3)))[:200]).abs().max() > 0.4


def test_random_erasing_is_not_cutout():
    pytest.importorskip("timm")
    from timm.data.random_erasing import RandomErasing

    images = torch.ones(2000, 1, SIDE, SIDE)
    cut, target = smix.Cutout(length=16)(images, torch.zeros(2000, dtype=torch.int64))
    share = (cut == 0).float().mean((1, 2, 3))
    assert (target.share == 1).all()
    assert 1 / 16 <= share.min() < 0.09
    assert share.max() == 1 / 4
    assert share.mean() == pytest.approx(0.19, abs=0.01)
    erased = (RandomErasing(probability=1, device="cpu")(images) == 0).float().mean((1, 2, 3))
    assert 0.01 < erased.min() < 0.03  # sides are rounded to pixels
    assert 0.30 < erased.max() < 0.37
    assert len(erased.unique()) > 100


def test_torchvision_mixes_with_the_previous_sample_draws_once_and_refuses_masks():
    images, labels = torch.eye(5).view(5, 5, 1, 1).repeat(1, 1, 4, 4), torch.arange(5)
    _, soft = v2.MixUp(num_classes=5)(images, labels)
    assert len(soft.diag().unique()) == 1
    assert ((soft > 0) == (torch.eye(5) + torch.eye(5).roll(1, 0) > 0)).all()
    with pytest.raises(ValueError, match="masks"):
        v2.CutMix(num_classes=5)(images, labels, tv_tensors.Mask(torch.ones(5, 4, 4)))
    assert v2.CutMix(num_classes=5)((images * 255).byte(), labels)[0].dtype == torch.uint8


def test_torchvision_chooses_once_per_batch_and_smix_once_per_sample():
    choice = smix.RandomChoice((smix.Mixup(), smix.CutMix()))
    for method, kinds in ((choice, {True, False}), (smix.RandomChoice(choice.methods, per_batch=True), None)):
        plan = method.plan(torch.zeros(64, 1, SIDE, SIDE))
        cut = ((plan.weight == 0) | (plan.weight == 1)).flatten(1).all(1)[plan.mixed]
        assert set(cut.tolist()) == kinds if kinds else len(set(cut.tolist())) == 1


def test_kornia_applies_its_probability_to_batches_and_its_third_column_is_the_partner():
    rows = torch.arange(200)
    images = rows.float().view(-1, 1, 1, 1).repeat(1, 1, 8, 8)
    mixup = kornia("RandomMixUpV2", p=0.5)
    gates = [(mixup(images, rows)[1][:, 2] > 0).float().mean().item() for _ in range(20)]
    assert set(gates) == {0, 1}
    mixed, labels = kornia("RandomMixUpV2")(images, rows)
    assert torch.allclose(mixed[:, 0, 0, 0], labels[:, 0] * (1 - labels[:, 2]) + labels[:, 1] * labels[:, 2], atol=1e-3)
    with pytest.warns(DeprecationWarning, match="use_correct_lambda"):
        cutmix = kornia("RandomCutMixV2")
    mixed, labels = cutmix(images, rows)
    other = labels[0, :, 1] != rows
    kept = (mixed == images).float().mean((1, 2, 3))
    assert torch.allclose(1 - labels[0, :, 2][other], kept[other])


def test_the_probability_of_smix_applies_to_samples_or_batches():
    images = torch.zeros(200, 1, 4, 4)
    mixed = smix.Mixup(prob=0.5).plan(images).mixed.float().mean()
    assert mixed == pytest.approx(0.5, abs=0.15)
    gates = [smix.Mixup(prob=0.5, per_batch=True).plan(images).mixed.float().mean() for _ in range(20)]
    assert all(gate == 0 or gate > 0.9 for gate in gates)
    assert len({bool(gate) for gate in gates}) == 2


@pytest.mark.slow
def test_about_one_sample_per_batch_is_its_own_partner():
    alone = [int((~smix.Mixup().plan(torch.zeros(16, 1, 2, 2)).mixed).sum()) for _ in range(500)]
    assert np.mean(alone) == pytest.approx(1, abs=0.2)
