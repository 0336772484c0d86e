"""Schema of config.json, the provenance of a run."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from smix.untrusted import LONGEST_NAME

Fraction = Annotated[float, Meta(ge=0, le=1)]
"""A number in [0, 1]."""
Count = Annotated[int, Meta(ge=0, le=1 << 60)]
Name = Annotated[str, Meta(pattern=r"\A[^\x00-\x1f\x7f-\x9f]+\Z", max_length=LONGEST_NAME)]
"""A string without control characters."""


class Images(msgspec.Struct):
    """Numbers of images."""

    training: Count
    validation: Count
    test: Count


class Data(msgspec.Struct):
    """The part "data" of config.json."""

    fingerprint_train: str
    fingerprint_test: str
    images: Images
    size: Annotated[list[Annotated[int, Meta(ge=1, le=1 << 13)]], Meta(min_length=1, max_length=3)]
    classes: Annotated[list[Name], Meta(min_length=1, max_length=25_000)]
    read: Literal["kept on the device", "read in each epoch"]
    validated_on: Literal["validation images", "training images"]
    init_weights: str = ""


class Named(msgspec.Struct):
    """A mask source or refinement: its name and settings."""

    name: Name
    input_size: str | list[int] = "own"


class MaskProvenance(msgspec.Struct):
    """The part "masks" of config.json."""

    fingerprint: str
    source: Named
    refine: Named | None
    empty: Fraction


class NormalisationProvenance(msgspec.Struct):
    """The part "normalisation" of config.json, with one number per channel."""

    mean: Annotated[list[float], Meta(min_length=1)]
    std: Annotated[list[Annotated[float, Meta(gt=0)]], Meta(min_length=1)]


class Provenance(msgspec.Struct):
    """The required content of config.json."""

    config: dict[str, Any]
    versions: dict[str, Name]
    data: Data
    masks: MaskProvenance | None
    normalisation: NormalisationProvenance
    threads: Annotated[int, Meta(ge=1, le=1 << 12)] | None = None
    processes: Annotated[int, Meta(ge=1)] = 1
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    device: Name = ""
    stored_size: list[int] | None = None
