"""Look up the object masks of a data set, in a mask store or in the data set itself."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.typing import NDArray

from smix.data.pictures import Pictures
from smix.data.sets import ImageSet
from smix.errors import MaskError
from smix.masks.build import resize_masks
from smix.masks.store import MaskStore
from smix.reprs import short_repr


@dataclass(frozen=True, eq=False)
class StoredMasks:
    """Masks that are read from a store when they are accessed: `masks[rows]` has shape (n, *S), with the store's size S."""

    store: MaskStore
    index: Int[np.ndarray, "N"]
    """Row of each image in the store."""
    __repr__ = short_repr()

    def __len__(self) -> int:
        return len(self.index)

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial size S of the masks."""
        return self.store.shape

    def __getitem__(self, rows: Int[np.ndarray, "n"]) -> Bool[np.ndarray, "n *S"]:
        return self.store[self.index[rows]]


@dataclass(frozen=True, eq=False)
class ObjectMasks:
    """A mask for each image of a data set."""

    masks: Bool[np.ndarray, "N *S"] | StoredMasks
    """Masks of the images' size; for images in files, masks of the store's size that are read when they are accessed."""
    valid: Bool[np.ndarray, "N"] | None
    """True for masks that can be used: built, not broken and not empty. None: all masks can be used."""
    provenance: dict[str, Any]
    """Fingerprint, source and refinement of the masks, and the fraction of empty masks."""
    __repr__ = short_repr()


def masks_of(data: ImageSet, location: str) -> ObjectMasks:
    """Return the masks of the images of a data set.

    Args:
        data: A split of a data set, or a part of it.
        location: Folder of a mask store, or "carried" for the masks in the data set itself.

    Returns:
        The masks, in the order of the images.

    Raises:
        MaskError: The masks are missing or damaged, or belong to other images.
    """
    if location == "carried":
        if data.masks is None:
            raise MaskError(
                f"masks: {data.name} contains no object masks; build them with smix masks build and pass their folder with --masks"
            )
        return _in_memory(data.masks, None, {"name": "carried"}, None)
    store = MaskStore(location)
    rows = store.align(data)
    store.check_built(rows, f"{data.name} {data.split}")
    valid, source, refinement = store.usable[rows], store.manifest.source, store.manifest.refine
    if not isinstance(data.images, Pictures):
        return _in_memory(stretch(store[rows], data.array.shape[1:-1]), valid, source, refinement)
    # The fingerprint covers the checksums of all shards and the rows in use, so that no mask is read.
    checksums = [store.manifest.files[name] for name in store.manifest.file_names if name.startswith("shard-")]
    fingerprint = _sha256("".join(checksums).encode(), np.ascontiguousarray(rows), np.packbits(valid))
    empty = float((store.coverage[rows] == 0).mean())
    return ObjectMasks(StoredMasks(store, rows), valid, _provenance(fingerprint, source, refinement, empty))


def stretch(masks: Bool[np.ndarray, "n *s"], size: tuple[int, ...]) -> Bool[np.ndarray, "n *S"]:
    """Resize masks to the size of the images. Both cover the same field of view, whatever their sizes."""
    return masks if masks.shape[1:] == size else resize_masks(torch.from_numpy(masks), size).numpy()


def _in_memory(
    masks: Bool[np.ndarray, "N *S"],
    valid: Bool[np.ndarray, "N"] | None,
    source: dict[str, Any],
    refinement: dict[str, Any] | None,
) -> ObjectMasks:
    # The fingerprint covers the masks in use, not the whole store, which may grow meanwhile.
    fingerprint = _sha256(np.packbits(masks), *([] if valid is None else [np.packbits(valid)]))
    empty = float((~masks.reshape(len(masks), -1).any(1)).mean())
    return ObjectMasks(masks, valid, _provenance(fingerprint, source, refinement, empty))


def _provenance(
    fingerprint: str, source: dict[str, Any], refinement: dict[str, Any] | None, empty: float
) -> dict[str, Any]:
    return {"fingerprint": fingerprint, "source": source, "refine": refinement, "empty": empty}


def _sha256(*parts: bytes | NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.tobytes())
    return digest.hexdigest()
