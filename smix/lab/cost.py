"""Estimate the cost of runs from a timed training step: seconds, and GPU memory where runs share a GPU."""

import copy
import heapq
import itertools
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from smix import rng
from smix.config import RunOptions, TrainConfig
from smix.device import threads
from smix.training.distributed import World
from smix.training.inputs import RunInputs
from smix.training.learner import Learner
from smix.training.loop import forward_backward
from smix.training.memory import in_memory

TIMED_SECONDS = 1.0
CUDA_CONTEXT = 600 * 2**20
"""GPU memory in bytes that a process takes before it computes anything; differs by card and driver."""
FREE_OPTIONS = (
    *("method", "masks", "seed", "epochs", "mix_off_epochs", "lr", "schedule", "warmup_epochs", "milestones"),
    *("momentum", "nesterov", "weight_decay", "decay_norm_and_bias", "label_smoothing"),
    *("patience", "balanced_sampling", "class_weights", "layer_decay", "freeze_epochs"),
)
"""Options that do not change the cost of a step."""
Group = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Cost:
    """Cost of a run that has a machine, or its share of the threads, to itself."""

    epoch: float
    """Seconds per epoch, validation included."""
    memory: int
    """GPU memory in bytes; 0 on the CPU."""


def group(config: TrainConfig) -> Group:
    """Return a key that is equal for runs whose steps cost the same: same images, network and batch size."""
    return tuple((name, str(value)) for name, value in config.to_json().items() if name not in FREE_OPTIONS)


def cost_of(inputs: RunInputs, device: torch.device, options: RunOptions, count: int) -> Cost:
    """Measure the cost of a run by training for about a second with `count` CPU threads.

    Raises:
        FailedError: Memory is too small for a batch.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seeded = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])  # dropout
    with threads(count), seeded:
        try:
            seconds = seconds_per_image(inputs, device, options)
        except RuntimeError as error:
            raise in_memory(error, inputs.config, device) from None
    memory = 0
    if device.type == "cuda":
        memory = torch.cuda.max_memory_reserved(device) + CUDA_CONTEXT
        torch.cuda.empty_cache()  # for the runs that are about to start there
    # A forward pass takes a third of a training step.
    return Cost(seconds * (len(inputs.training) + len(inputs.validation) / 3), memory)


def seconds_per_image(inputs: RunInputs, device: torch.device, options: RunOptions) -> float:
    """Return the seconds of training per image, reading and mixing included: the median over about a second of steps.

    A first step warms up. The estimate does not foresee that concurrent runs slow each other down.
    """
    config = inputs.config
    loader = inputs.training_loader(device, options)
    learner = Learner.of(copy.deepcopy(inputs.model), config, World(device=device))
    learner.model.train()
    times: list[float] = []
    images = 0
    epochs = (loader.shuffled(config.seed, 0, config.batch_size) for _ in itertools.count())
    started = time.perf_counter()
    for batch in itertools.chain.from_iterable(epochs):
        draws = rng.generator(config.seed, "cost", device=device)
        mixed, target = inputs.method(batch.images, batch.labels, masks=batch.masks, valid=batch.valid, generator=draws)
        forward_backward(learner, mixed, target, config).tolist()
        learner.update(1e-6)
        times.append(time.perf_counter() - started)
        images = len(mixed)
        if len(times) >= 3 and sum(times[1:]) >= TIMED_SECONDS:
            break
        started = time.perf_counter()
    return statistics.median(times[1:]) / images


def jobs_that_fit(jobs: int, each: int, free: int) -> int:
    """Return how many of `jobs` runs that need `each` bytes of GPU memory fit into `free` bytes, at least 1."""
    return max(1, min(jobs, free // each)) if each else jobs


def makespan(seconds: Sequence[float], jobs: int) -> float:
    """Return the seconds until the last of these runs ends if they are started in order, `jobs` at a time."""
    ends = [0.0] * jobs
    for duration in seconds:
        heapq.heapreplace(ends, ends[0] + duration)
    return max(ends)
