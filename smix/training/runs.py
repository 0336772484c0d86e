"""A run is a folder: what made it, how it went, what came out. `train` fills one, and goes on where it was cut.

config.json           all that made it: options, versions, fingerprints of data and masks, mean and standard deviation
metrics.jsonl         a line an epoch
checkpoint.pt         after every epoch, and when stopped
samples.npz           eight mixes with their plans
weights.safetensors   of the last epoch
predictions.npz       logits and labels of the test split, predicted once, by the last epoch's weights
result.json           last: its presence means done
"""

import dataclasses
import io
import platform
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
import torchvision
from torch import nn

from smix import files, launch, progress, rng
from smix.config import RunOptions, TrainConfig
from smix.data.batches import Batches, Normalisation
from smix.data.sets import ImageSet, balanced_order, load_data
from smix.device import find_device, in_words, threads
from smix.errors import DataError, RunError
from smix.evaluation.accuracy import accuracy, cross_entropy
from smix.evaluation.predict import predict
from smix.masks.lookup import ObjectMasks, masks_of
from smix.mixing import Method, parse_method
from smix.models import build_model
from smix.training.checkpoint import load_checkpoint, save_checkpoint
from smix.training.loop import Progress, fit
from smix.training.recipes import sgd
from smix.training.records import Result, check_same, read_metrics, read_result, read_run, write_metrics
from smix.training.samples import SAMPLES, draw_samples


@dataclass(frozen=True, eq=False)
class Material:
    """What a configuration trains, and on what: loaded and checked."""

    method: Method
    model: nn.Module
    """With the initial weights of the seed, on the CPU."""
    training: ImageSet
    validation: ImageSet
    test: ImageSet
    normalise: Normalisation
    masks: ObjectMasks | None
    """Of the training images; None: the method uses none."""


def train(config: TrainConfig, out: Path | str, options: RunOptions | None = None) -> Result:
    """Train one network in the folder `out`; a run that was cut goes on, one that is done is only read.

    SIGTERM, SIGUSR1 and Ctrl-C write a checkpoint first, then raise KeyboardInterrupt.

    Raises:
        SmixError: the data, the masks or an option cannot be used, `out` holds another run, or the loss is not finite.
    """
    out, options = Path(out), options or RunOptions()
    check_same(out, {"config": config.to_json()})
    material = prepare(config, options)
    made = made_of(config, material)
    with files.lock(out):
        check_same(out, made)
        if (finished := read_result(out)) is not None:
            return finished
        device = find_device(options.device)
        if not (out / "config.json").is_file():
            files.write_json(out / "config.json", {**made, "threads": options.threads or torch.get_num_threads()})
        _write_samples(out, config, material)
        count = options.threads or read_run(out).made.get("threads")  # a run that goes on keeps the count it began with
        with threads(count), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            return _train(config, out, options, material, device)


def prepare(config: TrainConfig, options: RunOptions) -> Material:
    """Load and check everything that a run needs, before anything is written."""
    method = parse_method(config.method)
    whole = load_data(config.data, options.root, "train").loaded()
    training, validation = split(whole.take(config.train_limit), config.val_fraction)
    test = load_data(config.data, options.root, "test").take(config.test_limit).loaded()
    shape = whole.array.shape[1:]
    if test.array.shape[1:] != shape:
        raise DataError(f"{config.data}: expected test images of shape {shape} as in train, got {test.array.shape[1:]}")
    if len(shape) != 3:
        raise DataError(
            f"{config.data}: expected images with 2 spatial dimensions for {config.model}, got size {shape[:-1]}"
        )
    masks = masks_of(training, config.masks) if method.needs_masks else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.key(config.seed, "init"))
        model = build_model(config.model, len(whole.classes), shape[-1])
    return Material(method, model, training, validation, test, Normalisation.of(whole), masks)


def split(data: ImageSet, val_fraction: float) -> tuple[ImageSet, ImageSet]:
    """Training and validation images: class-balanced, and the same for all seeds and methods."""
    order = balanced_order(data.labels, f"validation/{data.fingerprint}")
    count = round(val_fraction * len(data))
    if not 0 < count < len(data) - 1:
        raise DataError(
            f"{data.name}: expected images for training and validation, got {len(data)} with val_fraction {val_fraction}; "
            "take more"
        )
    return data.rows(np.sort(order[count:])), data.rows(np.sort(order[:count]))


def _train(config: TrainConfig, out: Path, options: RunOptions, material: Material, device: torch.device) -> Result:
    train_set, masks = material.training, material.masks
    batches = Batches.of(
        train_set,
        material.normalise,
        device,
        None if masks is None else masks.masks,
        None if masks is None else masks.valid,
    )
    validation = Batches.of(material.validation, material.normalise, device)
    model = material.model.to(device)
    optimizer, schedule = sgd(model, config)
    checkpoint, fingerprint = out / "checkpoint.pt", config.fingerprint()
    at = load_checkpoint(checkpoint, model, optimizer, schedule, fingerprint) if checkpoint.is_file() else Progress()
    metrics = read_metrics(out)[: at.epoch]  # a line may be there whose checkpoint was not written any more
    if len(metrics) < at.epoch:
        raise RunError(
            f"{out}: expected {at.epoch} epochs in metrics.jsonl as in {checkpoint.name}, got {len(metrics)}; "
            f"delete {checkpoint.name} to train from the start"
        )
    steps = batches.steps(config.batch_size)
    per_step = min(config.batch_size, len(batches))
    title = f"{config.method}, seed {config.seed}, on {in_words(device)}"
    with (
        _stop_asked() as stop,
        progress.bar(title, config.epochs * steps * per_step, quiet=options.quiet) as done,
    ):

        def before_a_step() -> bool:
            done((at.epoch * steps + at.step) * per_step)
            return stop()

        for epoch in fit(model, optimizer, schedule, material.method, batches, validation, config, at, before_a_step):
            metrics.append(epoch)
            write_metrics(out, metrics)
            save_checkpoint(checkpoint, model, optimizer, schedule, at, fingerprint)
        if at.epoch < config.epochs:
            save_checkpoint(checkpoint, model, optimizer, schedule, at, fingerprint)
            raise KeyboardInterrupt
        done(config.epochs * steps * per_step)
    test = Batches.of(material.test, material.normalise, device)
    logits, labels = predict(model, test.in_order())
    weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    files.write_bytes(out / "weights.safetensors", safetensors.torch.save(weights))
    _write_npz(out / "predictions.npz", {"logits": logits.numpy(), "labels": labels.numpy()})
    result = Result(
        test_accuracy=accuracy(logits, labels),
        test_loss=cross_entropy(logits, labels),
        val_accuracy=metrics[-1].val_accuracy,
        epochs=config.epochs,
        images_seen=config.epochs * steps * per_step,
        seconds=sum(epoch.seconds for epoch in metrics),
        device=in_words(device),
    )
    files.write_json(out / "result.json", dataclasses.asdict(result))
    return result


@contextmanager
def _stop_asked() -> Iterator[Callable[[], bool]]:
    """Inside the block a signal to stop is noted, and said when asked for; a second one stops at once."""
    asked = False

    def note(signum: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    with launch.on_signals((signal.SIGTERM, signal.SIGUSR1, signal.SIGINT), note):
        yield lambda: asked or launch.orphaned()


def made_of(config: TrainConfig, material: Material) -> dict[str, Any]:
    """The content of config.json: all that makes a run."""
    sets = (material.training, material.validation, material.test)
    return {
        "config": config.to_json(),
        "versions": {
            "smix": version("smix"),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "numpy": np.__version__,
        },
        "data": {
            "fingerprint_train": material.training.fingerprint,
            "fingerprint_test": material.test.fingerprint,
            "images": dict(zip(("training", "validation", "test"), map(len, sets), strict=True)),
            "classes": list(material.training.classes),
        },
        "masks": None if material.masks is None else material.masks.described,
        "normalisation": dataclasses.asdict(material.normalise),
    }


def _write_samples(out: Path, config: TrainConfig, material: Material) -> None:
    if (out / "samples.npz").is_file():
        return
    data, masks = material.training, material.masks
    chosen = balanced_order(data.labels, data.fingerprint)[:SAMPLES]
    samples = draw_samples(
        material.method,
        data.rows(chosen),
        config.seed,
        None if masks is None else masks.masks[chosen],
        None if masks is None or masks.valid is None else masks.valid[chosen],
    )
    _write_npz(out / "samples.npz", vars(samples))


def _write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    files.write_bytes(path, buffer.getvalue())
