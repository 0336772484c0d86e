"""Map the classes of a network to those of another data set.

Classes of the network that are grouped become one output. Its logit is the log-sum-exp of their logits, so its probability is the
sum of their probabilities. Classes that no class of the data is mapped to remain outputs: predicting one of them is an error.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from smix.data.sets import ImageSet
from smix.errors import DataError, OptionError
from smix.untrusted import UnreadableError, read_json

Groups = Mapping[str, Sequence[str | int] | None]
"""Class of the data -> classes of the network, by name or number; None excludes the images of the class."""
MAX_NAMES = 5
"""Maximum number of names in a message."""


@dataclass(frozen=True)
class LabelMap:
    """Outputs that group the classes of a network, and the output of each class of a data set."""

    outputs: tuple[tuple[int, ...], ...]
    """Classes of the network in each output. Every class is in one output."""
    names: tuple[str, ...]
    """Names of the outputs."""
    label: tuple[int, ...]
    """Output of each class of the data; -1: its images are excluded."""
    classes: dict[str, list[str] | None]
    """Class of the data -> names of classes of the network."""

    def model(self, model: nn.Module) -> nn.Module:
        """Return the network with these outputs, in the same mode."""
        if all(len(members) == 1 for members in self.outputs):
            return model
        return Grouped(model, self.outputs).train(model.training)

    def labels(self, labels: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the outputs that contain these classes of the network."""
        output = np.empty(sum(map(len, self.outputs)), np.int64)
        for number, members in enumerate(self.outputs):
            output[list(members)] = number
        return output.take(labels)

    def data(self, data: ImageSet) -> ImageSet:
        """Return the images that are not excluded, labelled with the outputs.

        Raises:
            DataError: There are none.
        """
        labels = np.array(self.label)[data.labels]
        rows = np.flatnonzero(labels >= 0)
        if not len(rows):
            raise DataError(
                f"label map: {data.name} {data.split} has no images of the mapped classes; map other classes"
            )
        return replace(data.rows(rows), labels=labels[rows], classes=self.names)


class Grouped(nn.Module):
    """A network whose classes are grouped into outputs."""

    def __init__(self, model: nn.Module, outputs: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.model = model
        self.outputs = outputs

    def forward(self, images: Float[Tensor, "B C *S"]) -> Float[Tensor, "B K"]:
        return grouped(self.model(images), self.outputs)


def grouped(logits: Float[Tensor, "B classes"], outputs: Sequence[Sequence[int]]) -> Float[Tensor, "B K"]:
    """Return the logits of outputs: the log-sum-exp of the logits of their classes."""
    result = logits[:, [members[0] for members in outputs]]
    for number, members in enumerate(outputs):
        if len(members) > 1:
            result[:, number] = logits[:, list(members)].logsumexp(1)
    return result


def map_by_name(data_classes: Sequence[str], classes: Sequence[str], name: str) -> LabelMap | None:
    """Map each class of the data to the class of the network with the same name.

    Args:
        data_classes: Classes of the data.
        classes: Classes of the network.
        name: Name of the data, for messages.

    Returns:
        The map, or None if both have the same classes in the same order.

    Raises:
        OptionError: A class of the data is not a class of the network.
    """
    if tuple(data_classes) == tuple(classes):
        return None
    if unknown := [label for label in data_classes if label not in classes]:
        more = ", ..." if len(unknown) > MAX_NAMES else ""
        raise OptionError(
            f"label map: {len(unknown)} of {len(data_classes)} classes of {name} are unknown to the network: "
            f"{', '.join(unknown[:MAX_NAMES])}{more}; map them with --label-map"
        )
    return label_map({label: [label] for label in data_classes}, data_classes, classes, "label map")


def read_label_map(path: Path) -> Groups:
    """Return the content of a label map file, a JSON object. Names are not checked yet.

    Raises:
        OptionError: The file is missing, or is not of this form.
    """
    if not path.is_file():
        raise OptionError(f"label map: there is no file {path}; check the path")
    try:
        content = read_json(path)
        if not isinstance(content, dict) or not content:
            raise UnreadableError(f"a {type(content).__name__}" if content else "an empty file")
        return {name: _members(name, value) for name, value in content.items()}
    except UnreadableError as error:
        raise OptionError(
            f'{path}: expected JSON such as {{"cat": ["tabby", "tiger cat"], "dog": "beagle", "car": null}}, got {error}'
        ) from None


def _members(name: str, value: Any) -> list[str | int] | None:
    members = value if isinstance(value, list) else [value]
    if value is None:
        return None
    if not members or not all(isinstance(member, str | int) and not isinstance(member, bool) for member in members):
        raise UnreadableError(f'{json.dumps(value)} for "{name}"')
    return members


def label_map(groups: Groups, data_classes: Sequence[str], classes: Sequence[str], source: str) -> LabelMap:
    """Return the label map of these groups. Images of classes of the data that are not listed are excluded.

    Args:
        groups: Classes of the network for classes of the data.
        data_classes: All classes of the data.
        classes: All classes of the network.
        source: Name of the groups in messages.

    Raises:
        OptionError: A name is unknown, or a class of the network is in two different groups.
    """
    for name in groups:
        if name not in data_classes:
            raise _unknown(source, "data", name, data_classes)
    numbers = {name: number for number, name in enumerate(classes)}
    sets: dict[str, tuple[int, ...]] = {}
    for name, members in groups.items():
        if members is None:
            continue
        sets[name] = tuple(sorted({_number(source, member, numbers) for member in members}))
    group: dict[int, tuple[int, ...]] = {}
    for name, numbers_of_name in sets.items():
        for number in numbers_of_name:
            if group.setdefault(number, numbers_of_name) != numbers_of_name:
                other = next(label for label in sets if label != name and number in sets[label])
                raise OptionError(
                    f'{source}: "{classes[number]}" is in the different groups of "{other}" and "{name}"; a class of the network can be '
                    "in one group only, so give both the same group"
                )
    outputs = sorted({group.get(number, (number,)) for number in range(len(classes))})
    return LabelMap(
        outputs=tuple(outputs),
        names=tuple(" or ".join(classes[number] for number in members) for members in outputs),
        label=tuple(outputs.index(sets[name]) if name in sets else -1 for name in data_classes),
        classes={name: [classes[number] for number in sets[name]] if name in sets else None for name in data_classes},
    )


def _number(source: str, member: str | int, numbers: Mapping[str, int]) -> int:
    number = numbers.get(member) if isinstance(member, str) else member
    if number is None or not 0 <= number < len(numbers):
        raise _unknown(source, "network", member, list(numbers))
    return number


def _unknown(source: str, owner: str, name: str | int, choices: Sequence[str]) -> OptionError:
    nearest = difflib.get_close_matches(str(name), choices, n=1, cutoff=0.5)
    more = ", ..." if len(choices) > MAX_NAMES else ""
    hint = f'did you mean "{nearest[0]}"?' if nearest else f"they are {', '.join(choices[:MAX_NAMES])}{more}"
    quoted = f'"{name}"' if isinstance(name, str) else f"number {name}"
    return OptionError(f"{source}: expected classes of the {owner}, got {quoted}; {hint}")
