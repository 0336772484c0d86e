"""Data sets by name, and their batches."""

from smix.data.sets import SETS, ImageSet, load_data

__all__ = ["SETS", "ImageSet", "load_data"]
