"""Terminal tables for `smix evaluate`: all results of one network, or one row per network."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table

from smix.evaluation.corruptions import suite
from smix.evaluation.records import Attacked, Corrupted, Evaluation
from smix.report.records import CONDITIONS, METRICS
from smix.report.table import number
from smix.report.terminal import table


def evaluation_parts(
    evaluation: Evaluation, errors: Mapping[str, float] | None = None, reference: str = ""
) -> list[RenderableType]:
    """Return all results of an evaluation as tables and lines.

    Args:
        errors: Mean corruption error by suite, relative to `reference`.
        reference: Name of the reference run.
    """
    rows = [
        (metric.heading, number(evaluation.numbers[name], metric.decimals, metric.scale).text)
        for name, metric in METRICS.items()
        if name in evaluation.numbers
    ]
    parts: list[RenderableType] = [table([f"{evaluation.data}: {evaluation.images:,} test images", ""], rows, True)]
    if evaluation.left_out:
        parts.append(f"{evaluation.left_out:,} more images, of classes that the network does not have, are excluded.\n")
    if evaluation.provenance.get("resized"):
        size = " x ".join(map(str, evaluation.provenance["size"]))
        parts.append(f"Images are resized to {size}, the size that the network was trained on.\n")
    for corrupted in evaluation.corruptions:
        parts += [f"Corrupted images: {corrupted.suite}", _corruptions(corrupted)]
        if errors and corrupted.suite in errors:
            parts.append(f"Mean corruption error: {100 * errors[corrupted.suite]:.1f} % of the error of {reference}\n")
    if evaluation.attacks:
        clean = f"Attack (clean: {_percent(evaluation.attacks[0].clean)})"
        rows = [(_attack(attack), _percent(attack.accuracy)) for attack in evaluation.attacks]
        parts.append(table([clean, "Accuracy (%)"], rows, True))
    if (objects := evaluation.objects) is not None:
        rows = [(title, _percent(getattr(objects, name))) for name, title in CONDITIONS.items()]
        parts.append(table([f"The {objects.images:,} images with a mask", "Accuracy (%)"], rows, True))
        parts.append(f"Masks: {objects.masks}; {objects.left_out:,} images have no usable mask.\n")
    return parts


def evaluations_parts(
    evaluations: Mapping[Path, Evaluation], errors: Mapping[Path, Mapping[str, float]], reference: str = ""
) -> list[RenderableType]:
    """Return a table with one row per network, and lines that explain its columns.

    Arguments are as for `evaluation_parts`, by run.
    """
    rows: dict[str, dict[str, str]] = {path.name: {} for path in evaluations}
    official: dict[str, dict[str, str]] = {path.name: {} for path in evaluations}
    for path, evaluation in evaluations.items():
        row = rows[path.name]
        row |= {"Accuracy": _percent(evaluation.numbers["accuracy"]), "ECE": _percent(evaluation.numbers["ece"])}
        for corrupted in evaluation.corruptions:
            target = row if corrupted.suite == suite.LABEL else official[path.name]
            target["Corrupted"] = _percent(corrupted.mean)
            if corrupted.suite in errors.get(path, {}):
                target["mCE"] = f"{100 * errors[path][corrupted.suite]:.1f}"
        if evaluation.attacks:
            # The weakest attack distinguishes networks best: stronger ones leave little accuracy.
            attack = min(evaluation.attacks, key=lambda each: (each.eps, -each.steps))
            row[_attack(attack)] = _percent(attack.accuracy)
        if evaluation.objects is not None:
            row["Swapped"] = _percent(evaluation.objects.swapped)
    counts = " or ".join(f"{count:,}" for count in sorted({evaluation.images for evaluation in evaluations.values()}))
    data = next(iter(evaluations.values())).data
    parts: list[RenderableType] = [_by_network("In %", rows), f"{data}, {counts} images"]
    if any("Swapped" in row for row in rows.values()):
        parts.append("Swapped: objects on the background of another class")
    if any(official.values()):
        parts.append(_by_network("Official CIFAR-C, in %", official))
    return [*parts, f"mCE: mean corruption error, in % of the error of {reference}"] if reference else parts


def _by_network(head: str, rows: Mapping[str, Mapping[str, str]]) -> Table:
    heads = list(dict.fromkeys(name for row in rows.values() for name in row))
    cells = [(network, *(row.get(name, "") for name in heads)) for network, row in rows.items()]
    result = table([head, *heads], cells, True)
    for column, name in zip(result.columns[1:], heads, strict=True):
        column.min_width = max(map(len, name.split()))  # long names of runs are folded, headings are not
    return result


def _corruptions(corrupted: Corrupted) -> Table:
    rows = [
        (name.replace("_", " "), *map(_percent, values), _percent(sum(values) / len(values)))
        for name, values in corrupted.accuracy.items()
    ]
    means = [_percent(sum(values) / len(values)) for values in zip(*corrupted.accuracy.values(), strict=True)]
    rows += [("all", *means, _percent(corrupted.mean)), ("none", *[""] * len(means), _percent(corrupted.clean))]
    return table(["Accuracy (%) by severity", *map(str, range(1, 1 + len(means))), "Mean"], rows, True)


def _attack(attack: Attacked) -> str:
    steps = f"-{attack.steps}" if attack.steps > 1 else ""
    return f"{attack.name.upper()}{steps}, {255 * attack.eps:.3g}/255"


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"
