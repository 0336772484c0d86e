"""Estimate the cost of runs from a timed step: seconds, and memory of the GPU that they share."""

import copy
import heapq
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from smix import rng
from smix.config import RunOptions, TrainConfig
from smix.device import threads
from smix.training.distributed import World
from smix.training.learner import Learner
from smix.training.loop import forward_backward
from smix.training.material import RunInputs
from smix.training.memory import in_memory

TIMED_SECONDS = 1.0
CUDA_CONTEXT = 600 * 2**20
"""Bytes of GPU memory that a process takes before it computes anything: about so many, by card and driver."""


@dataclass(frozen=True)
class Cost:
    """Cost of a run that is alone on its machine, or has the threads that it will have."""

    epoch: float
    """Seconds of an epoch, validation included."""
    memory: int
    """Bytes of GPU memory; 0 on the CPU."""


def cost_of(config: TrainConfig, material: RunInputs, device: torch.device, options: RunOptions, count: int) -> Cost:
    """Measured on this device, by training for about a second with `count` CPU threads."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seeded = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])  # dropout
    with threads(count), seeded:
        try:
            seconds = seconds_per_image(config, material, device, options)
        except RuntimeError as error:
            raise in_memory(error, config, device) from None
    memory = 0
    if device.type == "cuda":
        memory = torch.cuda.max_memory_reserved(device) + CUDA_CONTEXT
        torch.cuda.empty_cache()  # for the runs that are about to begin there
    # A forward pass is a third of a training step.
    return Cost(seconds * (len(material.training) + len(material.validation) / 3), memory)


def seconds_per_image(config: TrainConfig, material: RunInputs, device: torch.device, options: RunOptions) -> float:
    """Return the seconds of training per image, reading and mixing included: the median of a second of steps, after one to warm up.

    That runs side by side slow each other down is not foreseen.
    """
    loader = material.training_loader(config, device, options)
    learner = Learner.of(copy.deepcopy(material.model), config, World(device=device))
    learner.model.train()
    times: list[float] = []
    seen = 0
    while len(times) < 3 or sum(times[1:]) < TIMED_SECONDS:
        started = time.perf_counter()
        for batch in loader.shuffled(config.seed, 0, config.batch_size):
            draws = rng.generator(config.seed, "cost", device=device)
            mixed, target = material.method(
                batch.images, batch.labels, masks=batch.masks, valid=batch.valid, generator=draws
            )
            forward_backward(learner, mixed, target, config).tolist()
            learner.update(1e-6)
            times.append(time.perf_counter() - started)
            seen = len(mixed)
            if len(times) >= 3 and sum(times[1:]) >= TIMED_SECONDS:
                break
            started = time.perf_counter()
    return statistics.median(times[1:]) / seen


def jobs_that_fit(jobs: int, each: int, free: int) -> int:
    """Return how many of `jobs` runs, `each` bytes of GPU memory, fit into `free` bytes; one is always tried."""
    return max(1, min(jobs, free // each)) if each else jobs


def makespan(seconds: Sequence[float], jobs: int) -> float:
    """Seconds until the last of these runs ends, if `jobs` at a time are started in their order."""
    ends = [0.0] * jobs
    for one in seconds:
        heapq.heapreplace(ends, ends[0] + one)
    return max(ends)
