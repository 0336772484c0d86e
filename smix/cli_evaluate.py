"""`smix evaluate`: a typed function, thin over the library, as in cli.py."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from smix.config import EvaluateConfig, MachineOptions
from smix.errors import OptionError, printable
from smix.report.terminal import evaluation_parts, evaluations_parts, show


def evaluate(
    path: Path,
    /,
    *,
    config: Annotated[EvaluateConfig, Parameter(name="*")] = EvaluateConfig(),  # noqa: B008
    options: Annotated[MachineOptions, Parameter(name="*")] = MachineOptions(),  # noqa: B008
    reference: Path | None = None,
    out: Path | None = None,
) -> None:
    """Ask a trained network about test images: accuracy, calibration, corruptions, attacks, backgrounds.

    What came out is kept: asked again, only what is missing is computed.

    Parameters
    ----------
    path
        A run, a folder of runs (each is asked in turn), or a file of weights (safetensors, or a torch checkpoint).
    reference
        A run that was evaluated on the same corrupted images: its errors are the 100 % of the mean corruption error.
    out
        Folder of what came out, as JSON; none given: the folder `evaluation` of the run, or one beside the file of weights.
    """
    from smix.lab.evaluate import evaluate as evaluate_one
    from smix.lab.evaluate import evaluate_all, file_of
    from smix.lab.evaluations import mean_corruption_errors

    if reference is not None and not (reference.is_file() or (reference / "config.json").is_file()):
        raise OptionError(
            f"reference: expected a run or a file that smix evaluate wrote, got {reference}; check the path"
        )
    name = "" if reference is None else reference.stem if reference.is_file() else reference.name
    if path.is_file() or (path / "config.json").is_file():
        one = evaluate_one(path, config, options, out)
        errors = None if reference is None else mean_corruption_errors(one, reference)
        show(*evaluation_parts(one, errors, name), f"Written: {file_of(path, one, out)}")
        return
    if out is not None:
        raise OptionError(
            f"out: expected none with a folder of runs, each of which keeps its own, got {out}; leave it out"
        )
    found, problems = evaluate_all(path, config, options)
    of_each = {} if reference is None else {run: mean_corruption_errors(one, reference) for run, one in found.items()}
    show(*evaluations_parts(found, of_each, name), f"Written: {path}/RUN/{file_of(Path(), next(iter(found.values())))}")
    for why in problems.values():
        sys.stderr.write(f"smix: {printable(why)}\n")
