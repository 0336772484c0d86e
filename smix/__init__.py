"""smix: mixed-sample augmentation along the objects of the images. The public names, loaded on first use (PEP 562)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from smix.version import __version__ as __version__

if TYPE_CHECKING:
    from smix.config import EvaluateConfig as EvaluateConfig
    from smix.config import RunOptions as RunOptions
    from smix.config import SharedConfig as SharedConfig
    from smix.config import TrainConfig as TrainConfig
    from smix.data.sets import ImageSet as ImageSet
    from smix.data.sets import load_data as load_data
    from smix.lab.compare import compare as compare
    from smix.lab.evaluate import evaluate as evaluate
    from smix.masks.build import build_masks as build_masks
    from smix.masks.store import MaskStore as MaskStore
    from smix.mixing import METHODS as METHODS
    from smix.mixing import CutMix as CutMix
    from smix.mixing import Cutout as Cutout
    from smix.mixing import Fallback as Fallback
    from smix.mixing import FMix as FMix
    from smix.mixing import GMix as GMix
    from smix.mixing import GridMix as GridMix
    from smix.mixing import HMix as HMix
    from smix.mixing import Method as Method
    from smix.mixing import Mixup as Mixup
    from smix.mixing import Move as Move
    from smix.mixing import ObjectPaste as ObjectPaste
    from smix.mixing import Plan as Plan
    from smix.mixing import RandomChoice as RandomChoice
    from smix.mixing import ResizeMix as ResizeMix
    from smix.mixing import SaliencyMix as SaliencyMix
    from smix.mixing import SMix as SMix
    from smix.mixing import StochasticMixup as StochasticMixup
    from smix.mixing import Target as Target
    from smix.mixing import Validity as Validity
    from smix.mixing import Vanilla as Vanilla
    from smix.mixing import parse_method as parse_method
    from smix.report.write import write_report as write_report
    from smix.training.runs import train as train

_HOMES = {
    "smix.config": ("EvaluateConfig", "RunOptions", "SharedConfig", "TrainConfig"),
    "smix.data.sets": ("ImageSet", "load_data"),
    "smix.lab.compare": ("compare",),
    "smix.lab.evaluate": ("evaluate",),
    "smix.masks.build": ("build_masks",),
    "smix.masks.store": ("MaskStore",),
    "smix.mixing": (
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
    ),
    "smix.report.write": ("write_report",),
    "smix.training.runs": ("train",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = ("mixing", "models", "data", "masks", "training", "evaluation", "lab", "report")

__all__ = [*sorted(_HOME_OF), "__version__"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    if name in _MODULES:
        return import_module(f"smix.{name}")
    raise AttributeError(f"module 'smix' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
