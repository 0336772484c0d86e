"""Test that every invalid batch raises the right error with expected and received values. Options are tested in test_options.py."""

from collections.abc import Callable

import pytest
import torch

from smix.errors import DataError
from smix.mixing import Fallback, FMix, Mixup, ObjectPaste, RandomChoice, ResizeMix, SMix
from tests.mixing.cases import VISIBLE, boxes, images, new_generator

pytestmark = pytest.mark.usefixtures("without_type_checks")

X = images(7, (5, 9))
Y = torch.arange(7)
MASKS = boxes(7, (5, 9))
FINITE = "x: the images contain NaN or infinity; check the data before mixing"
MASK_SHAPE = "masks: expected shape (7, 1, 5, 9) or (7, 5, 9) for images (7, 3, 5, 9), got "
MASK_RANGE = "masks: expected values in [0, 1], got {}; divide 8-bit masks by 255"
LABEL_SHAPE = "y: expected 7 labels, shape (7,) or (7, K), got shape "
LABEL_TYPE = "y: expected int64 class numbers (B,) or floating-point rows (B, K), got "
LABEL_FINITE = "y: the labels contain NaN or infinity; check the data before mixing"
OUT = "out: expected torch.float32 of shape (7, 3, 5, 9) on cpu like the images, got "
OUT_MEMORY = "out: the buffer shares memory with the images; create it with torch.empty_like(x)"
LOGITS = "logits: expected shape (7, K) for 7 labels, got "
ROWS = torch.eye(9)[:7]
HALVES = images(8, (5, 9))


def with_pixel(value: float, tensor: torch.Tensor) -> torch.Tensor:
    changed = tensor.float().clone()
    changed.view(-1)[11] = value
    return changed


def call_smix(masks: torch.Tensor | None, x: torch.Tensor = X, **options: torch.Tensor):
    return SMix().plan(x, masks=masks, generator=new_generator(0), **options)


def call_mixup(x: torch.Tensor):
    return Mixup().plan(x, generator=new_generator(0))


def make_target(y: torch.Tensor = Y):
    return call_mixup(X).target(y)


def blend_into(out: torch.Tensor, x: torch.Tensor = X):
    return call_mixup(X).blend(x, out)


BAD_BATCHES: list[tuple[str, Callable, str]] = [
    (
        "single image",
        lambda: call_mixup(X[0][0]),
        "x: expected (B, C, *S) with 1, 2 or 3 spatial dimensions, got shape (5, 9); a single image needs x[None]",
    ),
    (
        "four spatial dimensions",
        lambda: call_mixup(torch.zeros(2, 3, 1, 1, 1, 1)),
        "x: expected (B, C, *S) with 1, 2 or 3 spatial dimensions, got shape (2, 3, 1, 1, 1, 1); "
        "a single image needs x[None]",
    ),
    (
        "uint8 images",
        lambda: call_mixup(X.to(torch.uint8)),
        "x: expected floating-point images, got torch.uint8; convert and normalise them first",
    ),
    (
        "int64 images",
        lambda: call_mixup(X.long()),
        "x: expected floating-point images, got torch.int64; convert and normalise them first",
    ),
    ("NaN", lambda: call_mixup(with_pixel(float("nan"), X)), FINITE),
    ("infinity", lambda: call_mixup(with_pixel(float("-inf"), X)), FINITE),
    (
        "generator elsewhere",
        lambda: call_mixup(X.to("meta")),
        "generator: expected a generator on meta like the images, got one on cpu; create it with torch.Generator('meta')",
    ),
    (
        "no masks",
        lambda: call_smix(None),
        "SMix(alpha=0.4, feather=0.0, labels='half', prob=1.0, per_batch=False): this method needs the object mask "
        "of each image; pass masks=, for example from a MaskStore",
    ),
    ("masks of fewer images", lambda: call_smix(MASKS[:6]), MASK_SHAPE + "(6, 1, 5, 9)"),
    ("transposed masks", lambda: call_smix(MASKS.mT), MASK_SHAPE + "(7, 1, 9, 5)"),
    ("masks of three channels", lambda: call_smix(MASKS.expand(7, 3, 5, 9)), MASK_SHAPE + "(7, 3, 5, 9)"),
    ("one mask for all", lambda: call_smix(MASKS[0, 0]), MASK_SHAPE + "(5, 9)"),
    (
        "masks elsewhere",
        lambda: call_smix(MASKS.to("meta")),
        "masks: expected masks on cpu like the images, got meta; move them with .to()",
    ),
    (
        "int64 masks",
        lambda: call_smix(MASKS.long()),
        "masks: expected bool, uint8 or floating point, got torch.int64; convert them with .bool()",
    ),
    (
        "complex masks",
        lambda: call_smix(MASKS.to(torch.complex64)),
        "masks: expected bool, uint8 or floating point, got torch.complex64; convert them with .bool()",
    ),
    ("masks to 255", lambda: call_smix(MASKS.to(torch.uint8) * 255), MASK_RANGE.format("0 to 255")),
    ("masks above 1", lambda: call_smix(with_pixel(1.5, MASKS)), MASK_RANGE.format("0 to 1.5")),
    ("masks below 0", lambda: call_smix(with_pixel(-0.25, MASKS)), MASK_RANGE.format("-0.25 to 1")),
    ("masks with NaN", lambda: call_smix(with_pixel(float("nan"), MASKS)), MASK_RANGE.format("nan to nan")),
    (
        "masks that the method does not need",
        lambda: Mixup().plan(X, masks=MASKS[:6], generator=new_generator(0)),
        MASK_SHAPE + "(6, 1, 5, 9)",
    ),
    (
        "verdicts of fewer images",
        lambda: call_smix(MASKS, valid=torch.ones(6, dtype=torch.bool)),
        "valid: expected a bool tensor of shape (7,) on cpu, got torch.bool of shape (6,) on cpu",
    ),
    (
        "verdicts as numbers",
        lambda: call_smix(MASKS, valid=torch.ones(7)),
        "valid: expected a bool tensor of shape (7,) on cpu, got torch.float32 of shape (7,) on cpu",
    ),
    (
        "verdicts elsewhere",
        lambda: call_smix(MASKS, valid=torch.ones(7, dtype=torch.bool, device="meta")),
        "valid: expected a bool tensor of shape (7,) on cpu, got torch.bool of shape (7,) on meta",
    ),
    (
        "images of another batch",
        lambda: call_mixup(X).blend(X[:4]),
        "blend: this plan was drawn for 7 images, got 4; pass the same batch, or draw a new plan",
    ),
    ("fewer labels", lambda: call_mixup(X).target(Y[:6]), LABEL_SHAPE + "(6,)"),
    ("labels of three axes", lambda: call_mixup(X).target(torch.zeros(7, 1, 1)), LABEL_SHAPE + "(7, 1, 1)"),
    ("a number as label", lambda: call_mixup(X).target(torch.tensor(3)), LABEL_SHAPE + "()"),
    ("int32 labels", lambda: call_mixup(X).target(Y.int()), LABEL_TYPE + "torch.int32 of shape (7,)"),
    ("floating class numbers", lambda: call_mixup(X).target(Y.float()), LABEL_TYPE + "torch.float32 of shape (7,)"),
    ("bool labels", lambda: call_mixup(X).target(Y > 3), LABEL_TYPE + "torch.bool of shape (7,)"),
    ("int64 rows", lambda: call_mixup(X).target(torch.eye(7).long()), LABEL_TYPE + "torch.int64 of shape (7, 7)"),
    (
        "a negative label",
        lambda: call_mixup(X).target(torch.full((7,), -100)),
        "y: expected class numbers from 0, got -100; remove images without a label",
    ),
    (
        "labels elsewhere",
        lambda: call_mixup(X).target(Y.to("meta")),
        "y: expected labels on cpu like the images, got meta; move them with .to()",
    ),
    (
        "labels of a call",
        lambda: Mixup()(X, Y[:6], generator=new_generator(0)),
        LABEL_SHAPE + "(6,)",
    ),
    (
        "whole numbers as class weights",
        lambda: make_target().loss(torch.zeros(7, 9), class_weight=torch.ones(9, dtype=torch.int64)),
        "class_weight: expected floating-point numbers of shape (9,) on cpu, got torch.int64 of shape (9,) on cpu",
    ),
    (
        "uint8 images for a plan",
        lambda: call_mixup(X).blend(X.to(torch.uint8)),
        "blend: expected floating-point images, got torch.uint8; convert and normalise them first",
    ),
    (
        "images of another size for a plan",
        lambda: call_smix(MASKS).blend(X.mT),
        "blend: this plan was drawn for images of size (5, 9), got shape (7, 3, 9, 5); draw a new plan for them",
    ),
    (
        "images of numpy",
        lambda: call_mixup(X.numpy()),
        "x: expected a tensor, got ndarray; convert it with torch.as_tensor",
    ),
    (
        "masks of numpy",
        lambda: call_smix(MASKS.numpy()),
        "masks: expected a tensor, got ndarray; convert it with torch.as_tensor",
    ),
    (
        "a list of labels",
        lambda: make_target([1] * 7),
        "y: expected a tensor, got list; convert it with torch.as_tensor",
    ),
    (
        "an empty axis",
        lambda: call_mixup(X[..., :0]),
        "x: expected at least one pixel along each axis, got shape (7, 3, 5, 0)",
    ),
    ("label rows with NaN", lambda: make_target(with_pixel(float("nan"), ROWS)), LABEL_FINITE),
    ("label rows with infinity", lambda: make_target(with_pixel(float("inf"), ROWS)), LABEL_FINITE),
    (
        "a smaller buffer",
        lambda: blend_into(torch.empty(6, 3, 5, 9)),
        OUT + "torch.float32 of shape (6, 3, 5, 9) on cpu",
    ),
    (
        "a transposed buffer",
        lambda: blend_into(torch.empty(7, 3, 9, 5)),
        OUT + "torch.float32 of shape (7, 3, 9, 5) on cpu",
    ),
    (
        "a buffer of another type",
        lambda: blend_into(torch.empty(7, 3, 5, 9, dtype=torch.float16)),
        OUT + "torch.float16 of shape (7, 3, 5, 9) on cpu",
    ),
    (
        "a buffer elsewhere",
        lambda: blend_into(torch.empty(7, 3, 5, 9, device="meta")),
        OUT + "torch.float32 of shape (7, 3, 5, 9) on meta",
    ),
    ("the images as buffer", lambda: blend_into(X), OUT_MEMORY),
    ("a view of the images as buffer", lambda: blend_into(X.view(7, 3, 5, 9)), OUT_MEMORY),
    ("part of the same memory as buffer", lambda: blend_into(HALVES[1:8], HALVES[:7]), OUT_MEMORY),
    (
        "images with gradient into a buffer",
        lambda: blend_into(torch.empty_like(X), X.clone().requires_grad_()),
        "out: a buffer cannot be used with autograd, and the images require grad; omit out=",
    ),
    (
        "a buffer of a call",
        lambda: ResizeMix()(X, Y, generator=new_generator(0), out=torch.empty(7, 1, 5, 9)),
        OUT + "torch.float32 of shape (7, 1, 5, 9) on cpu",
    ),
    ("logits of fewer samples", lambda: make_target().loss(torch.zeros(6, 9)), LOGITS + "(6, 9)"),
    ("logits of one sample", lambda: make_target().loss(torch.zeros(9)), LOGITS + "(9,)"),
    ("logits of pixels", lambda: make_target().loss(torch.zeros(7, 9, 2)), LOGITS + "(7, 9, 2)"),
    ("logits of fewer samples, bce", lambda: make_target().loss(torch.zeros(6, 9), kind="bce"), LOGITS + "(6, 9)"),
    ("accuracy of fewer samples", lambda: make_target().accuracy(torch.zeros(6, 9)), LOGITS + "(6, 9)"),
    ("accuracy of more samples", lambda: make_target().accuracy(torch.zeros(8, 9)), LOGITS + "(8, 9)"),
    *(
        (
            f"label rows of another width, {name}",
            act,
            "y: expected rows of 8 classes, got 9; labels and logits need the same number of classes",
        )
        for name, act in {
            "soft": lambda: make_target(ROWS).soft(8),
            "loss": lambda: make_target(ROWS).loss(torch.zeros(7, 8)),
            "bce": lambda: make_target(ROWS).loss(torch.zeros(7, 8), kind="bce"),
            "accuracy": lambda: make_target(ROWS).accuracy(torch.zeros(7, 8)),
        }.items()
    ),
    *(
        (
            f"class weights of shape {shape}",
            lambda shape=shape: make_target().loss(torch.zeros(7, 9), class_weight=torch.ones(shape)),
            "class_weight: expected floating-point numbers of shape (9,) on cpu, "
            f"got torch.float32 of shape {shape} on cpu",
        )
        for shape in ((8,), (7,), (1,), (), (9, 1))
    ),
    *(
        (
            f"no masks for {method!r}",
            lambda method=method: method.plan(X, generator=new_generator(0)),
            f"{method!r}: this method needs the object mask of each image; pass masks=, for example from a MaskStore",
        )
        for method in (
            *VISIBLE,
            ObjectPaste(),
            Fallback(Mixup(), FMix()),
            RandomChoice((Mixup(), ResizeMix(labels="visible"))),
        )
    ),
]


@pytest.mark.parametrize(("act", "message"), [case[1:] for case in BAD_BATCHES], ids=[case[0] for case in BAD_BATCHES])
def test_bad_batches_raise_data_errors(act: Callable, message: str):
    with pytest.raises(DataError) as error:
        act()
    assert str(error.value) == message


@pytest.mark.parametrize("label", [9, 12])
def test_a_class_number_beyond_the_logits_raises_instead_of_passing(label: int):
    target = call_mixup(X).target(torch.full((7,), label))
    message = f"y: expected class numbers below 9, got {label}; use at least {label + 1} classes"
    for kind in ("ce", "bce"):
        with pytest.raises(DataError) as error:
            target.loss(torch.zeros(7, 9), kind=kind)
        assert str(error.value) == message
    with pytest.raises(DataError):
        target.soft(9)


def test_a_refused_batch_leaves_images_and_buffer_unchanged():
    x, out = X.clone(), torch.full((4, 3, 5, 9), 7.0)
    plan = ResizeMix().plan(x, generator=new_generator(0))
    with pytest.raises(DataError):
        plan.blend(x[:4], out)
    with pytest.raises(DataError):
        plan.target(Y[:6])
    assert torch.equal(x, X)
    assert out.eq(7).all()


def test_finite_images_with_an_infinite_sum_are_accepted():
    assert Mixup().plan(torch.full((2, 1, 8, 8), 1e37), generator=new_generator(0)).share.isfinite().all()


def test_bools_stored_as_255_count_as_1():
    """Pillow stores images of one bit in this way."""
    bytes_of_pillow = (MASKS.numpy().astype("uint8") * 255).view(bool)
    plans = [call_smix(masks) for masks in (MASKS, torch.from_numpy(bytes_of_pillow))]
    assert torch.equal(plans[0].weight, plans[1].weight)
