"""Mixing methods: tensors in, tensors out. `core.py` first, then one file a method."""

from smix.mixing.combine import Fallback
from smix.mixing.core import Method, Plan, Target
from smix.mixing.cutmix import CutMix
from smix.mixing.fmix import FMix
from smix.mixing.mixup import Mixup
from smix.mixing.parse import METHODS, parse_method, split_methods
from smix.mixing.smix import SMix
from smix.mixing.validity import Validity
from smix.mixing.vanilla import Vanilla

__all__ = [
    "METHODS",
    "CutMix",
    "FMix",
    "Fallback",
    "Method",
    "Mixup",
    "Plan",
    "SMix",
    "Target",
    "Validity",
    "Vanilla",
    "parse_method",
    "split_methods",
]
