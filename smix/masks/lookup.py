"""The object masks of a data set, from wherever a configuration says they are."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks.store import MaskStore


@dataclass(frozen=True, eq=False)
class ObjectMasks:
    """A mask for each image of a data set."""

    masks: NDArray[np.bool_]
    """(N, *S)."""
    valid: NDArray[np.bool_] | None
    """(N,): the store's verdict; None: all may be used."""
    described: dict[str, Any]
    """What a run keeps of where they came from."""


def masks_of(data: ImageSet, where: str) -> ObjectMasks:
    """The masks of the images of `data`. `where`: the folder of a store, or "carried".

    Raises:
        MaskError: there are none, or they belong to other images.
    """
    if where == "carried":
        if data.masks is None:
            raise MaskError(
                f"masks: expected object masks of {data.name}, which carries none; build them with smix masks build and give "
                "their folder with --masks"
            )
        return ObjectMasks(data.masks, None, {"fingerprint": _fingerprint(data.masks), "source": {"name": "carried"}})
    store = MaskStore(where)
    store.check_belongs(data)
    masks, valid = store[data.index], store.valid[data.index]
    described = {
        "fingerprint": _fingerprint(masks, valid),
        "source": store.manifest.source,
        "refine": store.manifest.refine,
    }
    return ObjectMasks(masks, valid, described)


def _fingerprint(*arrays: NDArray[np.bool_]) -> str:
    """Sha256 of the masks that are used, and of what the store says of them: a store may grow meanwhile."""
    return hashlib.sha256(b"".join(np.packbits(array).tobytes() for array in arrays)).hexdigest()
