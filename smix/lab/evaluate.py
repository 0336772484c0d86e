"""Evaluate trained networks: `smix evaluate`.

Each suite is written when it is finished, and is not computed again while weights, images and options are the same.
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
from smix.errors import DataError, OptionError, RunError, SmixError, TemporaryError
from smix.evaluation.corruptions import suite as corruptions
from smix.evaluation.records import FOLDER, Evaluation, read_evaluation, write_evaluation
from smix.lab.suites import CLEAN, CORRUPTIONS, Suite, requested_suites
from smix.lab.sweep import slug
from smix.lab.target import EvalTarget, load_target
from smix.paths import same_value
from smix.training.records import subfolders_of_runs
from smix.untrusted import is_file

ANNOUNCED_SECONDS = 120.0
"""Expected duration in seconds above which it is printed."""
TIMED_IMAGES = 100
"""Number of images in the batch from which the duration is estimated."""


def evaluate(
    path: Path | str,
    config: EvaluateConfig | None = None,
    options: MachineOptions | None = None,
    out: Path | str | None = None,
) -> Evaluation:
    """Evaluate one network on a test set. Suites that were computed before are read from the file of the evaluation.

    Args:
        path: Folder of a finished run, or a weights file (safetensors or a torch checkpoint) of the model config.model.
        config: Data and suites. Default: the run's own test images without modification.
        options: Machine options. Default: `MachineOptions()`.
        out: Folder of the file. Default: RUN/evaluation, or FILE.evaluation next to a weights file.

    Raises:
        SmixError: The network, the images, the masks or an option cannot be used or do not fit each other, or the existing
            evaluation has more images.

    >>> import smix, tempfile
    >>> config = smix.TrainConfig(data="digits-on-photos", train_limit=60, test_limit=20, model="resnet8", epochs=1)
    >>> options = smix.RunOptions(device="cpu", quiet=True)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = smix.train(config, folder, options)
    ...     evaluation = smix.evaluate(folder, smix.EvaluateConfig(masks="carried"), options)
    >>> evaluation.images, evaluation.numbers["accuracy"] == result.test_accuracy
    (20, True)
    """
    config, options = config or EvaluateConfig(), options or MachineOptions()
    return _evaluate(Path(path), config, options, None if out is None else Path(out))[0]


def evaluate_all(
    folder: Path | str, config: EvaluateConfig | None = None, options: MachineOptions | None = None
) -> tuple[dict[Path, Evaluation], dict[Path, str]]:
    """Evaluate each run in a folder: see `evaluate`.

    Returns:
        The evaluations by run, and the reasons why other runs could not be evaluated.

    Raises:
        SmixError: There is no run, or none could be evaluated, for the reason of the first.
    """
    folder, config, options = Path(folder), config or EvaluateConfig(), options or MachineOptions()
    paths = subfolders_of_runs(folder)
    if not paths:
        raise RunError(
            f"{folder}: expected a run, a folder of runs or a weights file, got none; train with smix compare --out {folder}"
        )
    evaluations: dict[Path, Evaluation] = {}
    problems: dict[Path, SmixError] = {}
    announced = False
    for number, path in enumerate(paths):
        runs = 0 if announced else sum(is_file(other / "result.json") for other in paths[number:])
        try:
            evaluations[path], computed = _evaluate(
                path, config, options, None, runs, f" ({number + 1} of {len(paths)})"
            )
            announced = announced or computed
        except SmixError as error:
            problems[path] = error
    if not evaluations:
        raise next(iter(problems.values()))
    return evaluations, {path: str(error) for path, error in problems.items()}


def file_of(path: Path, evaluation: Evaluation, out: Path | None = None) -> Path:
    """Return the file of an evaluation: test.json for the test images of the run itself, else named after the data.

    Args:
        path: Run or weights file.
        evaluation: Its evaluation.
        out: Folder of the file. Default: see `evaluate`.
    """
    folder = out or (Path(f"{path}.{FOLDER}") if path.is_file() else path / FOLDER)
    if evaluation.own:
        return folder / "test.json"
    for file in sorted(folder.glob("*.json")):  # the same data may have been named by another path
        with suppress(SmixError):
            existing = read_evaluation(file)
            if not existing.own and same_value("data", existing.data, evaluation.data):
                return file
    return folder / f"{slug(evaluation.data)}.json"


def _evaluate(
    path: Path, config: EvaluateConfig, options: MachineOptions, out: Path | None, runs: int = 1, place: str = ""
) -> tuple[Evaluation, bool]:
    """Return the evaluation, and whether anything was computed.

    Args:
        runs: Number of runs that take as long; 0 if their time was announced before.
        place: Index of this run among them as text, for the progress bar.
    """
    target = load_target(path, config, options)
    loader = target.loader()
    suites = requested_suites(target, loader)
    evaluation = _empty(target)
    if out is None and path.is_dir():
        files.check_no_link(path, path / FOLDER)
    file = file_of(path, evaluation, out)
    files.check_writable(file.parent)
    with files.lock(file.parent), threads(options.threads):
        existing, difference = _existing(file, evaluation)
        evaluation = existing or evaluation
        missing = [suite for suite in suites if not suite.is_done(evaluation)]
        if not missing:
            return evaluation, False
        if difference:
            sys.stderr.write(f"{file}: replaced, since it was computed with {difference}\n")
        if runs and not options.quiet:
            _announce(target, loader, missing, runs)
        passes = 0
        title = f"{path.name}{place} on {target.name}"
        with progress.bar(title, sum(suite.passes for suite in missing), quiet=options.quiet) as update:
            for suite in missing:

                def advance(count: int, name: str = suite.name) -> None:
                    nonlocal passes
                    passes += count
                    update(passes, name)

                try:
                    with _in_memory(target.device, min(suite.at_once, len(loader))):
                        evaluation = suite.add(evaluation, advance)
                except DataError as error:
                    raise DataError(f"{path}: {error}") from None
                write_evaluation(file, evaluation)
        if existing is None:
            _compare_with_result(target, evaluation)
        return evaluation, True


def _empty(target: EvalTarget) -> Evaluation:
    """Return an evaluation without results."""
    return Evaluation(
        data=target.name,
        fingerprint=target.data.fingerprint,
        images=len(target.data),
        weights=target.classifier.weights,
        numbers={},
        own=target.own,
        left_out=target.left_out,
        provenance={
            **target.classifier.provenance,
            "resized": target.resized,
            "label_map": None if target.mapping is None else target.mapping.classes,
            "seed": target.config.seed,
        },
    )


def _existing(file: Path, new: Evaluation) -> tuple[Evaluation | None, str]:
    """Return the evaluation in a file if it has the same inputs as `new`, else what differs.

    Raises:
        RunError: The file is damaged.
        OptionError: It has the same inputs, but more images.
    """
    if not file.is_file():
        return None, ""
    old = read_evaluation(file)
    pairs = {
        "different weights": (old.weights, new.weights),
        "different images": (old.fingerprint, new.fingerprint),
        **{
            f"a different {name.replace('_', ' ')}": (old.provenance.get(name), value)
            for name, value in new.provenance.items()
        },
    }
    for difference, (saved, current) in pairs.items():
        if saved != json.loads(json.dumps(current)):
            return None, difference
    if old.images > new.images:
        raise OptionError(
            f"{file}: contains results for {old.images:,} images, more than --limit {new.images}; raise --limit, or choose another --out"
        )
    return (old, "") if old.images == new.images else (None, f"{old.images:,} images")


def _announce(target: EvalTarget, loader: Loader, missing: Sequence[Suite], runs: int) -> None:
    """Print the expected time if it is more than a few minutes."""
    if all(suite.name == CLEAN for suite in missing):
        return
    seconds = runs * _expected_seconds(target, loader, missing)
    if seconds > ANNOUNCED_SECONDS:
        step = 60 if seconds < 3600 else 600
        names = ", ".join(suite.name for suite in missing if suite.name != CLEAN)
        count = f"{runs} runs, {names}" if runs > 1 else names
        rounded = progress.duration(step * math.ceil(seconds / step))
        sys.stderr.write(f"{count}, {len(loader):,} images: about {rounded}\n")


def _expected_seconds(target: EvalTarget, loader: Loader, missing: Sequence[Suite]) -> float:
    images, _, _ = next(iter(loader.pixels(torch.arange(min(TIMED_IMAGES, len(loader))))))
    with torch.inference_mode(), _in_memory(target.device, len(images)):
        target.model(loader.normalise(images)).cpu()
        started = time.perf_counter()
        target.model(loader.normalise(images)).cpu()
        per_image = (time.perf_counter() - started) / len(images)
    seconds = per_image * sum(suite.passes for suite in missing)
    for suite in missing:
        if suite.name == CORRUPTIONS:
            started = time.perf_counter()
            for name in corruptions.CORRUPTIONS:
                corruptions.corrupt(images, name, 3, range(len(images)))
            seconds += suite.passes * (time.perf_counter() - started) / len(images) / len(corruptions.CORRUPTIONS)
    return seconds


@contextmanager
def _in_memory(device: torch.device, at_once: int) -> Iterator[None]:
    """Raise TemporaryError with advice if `at_once` images do not fit in memory inside the block."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        advice = f"use --batch-size {at_once // 2}" if at_once > 1 else "choose another --device"
        raise TemporaryError(
            f"batch_size: out of memory on {in_words(device)} with {at_once} image{'s' if at_once > 1 else ''} at once; {advice}"
        ) from None


def _compare_with_result(target: EvalTarget, evaluation: Evaluation) -> None:
    """Print a line if the accuracy on the run's own test images differs from that at the end of training."""
    run = target.run
    if run is None or run.result is None or not evaluation.own:
        return
    trained, evaluated = run.result.test_accuracy, evaluation.numbers["accuracy"]
    complete = evaluation.images == run.provenance["data"].get("images", {}).get("test")
    if complete and not math.isclose(trained, evaluated, abs_tol=1e-9):
        setting = f"{run.provenance.get('precision', 'another precision')} on {run.result.device}"
        sys.stderr.write(
            f"{run.path}: test accuracy {100 * evaluated:.2f} %, in result.json {100 * trained:.2f} %, computed in {setting}: "
            "other machines and precisions round differently\n"
        )
