"""Every bad input: the type of the error, and a message with what was expected and what came."""

from collections.abc import Callable

import pytest
import torch

from smix.errors import DataError, OptionError
from smix.mixing import CutMix, Fallback, FMix, Mixup, SMix, Validity, Vanilla
from tests.mixing.cases import boxes, images, seeded

pytestmark = pytest.mark.usefixtures("as_users_run_it")

X = images(7, (5, 9))
Y = torch.arange(7)
MASKS = boxes(7, (5, 9))
FINITE = "x: expected finite pixels, got NaN or infinity; look at the images before mixing"
MASK_SHAPE = "masks: expected shape (7, 1, 5, 9) or (7, 5, 9) for images (7, 3, 5, 9), got "
MASK_RANGE = "masks: expected values in [0, 1], got {}; divide by 255 if they are pictures"
LABEL_SHAPE = "y: expected 7 labels, shape (7,) or (7, K), got shape "
LABEL_TYPE = "y: expected int64 class numbers (B,) or floating-point rows (B, K), got "


def with_pixel(value: float, tensor: torch.Tensor) -> torch.Tensor:
    changed = tensor.float().clone()
    changed.view(-1)[11] = value
    return changed


def smix_of(masks: torch.Tensor | None, x: torch.Tensor = X, **options: torch.Tensor):
    return SMix().plan(x, masks=masks, generator=seeded(0), **options)


def mixup_of(x: torch.Tensor):
    return Mixup().plan(x, generator=seeded(0))


BAD_BATCHES: list[tuple[str, Callable, str]] = [
    (
        "single image",
        lambda: mixup_of(X[0][0]),
        "x: expected (B, C, *S) with 1, 2 or 3 spatial dimensions, got shape (5, 9); a single image needs x[None]",
    ),
    (
        "four spatial dimensions",
        lambda: mixup_of(torch.zeros(2, 3, 1, 1, 1, 1)),
        "x: expected (B, C, *S) with 1, 2 or 3 spatial dimensions, got shape (2, 3, 1, 1, 1, 1); "
        "a single image needs x[None]",
    ),
    (
        "uint8 images",
        lambda: mixup_of(X.to(torch.uint8)),
        "x: expected floating-point images, got torch.uint8; convert and normalise them first",
    ),
    (
        "int64 images",
        lambda: mixup_of(X.long()),
        "x: expected floating-point images, got torch.int64; convert and normalise them first",
    ),
    ("NaN", lambda: mixup_of(with_pixel(float("nan"), X)), FINITE),
    ("infinity", lambda: mixup_of(with_pixel(float("-inf"), X)), FINITE),
    (
        "generator elsewhere",
        lambda: mixup_of(X.to("meta")),
        "generator: expected one on meta, got one on cpu; make it with torch.Generator('meta')",
    ),
    (
        "no masks",
        lambda: smix_of(None),
        "SMix(alpha=0.4, labels='half', feather=0.0, prob=1.0, per_batch=False): expected masks=, the object of each "
        "image, got None; load them from a MaskStore",
    ),
    ("masks of fewer images", lambda: smix_of(MASKS[:6]), MASK_SHAPE + "(6, 1, 5, 9)"),
    ("transposed masks", lambda: smix_of(MASKS.mT), MASK_SHAPE + "(7, 1, 9, 5)"),
    ("masks of three channels", lambda: smix_of(MASKS.expand(7, 3, 5, 9)), MASK_SHAPE + "(7, 3, 5, 9)"),
    ("one mask for all", lambda: smix_of(MASKS[0, 0]), MASK_SHAPE + "(5, 9)"),
    (
        "masks elsewhere",
        lambda: smix_of(MASKS.to("meta")),
        "masks: expected them on cpu like the images, got meta",
    ),
    ("int64 masks", lambda: smix_of(MASKS.long()), "masks: expected bool, uint8 or floating point, got torch.int64"),
    (
        "complex masks",
        lambda: smix_of(MASKS.to(torch.complex64)),
        "masks: expected bool, uint8 or floating point, got torch.complex64",
    ),
    ("masks to 255", lambda: smix_of(MASKS.to(torch.uint8) * 255), MASK_RANGE.format("0 to 255")),
    ("masks above 1", lambda: smix_of(with_pixel(1.5, MASKS)), MASK_RANGE.format("0 to 1.5")),
    ("masks below 0", lambda: smix_of(with_pixel(-0.25, MASKS)), MASK_RANGE.format("-0.25 to 1")),
    ("masks with NaN", lambda: smix_of(with_pixel(float("nan"), MASKS)), MASK_RANGE.format("nan to nan")),
    (
        "masks that the method does not need",
        lambda: Mixup().plan(X, masks=MASKS[:6], generator=seeded(0)),
        MASK_SHAPE + "(6, 1, 5, 9)",
    ),
    (
        "verdicts of fewer images",
        lambda: smix_of(MASKS, valid=torch.ones(6, dtype=torch.bool)),
        "valid: expected a bool tensor of shape (7,) on cpu, got torch.bool of shape (6,) on cpu",
    ),
    (
        "verdicts as numbers",
        lambda: smix_of(MASKS, valid=torch.ones(7)),
        "valid: expected a bool tensor of shape (7,) on cpu, got torch.float32 of shape (7,) on cpu",
    ),
    (
        "verdicts elsewhere",
        lambda: smix_of(MASKS, valid=torch.ones(7, dtype=torch.bool, device="meta")),
        "valid: expected a bool tensor of shape (7,) on cpu, got torch.bool of shape (7,) on meta",
    ),
    (
        "images of another batch",
        lambda: mixup_of(X).blend(X[:4]),
        "blend: expected the 7 images of this plan, got 4",
    ),
    ("fewer labels", lambda: mixup_of(X).target(Y[:6]), LABEL_SHAPE + "(6,)"),
    ("labels of three axes", lambda: mixup_of(X).target(torch.zeros(7, 1, 1)), LABEL_SHAPE + "(7, 1, 1)"),
    ("a number as label", lambda: mixup_of(X).target(torch.tensor(3)), LABEL_SHAPE + "()"),
    ("int32 labels", lambda: mixup_of(X).target(Y.int()), LABEL_TYPE + "torch.int32 of shape (7,)"),
    ("floating class numbers", lambda: mixup_of(X).target(Y.float()), LABEL_TYPE + "torch.float32 of shape (7,)"),
    ("bool labels", lambda: mixup_of(X).target(Y > 3), LABEL_TYPE + "torch.bool of shape (7,)"),
    ("int64 rows", lambda: mixup_of(X).target(torch.eye(7).long()), LABEL_TYPE + "torch.int64 of shape (7, 7)"),
    (
        "a negative label",
        lambda: mixup_of(X).target(torch.full((7,), -100)),
        "y: expected class numbers from 0, got -100; leave out images without a label",
    ),
    ("labels elsewhere", lambda: mixup_of(X).target(Y.to("meta")), "y: expected it on cpu like the images, got meta"),
    (
        "labels of a call",
        lambda: Mixup()(X, Y[:6], generator=seeded(0)),
        LABEL_SHAPE + "(6,)",
    ),
]


@pytest.mark.parametrize(("act", "message"), [case[1:] for case in BAD_BATCHES], ids=[case[0] for case in BAD_BATCHES])
def test_bad_batches_raise_data_errors(act: Callable, message: str):
    with pytest.raises(DataError) as error:
        act()
    assert str(error.value) == message


INF, NAN = float("inf"), float("nan")
BAD_OPTIONS: list[tuple[Callable, str]] = [
    (lambda: Vanilla(prob=1.5), "prob: expected a probability in [0, 1], got 1.5"),
    (lambda: Mixup(prob=-0.1), "prob: expected a probability in [0, 1], got -0.1"),
    (lambda: Fallback(SMix(), FMix(), prob=NAN), "prob: expected a probability in [0, 1], got nan"),
    (lambda: CutMix(per_batch="false"), "per_batch: expected True or False, got 'false'"),
    (lambda: Mixup(alpha=0), "mixup: expected a finite alpha above 0, got 0"),
    (lambda: Mixup(alpha=INF), "mixup: expected a finite alpha above 0, got inf"),
    (lambda: Mixup(alpha=NAN), "mixup: expected a finite alpha above 0, got nan"),
    (lambda: CutMix(alpha=-1.0), "cutmix: expected a finite alpha above 0, got -1.0"),
    (lambda: CutMix(alpha=INF), "cutmix: expected a finite alpha above 0, got inf"),
    (lambda: CutMix(edge="wrap"), 'cutmix: expected edge "clip" or "inside", got "wrap"'),
    (lambda: FMix(alpha=0.0), "fmix: expected a finite alpha above 0, got 0.0"),
    (lambda: FMix(alpha=INF), "fmix: expected a finite alpha above 0, got inf"),
    (lambda: FMix(decay=-1.0), "fmix: expected a finite decay of 0 or more, got -1.0"),
    (lambda: FMix(decay=INF), "fmix: expected a finite decay of 0 or more, got inf"),
    (lambda: FMix(strength=0.0), "fmix: expected strength in (0, 1], got 0.0"),
    (lambda: FMix(strength=1.1), "fmix: expected strength in (0, 1], got 1.1"),
    (lambda: SMix(alpha=0.0), "smix: expected alpha in (0, 1], or a pair (a, b) for a Beta, got 0.0"),
    (lambda: SMix(alpha=1.01), "smix: expected alpha in (0, 1], or a pair (a, b) for a Beta, got 1.01"),
    (
        lambda: SMix(alpha=(0.5, 0.0)),
        "smix: expected alpha as a pair of finite numbers above 0 for a Beta, got (0.5, 0.0)",
    ),
    (lambda: SMix(alpha=(0.5,)), "smix: expected alpha as a pair of finite numbers above 0 for a Beta, got (0.5,)"),
    (lambda: SMix(alpha=(INF, 1)), "smix: expected alpha as a pair of finite numbers above 0 for a Beta, got (inf, 1)"),
    (lambda: SMix(labels="mean"), 'smix: expected labels "half", "coverage", "area" or "visible", got "mean"'),
    (lambda: SMix(feather=-0.5), "smix: expected a finite feather of 0 pixels or more, got -0.5"),
    (lambda: SMix(feather=INF), "smix: expected a finite feather of 0 pixels or more, got inf"),
    (
        lambda: Validity(min_coverage=0.5, max_coverage=0.2),
        "validity: expected 0 <= min_coverage <= max_coverage <= 1, got 0.5 and 0.2",
    ),
    (
        lambda: Validity(min_coverage=-0.1),
        "validity: expected 0 <= min_coverage <= max_coverage <= 1, got -0.1 and 0.95",
    ),
    (
        lambda: Validity(min_entropy=-1),
        "validity: expected min_entropy and min_edges of 0 or more, got -1 and 0.0",
    ),
    (lambda: Validity(max_coverage=1.1), "validity: expected 0 <= min_coverage <= max_coverage <= 1, got 0.01 and 1.1"),
    (
        lambda: mixup_of(X).target(Y).loss(torch.zeros(7, 9), kind="mse"),
        'loss: expected kind "ce" or "bce" and reduction "mean", "sum" or "none", got "mse" and "mean"',
    ),
    (
        lambda: mixup_of(X).target(Y).loss(torch.zeros(7, 9), reduction="total"),
        'loss: expected kind "ce" or "bce" and reduction "mean", "sum" or "none", got "ce" and "total"',
    ),
]


@pytest.mark.parametrize(("act", "message"), BAD_OPTIONS, ids=[message for _, message in BAD_OPTIONS])
def test_bad_options_raise_option_errors(act: Callable, message: str):
    with pytest.raises(OptionError) as error:
        act()
    assert str(error.value) == message


@pytest.mark.parametrize(
    "make",
    [
        lambda: Mixup(prob=0.0),
        lambda: Mixup(prob=1),
        lambda: FMix(decay=0.0, strength=1.0),
        lambda: SMix(alpha=1.0, feather=0.0),
        lambda: SMix(alpha=(0.1, 0.1)),
        lambda: Validity(min_coverage=0.0, max_coverage=1.0),
        lambda: Validity(min_coverage=0.5, max_coverage=0.5),
    ],
)
def test_the_ends_of_each_range_are_allowed(make: Callable):
    make()


@pytest.mark.parametrize("label", [9, 12])
def test_a_class_number_beyond_the_logits_raises_instead_of_passing(label: int):
    target = mixup_of(X).target(torch.full((7,), label))
    message = f"y: expected class numbers below 9, got {label}; give the number of all classes"
    for kind in ("ce", "bce"):
        with pytest.raises(DataError) as error:
            target.loss(torch.zeros(7, 9), kind=kind)
        assert str(error.value) == message
    with pytest.raises(DataError):
        target.soft(9)
