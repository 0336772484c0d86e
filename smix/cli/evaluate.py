"""`smix evaluate`: evaluate a trained network on a test set."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from smix.cli.options import Machine
from smix.cli.output import show_error
from smix.config import EvaluateConfig, MachineOptions
from smix.errors import OptionError


def evaluate(
    path: Path,
    /,
    *,
    config: Annotated[EvaluateConfig, Parameter(name="*")] = EvaluateConfig(),  # noqa: B008
    options: Machine = MachineOptions(),  # noqa: B008
    reference: Path | None = None,
    out: Path | None = None,
) -> None:
    """Evaluate a trained model on a test set: accuracy, calibration, corruptions, attacks, backgrounds.

    Results are saved. Run the command again to compute only the missing ones.

    Parameters
    ----------
    path
        Folder of a run, folder that contains runs (all are evaluated), or weights file (safetensors or torch checkpoint).
    reference
        Baseline for the mean corruption error: a run, or a JSON file written by smix evaluate, with results on the same
        corrupted images.
    out
        Output folder for the results (JSON). Default: the subfolder `evaluation` of the run, or FILE.evaluation next to a
        weights file.
    """
    from smix.cli.evaluation_tables import evaluation_parts, evaluations_parts
    from smix.evaluation.records import mean_corruption_errors
    from smix.lab.evaluate import evaluate as evaluate_one
    from smix.lab.evaluate import evaluate_all, file_of
    from smix.report.terminal import show

    if reference is not None and not (reference.is_file() or (reference / "config.json").is_file()):
        raise OptionError(
            f"reference: expected a run or a JSON file written by smix evaluate, got {reference}; check the path"
        )
    name = "" if reference is None else reference.stem if reference.is_file() else reference.name
    if path.is_file() or (path / "config.json").is_file():
        evaluation = evaluate_one(path, config, options, out)
        errors = None if reference is None else mean_corruption_errors(evaluation, reference)
        show(*evaluation_parts(evaluation, errors, name), f"Written: {file_of(path, evaluation, out)}")
        return
    if out is not None:
        raise OptionError(f"out: the results of {path} are saved in the folder of each run; omit --out")
    evaluations, problems = evaluate_all(path, config, options)
    errors_of_each = {}
    if reference is not None:
        errors_of_each = {run: mean_corruption_errors(evaluation, reference) for run, evaluation in evaluations.items()}
    file = file_of(Path(), next(iter(evaluations.values())))
    show(*evaluations_parts(evaluations, errors_of_each, name), f"Written: {path}/RUN/{file}")
    for problem in problems.values():
        show_error(problem)
