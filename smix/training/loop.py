"""Training loop: mix each batch, update the weights, and validate after each epoch."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float, Int
from msgspec import Meta
from torch import Tensor, nn

from smix import rng
from smix.config import TrainConfig
from smix.data.batches import Loader
from smix.errors import DivergedError
from smix.evaluation.accuracy import accuracy, cross_entropy
from smix.evaluation.predict import predict
from smix.mixing import Method, Target, Vanilla
from smix.training.distributed import ALONE, World
from smix.training.freeze import set_training
from smix.training.learner import Learner, learning_rate
from smix.training.memory import evaluating


@dataclass
class Progress:
    """Progress of a run, and sums over its current epoch. With the state of the learner, it is all that is needed to resume."""

    epoch: int = 0
    """Finished epochs."""
    step: int = 0
    """Finished steps of the current epoch."""
    loss_sum: float = 0.0
    """Sum of the losses of these steps, in nats. In all sums, a step is weighted by its share of a full batch."""
    accuracy_sum: float = 0.0
    """Sum of the weighted accuracies of these steps."""
    fell_back_sum: float = 0.0
    """Sum of the fractions of samples that fell back in these steps."""
    seconds: float = 0.0
    """Seconds spent on the current epoch."""

    def start_epoch(self, finished: int) -> None:
        """Set the number of finished epochs, and reset the steps, seconds and sums of the current epoch."""
        self.epoch, self.step, self.seconds = finished, 0, 0.0
        self.loss_sum, self.accuracy_sum, self.fell_back_sum = 0.0, 0.0, 0.0


@dataclass(frozen=True)
class Epoch:
    """Metrics of one epoch: a line of metrics.jsonl."""

    epoch: Annotated[int, Meta(ge=1)]
    """Number of the epoch, from 1."""
    lr: float
    """Learning rate of its first step."""
    train_loss: float
    """Mean loss of the mixed batches, in nats."""
    train_accuracy: Annotated[float, Meta(ge=0, le=1)]
    """Mean weight of the predicted class in the mixed label, in [0, 1]."""
    fell_back: Annotated[float, Meta(ge=0, le=1)]
    """Fraction of the samples that `Fallback` mixed with its second method."""
    val_loss: float
    val_accuracy: Annotated[float, Meta(ge=0, le=1)]
    """Accuracy on the validation images without mixing, in [0, 1]; with `val_fraction` 0, on 1,000 fixed training images."""
    seconds: Annotated[float, Meta(ge=0, le=1e12)]
    """Seconds of training and validation."""


def fit(
    learner: Learner,
    method: Method,
    train: Loader,
    validation: Loader,
    config: TrainConfig,
    progress: Progress,
    stop: Callable[[], bool],
    world: World = ALONE,
) -> Iterator[Epoch]:
    """Train from `progress` on, and yield the metrics of each epoch. The learner and `progress` are changed in place.

    Every random number is derived from (seed, purpose, step), so a resumed run equals an uninterrupted one.

    Args:
        learner: Network and optimizer.
        method: Mixing method.
        train: Loader of the training images.
        validation: Loader of the validation images.
        config: Options of the run.
        progress: Progress to start from.
        stop: Function that is called before each step; if it returns True in any process, the iteration ends.
        world: Processes that train together.

    Raises:
        DivergedError: The loss or the gradient is not finite, and the weights are those before this step; or predictions at the
            end of an epoch are not finite.
    """
    steps = train.steps(config.batch_size, world.size)
    full = min(config.batch_size, len(train))
    batches = train.images_per_epoch(config.batch_size, world.size) / full
    while progress.epoch < config.epochs:
        started = time.monotonic() - progress.seconds
        set_training(learner, config, progress.epoch)
        mixing = method if progress.epoch < config.epochs - config.mix_off_epochs else Vanilla()
        for batch in train.shuffled(
            config.seed, progress.epoch, config.batch_size, progress.step, world.rank, world.size
        ):
            progress.seconds = time.monotonic() - started
            if world.any(stop()):
                progress.seconds = time.monotonic() - started
                return
            step = progress.epoch * steps + progress.step
            rng.seed(rng.key(config.seed, "model", step, world.rank), batch.images.device)
            draws = rng.generator(config.seed, "mix", step, world.rank, batch.images.device)
            mixed, target = mixing(batch.images, batch.labels, masks=batch.masks, valid=batch.valid, generator=draws)
            # Synchronises with the device once per step, so that weights are never updated with a loss that is not finite.
            loss, weighted_accuracy, fell_back, norm = world.mean(forward_backward(learner, mixed, target, config))
            if not (math.isfinite(loss) and math.isfinite(norm)):
                name, value = ("gradient", norm) if math.isfinite(loss) else ("loss", loss)
                raise DivergedError(
                    f"step {step} (epoch {progress.epoch + 1}, learning rate {learning_rate(config, step, steps):.3g}): "
                    f"expected a finite {name}, got {value}; lower --lr"
                )
            learner.update(learning_rate(config, step, steps))
            progress.step += 1
            weight = len(batch.images) * world.size / full  # less than 1 for the last, smaller batch
            progress.loss_sum += weight * loss
            progress.accuracy_sum += weight * weighted_accuracy
            progress.fell_back_sum += weight * fell_back
        world.broadcast_buffers(learner.eval_model)
        logits, labels = predictions(learner, validation, world)
        if not logits.isfinite().all():
            raise DivergedError(
                f"epoch {progress.epoch + 1}: expected finite predictions, got NaN or infinity; "
                f"lower --lr (now {config.lr})"
            )
        record = Epoch(
            epoch=progress.epoch + 1,
            lr=learning_rate(config, progress.epoch * steps, steps),
            train_loss=progress.loss_sum / batches,
            train_accuracy=min(1.0, progress.accuracy_sum / batches),  # sums of float32 may exceed 1
            fell_back=min(1.0, progress.fell_back_sum / batches),
            val_loss=cross_entropy(logits, labels),
            val_accuracy=accuracy(logits, labels),
            seconds=time.monotonic() - started,
        )
        progress.start_epoch(progress.epoch + 1)
        yield record


def predictions(learner: Learner, loader: Loader, world: World) -> tuple[Float[Tensor, "N K"], Int[Tensor, "N"]]:
    """Return the logits and labels of all images of a loader, on the CPU, computed by all processes together.

    Raises:
        TemporaryError: The device runs out of memory.
    """
    with learner.autocast(), evaluating(loader, world.device):
        logits, labels = predict(learner.eval_model, loader.in_order(world.rank, world.size))
    return world.gather(logits, len(loader)), world.gather(labels, len(loader))


def forward_backward(learner: Learner, mixed: Tensor, target: Target, config: TrainConfig) -> Float[Tensor, "4"]:
    """Accumulate the gradients of a mixed batch, computed in `config.grad_accum_steps` parts, without updating the weights.

    Args:
        learner: Network.
        mixed: (B, C, *S) mixed images.
        target: Mixed labels of the batch.
        config: Options of the run.

    Returns:
        (4,) loss in nats, weighted accuracy and fraction of samples that fell back, as means over the batch, and the norm of the
        gradients before they are clipped. With class weights the loss is a weighted mean.
    """
    count = len(mixed)
    starts = _part_starts(count, config)
    sums = torch.zeros(2, device=mixed.device)
    total = None if learner.class_weight is None else total_weight(target, learner.class_weight)
    for start, end in zip(starts, [*starts[1:], count], strict=True):
        part = slice(start, end)
        labels = target[part]
        with learner.sync_gradients(last=end == count):
            with learner.autocast():
                logits = learner.forward(mixed[part])
            logits = logits.float()
            weight = len(logits) / count
            if total is None:
                loss = labels.loss(logits, label_smoothing=config.label_smoothing) * weight
            else:
                # Divided by the weights of the whole batch, so that the gradients do not depend on the number of parts.
                loss = labels.loss(logits, "ce", config.label_smoothing, "sum", learner.class_weight) / total
            loss.backward()
        sums += torch.stack((loss.detach(), labels.accuracy(logits.detach()) * weight))
    parameters = [parameter for parameter in learner.model.parameters() if parameter.grad is not None]
    norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    if config.clip_grad is not None:
        nn.utils.clip_grads_with_norm_(parameters, config.clip_grad, norm)
    return torch.stack((*sums, target.fell_back.float().mean(), norm))


def total_weight(target: Target, class_weight: Float[Tensor, "K"]) -> Float[Tensor, ""]:
    """Return the sum of the class weights of a batch, each of the two labels of a sample counted by its share."""
    return (target.share * class_weight[target.y] + (1 - target.share) * class_weight[target.y_partner]).sum()


def _part_starts(count: int, config: TrainConfig) -> list[int]:
    """Return the start of each part of a batch. If possible, no part is a single image: batch norm may reject it."""
    single = config.grad_accum_steps == config.batch_size
    size = max(1 if single else 2, -(-count // config.grad_accum_steps))
    starts = list(range(0, count, size))
    return starts[:-1] if len(starts) > 1 and size > 1 and count - starts[-1] == 1 else starts
