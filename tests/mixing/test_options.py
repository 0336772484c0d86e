"""Test that options out of range are refused on construction, with expected and received values."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Optional

import numpy as np
import pytest
import torch

from smix.errors import OptionError
from smix.mixing import (
    METHODS,
    CutMix,
    Cutout,
    Fallback,
    FMix,
    GridMix,
    HMix,
    Method,
    Mixup,
    ObjectPaste,
    RandomChoice,
    ResizeMix,
    SMix,
    Target,
    Validity,
)
from tests.mixing.cases import boxes, images, new_generator, same

pytestmark = pytest.mark.usefixtures("without_type_checks")
INF, NAN = float("inf"), float("nan")
EVERY_METHOD = [*(method() for method in METHODS.values()), Fallback(SMix(), FMix()), RandomChoice((Mixup(), CutMix()))]
MAP_LABELS = [
    name for name, method in METHODS.items() if {"labels"} <= {f.name for f in fields(method)} and name != "smix"
]
BETAS = [name for name, method in METHODS.items() if {"alpha"} <= {f.name for f in fields(method)} and name != "smix"]


def target() -> Target:
    return Mixup().plan(images(7, (5, 9)), generator=new_generator(0)).target(torch.arange(7))


def call_loss(**options: Any) -> torch.Tensor:
    return target().loss(torch.zeros(7, 9), **options)


def call_loss_with_rows(**options: Any) -> torch.Tensor:
    rows = Mixup().plan(images(7, (5, 9)), generator=new_generator(0)).target(torch.eye(9)[:7])
    return rows.loss(torch.zeros(7, 9), **options)


BETA = "smix: expected alpha from 1e-30 to 1e+30, got "
RESIZE = "resizemix: expected scale as a pair 0 < smallest <= largest <= 1, got "
PASTE = "objectpaste: expected scale as a pair 0 < smallest <= largest, got "
COVERAGE = "validity: expected 0 <= min_coverage <= max_coverage <= 1, got "
KIND = 'loss: expected kind "ce" or "bce" and reduction "mean", "sum" or "none", got '
CLASS_WEIGHT = (
    'loss: class_weight requires kind "ce" and class numbers, got kind "{}" and labels of shape {}; '
    'use reduction="none" and weight the losses yourself'
)
WEIGHTS = "random choice: expected weights as a tuple of 2 numbers of 0 or more, not all 0, got "
BOTH = (Mixup(), CutMix())

BAD_OPTIONS: list[tuple[Callable, str]] = [
    (lambda: CutMix(edge="wrap"), 'cutmix: expected edge "clip" or "inside", got "wrap"'),
    (lambda: FMix(decay=-1.0), "fmix: expected a finite decay of 0 or more, got -1.0"),
    (lambda: FMix(decay=INF), "fmix: expected a finite decay of 0 or more, got inf"),
    (lambda: FMix(strength=0.0), "fmix: expected strength in (0, 1], got 0.0"),
    (lambda: FMix(strength=1.1), "fmix: expected strength in (0, 1], got 1.1"),
    (lambda: FMix(max_soft=-0.1), "fmix: expected max_soft in [0, 0.5], got -0.1"),
    (lambda: FMix(max_soft=0.51), "fmix: expected max_soft in [0, 0.5], got 0.51"),
    (lambda: FMix(max_soft=NAN), "fmix: expected max_soft in [0, 0.5], got nan"),
    (lambda: FMix(spectrum="paper"), 'fmix: expected spectrum "isotropic" or "official", got "paper"'),
    (
        lambda: SMix(alpha=0.0),
        "smix: expected alpha in (0, 1], or a pair (a, b), the parameters of a Beta distribution, got 0.0",
    ),
    (
        lambda: SMix(alpha=1.01),
        "smix: expected alpha in (0, 1], or a pair (a, b), the parameters of a Beta distribution, got 1.01",
    ),
    (lambda: SMix(alpha=(0.5, 0.0)), BETA + "0.0"),
    (
        lambda: SMix(alpha=(0.5,)),
        "smix: expected alpha as a number or a pair, the parameters of a Beta distribution, got (0.5,)",
    ),
    (lambda: SMix(alpha=(INF, 1)), BETA + "inf"),
    (lambda: SMix(labels="mean"), 'smix: expected labels "half", "coverage", "area" or "visible", got "mean"'),
    (lambda: SMix(labels="own"), 'smix: expected labels "half", "coverage", "area" or "visible", got "own"'),
    (lambda: SMix(feather=-0.5), "smix: expected a finite feather of 0 pixels or more, got -0.5"),
    (lambda: SMix(feather=INF), "smix: expected a finite feather of 0 pixels or more, got inf"),
    (lambda: HMix(ratio=-0.1), "hmix: expected a ratio in [0, 1], got -0.1"),
    (lambda: HMix(ratio=1.1), "hmix: expected a ratio in [0, 1], got 1.1"),
    (lambda: HMix(ratio=NAN), "hmix: expected a ratio in [0, 1], got nan"),
    (lambda: GridMix(cells=1), "gridmix: expected cells as a whole number, at least 2, got 1"),
    (lambda: GridMix(cells=2.5), "gridmix: expected cells as a whole number, at least 2, got 2.5"),
    (lambda: GridMix(cells=4.0), "gridmix: expected cells as a whole number, at least 2, got 4.0"),
    (lambda: Cutout(length=0), "cutout: expected length as a whole number of pixels, at least 1, got 0"),
    (lambda: Cutout(length=-3), "cutout: expected length as a whole number of pixels, at least 1, got -3"),
    (lambda: Cutout(length=7.5), "cutout: expected length as a whole number of pixels, at least 1, got 7.5"),
    (lambda: ResizeMix(scale=(0.0, 0.5)), RESIZE + "(0.0, 0.5)"),
    (lambda: ResizeMix(scale=(0.5, 0.4)), RESIZE + "(0.5, 0.4)"),
    (lambda: ResizeMix(scale=(0.5, 1.01)), RESIZE + "(0.5, 1.01)"),
    (lambda: ResizeMix(scale=(NAN, 0.5)), RESIZE + "(nan, 0.5)"),
    (lambda: ResizeMix(scale=(0.5,)), RESIZE + "(0.5,)"),
    (lambda: ResizeMix(scale=(0.1, 0.2, 0.3)), RESIZE + "(0.1, 0.2, 0.3)"),
    (lambda: ResizeMix(scale=[0.1, 0.8]), RESIZE + "[0.1, 0.8]"),
    (lambda: ResizeMix(scale=0.5), RESIZE + "0.5"),
    (lambda: ObjectPaste(scale=(0.0, 1.0)), PASTE + "(0.0, 1.0)"),
    (lambda: ObjectPaste(scale=(1.0, 0.5)), PASTE + "(1.0, 0.5)"),
    (lambda: ObjectPaste(scale=(1.0, INF)), PASTE + "(1.0, inf)"),
    (lambda: ObjectPaste(scale=(0.5, NAN)), PASTE + "(0.5, nan)"),
    (lambda: ObjectPaste(scale=[0.5, 1.0]), PASTE + "[0.5, 1.0]"),
    (lambda: ObjectPaste(scale=1.0), PASTE + "1.0"),
    (lambda: ObjectPaste(flip=-0.1), "objectpaste: expected flip as a probability in [0, 1], got -0.1"),
    (lambda: ObjectPaste(flip=1.5), "objectpaste: expected flip as a probability in [0, 1], got 1.5"),
    (lambda: ObjectPaste(flip=NAN), "objectpaste: expected flip as a probability in [0, 1], got nan"),
    (lambda: ObjectPaste(overlap="hide"), 'objectpaste: expected overlap "ignore", "avoid" or "cover", got "hide"'),
    (lambda: RandomChoice((Mixup(), CutMix()), weights=[1, 3]), WEIGHTS + "[1, 3]"),
    (lambda: RandomChoice((Mixup(), CutMix()), weights=0.5), WEIGHTS + "0.5"),
    (lambda: Fallback("smix", FMix()), f"fallback: expected two methods, got 'smix' and {FMix()!r}"),
    (lambda: Fallback(SMix(), FMix(), valid=0.5), "fallback: expected smix.Validity for valid, got 0.5"),
    (lambda: RandomChoice([Mixup()]), f"random choice: expected a tuple of methods, got [{Mixup()!r}]"),
    (lambda: RandomChoice(("mixup", "cutmix")), "random choice: expected a tuple of methods, got ('mixup', 'cutmix')"),
    (lambda: RandomChoice(Mixup()), f"random choice: expected a tuple of methods, got {Mixup()!r}"),
    (lambda: RandomChoice((Mixup(),)), "random choice: expected two or more methods, got 1"),
    (lambda: RandomChoice(()), "random choice: expected two or more methods, got 0"),
    (lambda: RandomChoice(BOTH, weights=(1,)), WEIGHTS + "(1.0,)"),
    (lambda: RandomChoice(BOTH, weights=(1, 2, 3)), WEIGHTS + "(1.0, 2.0, 3.0)"),
    (lambda: RandomChoice(BOTH, weights=(1, -1)), WEIGHTS + "(1.0, -1.0)"),
    (lambda: RandomChoice(BOTH, weights=(0, 0)), WEIGHTS + "(0.0, 0.0)"),
    (lambda: RandomChoice(BOTH, weights=(1, NAN)), WEIGHTS + "(1.0, nan)"),
    (lambda: RandomChoice(BOTH, weights=(1, INF)), WEIGHTS + "(1.0, inf)"),
    (lambda: Validity(min_coverage=0.5, max_coverage=0.2), COVERAGE + "0.5 and 0.2"),
    (lambda: Validity(min_coverage=-0.1), COVERAGE + "-0.1 and 0.95"),
    (lambda: Validity(max_coverage=1.1), COVERAGE + "0.01 and 1.1"),
    (lambda: Validity(min_entropy=-1), "validity: expected min_entropy of 0 or more, got -1.0"),
    (lambda: call_loss(kind="mse"), KIND + '"mse" and "mean"'),
    (lambda: call_loss(reduction="total"), KIND + '"ce" and "total"'),
    (lambda: call_loss(kind="bce", class_weight=torch.ones(9)), CLASS_WEIGHT.format("bce", "(7,)")),
    (lambda: call_loss_with_rows(class_weight=torch.ones(9)), CLASS_WEIGHT.format("ce", "(7, 9)")),
]


@pytest.mark.parametrize(("act", "message"), BAD_OPTIONS, ids=[message for _, message in BAD_OPTIONS])
def test_bad_options_raise_option_errors(act: Callable, message: str):
    with pytest.raises(OptionError) as error:
        act()
    assert str(error.value) == message


NUMBERS: dict[tuple[type, str], Any] = {
    **{(method, "prob"): 1 for method in (*METHODS.values(), Fallback, RandomChoice)},
    **{(METHODS[name], "alpha"): 2 for name in BETAS},
    (Cutout, "length"): 5,
    (ResizeMix, "scale"): (1, 1),
    (HMix, "ratio"): 1,
    (GridMix, "cells"): 3,
    (FMix, "decay"): 2,
    (FMix, "max_soft"): 0,
    (FMix, "strength"): 1,
    (SMix, "alpha"): 1,
    (SMix, "feather"): 2,
    (ObjectPaste, "scale"): (1, 2),
    (ObjectPaste, "flip"): 1,
    (RandomChoice, "weights"): (1, 3),
    (Validity, "min_coverage"): 0,
    (Validity, "max_coverage"): 1,
    (Validity, "min_entropy"): 0,
    (Validity, "min_edges"): 0,
    (Validity, "max_roughness"): 2,
    (Validity, "min_free_border"): 1,
}
"""A valid integer value of each numeric option."""
PAIRS = {(SMix, "alpha"): (1, 2)}
"""Options that accept a number or a pair."""
WHOLE = {(Cutout, "length"), (GridMix, "cells")}
"""Options that accept only integers."""
REQUIRED: dict[type, tuple] = {Fallback: (SMix(), FMix()), RandomChoice: (BOTH,)}
WRONG = ["a", "0.5", b"1", 1j, [1], {}, True, torch.ones(2)]


def option_id(value: Any) -> str | None:
    return f"{value[0].__name__}-{value[1]}" if isinstance(value, tuple) and isinstance(value[0], type) else None


def convert(value: Any, change: Callable) -> Any:
    return tuple(map(change, value)) if isinstance(value, tuple) else change(value)


def test_these_tests_cover_every_numeric_option():
    classes = [*METHODS.values(), Fallback, RandomChoice, Validity]
    hints = {(kind, f.name): str(f.type) for kind in classes for f in fields(kind)}
    assert {option for option, hint in hints.items() if "float" in hint or "int" in hint} == NUMBERS.keys()


@pytest.mark.parametrize(
    ("option", "value", "change"),
    [
        (option, value, change)
        for option, value in [*NUMBERS.items(), *PAIRS.items()]
        for change in (int, np.int64, np.uint8, np.float32, np.float64)
        if not (option in WHOLE and issubclass(change, np.floating))
    ],
    ids=option_id,
)
def test_numeric_options_accept_any_kind_of_number(option: tuple[type, str], value: Any, change: type):
    kind, name = option
    given = kind(*REQUIRED.get(kind, ()), **{name: convert(value, change)})
    usual = kind(*REQUIRED.get(kind, ()), **{name: convert(value, int if option in WHOLE else float)})
    assert given == usual
    assert repr(given) == repr(usual)
    if isinstance(given, Validity):
        given, usual = Fallback(SMix(), FMix(), valid=given), Fallback(SMix(), FMix(), valid=usual)
    x, masks = images(7, (9, 8)), boxes(7, (9, 8))
    assert same(
        given.plan(x, masks=masks, generator=new_generator(0)), usual.plan(x, masks=masks, generator=new_generator(0))
    )


@pytest.mark.parametrize("option", NUMBERS, ids=option_id)
@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_numeric_option_of_another_type_is_a_one_line_error(option: tuple[type, str], wrong: Any):
    kind, name = option
    for value in [wrong, (wrong, 1.0)]:
        with pytest.raises(OptionError) as error:
            kind(*REQUIRED.get(kind, ()), **{name: value})
        assert name in str(error.value)
        assert "expected" in str(error.value)
        assert str(value) in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: Mixup(alpha="a"), "alpha: expected a number, got 'a'"),
        (lambda: Mixup(alpha=None), "alpha: expected a number, got None"),
        (lambda: Mixup(prob="half"), "prob: expected a number, got 'half'"),
        (lambda: Mixup(prob=True), "prob: expected a number, got True"),
        (lambda: Cutout(length="a"), "length: expected a whole number, got 'a'"),
        (lambda: Cutout(length=True), "length: expected a whole number, got True"),
        (lambda: SMix(alpha=[1, 2]), "alpha: expected a number or a tuple of numbers, got [1, 2]"),
        (lambda: SMix(alpha=("a", 1)), "alpha: expected a number or a tuple of numbers, got ('a', 1)"),
        (lambda: ResizeMix(scale=("a", 1)), "scale: expected a tuple of numbers, got ('a', 1)"),
        (lambda: RandomChoice(BOTH, weights=("a", 1)), "weights: expected a tuple of numbers, got ('a', 1)"),
        (lambda: Validity(min_edges="a"), "min_edges: expected a number, got 'a'"),
        (lambda: FMix(decay=10**400), "fmix: expected a finite decay of 0 or more, got inf"),
        (lambda: Cutout(length=10**400), "cutout: expected length as a whole number of pixels, at least 1, got inf"),
    ],
)
def test_the_message_on_an_option_of_another_type(act: Callable, message: str):
    with pytest.raises(OptionError) as error:
        act()
    assert str(error.value) == message


@pytest.mark.parametrize("method", EVERY_METHOD, ids=lambda method: type(method).__name__)
@pytest.mark.parametrize("prob", [1.5, -0.1, NAN, INF])
def test_prob_must_be_a_probability_for_every_method(method: Method, prob: float):
    with pytest.raises(OptionError) as error:
        replace(method, prob=prob)
    assert str(error.value) == f"prob: expected a probability in [0, 1], got {prob}"


@pytest.mark.parametrize("method", EVERY_METHOD, ids=lambda method: type(method).__name__)
@pytest.mark.parametrize("per_batch", ["false", 1, 0.0, None])
def test_per_batch_must_be_a_bool_for_every_method(method: Method, per_batch: Any):
    with pytest.raises(OptionError) as error:
        replace(method, per_batch=per_batch)
    assert str(error.value) == f"per_batch: expected True or False, got {per_batch!r}"


@pytest.mark.parametrize("name", BETAS)
@pytest.mark.parametrize("alpha", [0, 0.0, -1.0, INF, NAN])
def test_alpha_must_be_above_0_and_finite_for_every_beta(name: str, alpha: float):
    with pytest.raises(OptionError) as error:
        METHODS[name](alpha=alpha)  # type: ignore[call-arg]
    assert str(error.value) == f"{name}: expected alpha from 1e-30 to 1e+30, got {float(alpha)}"


@pytest.mark.parametrize("name", MAP_LABELS)
@pytest.mark.parametrize("labels", ["half", "coverage", "own", "Area", "", None])
def test_methods_with_maps_have_two_label_rules(name: str, labels: Any):
    with pytest.raises(OptionError) as error:
        METHODS[name](labels=labels)  # type: ignore[call-arg]
    assert str(error.value) == f'{name}: expected labels "area" or "visible", got "{labels}"'


def test_these_tests_cover_every_method():
    assert BETAS == ["mixup", "cutmix", "hmix", "gmix", "gridmix", "saliencymix", "fmix"]
    assert " ".join(MAP_LABELS) == ("stochasticmixup cutmix resizemix hmix gmix gridmix saliencymix fmix objectpaste")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Mixup(prob=0.0),
        lambda: Mixup(prob=1),
        lambda: FMix(decay=0.0, strength=1.0, max_soft=0.5),
        lambda: FMix(max_soft=0),
        lambda: SMix(alpha=1.0, feather=0.0),
        lambda: SMix(alpha=(0.1, 0.1)),
        lambda: HMix(ratio=0),
        lambda: HMix(ratio=1),
        lambda: GridMix(cells=2),
        lambda: Cutout(length=1),
        lambda: ResizeMix(scale=(1.0, 1.0)),
        lambda: ResizeMix(scale=(1e-9, 1e-9)),
        lambda: ObjectPaste(scale=(1e-3, 1e3), flip=1.0),
        lambda: RandomChoice(BOTH, weights=(0, 1)),
        lambda: Validity(min_coverage=0.0, max_coverage=1.0),
        lambda: Validity(min_coverage=0.5, max_coverage=0.5),
    ],
)
def test_the_bounds_of_each_range_are_allowed(make: Callable):
    make()


@dataclass(frozen=True, kw_only=True, repr=False)
class CustomMethod(Mixup):
    """A method defined by a user, with an option that may be None."""

    strength: Optional[float] = None  # noqa: UP045 - as older code writes it


def test_an_option_of_a_custom_method_may_be_none_or_a_number():
    assert CustomMethod().strength is None
    assert CustomMethod(strength=np.float32(2)).strength == 2.0
    with pytest.raises(OptionError, match="strength: expected a number, got '3'"):
        CustomMethod(strength="3")  # type: ignore[arg-type]
