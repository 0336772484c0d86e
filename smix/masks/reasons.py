"""The reason why a mask is not valid: one for each mask, the first that applies."""

import math
from collections.abc import Mapping
from enum import IntEnum

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from smix.masks.criteria import StoreValidity, pieces
from smix.masks.names import NO_MASK, says_no_mask
from smix.masks.store import Flag, MaskStore

PIXELS = 1 << 21
"""Maximum number of pixels of masks that are judged at once, so that memory does not grow with a store."""


class Reason(IntEnum):
    """Reason why a mask is not valid, in the order in which they are tested."""

    VALID = 0
    NOT_BUILT = 1
    NO_MASK = 2
    """The source has no file or annotation for the image."""
    UNUSABLE = 3
    """The image or its mask cannot be read, or the mask does not fit the image: `MaskStore.problems` says why."""
    EMPTY = 4
    TOO_SMALL = 5
    NEARLY_ALL = 6
    TOO_ROUGH = 7
    ON_BORDER = 8
    """The border of the image is object more often than the rest: object and background may be swapped."""
    LOW_ENTROPY = 9
    FEW_EDGES = 10
    MANY_PIECES = 11
    UNSURE = 12
    """The source's score is below the threshold."""

    @property
    def text(self) -> str:
        """The reason as text."""
        return TEXTS[self]


TEXTS: Mapping[Reason, str] = {
    Reason.VALID: "valid",
    Reason.NOT_BUILT: "not built",
    Reason.NO_MASK: NO_MASK,
    Reason.UNUSABLE: "unusable",
    Reason.EMPTY: "empty",
    Reason.TOO_SMALL: "too small",
    Reason.NEARLY_ALL: "covers nearly all",
    Reason.TOO_ROUGH: "too rough",
    Reason.ON_BORDER: "on the border",
    Reason.LOW_ENTROPY: "covers too little or too much",
    Reason.FEW_EDGES: "too few edges",
    Reason.MANY_PIECES: "too many pieces",
    Reason.UNSURE: "unsure",
}
SHAPE_REASONS = {
    "min_coverage": Reason.TOO_SMALL,
    "max_coverage": Reason.NEARLY_ALL,
    "max_roughness": Reason.TOO_ROUGH,
    "min_free_border": Reason.ON_BORDER,
    "min_entropy": Reason.LOW_ENTROPY,
    "min_edges": Reason.FEW_EDGES,
}
"""Reason of each criterion of `smix.Validity`, in the order in which they are tested."""


def reasons_of_masks(
    masks: Bool[np.ndarray, "n *S"],
    score: Float[np.ndarray, "n"] | None = None,
    criteria: StoreValidity | None = None,
) -> UInt8[np.ndarray, "n"]:
    """Return the `Reason` of each mask.

    Args:
        masks: The masks.
        score: Mean confidence of the source on each object, in [0, 1]. None: not tested.
        criteria: Criteria for a valid mask. None: `StoreValidity()`.

    >>> masks = np.zeros((3, 20, 20), bool)
    >>> masks[1, 5:15, 5:15] = True
    >>> masks[2] = True
    >>> [Reason(code).text for code in reasons_of_masks(masks)]
    ['empty', 'valid', 'covers nearly all']
    """
    criteria = criteria or StoreValidity()
    codes = np.zeros(len(masks), np.uint8)
    if not len(masks):
        return codes

    def mark(failed: Bool[np.ndarray, "n"], reason: Reason) -> None:
        codes[(codes == Reason.VALID) & failed] = reason

    mark(masks.reshape(len(masks), -1).sum(1) == 0, Reason.EMPTY)
    passed = criteria.shape.tests(torch.from_numpy(masks)[:, None].float())
    for name, reason in SHAPE_REASONS.items():
        if name in passed:
            mark(~passed[name].numpy(), reason)
    if criteria.max_pieces > 0:
        mark(pieces(masks) > criteria.max_pieces, Reason.MANY_PIECES)
    if score is not None:
        mark(score < criteria.min_score, Reason.UNSURE)
    return codes


def reasons_of_flags(store: MaskStore, rows: Int[np.ndarray, "n"]) -> UInt8[np.ndarray, "n"]:
    """Return the `Reason` of rows of a store that have no mask, and `Reason.VALID` for the others, whose masks are not read.

    Raises:
        MaskError: The store is damaged.
    """
    flags = store.stats["flags"][rows]
    missing = [row for row, problem in store.problems.items() if says_no_mask(problem)]
    codes = np.zeros(len(rows), np.uint8)
    codes[flags & Flag.BROKEN > 0] = Reason.UNUSABLE
    codes[(codes == Reason.UNUSABLE) & np.isin(rows, missing)] = Reason.NO_MASK
    codes[flags & Flag.NOT_BUILT > 0] = Reason.NOT_BUILT
    return codes


def reasons_of_rows(
    store: MaskStore, rows: Int[np.ndarray, "n"], criteria: StoreValidity | None = None
) -> UInt8[np.ndarray, "n"]:
    """Return the `Reason` of the masks in some rows of a store.

    Raises:
        MaskError: The store is damaged.
    """
    codes = reasons_of_flags(store, rows)
    judged = np.flatnonzero(codes == Reason.VALID)
    step = max(1, PIXELS // math.prod(store.shape))
    for start in range(0, len(judged), step):
        part = judged[start : start + step]
        codes[part] = reasons_of_masks(store[rows[part]], store.scores[rows[part]], criteria)
    return codes


def explanation(reason: Reason, criteria: StoreValidity) -> str:
    """Return the meaning of a reason, with the numbers in the criteria."""
    shape = criteria.shape
    return {
        Reason.VALID: "",
        Reason.NOT_BUILT: "the image was not given to the source",
        Reason.NO_MASK: "the source has none for the image",
        Reason.UNUSABLE: "the image or its mask cannot be read, or they do not fit",
        Reason.EMPTY: "no pixel is object",
        Reason.TOO_SMALL: f"less than {100 * shape.min_coverage:g} % of the image",
        Reason.NEARLY_ALL: f"more than {100 * shape.max_coverage:g} % of the image",
        Reason.TOO_ROUGH: "ragged like noise, or thin lines",
        Reason.ON_BORDER: "most of the border is object: swapped with the background?",
        Reason.LOW_ENTROPY: f"the entropy of the coverage is below {shape.min_entropy:g} nats",
        Reason.FEW_EDGES: f"the edge density is at most {shape.min_edges:g}",
        Reason.MANY_PIECES: f"more than {criteria.max_pieces} pieces",
        Reason.UNSURE: f"the source's score is below {criteria.min_score:g}",
    }[reason]


def invalid_reasons(store: MaskStore, criteria: StoreValidity | None = None) -> dict[int, str]:
    """Return why masks of a store are not valid, by row. `MaskStore.problems` has details of those that are "unusable".

    Args:
        store: The mask store.
        criteria: Criteria for a valid mask. None: `StoreValidity()`, the default of `smix masks check`.

    Returns:
        One of "not built", "no mask", "unusable", "empty", "too small", "covers nearly all", "too rough", "on the border",
        "covers too little or too much", "too few edges", "too many pieces" and "unsure" for each mask that is not valid.

    Raises:
        MaskError: The store is damaged.

    >>> import tempfile
    >>> from collections import Counter
    >>> from smix import build_masks, load_data
    >>> from smix.masks import invalid_reasons, load_source
    >>> data = load_data("digits-on-photos")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = build_masks(data, load_source("carried"), folder, limit=20)
    ...     counts = Counter(invalid_reasons(store).values())
    >>> counts
    Counter({'not built': 1277})
    """
    codes = reasons_of_rows(store, np.arange(len(store)), criteria)
    return {row: Reason(int(codes[row])).text for row in np.flatnonzero(codes).tolist()}
