"""Public names of smix.masks, read by type checkers and, through lazy_loader, by `smix/masks/__init__.py`."""

from .build import build_masks as build_masks
from .reasons import invalid_reasons as invalid_reasons
from .sources import load_source as load_source
from .store import MaskStore as MaskStore
