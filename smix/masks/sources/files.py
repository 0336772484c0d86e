"""Stub; being written."""
from pathlib import Path
from typing import Literal
from smix.masks.sources.network import ClassMap
Style = Literal["binary", "classes", "panoptic", "cityscapes", "trimap"]
def files_source(folder: Path, style: Style | None, classes: tuple[str, ...], class_map: ClassMap | None): raise NotImplementedError
