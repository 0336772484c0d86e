"""The object masks of a data set, from wherever a configuration says they are."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from smix.data.pictures import Pictures
from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks.build import shrink
from smix.masks.store import MaskStore


@dataclass(frozen=True, eq=False)
class StoredMasks:
    """Masks that are read when they are asked for: `masks[rows]` is (n, *S), of the store's size."""

    store: MaskStore
    index: NDArray[np.int64]
    """The row in the store of each image."""

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        return self.store[self.index[rows]]


@dataclass(frozen=True, eq=False)
class ObjectMasks:
    """A mask for each image of a data set."""

    masks: NDArray[np.bool_] | StoredMasks
    """(N, *S), of the images' size; of images in files, of the store's size and not yet read."""
    valid: NDArray[np.bool_] | None
    """(N,): the store's verdict; None: all may be used."""
    described: dict[str, Any]
    """Description of their origin that a run keeps."""


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
        return ObjectMasks(data.masks, None, _described(data.masks, None, {"name": "carried"}, None))
    store = MaskStore(where)
    store.check_belongs(data)
    if isinstance(data.images, Pictures):
        return _of_files(store, data.index)
    masks, valid = stretched(store[data.index], data.array.shape[1:-1]), store.valid[data.index]
    return ObjectMasks(masks, valid, _described(masks, valid, store.manifest.source, store.manifest.refine))


def _of_files(store: MaskStore, index: NDArray[np.int64]) -> ObjectMasks:
    """Return masks of files. Their fingerprint is that of the store's checksums and of the rows in use, so that no mask is read."""
    valid = store.valid[index]
    digest = hashlib.sha256("".join(store.manifest.shards).encode())
    digest.update(np.ascontiguousarray(index).tobytes())
    digest.update(np.packbits(valid).tobytes())
    described = {
        "fingerprint": digest.hexdigest(),
        "source": store.manifest.source,
        "refine": store.manifest.refine,
        "empty": float((store.coverage[index] == 0).mean()),
    }
    return ObjectMasks(StoredMasks(store, index), valid, described)


def stretched(masks: NDArray[np.bool_], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Resize masks to the size of the images: a mask covers the whole image, whatever its own size."""
    if masks.shape[1:] == size:
        return masks
    return shrink(torch.from_numpy(masks), size).numpy()


def _described(
    masks: NDArray[np.bool_], valid: NDArray[np.bool_] | None, source: dict[str, Any], refine: dict[str, Any] | None
) -> dict[str, Any]:
    """The fingerprint is of the masks that are used, and of what the store says of them: a store may grow meanwhile."""
    digest = hashlib.sha256(np.packbits(masks).tobytes())
    if valid is not None:
        digest.update(np.packbits(valid).tobytes())
    empty = float((~masks.reshape(len(masks), -1).any(1)).mean())
    return {"fingerprint": digest.hexdigest(), "source": source, "refine": refine, "empty": empty}
