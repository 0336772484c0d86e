"""A comparison as a report sees it: the runs that can be compared, what each predicted, and what is wrong with the others."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smix.errors import RunError, SmixError
from smix.evaluation.scores import Scores
from smix.lab.evaluations import Evaluation
from smix.lab.status import what_is_missing
from smix.mixing import parse_method
from smix.paths import same_value
from smix.report.reading import Predicted, contradiction, evaluations_in, predicted_by, samples_of
from smix.report.records import Problem
from smix.report.tables import by_method
from smix.training.records import Run, folders_in, read_run, shared_by, subfolders_of_runs
from smix.training.samples import Samples

SHOWN = 60
"""Characters of a value that differs, at most."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs that differ in method and seed alone."""

    name: str
    """Name of the data set, without the path of its file."""
    folder: Path
    runs: Sequence[Run]
    """Finished or not: those without a result count as missing."""
    problems: Sequence[Problem]
    scores: Mapping[Path, Scores]
    """Scores of the finished runs whose predictions could be read, by folder."""
    evaluations: Mapping[Path, Sequence[Evaluation]]
    """Evaluations by folder; empty where smix evaluate was not run."""
    samples: Mapping[str, Samples]
    """The mixes of the first seed of each method, where images have two spatial dimensions."""

    @property
    def methods(self) -> list[str]:
        return list(by_method(self.runs))

    def named(self, method: str, count: int) -> str:
        """The method, and how many of its planned runs a row is of, if not of all."""
        planned = len({run.config.seed for run in self.runs})
        return method if count == planned else f"{method} ({count} of {planned})"

    @property
    def begun(self) -> list[Run]:
        return [run for run in self.runs if run.provenance]

    @property
    def classes(self) -> list[str]:
        return list(self.begun[0].provenance["data"]["classes"])

    def scores_of(self, method: str) -> dict[int, Scores]:
        """Return the scores of a method by seed."""
        return {
            run.config.seed: self.scores[run.path] for run in by_method(self.runs)[method] if run.path in self.scores
        }

    def evaluations_on(self, method: str, data: str | None = None) -> dict[int, Evaluation]:
        """Return the evaluations of a method by seed: those on the own test split, or on another data set."""
        return {
            run.config.seed: one
            for run in by_method(self.runs)[method]
            for one in self.evaluations.get(run.path, ())
            if (one.own if data is None else not one.own and one.data == data)
        }


def read_comparison(folder: Path | str) -> Comparison:
    """Read a folder of runs. What is broken, differs or is missing is named in `problems`, and the others are compared.

    Raises:
        RunError: no run in it has finished and can be read.
    """
    folder = Path(folder)
    runs, problems = [], []
    for path in folders_in(folder):
        try:
            runs.append(read_run(path))
        except SmixError as error:
            problems.append(_problem(path, str(error)))
    return comparison_of(runs, folder, problems)


def comparisons_in(folders: Sequence[Path]) -> tuple[list[Comparison], list[Problem]]:
    """The comparisons of all these folders, and what is wrong with them. A folder of comparisons, as a sweep with a grid leaves it,
    stands for each of them; one that holds runs as well stands for its own comparison, too.

    Raises:
        RunError: none of them has a finished run.
    """
    comparisons: list[Comparison] = []
    problems: list[Problem] = []
    found = [path for folder in folders for path in _spread(folder)]
    for folder in dict.fromkeys(found):
        try:
            comparisons.append(read_comparison(folder))
            problems += comparisons[-1].problems
        except RunError as error:
            if len(found) == 1:
                raise
            problems.append(_problem(folder, str(error)))
    if not comparisons:
        raise RunError(
            f"{folders[0]}: expected comparisons, got none that can be reported; {problems[0].path}: {problems[0].why}"
        )
    return comparisons, problems


def _spread(folder: Path) -> list[Path]:
    if (folder / "config.json").is_file():
        raise RunError(f"{folder}: expected a folder of runs, got one run; did you mean {folder.resolve().parent}?")
    below = sorted({path.parent.parent for path in folder.glob("*/*/config.json")})
    below = [path for path in below if not (path / "config.json").is_file()]
    own = [folder] if subfolders_of_runs(folder) or not below else []
    return own + below


def comparison_of(runs: Sequence[Run], folder: Path, problems: Sequence[Problem] = ()) -> Comparison:
    """The same of runs that are read already."""
    problems, asked = list(problems), len(runs) + len(problems)
    good = _one_a_seed(_alike(_checked(runs, problems), problems), problems)
    predictions = _predictions([run for run in good if run.result is not None], problems)
    good = [_believed(run, predictions, problems) for run in good]
    for run in good:
        if run.result is None and not any(one.path == run.path for one in problems):
            problems.append(_problem(run.path, what_is_missing(run)))
    finished = [run for run in good if run.result is not None]
    if not finished:
        found = f"{problems[0].path.name}: {problems[0].why}" if problems else "none"
        raise RunError(f"{folder}: expected a finished run to report, got 0 of {asked}: {found}")
    kept = {run.path: predictions[run.path] for run in finished if run.path in predictions}
    made, evaluations = _scores(kept, problems), _evaluations(finished, problems)
    samples = _samples(good, problems)  # before the problems are sorted
    return Comparison(
        data_name(finished[0].config.data),
        folder,
        good,
        sorted(problems, key=lambda one: str(one.path)),
        made,
        evaluations,
        samples,
    )


def data_name(data: str) -> str:
    """`npz:/somewhere/cifar10.npz` is cifar10."""
    kind, colon, place = data.partition(":")
    return Path(place).stem if colon else kind


def _checked(runs: Sequence[Run], problems: list[Problem]) -> list[Run]:
    """Return those whose method is one of this version."""
    kept = []
    for run in runs:
        try:
            parse_method(run.config.method)
        except SmixError as error:
            problems.append(_problem(run.path, str(error)))
            continue
        kept.append(run)
    return kept


def _alike(runs: Sequence[Run], problems: list[Problem]) -> list[Run]:
    """Return the runs that differ in method and seed alone: of each option, those that have what most have, or else what the first has."""
    shared = {run.path: shared_by(run) for run in runs}
    alike = list(runs)
    for name in dict.fromkeys(name for one in shared.values() for name in one):
        # Fingerprints are known of runs that have begun, those of masks of runs that use them: what is not known does not differ.
        values = {run.path: shared[run.path][name] for run in alike if name in shared[run.path]}
        if not values:
            continue
        usual = _usual(values)
        for run in [run for run in alike if run.path in values and repr(values[run.path]) != repr(usual)]:
            alike.remove(run)
            why = (
                f"expected runs that differ in method and seed alone, got one with {name.replace('_', '-')} "
                f"{_short(values[run.path])} where most have {_short(usual)}; it is left out: report it apart"
            )
            problems.append(Problem(run.path, why))
    return alike


def _usual(values: Mapping[Any, Any]) -> Any:
    """The value that most have; of several, the one that comes first."""
    by_text = {repr(value): value for value in values.values()}
    return by_text[Counter(map(repr, values.values())).most_common(1)[0][0]]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _one_a_seed(runs: Sequence[Run], problems: list[Problem]) -> list[Run]:
    """One run of each method and seed; finished ones first, then by folder name."""
    kept: dict[tuple[str, int], Run] = {}
    for run in sorted(runs, key=lambda run: (run.result is None, run.path.name)):
        first = kept.setdefault((run.config.method, run.config.seed), run)
        if first is not run:
            why = f"expected one run of each method and seed, got this and {first.path.name}; it is left out: move one away"
            problems.append(Problem(run.path, why))
    return sorted(kept.values(), key=lambda run: run.path.name)


def _predictions(runs: Sequence[Run], problems: list[Problem]) -> dict[Path, Predicted]:
    """Return the predictions of the runs whose files can be read."""
    found: dict[Path, Predicted] = {}
    for run in runs:
        try:
            found[run.path] = predicted_by(run)
        except SmixError as error:
            problems.append(_problem(run.path, str(error)))
    return found


def _believed(run: Run, predictions: Mapping[Path, Predicted], problems: list[Problem]) -> Run:
    """Return the run, without its result if its own predictions contradict it."""
    if run.path in predictions and (why := contradiction(run, predictions[run.path])):
        problems.append(Problem(run.path, why))
        return replace(run, result=None, metrics=[])
    return run


def _scores(found: dict[Path, Predicted], problems: list[Problem]) -> dict[Path, Scores]:
    """Return the scores of the predictions that are of the same images in the same order."""
    if not found:
        return {}
    usual = _usual({path: one.labels for path, one in found.items()})
    for path in [path for path, one in found.items() if one.labels != usual]:
        del found[path]
        why = (
            "expected predictions of the same test images as the other runs, got other labels or another order in "
            "predictions.npz; its calibration and confusion are left out"
        )
        problems.append(Problem(path, why))
    return {path: one.scores for path, one in found.items()}


def _evaluations(runs: Sequence[Run], problems: list[Problem]) -> dict[Path, list[Evaluation]]:
    """Return the evaluations of the runs' own weights; of each data set those that were asked the same way as most."""
    found: dict[Path, list[Evaluation]] = {}
    names: list[str] = []
    for run in runs:
        mine, wrong = evaluations_in(run.path)
        found[run.path] = [replace(one, data=_first_name(one.data, names)) for one in mine]
        problems += [_problem(run.path, why) for why in wrong]
    for key in dict.fromkeys((one.own, not one.own and one.data) for mine in found.values() for one in mine):
        asked = {
            (path, n): _asked(one)
            for path, mine in found.items()
            for n, one in enumerate(mine)
            if (one.own, not one.own and one.data) == key
        }
        usual = _usual(asked)
        others = {place: how for place, how in asked.items() if repr(how) != repr(usual)}
        for (path, n), how in reversed(others.items()):
            one = found[path].pop(n)
            said = [
                f"{name} {_short(value)} where most have {_short(usual[name])}"
                for name, value in how.items()
                if repr(value) != repr(usual[name])
            ]
            why = (
                f"expected evaluations of the same images of {data_name(one.data)}, got one with {', '.join(said)}; it is left out: "
                "evaluate it as the others"
            )
            problems.append(Problem(path, why))
    return found


def _first_name(data: str, names: list[str]) -> str:
    """Return the first of these names that means the same data set; a new one is added to them."""
    found = next((name for name in names if same_value("data", name, data)), None)
    if found is None:
        names.append(data)
    return found or data


def _asked(one: Evaluation) -> dict[str, Any]:
    """Return what two evaluations of a data set must share to be compared."""
    made = {name.replace("_", "-"): one.provenance.get(name) for name in ("seed", "label_map", "resized")}
    return {"fingerprint": one.fingerprint, "images": one.images, "left-out": one.left_out, **made}


def _samples(runs: Sequence[Run], problems: list[Problem]) -> dict[str, Samples]:
    """All of the same images."""
    found: dict[str, Samples] = {}
    for method, mine in by_method(runs).items():
        try:
            samples = samples_of(mine[0])
        except SmixError as error:
            problems.append(_problem(mine[0].path, str(error)))
            continue
        if samples is not None:
            found[method] = samples
    if not found:
        return {}
    images = {method: _digest(one) for method, one in found.items()}
    usual = _usual(images)
    for method in [method for method in found if images[method] != usual]:
        del found[method]
        why = "expected mixes of the same images as the other runs, got others in samples.npz; they are not shown"
        problems.append(Problem(by_method(runs)[method][0].path, why))
    return found


def _digest(samples: Samples) -> str:
    """Return a sha256 of the images that are mixed."""
    shape = str(samples.images.shape).encode()
    return hashlib.sha256(shape + samples.images.tobytes() + samples.labels.tobytes()).hexdigest()


def _problem(path: Path, message: str) -> Problem:
    """The message without the folder in front, which stands beside it; a report may be published: no paths of this machine."""
    message = message.removeprefix(f"{path}: ")
    for folder in (path.parent, path.parent.resolve()):
        if folder.name:
            message = message.replace(f"{folder}/", "")
    return Problem(path, message)
