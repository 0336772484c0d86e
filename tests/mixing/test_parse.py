"""Test methods as text."""

import keyword
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import smix.mixing
from smix.errors import OptionError
from smix.mixing import (
    METHODS,
    CutMix,
    Cutout,
    Fallback,
    FMix,
    Method,
    Mixup,
    RandomChoice,
    ResizeMix,
    SMix,
    Vanilla,
    parse_method,
    split_methods,
)

pytestmark = pytest.mark.usefixtures("without_type_checks")
REPEATABLE = settings(derandomize=True, deadline=None, database=None, max_examples=150)

positive = st.floats(1e-3, 1e3)
unit = st.floats(1e-3, 1)
map_labels = st.sampled_from(["area", "visible"])
common = {"prob": st.floats(0, 1), "per_batch": st.booleans()}
OPTIONS: dict[str, dict[str, st.SearchStrategy]] = {
    "vanilla": common,
    "mixup": {"alpha": positive, **common},
    "cutmix": {"alpha": positive, "edge": st.sampled_from(["clip", "inside"]), "labels": map_labels, **common},
    "stochasticmixup": {"labels": map_labels, **common},
    "cutout": {"length": st.integers(1, 64), **common},
    "resizemix": {"scale": st.tuples(st.floats(1e-3, 0.4), st.floats(0.4, 1)), "labels": map_labels, **common},
    "hmix": {"alpha": positive, "ratio": st.floats(0, 1), "labels": map_labels, **common},
    "gmix": {"alpha": positive, "labels": map_labels, **common},
    "gridmix": {"alpha": positive, "cells": st.integers(2, 9), "labels": map_labels, **common},
    "saliencymix": {"alpha": positive, "labels": map_labels, **common},
    "objectpaste": {
        "scale": st.tuples(st.floats(1e-3, 1), st.floats(1, 3)),
        "flip": st.floats(0, 1),
        "overlap": st.sampled_from(["ignore", "avoid", "cover"]),
        "labels": map_labels,
        **common,
    },
    "fmix": {
        "alpha": positive,
        "decay": st.floats(0, 10),
        "max_soft": st.floats(0, 0.5),
        "strength": unit,
        "spectrum": st.sampled_from(["isotropic", "official"]),
        "labels": map_labels,
        **common,
    },
    "smix": {
        "alpha": unit | st.tuples(positive, positive),
        "labels": st.sampled_from(["half", "coverage", "area", "visible"]),
        "feather": st.floats(0, 9),
        **common,
    },
}


@st.composite
def text_and_method(draw: st.DrawFn) -> tuple[str, Method]:
    """Draw a text and the method that it means, with options in any order, with blanks, and with or without quotation marks."""
    name = draw(st.sampled_from(list(OPTIONS)))
    chosen = draw(st.lists(st.sampled_from(list(OPTIONS[name])), unique=True))
    options = {option: draw(OPTIONS[name][option]) for option in chosen}
    blank = draw(st.sampled_from(["", " "]))
    quoted = draw(st.booleans())
    parts = [
        f"{option}{blank}={blank}{value if isinstance(value, str) and not quoted else repr(value)}"
        for option, value in options.items()
    ]
    brackets = f"({f',{blank}'.join(parts)})" if parts or draw(st.booleans()) else ""
    return f"{blank}{name}{brackets}{blank}", METHODS[name](**options)


def test_the_strategies_cover_every_method_and_option():
    assert {name: set(options) for name, options in OPTIONS.items()} == {
        name: {field.name for field in fields(method)} for name, method in METHODS.items()
    }


@pytest.mark.slow
@REPEATABLE
@given(text_and_method())
def test_text_is_parsed_to_its_method(case: tuple[str, Method]):
    text, method = case
    assert parse_method(text) == method


@pytest.mark.slow
@REPEATABLE
@given(text_and_method())
def test_the_repr_of_a_method_can_be_pasted(case: tuple[str, Method]):
    _, method = case
    assert eval(repr(method), vars(smix.mixing)) == method


@pytest.mark.slow
@REPEATABLE
@given(text_and_method(), text_and_method())
def test_plus_means_fallback(first: tuple[str, Method], second: tuple[str, Method]):
    method = Fallback(first[1], second[1])
    assert parse_method(f"{first[0]}+{second[0]}") == method
    assert eval(repr(method), vars(smix.mixing)) == method


@pytest.mark.slow
@REPEATABLE
@given(st.lists(text_and_method(), min_size=1, max_size=5))
def test_lists_split_at_the_commas_outside_brackets(cases: list[tuple[str, Method]]):
    texts = split_methods(",".join(text for text, _ in cases))
    assert texts == [text.strip() for text, _ in cases]
    assert [parse_method(text) for text in texts] == [method for _, method in cases]


@pytest.mark.parametrize(
    ("text", "method"),
    [
        ("smix", SMix()),
        ("smix()", SMix()),
        ("smix(alpha=0.7,labels=coverage)+fmix", Fallback(SMix(alpha=0.7, labels="coverage"), FMix())),
        ("smix(alpha=(1,2))", SMix(alpha=(1.0, 2.0))),
        ("cutmix(edge=inside, per_batch=True)", CutMix(edge="inside", per_batch=True)),
        ("fmix(alpha=1e-2)", FMix(alpha=0.01)),
        ("mixup(alpha=1)", Mixup(alpha=1.0)),
        ("vanilla", Vanilla()),
        ("mixup|cutmix", RandomChoice((Mixup(), CutMix()))),
        ("smix+fmix | cutout(length=8)|mixup", RandomChoice((Fallback(SMix(), FMix()), Cutout(length=8), Mixup()))),
        ("resizemix(scale=(0.2,0.5))", ResizeMix(scale=(0.2, 0.5))),
    ],
)
def test_examples_of_the_design_are_parsed(text: str, method: Method):
    assert parse_method(text) == method


NAMES = ", ".join(METHODS)
ALL_OPTIONS = "options: prob, per_batch, labels, alpha, feather"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("smx", 'method: expected a known name, got "smx"; did you mean "smix"?'),
        ("cutmx(alpha=1)", 'method: expected a known name, got "cutmx"; did you mean "cutmix"?'),
        ("SMix", 'method: expected a known name, got "SMix"; did you mean "smix"?'),
        ("smix+fmx", 'method: expected a known name, got "fmx"; did you mean "fmix"?'),
        ("zzz", 'method: expected a known name, got "zzz"; choose one of: ' + NAMES),
        ("", 'method: expected a known name, got ""; choose one of: ' + NAMES),
        ("smix+", 'method: expected a known name, got ""; choose one of: ' + NAMES),
        ("smix(lables=area)", 'option of smix: expected a known name, got "lables"; did you mean "labels"?'),
        ("mixup(alhpa=1)", 'option of mixup: expected a known name, got "alhpa"; did you mean "alpha"?'),
        ("mixup(qq=1)", 'option of mixup: expected a known name, got "qq"; choose one of: prob, per_batch, alpha'),
        ("smix(0.4)", f'method: expected option=value in "smix(0.4)", got "0.4"; {ALL_OPTIONS}'),
        ("smix(alpha=0.4,)", f'method: expected option=value in "smix(alpha=0.4,)", got ""; {ALL_OPTIONS}'),
        ("smix(alpha=0.4", 'method: expected a closing bracket at the end of "smix(alpha=0.4"'),
        ("smix(alpha=0.4)x", 'method: expected a closing bracket at the end of "smix(alpha=0.4)x"'),
        ("mixup(alpha=1,alpha=2)", 'method: expected each option once, got alpha twice in "mixup(alpha=1,alpha=2)"'),
        ("smix+fmix+mixup", 'method: expected at most one "+" (a method and its fallback), got "smix+fmix+mixup"'),
        ("mixup(alpha=big)", "alpha: expected a number, got 'big'"),
        ("mixup(prob=half)", "prob: expected a number, got 'half'"),
        ("mixup(alpha=(1,2))", "alpha: expected a number, got (1, 2)"),
        ("mixup(alpha=1)|cutmix(alpha=big)", "alpha: expected a number, got 'big'"),
        ("mixup(alpha=1e999)", "mixup: expected alpha from 1e-30 to 1e+30, got inf"),
        ("mixup(alpha=0)", "mixup: expected alpha from 1e-30 to 1e+30, got 0.0"),
        ("mixup(per_batch=false)", "per_batch: expected True or False, got 'false'"),
        ("cutmix(edge=3)", 'cutmix: expected edge "clip" or "inside", got "3"'),
        ("smix(labels=mean)", 'smix: expected labels "half", "coverage", "area" or "visible", got "mean"'),
    ],
)
def test_messages_on_invalid_texts_suggest_the_nearest_name(text: str, message: str):
    with pytest.raises(OptionError) as error:
        parse_method(text)
    assert str(error.value) == message


@REPEATABLE
@given(st.text(alphabet="smixfu(+,=) 0.14[]'\"", max_size=30))
def test_any_text_gives_a_method_or_an_option_error(text: str):
    try:
        method = parse_method(text)
    except OptionError:
        return
    assert isinstance(method, Method)


def test_names_are_lower_case_words_and_every_class_has_one():
    assert all(name.isidentifier() and name.islower() and not keyword.iskeyword(name) for name in METHODS)
    assert [method.__name__.lower() for method in METHODS.values()] == list(METHODS)
