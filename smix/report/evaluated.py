"""Tables that `smix evaluate` shows on the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table

from smix.evaluation.corruptions import suite
from smix.evaluation.records import Attacked, Corrupted, Evaluation, Objects
from smix.report.terminal import table

NUMBERS = {
    "accuracy": ("Accuracy (%)", 100, 2),
    "top5": ("Among the five likeliest (%)", 100, 2),
    "confidence": ("Mean confidence (%)", 100, 2),
    "overconfidence": ("Overconfidence (points)", 100, 2),
    "ece": ("Calibration error, ECE (%)", 100, 2),
    "ece_scaled": ("The same after temperature scaling (%)", 100, 2),
    "temperature": ("Temperature, of validation images", 1, 3),
    "brier": ("Brier score", 1, 4),
    "nll": ("Negative log-likelihood (nats)", 1, 4),
    "aurc": ("Area under risk over coverage, AURC", 1, 4),
    "errors_above_0.9": ("Wrong and over 90 % sure (% of all)", 100, 2),
    "errors_above_0.99": ("Wrong and over 99 % sure (% of all)", 100, 2),
}
"""Name -> what it is called, its scale and its decimals."""


def evaluated(
    evaluation: Evaluation, errors: Mapping[str, float] | None = None, reference: str = ""
) -> list[RenderableType]:
    """All that an evaluation says.

    Args:
        errors: Mean corruption error by suite, against `reference`.
    """
    parts: list[RenderableType] = [_numbers(evaluation)]
    if evaluation.left_out:
        parts.append(f"{evaluation.left_out:,} more images are of classes that the network has not, and left out.\n")
    if evaluation.provenance.get("resized"):
        size = " x ".join(map(str, evaluation.provenance["size"]))
        parts.append(f"Images are resized to {size}, which the network was trained on.\n")
    for one in evaluation.corruptions:
        parts += [f"Corrupted images: {one.suite}", _corruptions(one)]
        if errors and one.suite in errors:
            parts.append(f"Mean corruption error: {100 * errors[one.suite]:.1f} % of that of {reference}\n")
    if evaluation.attacks:
        parts.append(_attacks(evaluation.attacks))
    if evaluation.objects is not None:
        objects = evaluation.objects
        parts += [
            _objects(objects),
            f"Masks: {objects.masks}; {objects.left_out:,} images have none that can be used.\n",
        ]
    return parts


def of_all(
    found: Mapping[Path, Evaluation], errors: Mapping[Path, Mapping[str, float]], reference: str = ""
) -> list[RenderableType]:
    """A row a network, and a column for each part of their evaluations."""
    columns: dict[str, dict[Path, str]] = {"Accuracy": {}, "ECE": {}}
    official: dict[str, dict[Path, str]] = {}
    for path, one in found.items():
        columns["Accuracy"][path] = _percent(one.numbers["accuracy"])
        columns["ECE"][path] = _percent(one.numbers["ece"])
        for corrupted in one.corruptions:
            mine = columns if corrupted.suite == suite.LABEL else official
            mine.setdefault("Corrupted", {})[path] = _percent(corrupted.mean)
            if corrupted.suite in errors.get(path, {}):
                mine.setdefault("mCE", {})[path] = f"{100 * errors[path][corrupted.suite]:.1f}"
        if one.attacks:
            # The one that tells networks apart: larger ones leave little.
            attack = min(one.attacks, key=lambda each: (each.eps, -each.steps))
            columns.setdefault(_name(attack), {})[path] = _percent(attack.accuracy)
        if one.objects is not None:
            columns.setdefault("Swapped", {})[path] = _percent(one.objects.swapped)
    counts = " or ".join(f"{count:,}" for count in sorted({one.images for one in found.values()}))
    lines = [_by_run("In %", found, columns), f"{next(iter(found.values())).data}, {counts} images"]
    if "Swapped" in columns:
        lines.append("Swapped: objects before the background of another class")
    if official:
        lines.append(_by_run("Official CIFAR-C, in %", found, official))
    return [*lines, f"mCE: mean corruption error, in % of that of {reference}"] if reference else lines


def _by_run(head: str, found: Mapping[Path, Evaluation], columns: Mapping[str, Mapping[Path, str]]) -> RenderableType:
    rows = [(path.name, *(each.get(path, "") for each in columns.values())) for path in found]
    made = _right(table([head, *columns], rows))
    for column, name in zip(made.columns[1:], columns, strict=True):
        column.min_width = max(map(len, name.split()))  # long names of runs are folded, not these
    return made


def _numbers(evaluation: Evaluation) -> Table:
    rows = [
        (said, f"{scale * evaluation.numbers[name]:.{decimals}f}")
        for name, (said, scale, decimals) in NUMBERS.items()
        if name in evaluation.numbers
    ]
    return _right(table([f"{evaluation.data}: {evaluation.images:,} test images", ""], rows))


def _corruptions(corrupted: Corrupted) -> Table:
    rows = [
        (name.replace("_", " "), *map(_percent, values), _percent(sum(values) / len(values)))
        for name, values in corrupted.accuracy.items()
    ]
    each = zip(*corrupted.accuracy.values(), strict=True)
    means = [_percent(sum(values) / len(values)) for values in each]
    severities = map(str, range(1, 1 + len(means)))
    rows += [("all", *means, _percent(corrupted.mean)), ("none", *[""] * len(means), _percent(corrupted.clean))]
    return _right(table(["Accuracy (%) by severity", *severities, "Mean"], rows))


def _attacks(attacks: Sequence[Attacked]) -> Table:
    rows = [(_name(one), _percent(one.accuracy)) for one in attacks]
    return _right(table([f"Attack (clean: {_percent(attacks[0].clean)})", "Accuracy (%)"], rows))


def _objects(objects: Objects) -> Table:
    rows = [
        ("Untouched", _percent(objects.clean)),
        ("Before the background of another class", _percent(objects.swapped)),
        ("Object hidden", _percent(objects.object_hidden)),
        ("Background hidden", _percent(objects.background_hidden)),
    ]
    return _right(table([f"The {objects.images:,} images with a mask", "Accuracy (%)"], rows))


def _name(attack: Attacked) -> str:
    steps = f"-{attack.steps}" if attack.steps > 1 else ""
    return f"{attack.name.upper()}{steps}, {255 * attack.eps:.3g}/255"


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _right(made: Table) -> Table:
    for column in made.columns[1:]:
        column.justify = "right"
    return made
