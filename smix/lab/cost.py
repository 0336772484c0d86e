"""What runs will cost, from a timed step: seconds, and memory of the GPU that they share."""

import copy
import heapq
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from smix.device import threads
from smix.training.runs import Material

TIMED_SECONDS = 1.0
CUDA_CONTEXT = 600 * 2**20
"""Bytes of GPU memory that a process takes before it computes anything: about so many, by card and driver."""


@dataclass(frozen=True)
class Cost:
    """Of a run that is alone on its machine, or with the threads that it will have."""

    epoch: float
    """Seconds of an epoch, validation included."""
    memory: int
    """Bytes of GPU memory; 0 on the CPU."""


def cost_of(material: Material, batch_size: int, device: torch.device, count: int) -> Cost:
    """Measured on this device, by training for about a second with `count` CPU threads."""
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    seconds = seconds_per_image(material, batch_size, device, count)
    memory = 0
    if cuda:
        # The images and masks of a run live on the GPU, too.
        masks = 0 if material.masks is None else material.masks.masks.nbytes
        images = material.training.array.nbytes + material.validation.array.nbytes
        memory = torch.cuda.max_memory_reserved(device) + images + masks + CUDA_CONTEXT
        torch.cuda.empty_cache()  # for the runs that are about to begin there
    # A forward pass is a third of a training step.
    return Cost(seconds * (len(material.training) + len(material.validation) / 3), memory)


def seconds_per_image(material: Material, batch_size: int, device: torch.device, count: int) -> float:
    """Of training with `count` CPU threads: the median of a second of steps, after one to warm up.

    It ignores crops and mixing (on the CPU, `resnet8`, 128 images: up to 8 % of a step), and that runs side by side slow each
    other down.
    """
    images = torch.from_numpy(material.training.array[:batch_size]).to(device)
    labels = torch.from_numpy(material.training.labels[:batch_size]).to(device)
    model = copy.deepcopy(material.model).to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)  # it needs time and memory, too
    times: list[float] = []
    with threads(count):
        while len(times) < 3 or sum(times[1:]) < TIMED_SECONDS:
            started = time.perf_counter()
            loss = F.cross_entropy(model(material.normalise(images)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            loss.item()
            times.append(time.perf_counter() - started)
    return statistics.median(times[1:]) / len(images)


def jobs_that_fit(jobs: int, each: int, free: int) -> int:
    """How many of `jobs` runs, `each` bytes of GPU memory, fit into `free` bytes; one is always tried."""
    return max(1, min(jobs, free // each)) if each else jobs


def makespan(seconds: Sequence[float], jobs: int) -> float:
    """Seconds until the last of these runs ends, if `jobs` at a time are started in their order."""
    ends = [0.0] * jobs
    for one in seconds:
        heapq.heapreplace(ends, ends[0] + one)
    return max(ends)
