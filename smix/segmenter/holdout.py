"""Photographs with true masks that no fit sees, chosen by a rule: a tenth of each source, and whole classes."""

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Shaped

Part = Literal["fit", "validation", "test", "classes"]

SEED = "smix-segmenter-0"
SHARE = 0.1
"""Share of each source that is held out: half to choose settings and to calibrate the score, half for figures of quality."""
CLASSES = (
    *(
        "n03188531",
        "n03445777",
        "n03513137",
        "n03710721",
        "n03764736",
        "n03770439",
        "n03775546",
        "n03797390",
        "n04023962",
    ),
    *(
        "n04026417",
        "n04074963",
        "n04146614",
        "n04263257",
        "n04285008",
        "n07718747",
        "n07720875",
        "n07734744",
        "n07739125",
    ),
    *("n07742313", "n07747607", "n07749582", "n07753113", "n07768694", "n07873807", "n07930864"),
)
"""ImageNet classes with 80 or more photographs in `objects`: all of them are held out."""


def part_of(source: str, key: str, cls: str) -> Part:
    """Return the part of the photographs that one belongs to. It depends on nothing but the arguments.

    Args:
        source: Data set that the photograph comes from.
        key: Name of the photograph in it.
        cls: Class of the photograph.

    Returns:
        "validation": to choose settings and calibrate; "test": for figures of quality; "classes": a class of `CLASSES`; "fit": the
        rest.

    >>> part_of("oxford-pet", "Bengal_187", "cat")
    'fit'
    """
    digest = hashlib.sha256(f"{SEED}/{source}/{key}".encode()).digest()
    position = int.from_bytes(digest[:4], "big") / 2**32
    if position < SHARE / 2:
        return "validation"
    if cls in CLASSES:
        return "classes"
    return "test" if position < SHARE else "fit"


def rows_of(
    part: Part,
    source: Shaped[np.ndarray, "N"] | Sequence[str],
    key: Shaped[np.ndarray, "N"] | Sequence[str],
    cls: Shaped[np.ndarray, "N"] | Sequence[str],
) -> np.ndarray:
    """Return the indices of the photographs of one part."""
    parts = [part_of(*map(str, names)) for names in zip(source, key, cls, strict=True)]
    return np.flatnonzero(np.array(parts) == part)
