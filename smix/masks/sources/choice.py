"""Choose the classes of a source that are objects in each image, with `--classes` and `--object-classes`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from smix.data.sets import ImageSet
from smix.errors import MaskError, unknown
from smix.untrusted import UnreadableError, read_json, typed

ObjectClasses = dict[str, list[str] | None]
"""Names of the source's classes that are objects, for each class of a data set. None: all classes that are objects by default."""


def class_index(name: str, names: Sequence[str]) -> int:
    """Return the index of a class.

    Raises:
        OptionError: No class has this name; the message names the most similar one.
    """
    if name not in names:
        raise unknown("classes", name, names)
    return names.index(name)


def class_names_in(keep: Sequence[str], object_classes: ObjectClasses | None) -> tuple[str, ...]:
    """Return all class names in `--classes` and then `--object-classes`, in order."""
    return (*keep, *(name for names in (object_classes or {}).values() for name in names or ()))


def object_table(
    names: Sequence[str],
    objects: Bool[np.ndarray, "K"],
    keep: Sequence[str],
    object_classes: ObjectClasses | None,
    data: ImageSet,
    labels: Int[np.ndarray, "B"],
) -> Bool[np.ndarray, "B K"]:
    """Return which of K classes are objects in images with these labels.

    Args:
        names: Names of the K classes.
        objects: True for classes that are objects by default.
        keep: Names of the classes that are objects. Empty: those in `objects`.
        object_classes: Names of the classes that are objects in the images of each label. None: the same for all labels.
        data: Data set that names the labels.
        labels: Labels of the images.

    Raises:
        OptionError: The source does not know a name.
        MaskError: `object_classes` has no entry for a label.
    """
    if keep:
        objects = np.zeros(len(names), bool)
        objects[[class_index(name, names) for name in keep]] = True
    table = np.tile(objects, (len(labels), 1))
    if object_classes is not None:
        for row, label in zip(table, labels.tolist(), strict=True):
            if (chosen := classes_of_label(object_classes, data, label)) is not None:
                row &= np.isin(np.arange(len(names)), [class_index(name, names) for name in chosen])
    return table


def classes_of_label(object_classes: ObjectClasses, data: ImageSet, label: int) -> list[str] | None:
    """Return the names of the classes that are objects in the images of a label. None: all that are objects by default.

    Raises:
        MaskError: `object_classes` has no entry for the label.
    """
    name = data.classes[label]
    if name not in object_classes:
        raise MaskError(
            f"object-classes: the file has no entry for class {name} of {data.name}; add one: a list of classes, [] for no object, "
            "or null for any object"
        )
    return object_classes[name]


def read_object_classes(path: Path) -> ObjectClasses:
    """Read object classes from a JSON file such as {"cat": ["cat"], "deer": null}.

    Raises:
        MaskError: The file is missing, or is not such a JSON object.
    """
    try:
        object_classes: ObjectClasses = typed(read_json(path), ObjectClasses)
    except UnreadableError as error:
        raise MaskError(
            f'object-classes: expected {{"label": ["class", ...] or null, ...}} in {path}, got {error}; correct the file'
        ) from None
    return object_classes
