"""Public names of smix.evaluation, read by type checkers and, through lazy_loader, by `smix/evaluation/__init__.py`."""

from .accuracy import accuracy as accuracy
