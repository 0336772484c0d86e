"""Data sets: loading, and batches for training and evaluation."""

from smix.data.sets import SETS, ImageSet, load_data

__all__ = ["SETS", "ImageSet", "load_data"]
