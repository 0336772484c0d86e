"""Tables of robustness: corruptions, attacks, objects on other backgrounds, other data sets. Rows are methods."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean

from smix.errors import SmixError
from smix.evaluation.cifar_c import mean_corruption_error
from smix.evaluation.corruptions.suite import GROUPS
from smix.evaluation.records import Corrupted, Evaluation, errors_of
from smix.report.comparison import Comparison, data_name
from smix.report.table import Cell, Table, number, over_seeds
from smix.report.tables import PLAIN, spread


def corruption_table(comparison: Comparison, suite: str) -> Table | None:
    """Accuracy on corrupted images, and the errors against those of vanilla with the same seed. None: not evaluated."""
    plain = _corrupted(comparison, PLAIN, suite)
    rows, counts = [], []
    for method in comparison.methods:
        mine = _corrupted(comparison, method, suite)
        if not mine:
            continue
        relative = [_relative(mine[seed], plain[seed]) for seed in mine.keys() & plain.keys()]
        counts += [len(mine), len(relative)]
        rows.append(
            (
                Cell(comparison.named(method, len(mine))),
                over_seeds((one.clean for one in mine.values()), scale=100),
                over_seeds((one.mean for one in mine.values()), scale=100),
                *(over_seeds((_of_group(one, names) for one in mine.values()), scale=100) for names in GROUPS.values()),
                over_seeds(relative, 1, 100),
            )
        )
    if not rows:
        return None
    images = next(one.images for each in comparison.evaluations.values() for e in each for one in e.corruptions)
    return Table(
        "corruptions" if suite.startswith("own") else "corruptions-official",
        f"Accuracy on corrupted images ({suite})",
        ("Method", "Clean (%)", "All (%)", *(f"{group.capitalize()} (%)" for group in GROUPS), "mCE, vanilla = 100"),
        _best_in_bold(rows, (1, 2, 3, 4, 5, 6), comparison.methods),
        f"{images:,} test images, each corruption and severity alike. {spread(counts)} mCE: mean over "
        "corruptions of the errors over those of vanilla with the same seed, in percent.",
    )


def corruptions_table(comparison: Comparison, suite: str) -> Table | None:
    """Corruptions down, methods across: accuracy, mean over severities and seeds. None: not evaluated."""
    found = {method: _corrupted(comparison, method, suite) for method in comparison.methods}
    found = {method: mine for method, mine in found.items() if mine}
    if not found:
        return None
    names = next(iter(next(iter(found.values())).values())).accuracy
    heads = [comparison.named(method, len(mine)) for method, mine in found.items()]
    whole = [head == method for head, method in zip(heads, found, strict=True)]
    rows = []
    for name in names:
        means = [_mean_of(mine.values(), name) for mine in found.values()]
        best = _highest(means, whole)
        rows.append((Cell(name), *(number(mean, 1, 100, best=place == best) for place, mean in enumerate(means))))
    return Table(
        "each-corruption" if suite.startswith("own") else "each-corruption-official",
        "Accuracy on each corruption (%)",
        ("Corruption", *heads),
        tuple(rows),
        "Mean over severities and seeds.",
    )


def _mean_of(found: Iterable[Corrupted], name: str) -> float:
    known = [fmean(one.accuracy[name]) for one in found if name in one.accuracy]
    return fmean(known) if known else math.nan


def _corrupted(comparison: Comparison, method: str, suite: str) -> dict[int, Corrupted]:
    """Return results by seed on the own test split."""
    if method not in comparison.methods:
        return {}
    return {
        seed: one
        for seed, evaluation in comparison.evaluations_on(method).items()
        for one in evaluation.corruptions
        if one.suite == suite
    }


def _of_group(one: Corrupted, names: Sequence[str]) -> float:
    known = [fmean(one.accuracy[name]) for name in names if name in one.accuracy]
    return fmean(known) if known else math.nan


def _relative(one: Corrupted, plain: Corrupted) -> float:
    try:
        return mean_corruption_error(errors_of(one, "method"), errors_of(plain, PLAIN))
    except SmixError:  # other corruptions, or a reference without errors
        return math.nan


def suites(comparison: Comparison) -> list[str]:
    """Return the suites of corrupted images that any run was evaluated on."""
    found = (one.suite for each in comparison.evaluations.values() for e in each if e.own for one in e.corruptions)
    return sorted(set(found), key=lambda suite: (not suite.startswith("own"), suite))


def attack_table(comparison: Comparison) -> Table | None:
    """Accuracy under attack. None: not evaluated."""
    found = {method: list(comparison.evaluations_on(method).values()) for method in comparison.methods}
    attacks = {(one.name, one.steps, one.eps): one for mine in found.values() for each in mine for one in each.attacks}
    if not attacks:
        return None
    columns = sorted(attacks, key=lambda key: (key[1], key[2]))
    rows, counts = [], []
    for method, mine in found.items():
        if not any(each.attacks for each in mine):
            continue
        by = [{(one.name, one.steps, one.eps): one for one in each.attacks} for each in mine]
        clean = [next(iter(each.values())).clean for each in by if each]
        counts += [len(clean), *(sum(key in each for each in by) for key in columns)]
        cells = [over_seeds((each[key].accuracy for each in by if key in each), scale=100) for key in columns]
        rows.append((Cell(comparison.named(method, len(clean))), over_seeds(clean, scale=100), *cells))
    heads = [
        f"{name.upper()}{f'-{steps}' if steps > 1 else ''}, {255 * eps:.3g}/255 (%)" for name, steps, eps in columns
    ]
    images = next(iter(attacks.values())).images
    return Table(
        "attacks",
        "Accuracy under attack",
        ("Method", "Clean (%)", *heads),
        tuple(rows),
        f"{images:,} test images, each value changed by at most the number of grey levels (L-infinity). "
        f"{spread(counts)}",
    )


def objects_table(comparison: Comparison) -> Table | None:
    """Accuracy where the background or the object is gone. None: not evaluated."""
    rows, counts = [], []
    images = left_out = 0
    for method in comparison.methods:
        mine = [one.objects for one in comparison.evaluations_on(method).values() if one.objects is not None]
        if not mine:
            continue
        counts.append(len(mine))
        images, left_out = mine[0].images, mine[0].left_out
        rows.append(
            (
                Cell(comparison.named(method, len(mine))),
                over_seeds((one.clean for one in mine), scale=100),
                over_seeds((one.swapped for one in mine), scale=100),
                over_seeds((one.clean - one.swapped for one in mine), scale=100),
                over_seeds((one.object_hidden for one in mine), scale=100),
                over_seeds((one.background_hidden for one in mine), scale=100),
            )
        )
    if not rows:
        return None
    return Table(
        "background",
        "Does the network look at the object?",
        (
            "Method",
            "Untouched (%)",
            "Background swapped (%)",
            "Lost by the swap (points)",
            "Object hidden (%)",
            "Background hidden (%)",
        ),
        tuple(rows),
        f"The same {images:,} test images in each column ({left_out:,} more have no mask that can be "
        f"used). Background swapped: the object on "
        f"an image of another class. Hidden: painted over with the mean colour. {spread(counts)}",
    )


def other_data(comparison: Comparison) -> list[str]:
    """Data sets beside the own test split that any run was evaluated on."""
    return sorted({one.data for each in comparison.evaluations.values() for one in each if not one.own})


def other_data_table(comparison: Comparison) -> Table | None:
    """Accuracy on other data sets; a row is named by the fewest of its runs that were evaluated on one. None: not evaluated."""
    names = other_data(comparison)
    rows, counts = [], []
    for method in comparison.methods:
        found = [comparison.evaluations_on(method, name).values() for name in names]
        if some := [len(each) for each in found if each]:
            rows.append((Cell(comparison.named(method, min(some))), *map(_on, found)))
            counts += some
    if not rows:
        return None
    return Table(
        "other-data",
        "Accuracy on other data sets",
        ("Method", *(f"{data_name(name)} (%)" for name in names)),
        tuple(rows),
        f"Of the same networks, by the classes that both data sets have. {spread(counts)}",
    )


def _on(evaluations: Iterable[Evaluation]) -> Cell:
    return over_seeds((one.numbers["accuracy"] for one in evaluations), scale=100)


def _highest(values: Sequence[float], whole: Sequence[bool]) -> int | None:
    """The place of the highest, of the methods that have all of their runs; None if it is not one alone of several."""
    known = [value for value, every in zip(values, whole, strict=True) if every and math.isfinite(value)]
    if len(known) < 2 or sum(math.isclose(value, max(known), abs_tol=1e-9) for value in known) > 1:
        return None
    return next(place for place, value in enumerate(values) if whole[place] and value == max(known))


def _best_in_bold(
    rows: Sequence[tuple[Cell, ...]], columns: Sequence[int], methods: Sequence[str]
) -> tuple[tuple[Cell, ...], ...]:
    """The highest of each of these columns; a row whose name is not that of a method lacks runs."""
    whole = [row[0].text in methods for row in rows]
    values = {c: [math.nan if (value := row[c].value) is None else value for row in rows] for c in columns}
    best = {column: _highest(mine, whole) for column, mine in values.items()}
    return tuple(
        tuple(replace(cell, best=best.get(column) == place) for column, cell in enumerate(row))
        for place, row in enumerate(rows)
    )
