"""Map the classes of a network to those of another data set.

Classes of the network that count as one are one output, whose logit is the log of the sum of the exponentials of theirs: its
probability is then the sum of their probabilities. Classes of the network that nothing is mapped to stay outputs: an image that
is taken for one of them is taken wrongly.
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
from smix.untrusted import UnreadableError, one_line, read_json

Named = Mapping[str, Sequence[str | int] | None]
"""Class of the data -> classes of the network, by name or number; None: leave its images out."""
SHOWN = 5
"""Names in a message."""


@dataclass(frozen=True)
class LabelMap:
    """Outputs of a network, made of its classes, and which of them each class of a data set is."""

    outputs: tuple[tuple[int, ...], ...]
    """Classes of the network that each output is made of. Every class is in one output."""
    names: tuple[str, ...]
    """Names of the outputs."""
    label: tuple[int, ...]
    """Output of each class of the data; -1: its images are left out."""
    said: dict[str, list[str] | None]
    """Class of the data -> classes of the network, as JSON has it."""

    def model(self, model: nn.Module) -> nn.Module:
        """The network with these outputs, in its mode."""
        if all(len(members) == 1 for members in self.outputs):
            return model
        return Grouped(model, self.outputs).train(model.training)

    def labels(self, labels: NDArray[np.integer]) -> NDArray[np.int64]:
        """The outputs that these classes of the network are in."""
        output = np.empty(sum(map(len, self.outputs)), np.int64)
        for place, members in enumerate(self.outputs):
            output[list(members)] = place
        return output[labels]

    def data(self, data: ImageSet) -> ImageSet:
        """The images whose class is an output, labelled with it.

        Raises:
            DataError: there are none.
        """
        labels = np.array(self.label)[data.labels]
        kept = np.flatnonzero(labels >= 0)
        if not len(kept):
            raise DataError(
                f"label map: expected images of its classes in {data.name} {data.split}, got none; map others"
            )
        return replace(data.rows(kept), labels=labels[kept], classes=self.names)


class Grouped(nn.Module):
    """A network some of whose classes count as one."""

    def __init__(self, model: nn.Module, outputs: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.model = model
        self.outputs = outputs

    def forward(self, images: Float[Tensor, "B C *S"]) -> Float[Tensor, "B K"]:
        return grouped(self.model(images), self.outputs)


def grouped(logits: Float[Tensor, "B classes"], outputs: Sequence[Sequence[int]]) -> Float[Tensor, "B K"]:
    """Logits of outputs for those of the classes that they are made of."""
    found = logits[:, [members[0] for members in outputs]]
    for place, members in enumerate(outputs):
        if len(members) > 1:
            found[:, place] = logits[:, list(members)].logsumexp(1)
    return found


def by_name(theirs: Sequence[str], own: Sequence[str], name: str) -> LabelMap | None:
    """Each class of the data is the network's of the same name; None: they are the same classes in the same order.

    Raises:
        OptionError: some have no such name.
    """
    if tuple(theirs) == tuple(own):
        return None
    if unknown := [one for one in theirs if one not in own]:
        more = ", ..." if len(unknown) > SHOWN else ""
        raise OptionError(
            f"label map: expected all {len(theirs)} classes of {name} among those of the network, got {len(unknown)} that are not: "
            f"{', '.join(unknown[:SHOWN])}{more}; say with --label-map what they are"
        )
    return made({one: [one] for one in theirs}, theirs, own, "label map")


def read_label_map(path: Path) -> Named:
    """The file's content, checked for its form alone.

    Raises:
        OptionError: no such file, or a broken one.
    """
    if not path.is_file():
        raise OptionError(f"label map: expected a JSON file {path}, got none; check the path")

    try:
        content = read_json(path)
        if not isinstance(content, dict) or not content:
            raise ValueError(f"a {type(content).__name__}" if content else "nothing in it")
        return {name: _members(name, value) for name, value in content.items()}
    except ValueError as error:
        reason = str(error) if isinstance(error, UnreadableError) else one_line(error).removeprefix("ValueError: ")
        raise OptionError(
            f'{path}: expected JSON such as {{"cat": ["tabby", "tiger cat"], "dog": "beagle", "car": null}}, got {reason}'
        ) from None


def _members(name: str, value: Any) -> list[str | int] | None:
    members = value if isinstance(value, list) else [value]
    if value is None:
        return None
    if not members or not all(isinstance(one, str | int) and not isinstance(one, bool) for one in members):
        raise ValueError(f'{json.dumps(value)} for "{name}"')
    return members


def made(named: Named, theirs: Sequence[str], own: Sequence[str], where: str) -> LabelMap:
    """The map of what is named; classes of the data that are not are left out.

    Args:
        theirs: The classes of the data.
        own: Those of the network.
        where: For messages.

    Raises:
        OptionError: unknown names, or a class of the network in two groups.
    """
    for name in named:
        if name not in theirs:
            raise _unknown(where, "data", name, theirs)
    number = {name: place for place, name in enumerate(own)}
    sets: dict[str, tuple[int, ...]] = {}
    for name, members in named.items():
        if members is None:
            continue
        found = set()
        for member in members:
            place = number.get(member) if isinstance(member, str) else member
            if place is None or not 0 <= place < len(own):
                raise _unknown(where, "network", member, own)
            found.add(place)
        sets[name] = tuple(sorted(found))
    group: dict[int, tuple[int, ...]] = {}
    for name, members in sets.items():
        for place in members:
            if group.setdefault(place, members) != members:
                other = next(one for one in sets if one != name and place in sets[one])
                raise OptionError(
                    f'{where}: expected each class of the network in one group, got "{own[place]}" in those of "{other}" and '
                    f'"{name}"; give both the same'
                )
    outputs = sorted({group.get(place, (place,)) for place in range(len(own))})
    names = tuple(" or ".join(own[place] for place in members) for members in outputs)
    labels = tuple(outputs.index(sets[name]) if name in sets else -1 for name in theirs)
    said = {name: [own[place] for place in sets[name]] if name in sets else None for name in theirs}
    return LabelMap(tuple(outputs), names, labels, said)


def _unknown(where: str, whose: str, name: str | int, choices: Sequence[str]) -> OptionError:
    nearest = difflib.get_close_matches(str(name), choices, n=1, cutoff=0.5)
    more = ", ..." if len(choices) > SHOWN else ""
    hint = f'did you mean "{nearest[0]}"?' if nearest else f"they are {', '.join(choices[:SHOWN])}{more}"
    shown = f'"{name}"' if isinstance(name, str) else f"number {name}"
    return OptionError(f"{where}: expected classes of the {whose}, got {shown}; {hint}")
