"""The training loop. Data, masks, mixing and network meet here; the order of events is the order of the lines."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from smix import rng
from smix.config import TrainConfig
from smix.data.batches import Batches
from smix.errors import DivergedError
from smix.evaluation.accuracy import accuracy, cross_entropy
from smix.evaluation.predict import predict
from smix.mixing import Method


@dataclass
class Progress:
    """How far a training is, and what its current epoch has summed up; with the weights it is all that resuming needs."""

    epoch: int = 0
    """Finished epochs."""
    step: int = 0
    """Finished steps of the current epoch."""
    loss: float = 0.0
    fell_back: int = 0
    """Samples that `Fallback` gave to its second method."""
    seconds: float = 0.0

    def begin(self, epoch: int) -> None:
        """Nothing is summed up yet of the epoch after `epoch` finished ones."""
        self.epoch, self.step, self.loss, self.fell_back, self.seconds = epoch, 0, 0.0, 0, 0.0


@dataclass(frozen=True)
class Epoch:
    """A line of metrics.jsonl."""

    epoch: int
    """From 1."""
    lr: float
    train_loss: float
    """Mean loss of the mixed batches, in nats."""
    fell_back: float
    """Share of the samples that `Fallback` gave to its second method."""
    val_loss: float
    val_accuracy: float
    seconds: float
    """Of training and validation."""


def fit(
    model: nn.Module,
    optimizer: Optimizer,
    schedule: LRScheduler,
    method: Method,
    train: Batches,
    validation: Batches,
    config: TrainConfig,
    progress: Progress,
    stop: Callable[[], bool],
) -> Iterator[Epoch]:
    """Train from where `progress` stands, and yield after each epoch. The model and `progress` are changed in place.

    Every random number is keyed by (seed, purpose, step), so a resumed training equals an unbroken one. Where `stop()`
    says so, the iteration ends between two steps.

    Raises:
        DivergedError: the loss is not finite; the weights are still those before this step. Or predictions are not, at the end
            of an epoch.
    """
    steps = train.steps(config.batch_size)
    while progress.epoch < config.epochs:
        started = time.monotonic() - progress.seconds
        lr = optimizer.param_groups[0]["lr"]
        model.train()
        batches = train.shuffled(
            config.seed, progress.epoch, config.batch_size, config.crop, config.flip, progress.step
        )
        for images, labels, masks, valid in batches:
            if stop():
                progress.seconds = time.monotonic() - started
                return
            step = progress.epoch * steps + progress.step
            torch.manual_seed(rng.key(config.seed, "model", step))
            draws = rng.generator(config.seed, "mix", step, device=images.device)
            mixed, target = method(images, labels, masks=masks, valid=valid, generator=draws)
            loss = target.loss(model(mixed))
            # Waits for the device, once a step: the price of never training on from a broken loss.
            value, fell_back = torch.stack((loss.detach(), target.fell_back.sum().to(loss.dtype))).tolist()
            if not math.isfinite(value):
                raise DivergedError(
                    f"step {step} (epoch {progress.epoch + 1}): expected a finite loss, got {value}; "
                    f"lower the learning rate (--lr {config.lr})"
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            progress.step += 1
            progress.loss += value
            progress.fell_back += int(fell_back)
        schedule.step()
        logits, truth = predict(model, validation.in_order())
        if not logits.isfinite().all():
            raise DivergedError(
                f"epoch {progress.epoch + 1}: expected finite predictions, got NaN or infinity; "
                f"lower the learning rate (--lr {config.lr})"
            )
        record = Epoch(
            epoch=progress.epoch + 1,
            lr=lr,
            train_loss=progress.loss / steps,
            fell_back=progress.fell_back / (steps * min(config.batch_size, len(train))),
            val_loss=cross_entropy(logits, truth),
            val_accuracy=accuracy(logits, truth),
            seconds=time.monotonic() - started,
        )
        progress.begin(progress.epoch + 1)
        yield record
