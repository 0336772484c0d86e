"""Choose which classes of a source are objects in which image, by `--classes` and `--object-classes`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smix.data.sets import ImageSet
from smix.errors import MaskError, unknown
from smix.untrusted import UnreadableError, read_json

ObjectClasses = dict[str, list[str] | None]
"""Classes that are objects, for each label of a data set; None: all that are objects."""


def number_of(name: str, names: Sequence[str]) -> int:
    """The place of a class. Raises OptionError with the nearest name if there is none."""
    if name not in names:
        raise unknown("classes", name, names)
    return names.index(name)


def kept(
    names: Sequence[str],
    objects: NDArray[np.bool_],
    keep: Sequence[str],
    object_classes: ObjectClasses | None,
    data: ImageSet,
    labels: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Return which of K classes are objects in the images of these labels, (B, K).

    Args:
        names: Of the K classes.
        objects: (K,) those that are objects unless `keep` says otherwise.
        keep: Names of those that are; empty: `objects`.

    Raises:
        OptionError: a name that the source does not know.
        MaskError: a label that the class map does not have.
    """
    if keep:
        objects = np.zeros(len(names), bool)
        objects[[number_of(name, names) for name in keep]] = True
    if object_classes is None:
        return np.tile(objects, (len(labels), 1))
    rows = np.zeros((len(labels), len(names)), bool)
    for row, label in zip(rows, labels.tolist(), strict=True):
        if (chosen := entry(object_classes, data, label)) is None:
            row[:] = objects
        else:
            row[[number_of(one, names) for one in chosen]] = True
            row &= objects
    return rows


def entry(object_classes: ObjectClasses, data: ImageSet, label: int) -> list[str] | None:
    """Return the entry of a label in a class map. Raises MaskError if there is none."""
    name = data.classes[label]
    if name not in object_classes:
        raise MaskError(
            f"object-classes: expected an entry for each class of {data.name}, got none for {name}; "
            "write [] for no object, null for any"
        )
    return object_classes[name]


def read_object_classes(path: Path) -> ObjectClasses:
    """Read a class map from a JSON file such as {"cat": ["cat"], "deer": null}.

    Raises:
        MaskError: no such file, or something else in it.
    """
    try:
        values = read_json(path)
    except UnreadableError as error:
        raise MaskError(f"object-classes: expected a JSON file {path}, got {error}; write it") from None
    entries = values.values() if isinstance(values, dict) else [0]
    if not all(
        one is None or (isinstance(one, list) and all(isinstance(name, str) for name in one)) for one in entries
    ):
        raise MaskError(
            f'object-classes: expected {{"label": ["class", ...] or null, ...}} in {path}, got something else; correct it'
        )
    return dict(values)
