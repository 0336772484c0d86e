"""`smix evaluate`: what a trained network makes of test images, untouched, corrupted, attacked, or without object or background.

Each part is written when it is done, and not computed again while weights, images and options are the same.
"""

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from smix import files, progress
from smix.config import EvaluateConfig, MachineOptions
from smix.data.batches import Loader
from smix.device import in_words, is_out_of_memory, threads
from smix.errors import DataError, FailedError, OptionError, RunError, SmixError
from smix.evaluation.corruptions import suite
from smix.lab.evaluations import FOLDER, Evaluation, read_evaluation, write_evaluation
from smix.lab.parts import CORRUPTIONS, UNTOUCHED, Part, parts_of
from smix.lab.subject import EvalTarget, subject_of
from smix.lab.sweep import slug
from smix.paths import same_value
from smix.training.records import subfolders_of_runs
from smix.untrusted import is_file

LONG = 120.0
"""Seconds from which on the expected time is announced."""
TIMED = 100
"""Images that are timed for that."""


def evaluate(
    path: Path | str,
    config: EvaluateConfig | None = None,
    options: MachineOptions | None = None,
    out: Path | str | None = None,
) -> Evaluation:
    """Ask one network about test images, and write what came out to `file_of(...)`; what is there already is not computed again.

    Args:
        path: A finished run; or a file of weights (safetensors, or a torch checkpoint) of the network config.model.
        out: Folder of the file; None: RUN/evaluation, or FILE.evaluation beside a file of weights.

    Raises:
        SmixError: the network, the images, the masks or an option cannot be used, or do not fit each other; or what is there
            is of more images.
    """
    config, options = config or EvaluateConfig(), options or MachineOptions()
    return _evaluate(Path(path), config, options, None if out is None else Path(out))[0]


def evaluate_all(
    folder: Path | str, config: EvaluateConfig | None = None, options: MachineOptions | None = None
) -> tuple[dict[Path, Evaluation], dict[Path, str]]:
    """`evaluate` each run in a folder, one after the other.

    Returns:
        The evaluation of each run; and of those that have none, why: not finished, or something is wrong with them.

    Raises:
        SmixError: there is no run, or none could be evaluated: for the reason of the first.
    """
    folder, config, options = Path(folder), config or EvaluateConfig(), options or MachineOptions()
    paths = subfolders_of_runs(folder)
    if not paths:
        raise RunError(
            f"{folder}: expected a run, a folder of runs or a file of weights, got none; train with smix compare --out {folder}"
        )
    found: dict[Path, Evaluation] = {}
    problems: dict[Path, SmixError] = {}
    left = [path for path in paths if is_file(path / "result.json")]
    said = False
    for number, path in enumerate(paths, 1):
        try:
            which = f" ({number} of {len(paths)})"
            found[path], computed = _evaluate(path, config, options, None, 0 if said else len(left), which)
            said = said or computed
        except SmixError as error:
            problems[path] = error
        left = [other for other in left if other != path]
    if not found:
        raise next(iter(problems.values()))
    return found, {path: str(error) for path, error in problems.items()}


def file_of(path: Path, evaluation: Evaluation, out: Path | None = None) -> Path:
    """Return the file of the evaluation of the network at `path`: test.json for a run's own test images, else after the data."""
    folder = out or (Path(f"{path}.{FOLDER}") if path.is_file() else path / FOLDER)
    if evaluation.own:
        return folder / "test.json"
    for file in sorted(folder.glob("*.json")):  # the same data may have been given by another path
        with suppress(SmixError):
            there = read_evaluation(file)
            if not there.own and same_value("data", there.data, evaluation.data):
                return file
    return folder / f"{slug(evaluation.data)}.json"


def _evaluate(
    path: Path,
    config: EvaluateConfig,
    options: MachineOptions,
    out: Path | None,
    runs: int = 1,
    which: str = "",
) -> tuple[Evaluation, bool]:
    """Return the evaluation, and whether anything was computed.

    Args:
        runs: Number of runs that will take as long; 0 if that was announced before.
        which: Place of this run among them, for the bar.
    """
    subject = subject_of(path, config, options)
    loader = subject.loader()
    parts = parts_of(subject, loader, config)
    evaluation = _nothing_yet(subject, config)
    if out is None and path.is_dir():
        files.check_no_link(path, path / FOLDER)
    file = file_of(path, evaluation, out)
    files.check_writable(file.parent)
    with files.lock(file.parent), threads(options.threads):
        there, other = _there(file, evaluation)
        evaluation = there or evaluation
        todo = [part for part in parts if not part.is_in(evaluation)]
        if not todo:
            return evaluation, False
        if other:
            sys.stderr.write(f"{file}: replaced, for it was of {other}\n")
        if runs and not options.quiet:
            _say_cost(subject, loader, todo, runs)
        shown = 0
        title = f"{path.name}{which} on {subject.named}"
        with progress.bar(title, sum(part.passes for part in todo), quiet=options.quiet) as done:
            for part in todo:

                def more(count: int, what: str = part.what) -> None:
                    nonlocal shown
                    shown += count
                    done(shown, what)

                try:
                    with _in_memory(subject.device, min(part.at_once, len(loader))):
                        evaluation = part.add(evaluation, more)
                except DataError as error:
                    raise DataError(f"{path}: {error}") from None
                write_evaluation(file, evaluation)
        if there is None:
            _compare_with_result(subject, evaluation)
        return evaluation, True


def _nothing_yet(subject: EvalTarget, config: EvaluateConfig) -> Evaluation:
    """Return an evaluation without numbers."""
    return Evaluation(
        data=subject.named,
        fingerprint=subject.data.fingerprint,
        images=len(subject.data),
        weights=subject.classifier.weights,
        numbers={},
        own=subject.own,
        left_out=subject.left_out,
        provenance={
            **subject.classifier.provenance,
            "resized": subject.resized,
            "label_map": None if subject.mapped is None else subject.mapped.said,
            "seed": config.seed,
        },
    )


def _there(file: Path, new: Evaluation) -> tuple[Evaluation | None, str]:
    """Return the evaluation in a file if it is of the same, else what differs.

    Raises:
        RunError: the file is broken.
        OptionError: it is of the same, but of more images.
    """
    if not file.is_file():
        return None, ""
    old = read_evaluation(file)
    pairs = {
        "weights": (old.weights, new.weights),
        "images": (old.fingerprint, new.fingerprint),
        **{name.replace("_", " "): (old.provenance.get(name), value) for name, value in new.provenance.items()},
    }
    for name, (before, now) in pairs.items():
        if before != json.loads(json.dumps(now)):
            return None, f"another {name}" if name not in ("weights", "images") else f"other {name}"
    if old.images > new.images:
        raise OptionError(
            f"{file}: expected no fewer than the {old.images:,} images that it has, got --limit {new.images}; choose another --out"
        )
    return (old, "") if old.images == new.images else (None, f"{old.images:,} images")


def _say_cost(subject: EvalTarget, loader: Loader, todo: Sequence[Part], runs: int) -> None:
    """One line, if it is more than a few minutes by a batch that is timed."""
    if all(part.what == UNTOUCHED for part in todo):
        return
    seconds = runs * _seconds(subject, loader, todo)
    if seconds > LONG:
        what = ", ".join(part.what for part in todo if part.what != UNTOUCHED)
        of = f"{runs} runs, {what}" if runs > 1 else what
        sys.stderr.write(f"{of}, {len(loader):,} images: about {progress.duration(_rounded(seconds))}\n")


def _seconds(subject: EvalTarget, loader: Loader, todo: Sequence[Part]) -> float:
    images, _, _ = next(iter(loader.pixels(torch.arange(min(TIMED, len(loader))))))
    with torch.inference_mode(), _in_memory(subject.device, len(images)):
        subject.model(loader.normalise(images)).cpu()
        begun = time.perf_counter()
        subject.model(loader.normalise(images)).cpu()
        each = (time.perf_counter() - begun) / len(images)
    seconds = each * sum(part.passes for part in todo)
    for part in todo:
        if part.what == CORRUPTIONS:
            begun = time.perf_counter()
            for name in suite.CORRUPTIONS:
                suite.corrupt(images, name, 3, range(len(images)))
            seconds += part.passes * (time.perf_counter() - begun) / len(images) / len(suite.CORRUPTIONS)
    return seconds


@contextmanager
def _in_memory(device: torch.device, at_once: int) -> Iterator[None]:
    """Raise FailedError with advice if so many images at once do not fit in memory inside the block."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        advice = f"use --batch-size {at_once // 2}" if at_once > 1 else "choose another --device"
        raise FailedError(
            f"batch_size: out of memory on {in_words(device)} with {at_once} image{'s' if at_once > 1 else ''} at once; {advice}"
        ) from None


def _rounded(seconds: float) -> float:
    """Round up to minutes below an hour, to ten minutes above."""
    step = 60 if seconds < 3600 else 600
    return step * math.ceil(seconds / step)


def _compare_with_result(subject: EvalTarget, evaluation: Evaluation) -> None:
    """Say it if a run's own test images are judged otherwise than at the end of its training."""
    if subject.run is None or subject.run.result is None or not evaluation.own:
        return
    before, now = subject.run.result.test_accuracy, evaluation.numbers["accuracy"]
    whole = evaluation.images == subject.run.provenance["data"].get("images", {}).get("test")
    if whole and not math.isclose(before, now, abs_tol=1e-9):
        where = f"{subject.run.provenance.get('precision', 'another precision')} on {subject.run.result.device}"
        sys.stderr.write(
            f"{subject.run.path}: test accuracy {100 * now:.2f} %, in result.json {100 * before:.2f} %, computed in {where}: "
            "other machines and precisions round otherwise\n"
        )
