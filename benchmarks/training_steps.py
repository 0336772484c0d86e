"""What a training step is made of: its parts by method, in turns, and by operation."""

import math
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from smix import rng
from smix.config import TrainConfig
from smix.data.batches import Batches, TrainingBatch
from smix.mixing import Method, Target, parse_method
from smix.models import build_model
from smix.training.distributed import World
from smix.training.learner import Learner
from smix.training.loop import forward_backward

PARTS = ("data", "mixing", "forward and backward", "update")
FORWARD = {
    "convolutions": ("aten::mkldnn_convolution", "aten::cudnn_convolution", "aten::_slow_conv2d_forward"),
    "convolutions, backward": ("aten::convolution_backward",),
    "batch norm": ("aten::native_batch_norm", "aten::cudnn_batch_norm"),
    "batch norm, backward": ("aten::native_batch_norm_backward", "aten::cudnn_batch_norm_backward"),
    "ReLU": ("aten::clamp_min_", "aten::relu_", "aten::threshold_backward"),
    "sums of shortcuts and of gradients": ("aten::add_", "aten::add"),
    "copies, changes of type": ("aten::copy_",),
}


def learner_of(model: str, classes: int, config: TrainConfig, device: torch.device) -> Learner:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        learner = Learner.of(build_model(model, classes), config, World(device=device))
    learner.model.train()
    return learner


def endless(batches: Batches, batch_size: int) -> Iterator[TrainingBatch]:
    epoch = 0
    while True:
        yield from batches.shuffled(0, epoch, batch_size)
        epoch += 1


@dataclass
class Stepper:
    """Steps of one method as `fit` makes them, each part timed."""

    learner: Learner
    method: Method | None
    """None: a loop that knows nothing of mixing."""
    stream: Iterator[TrainingBatch]
    config: TrainConfig
    device: torch.device
    count: int = 0
    seconds: dict[str, list[float]] = field(default_factory=lambda: {part: [] for part in PARTS})

    def step(self, within: Callable[[str], Any] = record_function) -> None:
        self.count += 1
        at = [self._now()]
        with within("data"):
            batch = next(self.stream)
        at.append(self._now())
        with within("mixing"):
            mixed, target = self._mixed(batch)
        at.append(self._now())
        loss, *_ = forward_backward(self.learner, mixed, target, self.config).tolist()
        assert math.isfinite(loss)
        at.append(self._now())
        with within("update"):
            self.learner.update(1e-3)
        at.append(self._now())
        for part, start, end in zip(PARTS, at, at[1:], strict=False):
            self.seconds[part].append(end - start)

    def _mixed(self, batch: TrainingBatch) -> tuple[torch.Tensor, Target]:
        torch.manual_seed(rng.key(0, "model", self.count))
        if self.method is None:
            whole, no = torch.ones(len(batch.labels), device=self.device), torch.zeros_like(batch.labels).bool()
            return batch.images, Target(batch.labels, batch.labels, whole, no, no)
        draws = rng.generator(0, "mix", self.count, device=self.device)
        return self.method(batch.images, batch.labels, masks=batch.masks, valid=batch.valid, generator=draws)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        # What a single thread has computed for, other processes do not lengthen.
        alone = self.device.type == "cpu" and torch.get_num_threads() == 1
        return time.process_time() if alone else time.perf_counter()

    def total(self) -> list[float]:
        return [sum(each) for each in zip(*self.seconds.values(), strict=True)]


def measure_steps(
    batches: Batches, classes: int, model: str, methods: list[str], batch_size: int, rounds: int, device: torch.device
) -> dict[str, dict[str, float]]:
    """Milliseconds of a step and of its parts. All methods take turns in a new random order each round."""
    config = TrainConfig(model=model, batch_size=batch_size)
    learner = learner_of(model, classes, config, device)
    steppers = {}
    for name in ["no mixing code", *methods]:
        method = None if name == "no mixing code" else parse_method(name)
        read = batches if method is not None and method.needs_masks else replace(batches, masks=None, valid=None)
        steppers[name] = Stepper(learner, method, endless(read, batch_size), config, device)
    state = torch.random.get_rng_state()
    for turn in range(rounds + 2):
        if turn == 2:  # warm
            for stepper in steppers.values():
                stepper.seconds = {part: [] for part in PARTS}
        for name in random.sample(list(steppers), len(steppers)):
            steppers[name].step()
    torch.random.set_rng_state(state)
    plain = steppers["vanilla"]
    least, middle = min(plain.total()), statistics.median(plain.total())
    shortest = min(min(stepper.total()) for stepper in steppers.values())
    found = {}
    for name, stepper in steppers.items():
        total, parts = stepper.total(), {part: 1e3 * min(each) for part, each in stepper.seconds.items()}
        own = sum(parts[part] for part in ("data", "mixing"))
        vanilla = sum(1e3 * min(plain.seconds[part]) for part in ("data", "mixing"))
        found[name] = {
            "min_ms": 1e3 * min(total),
            "median_ms": 1e3 * statistics.median(total),
            "min_over_vanilla": min(total) / least,
            "median_over_vanilla": statistics.median(total) / middle,
            **{f"{part}, min_ms": ms for part, ms in parts.items()},
            # Forward and backward pass are the same code for all: what a method adds is in the two other parts.
            "adds_percent": 100 * (own - vanilla) / (1e3 * shortest),
            "data_and_mixing_percent": 100 * own / sum(parts.values()),
        }
    return found


def measure_operations(
    batches: Batches, classes: int, model: str, method: str, batch_size: int, steps: int, device: torch.device
) -> dict[str, float]:
    """Percent of a step by what is computed."""
    config = TrainConfig(model=model, batch_size=batch_size)
    stream = endless(batches, batch_size)
    stepper = Stepper(learner_of(model, classes, config, device), parse_method(method), stream, config, device)
    state = torch.random.get_rng_state()
    for _ in range(2):
        stepper.step()
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    with profile(activities=kinds) as seen:
        for _ in range(steps):
            with record_function("step"):
                stepper.step()
    torch.random.set_rng_state(state)
    events = {event.key: event for event in seen.key_averages()}
    cuda = device.type == "cuda"
    if cuda:
        # By the clock, which waits for the device after each part. The profiler does not count the kernels of a backward pass as
        # part of a step, since another thread starts them.
        whole = {part: 1e6 * sum(each[-steps:]) for part, each in stepper.seconds.items()}
        whole["step"] = sum(whole.values())
    else:
        whole = {name: event.cpu_time_total for name, event in events.items()}
    alone = {
        name: event.self_device_time_total if cuda else event.self_cpu_time_total for name, event in events.items()
    }
    spent = {title: sum(alone.get(name, 0.0) for name in names) for title, names in FORWARD.items()}
    spent |= {"optimizer": whole["update"], "loader, crops, flips": whole["data"], "mixing": whole["mixing"]}
    total = whole["step"]
    shares = {title: 100 * us / total for title, us in spent.items()}
    return {**shares, "everything else": 100 - sum(shares.values())}
