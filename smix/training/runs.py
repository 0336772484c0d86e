"""Train one network in a run folder, and resume it where it was interrupted. A run folder contains:

config.json           provenance: options, versions, fingerprints of data and masks, mean and standard deviation
metrics.jsonl         one line per epoch
checkpoint.pt         written after every epoch, and when the run is stopped
samples.npz           eight mixes with their plans
weights.safetensors   weights of the last epoch, or with early stopping of the best one
predictions.npz       logits and labels of the test split, computed once with these weights
validation.npz        the same for the validation images; missing if none are held out
split.csv             path,label,split of each image, if the data set names no test images and smix has drawn them
result.json           written last: a run with a result is finished
"""

import dataclasses
import io
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from smix import files, progress, signals
from smix.config import RunOptions, TrainConfig
from smix.data.batches import Loader
from smix.data.drawn_split import write_split
from smix.data.outputs import check_outside
from smix.device import find_device, in_words, threads
from smix.errors import DivergedError, OptionError, RunError
from smix.evaluation.accuracy import accuracy, cross_entropy
from smix.training.checkpoint import load_checkpoint, save_checkpoint
from smix.training.distributed import World, joined
from smix.training.inputs import RunInputs, prepare
from smix.training.learner import Learner, precision
from smix.training.loop import Epoch, Progress, fit, predictions
from smix.training.memory import in_memory
from smix.training.own_images import load_own
from smix.training.records import (
    SPLIT,
    Result,
    Run,
    check_same,
    read_metrics,
    read_result,
    read_run,
    write_diverged,
    write_metrics,
    write_provenance,
    write_result,
)
from smix.training.stopping import is_finished, result_epoch
from smix.training.trackers import RunRecord, check_trackers, tracking

CHECKPOINT_SECONDS = 600.0
"""Seconds between two checkpoints within an epoch."""


def train(config: TrainConfig, out: Path | str, options: RunOptions | None = None) -> Result:
    """Train one network in the folder `out`. An interrupted run resumes where it stopped; a finished run is not trained
    again.

    SIGTERM, SIGUSR1 and Ctrl-C write a checkpoint, then raise KeyboardInterrupt. Processes that torchrun starts train together.

    Args:
        config: Options that define the run.
        out: Folder of the run: a new folder, or one that holds the same run.
        options: Machine options. Default: `RunOptions()`.

    Returns:
        Result of the finished run.

    Raises:
        SmixError: The data, the masks or an option cannot be used, or `out` holds another run.
        DivergedError: The loss, the gradient or a prediction is not finite.

    >>> import smix, tempfile
    >>> config = smix.TrainConfig(data="digits-on-photos", train_limit=60, test_limit=20, model="resnet8", epochs=1, method="smix")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = smix.train(config, folder, smix.RunOptions(device="cpu", quiet=True))
    >>> result.epochs, result.images_seen
    (1, 54)
    """
    out, options = Path(out), options or RunOptions()
    device = find_device(options.device)
    with joined(device) as world, ExitStack() as held:
        inputs = None
        if world.is_main():  # before the others, so that data is downloaded and an error is reported only once
            with world.main_first():
                inputs = _start(config, out, options, world, held)
        else:
            world.wait_for_main()
        if (finished := read_result(out)) is not None:
            return finished
        run = read_run(out)
        inputs = inputs or _inputs(config, options, run)
        provenance = run.provenance  # a resumed run keeps its precision and number of threads
        seeded = torch.random.fork_rng(devices=[world.device] if world.device.type == "cuda" else [])
        with threads(options.threads or provenance.get("threads")), seeded:
            try:
                learner = Learner.of(inputs.model, config, world, options.compile)
                if "precision" in provenance:
                    learner = dataclasses.replace(learner, precision=getattr(torch, provenance["precision"]))
                learner = dataclasses.replace(learner, class_weight=inputs.class_weight(world.device))
                return _train(inputs, out, options, learner, world)
            except RuntimeError as error:
                raise in_memory(error, config, world.device) from None


def _start(config: TrainConfig, out: Path, options: RunOptions, world: World, held: ExitStack) -> RunInputs | None:
    """Check all inputs, lock the folder, and write the provenance of a new run. Return None if the run is finished."""
    check_same(out, {"config": config.to_json()})
    if read_result(out) is not None:  # data and masks are not loaded, since they may have been moved
        return None
    check_outside(out, config.data)
    files.check_writable(out)
    existing = (out / "config.json").is_file()
    if existing and (processes := read_run(out).provenance.get("processes", world.size)) != world.size:
        raise RunError(
            f"{out}: this run was started with {processes} processes, got {world.size}; start as many, or choose another --out"
        )
    if config.batch_size % world.size:
        raise OptionError(f"batch_size: expected a multiple of {world.size} processes, got {config.batch_size}")
    check_trackers(options.track)
    inputs = _inputs(config, options, read_run(out) if existing else None)
    if world.size > 1 and len(inputs.training) < config.batch_size:
        raise OptionError(
            f"batch_size: with several processes expected at most {len(inputs.training)}, the number of training images, got "
            f"{config.batch_size}"
        )
    provenance = inputs.provenance()
    held.enter_context(files.lock(out))
    check_same(out, provenance)
    if not existing:
        machine = {
            "threads": options.threads or torch.get_num_threads(),
            "precision": str(precision(world.device)).removeprefix("torch."),
            "memory_format": "channels last",
            "compile": options.compile,
            "device": in_words(world.device, options.threads),
            "processes": world.size,
        }
        write_provenance(out, {**provenance, **machine})
    if inputs.drawn is not None and not (out / SPLIT).is_file():
        write_split(out / SPLIT, inputs.drawn)
    if not (out / "samples.npz").is_file():
        _write_npz(out / "samples.npz", inputs.samples(config.seed).arrays())
    return inputs


def _inputs(config: TrainConfig, options: RunOptions, run: Run | None) -> RunInputs:
    """Load the inputs of a run; of one that has started, with the images in its split.csv."""
    if run is None or not (run.path / SPLIT).is_file():
        return prepare(config, options)
    return prepare(config, options, tuple(load_own(run, options.data_root, split) for split in ("train", "test")))


def _train(inputs: RunInputs, out: Path, options: RunOptions, learner: Learner, world: World) -> Result:
    """Train from the last checkpoint to the end, evaluate, and write the result."""
    config, device = inputs.config, world.device
    batches = inputs.training_loader(device, options)
    validation = inputs.loader(inputs.validation, device, options)
    checkpoint = out / "checkpoint.pt"
    metrics = read_metrics(out)
    at = load_checkpoint(checkpoint, learner, config, metrics) if checkpoint.is_file() else Progress()
    del metrics[at.epoch :]  # the process may have been killed after writing an epoch and before its checkpoint
    steps = batches.steps(config.batch_size, world.size)
    images_per_step = min(config.batch_size, len(batches))
    per_epoch = batches.images_per_epoch(config.batch_size, world.size)
    total = config.epochs * per_epoch
    quiet = options.quiet or not world.is_main()
    if not quiet:
        processes = f"{world.size} x " if world.size > 1 else ""
        dtype = str(learner.precision).removeprefix("torch.")
        if inputs.loaded and not at.epoch and not at.step:
            sys.stderr.write(f"{inputs.loaded}\n")
        sys.stderr.write(f"{config.data}: {inputs.describe()}; {processes}{in_words(device)}, {dtype}\n")
        for line in (*inputs.notes, *_left_out(len(batches), per_epoch)):
            sys.stderr.write(f"{line}\n")
    validated = "validated" if inputs.held_out else "on training images"
    saved, last_step = time.monotonic(), at.epoch * steps + at.step

    def save() -> None:
        nonlocal saved, last_step
        last_step = at.epoch * steps + at.step
        if world.is_main():
            save_checkpoint(checkpoint, learner, at, config, metrics)
        saved = time.monotonic()

    with (
        _stop_requested(twice=world.size == 1) as stop,
        progress.bar(f"{config.method}, seed {config.seed}", total, quiet=quiet) as update,
        tracking(
            RunRecord(out, config, read_run(out).provenance), options.track if world.is_main() else None, at.epoch
        ) as trackers,
    ):

        def before_step() -> bool:
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                save()
            update(at.epoch * per_epoch + at.step * images_per_step, _describe(at, metrics, validated))
            return stop()

        try:
            training = fit(learner, inputs.method, batches, validation, config, at, before_step, world)
            for epoch in () if is_finished(config, metrics) else training:
                metrics.append(epoch)
                if config.patience is not None and result_epoch(config, metrics) is epoch:
                    learner.keep_best()
                if world.is_main():
                    write_metrics(out, metrics)
                save()
                for tracker in trackers:
                    tracker.log_epoch(epoch, inputs.samples(config.seed + epoch.epoch))
                if at.epoch < config.epochs and is_finished(config, metrics):
                    break
        except DivergedError as error:
            if not world.is_main():  # all processes raise it at the same step
                raise SystemExit(1) from None
            last = f"The last checkpoint before this is {checkpoint}, step {last_step}"
            raise DivergedError(f"{error}. {last if checkpoint.is_file() else 'No checkpoint was saved'}") from None
        if not is_finished(config, metrics):
            save()
            world.wait_for_main()  # torchrun stops all processes when one ends, also while it writes a checkpoint
            raise KeyboardInterrupt
        update(total, _describe(at, metrics, validated))
        if config.patience is not None:
            learner.restore_best()
        result = _evaluate(inputs, out, options, learner, world, validation, metrics, at.epoch * per_epoch)
        for tracker in trackers:
            tracker.log_result(result)
    return result


def _evaluate(
    inputs: RunInputs,
    out: Path,
    options: RunOptions,
    learner: Learner,
    world: World,
    validation: Loader,
    metrics: list[Epoch],
    images_seen: int,
) -> Result:
    """Predict the validation and test images with the weights of the result, and write weights, predictions and result."""
    config = inputs.config
    outputs = {"validation": predictions(learner, validation, world)} if inputs.held_out else {}
    test = inputs.loader(inputs.test, world.device, options)
    outputs["predictions"] = logits, labels = predictions(learner, test, world)
    if not all(pair[0].isfinite().all() for pair in outputs.values()):
        reason = (
            "the trained network predicts NaN or infinity for test or validation images; "
            f"train it again with a learning rate below {config.lr} in a new folder"
        )
        if world.is_main():
            write_diverged(out, reason)
        world.wait_for_main()
        raise DivergedError(f"{out}: {reason}")
    result = Result(
        test_accuracy=accuracy(logits, labels),
        test_loss=cross_entropy(logits, labels),
        val_accuracy=result_epoch(config, metrics).val_accuracy,
        epochs=len(metrics),
        images_seen=images_seen,
        seconds=sum(epoch.seconds for epoch in metrics),
        device=in_words(world.device),
    )
    if world.is_main():
        weights = {name: tensor.cpu().contiguous() for name, tensor in learner.eval_model.state_dict().items()}
        files.write_bytes(out / "weights.safetensors", safetensors.torch.save(weights))
        for name, pair in outputs.items():
            _write_npz(out / f"{name}.npz", {"logits": pair[0].numpy(), "labels": pair[1].numpy()})
        write_result(out, result)
    world.wait_for_main()
    return result


def _left_out(images: int, per_epoch: int) -> list[str]:
    """Return a line about the images that an epoch leaves out."""
    missing = images - per_epoch
    if not missing:
        return []
    share = f"{100 * missing / images:.1f} %"
    return [
        f"The last batch of each epoch is left out: {missing:,} of {images:,} images ({share}), others in each epoch"
    ]


def _describe(at: Progress, metrics: list[Epoch], validated: str) -> str:
    """Describe the current epoch and the result of the last one, for the progress bar."""
    parts = []
    if at.step:
        parts.append(f"loss {at.loss_sum / at.step:.3f}, weighted accuracy {100 * at.accuracy_sum / at.step:.1f} %")
    if metrics:
        parts.append(f"{validated} {100 * metrics[-1].val_accuracy:.1f} %")
    return ", ".join(parts)


@contextmanager
def _stop_requested(twice: bool) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a signal to stop was received inside the block, or the parent process has ended.

    If `twice`, a second signal raises KeyboardInterrupt at once. That is unsuitable for torchrun, which forwards signals that a cluster
    may have sent to its processes, too.
    """
    requested = False

    def note(signum: int, frame: object) -> None:
        nonlocal requested
        if requested and twice:
            raise KeyboardInterrupt
        requested = True

    with signals.on_signals(signals.STOP_OR_CTRL_C, note):
        yield lambda: requested or signals.orphaned()


def _write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    files.write_bytes(path, buffer.getvalue())
