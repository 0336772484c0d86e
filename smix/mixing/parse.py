"""Parse methods such as `smix(alpha=0.7,labels=coverage)+fmix`. `+` is Fallback, `|` is RandomChoice; unquoted words are strings."""

import ast
from dataclasses import fields

from smix.errors import OptionError, unknown
from smix.mixing.combine import Fallback, RandomChoice
from smix.mixing.core import Method
from smix.mixing.cutmix import CutMix
from smix.mixing.cutout import Cutout
from smix.mixing.fmix import FMix
from smix.mixing.gmix import GMix
from smix.mixing.gridmix import GridMix
from smix.mixing.hmix import HMix
from smix.mixing.mixup import Mixup
from smix.mixing.objectpaste import ObjectPaste
from smix.mixing.resizemix import ResizeMix
from smix.mixing.saliencymix import SaliencyMix
from smix.mixing.smix import SMix
from smix.mixing.stochasticmixup import StochasticMixup
from smix.mixing.vanilla import Vanilla

_CLASSES: tuple[type[Method], ...] = (
    *(Vanilla, Mixup, StochasticMixup, Cutout, CutMix, ResizeMix, HMix, GMix, GridMix, SaliencyMix, FMix, SMix),
    ObjectPaste,
)
METHODS: dict[str, type[Method]] = {class_.__name__.lower(): class_ for class_ in _CLASSES}
"""Classes of the basic methods, by their names on the command line.

>>> smix.METHODS["cutmix"](alpha=0.5)
CutMix(alpha=0.5, edge='clip', labels='area', prob=1.0, per_batch=False)
"""


def parse_method(text: str) -> Method:
    """Return the method that a string describes.

    Args:
        text: A name with options, such as `cutmix(alpha=0.5)`; a method and its fallback, `smix+fmix`; or a random choice,
            `mixup|cutmix`. `+` binds tighter than `|`. Options of combinations, such as their `prob` and `weights`, can only be set
            in Python.

    Raises:
        OptionError: A name or option is unknown (the message suggests the nearest), or a value is out of its range.

    >>> smix.parse_method("mixup(alpha=0.2)")
    Mixup(alpha=0.2, prob=1.0, per_batch=False)
    >>> type(smix.parse_method("smix(labels=coverage)+fmix")).__name__
    'Fallback'
    """
    choices = [_parse_fallback(part) for part in _split(text, "|")]
    return RandomChoice(tuple(choices)) if len(choices) > 1 else choices[0]


def split_methods(text: str) -> list[str]:
    """Return the items of a comma-separated list of methods; commas inside brackets do not split.

    >>> split_methods("mixup,cutmix(alpha=1,edge=inside)")
    ['mixup', 'cutmix(alpha=1,edge=inside)']
    """
    return _split(text, ",")


def _parse_fallback(text: str) -> Method:
    first, *others = [_parse_basic(part) for part in _split(text, "+")]
    if len(others) > 1:
        raise OptionError(f'method: expected at most one "+" (a method and its fallback), got "{text}"')
    return Fallback(first, others[0]) if others else first


def _parse_basic(text: str) -> Method:
    name, bracket, rest = text.partition("(")
    name = name.strip()
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    if bracket and not rest.rstrip().endswith(")"):
        raise OptionError(f'method: expected a closing bracket at the end of "{text}"')
    known = [field.name for field in fields(METHODS[name])]
    options: dict[str, object] = {}
    for part in _split(rest.rstrip().removesuffix(")"), ",") if bracket and rest.strip() != ")" else []:
        option, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise OptionError(f'method: expected option=value in "{text}", got "{part}"; options: {", ".join(known)}')
        if option not in known:
            raise unknown(f"option of {name}", option, known)
        if option in options:
            raise OptionError(f'method: expected each option once, got {option} twice in "{text}"')
        options[option] = _value(value)
    return METHODS[name](**options)  # type: ignore[arg-type]


def _value(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _split(text: str, separator: str) -> list[str]:
    """Split at the separators outside brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]
