"""Public names of smix.data, read by type checkers and, through lazy_loader, by `smix/data/__init__.py`."""

from .masked import MaskedDataset as MaskedDataset
from .masked import MaskedFolder as MaskedFolder
from .sets import SETS as SETS
from .sets import ImageSet as ImageSet
from .sets import load_data as load_data
