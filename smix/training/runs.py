"""A run is a folder: what made it, how it went, what came out. `train` fills one, and goes on where it was cut.

config.json           all that made it: options, versions, fingerprints of data and masks, mean and standard deviation
metrics.jsonl         a line an epoch
checkpoint.pt         after every epoch, and when stopped
samples.npz           eight mixes with their plans
weights.safetensors   of the last epoch
predictions.npz       logits and labels of the test split, predicted once, by the last epoch's weights
validation.npz        the same of the validation images; not there where they are trained on
result.json           last: its presence means done
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
from torch import Tensor

from smix import files, launch, progress
from smix.config import RunOptions, TrainConfig
from smix.data.batches import Loader
from smix.device import find_device, in_words, threads
from smix.errors import DivergedError, OptionError, RunError
from smix.evaluation.accuracy import accuracy, cross_entropy
from smix.evaluation.predict import predict
from smix.training.checkpoint import load_checkpoint, save_checkpoint
from smix.training.distributed import World, joined
from smix.training.learner import Learner, precision
from smix.training.loop import Epoch, Progress, fit
from smix.training.material import RunInputs, prepare, provenance_of
from smix.training.memory import evaluating, in_memory
from smix.training.records import (
    Result,
    check_same,
    read_metrics,
    read_result,
    read_run,
    write_diverged,
    write_metrics,
    write_provenance,
    write_result,
)
from smix.training.tensorboard import board, check_installed

CHECKPOINT_SECONDS = 600.0
"""At least so often a checkpoint is written within an epoch, too."""


def train(config: TrainConfig, out: Path | str, options: RunOptions | None = None) -> Result:
    """Train one network in the folder `out`; an interrupted run resumes where it stopped.

    If the run is already finished with this configuration, only its result is read, even if its data were removed or changed.

    SIGTERM, SIGUSR1 and Ctrl-C write a checkpoint first, then raise KeyboardInterrupt. Started by torchrun, it is one of the
    processes that train together.

    Raises:
        SmixError: the data, the masks or an option cannot be used, `out` holds another run, or the loss is not finite.
    """
    out, options = Path(out), options or RunOptions()
    device = find_device(options.device)
    with joined(device) as world, ExitStack() as held:
        material = None
        if world.is_main():  # by itself: it downloads what is missing, and what is wrong is said once
            with world.main_first():
                material = _begin(config, out, options, world, held)
        else:
            world.wait()
        if (finished := read_result(out)) is not None:
            return finished
        material = material or prepare(config, options)
        provenance = read_run(out).provenance  # a run that goes on computes as it began
        count = options.threads or provenance.get("threads")
        seeded = torch.random.fork_rng(devices=[world.device] if world.device.type == "cuda" else [])
        with threads(count), seeded:
            try:
                learner = Learner.of(material.model, config, world, options.compile)
                if "precision" in provenance:
                    learner = dataclasses.replace(learner, precision=getattr(torch, provenance["precision"]))
                return _train(config, out, options, material, learner, world)
            except RuntimeError as error:
                raise in_memory(error, config, world.device) from None


def _begin(config: TrainConfig, out: Path, options: RunOptions, world: World, held: ExitStack) -> RunInputs | None:
    """Check everything, hold the folder, and write what the run is made of; None if the run is finished."""
    check_same(out, {"config": config.to_json()})
    if read_result(out) is not None:  # nothing is loaded: data and masks may have been moved away since
        return None
    files.check_writable(out)
    if (out / "config.json").is_file() and (
        begun := read_run(out).provenance.get("processes", world.size)
    ) != world.size:
        raise RunError(
            f"{out}: expected {begun} processes, as it began with, got {world.size}: each mixes by draws of its own; choose another --out"
        )
    if config.batch_size % world.size:
        raise OptionError(f"batch_size: expected a multiple of {world.size} processes, got {config.batch_size}")
    if options.tensorboard:
        check_installed()
    material = prepare(config, options)
    if world.size > 1 and len(material.training) < config.batch_size:
        raise OptionError(
            f"batch_size: expected at most the {len(material.training)} training images with several processes, got {config.batch_size}"
        )
    provenance = provenance_of(config, material)
    held.enter_context(files.lock(out))
    check_same(out, provenance)
    if not (out / "config.json").is_file():
        how = {
            "threads": options.threads or torch.get_num_threads(),
            "precision": str(precision(world.device)).removeprefix("torch."),
            "memory_format": "channels last",
            "compile": options.compile,
            "device": in_words(world.device, options.threads),
            "processes": world.size,
        }
        write_provenance(out, {**provenance, **how})
    if not (out / "samples.npz").is_file():
        _write_npz(out / "samples.npz", material.samples(config.seed).arrays())
    return material


def _train(
    config: TrainConfig, out: Path, options: RunOptions, material: RunInputs, learner: Learner, world: World
) -> Result:
    device = world.device
    batches = material.training_loader(config, device, options)
    validation = material.loader(material.validation, device, options)
    checkpoint = out / "checkpoint.pt"
    metrics = read_metrics(out)
    at = load_checkpoint(checkpoint, learner, config, metrics) if checkpoint.is_file() else Progress()
    del metrics[at.epoch :]  # a line may be there whose checkpoint was not written any more
    steps = batches.steps(config.batch_size)
    per_step = min(config.batch_size, len(batches))
    total = config.epochs * steps * per_step
    title = f"{config.method}, seed {config.seed}"
    if not options.quiet and world.is_main():
        each = f"{world.size} x " if world.size > 1 else ""
        exactly = str(learner.precision).removeprefix("torch.")
        sys.stderr.write(f"{config.data}: {material.said()}; {each}{in_words(device)}, {exactly}\n")
    validated = "validated" if config.val_fraction else "on training images"
    saved, good = time.monotonic(), at.epoch * steps + at.step

    def save() -> None:
        nonlocal saved, good
        good = at.epoch * steps + at.step
        if world.is_main():
            save_checkpoint(checkpoint, learner, at, config, metrics)
        saved = time.monotonic()

    with (
        _stop_asked(twice=world.size == 1) as stop,
        progress.bar(title, total, quiet=options.quiet or not world.is_main()) as done,
        board(out, options.tensorboard and world.is_main(), at.epoch) as shown,
    ):

        def before_a_step() -> bool:
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                save()
            done((at.epoch * steps + at.step) * per_step, _so_far(at, metrics, validated))
            return stop()

        try:
            for epoch in fit(learner, material.method, batches, validation, config, at, before_a_step, world):
                metrics.append(epoch)
                if world.is_main():
                    write_metrics(out, metrics)
                save()
                if shown is not None:
                    shown.show(epoch, material.samples(config.seed + epoch.epoch))
        except DivergedError as error:
            if not world.is_main():  # all processes find it at once
                raise SystemExit(1) from None
            raise DivergedError(f"{error}{_last_good(checkpoint, good)}") from None
        if at.epoch < config.epochs:
            save()
            world.wait()  # the first that ends makes torchrun end the others
            raise KeyboardInterrupt
        done(total, _so_far(at, metrics, validated))

    def predicted(loader: Loader) -> tuple[Tensor, Tensor]:
        with learner.autocast(), evaluating(loader, device):
            logits, labels = predict(learner.eval_model, loader.in_order(world.rank, world.size))
        return world.gather(logits, len(loader)), world.gather(labels, len(loader))

    kept = predicted(validation) if config.val_fraction else None
    logits, labels = predicted(material.loader(material.test, device, options))
    if not logits.isfinite().all() or not (kept is None or kept[0].isfinite().all()):
        why = (
            "expected finite predictions of the trained network, got NaN or infinity on test or validation images; "
            f"train it again with a lower learning rate than {config.lr} in a new folder"
        )
        if world.is_main():
            write_diverged(out, why)
        world.wait()
        raise DivergedError(f"{out}: {why}")
    result = Result(
        test_accuracy=accuracy(logits, labels),
        test_loss=cross_entropy(logits, labels),
        val_accuracy=metrics[-1].val_accuracy,
        epochs=config.epochs,
        images_seen=total,
        seconds=sum(epoch.seconds for epoch in metrics),
        device=in_words(device),
    )
    if world.is_main():
        _write_end(out, learner, {"predictions": (logits, labels), "validation": kept}, result)
    world.wait()
    return result


def _write_end(
    out: Path, learner: Learner, predictions: dict[str, tuple[Tensor, Tensor] | None], result: Result
) -> None:
    weights = {name: tensor.cpu().contiguous() for name, tensor in learner.eval_model.state_dict().items()}
    files.write_bytes(out / "weights.safetensors", safetensors.torch.save(weights))
    for name, pair in predictions.items():
        if pair is not None:
            _write_npz(out / f"{name}.npz", {"logits": pair[0].numpy(), "labels": pair[1].numpy()})
    write_result(out, result)


def _so_far(at: Progress, metrics: list[Epoch], validated: str) -> str:
    """Describe the current epoch and the result of the last one, for the progress bar."""
    parts = []
    if at.step:
        parts.append(f"loss {at.loss_sum / at.step:.3f}, weighted accuracy {100 * at.accuracy_sum / at.step:.1f} %")
    if metrics:
        parts.append(f"{validated} {100 * metrics[-1].val_accuracy:.1f} %")
    return ", ".join(parts)


def _last_good(checkpoint: Path, good: int) -> str:
    if not checkpoint.is_file():
        return "; there is no checkpoint yet"
    return f"; the last good checkpoint, {checkpoint}, is of step {good}"


@contextmanager
def _stop_asked(twice: bool) -> Iterator[Callable[[], bool]]:
    """Inside the block a signal to stop is noted, and said when asked for; a second one stops at once, if `twice`: torchrun passes
    on a signal that a cluster may have sent to its processes already."""
    asked = False

    def note(signum: int, frame: object) -> None:
        nonlocal asked
        if asked and twice:
            raise KeyboardInterrupt
        asked = True

    with launch.on_signals(launch.STOP_OR_CTRL_C, note):
        yield lambda: asked or launch.orphaned()


def _write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    files.write_bytes(path, buffer.getvalue())
