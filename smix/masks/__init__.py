"""Object masks: their sources, refinement and storage."""

from smix.masks.build import build_masks
from smix.masks.reasons import invalid_reasons
from smix.masks.sources import load_source
from smix.masks.store import MaskStore

__all__ = ["MaskStore", "build_masks", "invalid_reasons", "load_source"]
