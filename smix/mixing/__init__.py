"""Mixing methods: tensors in, tensors out. Read `core.py` first; then there is one file per method."""

from smix.mixing.combine import Fallback, RandomChoice
from smix.mixing.core import Method
from smix.mixing.cutmix import CutMix
from smix.mixing.cutout import Cutout
from smix.mixing.fmix import FMix
from smix.mixing.gmix import GMix
from smix.mixing.gridmix import GridMix
from smix.mixing.hmix import HMix
from smix.mixing.mixup import Mixup
from smix.mixing.move import Move
from smix.mixing.objectpaste import ObjectPaste
from smix.mixing.parse import METHODS, parse_method, split_methods
from smix.mixing.plan import Plan, Target
from smix.mixing.resizemix import ResizeMix
from smix.mixing.saliencymix import SaliencyMix
from smix.mixing.smix import SMix
from smix.mixing.stochasticmixup import StochasticMixup
from smix.mixing.validity import Validity
from smix.mixing.vanilla import Vanilla

__all__ = [
    "METHODS",
    "CutMix",
    "Cutout",
    "FMix",
    "Fallback",
    "GMix",
    "GridMix",
    "HMix",
    "Method",
    "Mixup",
    "Move",
    "ObjectPaste",
    "Plan",
    "RandomChoice",
    "ResizeMix",
    "SMix",
    "SaliencyMix",
    "StochasticMixup",
    "Target",
    "Validity",
    "Vanilla",
    "parse_method",
    "split_methods",
]


def __dir__() -> list[str]:
    return __all__
