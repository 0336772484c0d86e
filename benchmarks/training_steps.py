"""Measure the parts of a training step, by method and by operation."""

import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.harness import take_turns
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
"""Operators of the forward and backward pass by title."""
NO_MIXING = "no mixing code"


def new_learner(model: str, classes: int, config: TrainConfig, device: torch.device) -> Learner:
    """Return a learner in training mode. Its weights do not depend on the state of the global generator, which is kept."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        learner = Learner.of(build_model(model, classes), config, World(device=device))
    learner.model.train()
    return learner


def endless(batches: Batches, batch_size: int) -> Iterator[TrainingBatch]:
    """Yield training batches of one epoch after another."""
    epoch = 0
    while True:
        yield from batches.shuffled(0, epoch, batch_size)
        epoch += 1


@dataclass
class Stepper:
    """Training steps of one method, computed as in `fit`, with the seconds of each part."""

    learner: Learner
    method: Method | None
    """None: a loop without any code for mixing."""
    stream: Iterator[TrainingBatch]
    config: TrainConfig
    device: torch.device
    count: int = 0
    seconds: dict[str, list[float]] = field(default_factory=lambda: {part: [] for part in PARTS})

    def step(self) -> None:
        self.count += 1
        times = [self._now()]
        with record_function("data"):
            batch = next(self.stream)
        times.append(self._now())
        with record_function("mixing"):
            mixed, target = self._mix(batch)
        times.append(self._now())
        loss, *_ = forward_backward(self.learner, mixed, target, self.config).tolist()
        assert math.isfinite(loss)
        times.append(self._now())
        with record_function("update"):
            self.learner.update(1e-3)
        times.append(self._now())
        for part, start, end in zip(PARTS, times, times[1:], strict=False):
            self.seconds[part].append(end - start)

    def _mix(self, batch: TrainingBatch) -> tuple[Float[Tensor, "B C *S"], Target]:
        torch.manual_seed(rng.key(0, "model", self.count))
        if self.method is None:
            ones, no = torch.ones(len(batch.labels), device=self.device), torch.zeros_like(batch.labels).bool()
            return batch.images, Target(batch.labels, batch.labels, ones, no, no)
        draws = rng.generator(0, "mix", self.count, device=self.device)
        return self.method(batch.images, batch.labels, masks=batch.masks, valid=batch.valid, generator=draws)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        # With a single thread use processor time, which other processes do not affect.
        single = self.device.type == "cpu" and torch.get_num_threads() == 1
        return time.process_time() if single else time.perf_counter()

    def total(self) -> list[float]:
        """Return the seconds of each step."""
        return [sum(each) for each in zip(*self.seconds.values(), strict=True)]


def measure_steps(
    batches: Batches, classes: int, model: str, methods: list[str], batch_size: int, rounds: int, device: torch.device
) -> dict[str, dict[str, float]]:
    """Return the milliseconds of a step of each method and of its parts. The methods take turns."""
    config = TrainConfig(model=model, batch_size=batch_size)
    learner = new_learner(model, classes, config, device)
    steppers = {}
    for name in [NO_MIXING, *methods]:
        method = None if name == NO_MIXING else parse_method(name)
        data = batches if method is not None and method.needs_masks else replace(batches, masks=None, valid=None)
        steppers[name] = Stepper(learner, method, endless(data, batch_size), config, device)
    state = torch.random.get_rng_state()
    turns = {name: stepper.step for name, stepper in steppers.items()}
    take_turns(turns, 2)  # warm-up
    for stepper in steppers.values():
        stepper.seconds = {part: [] for part in PARTS}
    take_turns(turns, rounds)
    torch.random.set_rng_state(state)
    vanilla = steppers["vanilla"]
    minimum, median = min(vanilla.total()), statistics.median(vanilla.total())
    vanilla_own = sum(1e3 * min(vanilla.seconds[part]) for part in ("data", "mixing"))
    shortest = min(min(stepper.total()) for stepper in steppers.values())
    result = {}
    for name, stepper in steppers.items():
        total, parts = stepper.total(), {part: 1e3 * min(each) for part, each in stepper.seconds.items()}
        own = parts["data"] + parts["mixing"]
        result[name] = {
            "min_ms": 1e3 * min(total),
            "median_ms": 1e3 * statistics.median(total),
            "min_over_vanilla": min(total) / minimum,
            "median_over_vanilla": statistics.median(total) / median,
            **{f"{part}, min_ms": ms for part, ms in parts.items()},
            # All methods share the code of the forward and backward pass: they differ only in data and mixing.
            "adds_percent": 100 * (own - vanilla_own) / (1e3 * shortest),
            "data_and_mixing_percent": 100 * own / sum(parts.values()),
        }
    return result


def measure_operations(
    batches: Batches, classes: int, model: str, method: str, batch_size: int, steps: int, device: torch.device
) -> dict[str, float]:
    """Return the percentage of a step that each kind of operation takes."""
    config = TrainConfig(model=model, batch_size=batch_size)
    stream = endless(batches, batch_size)
    stepper = Stepper(new_learner(model, classes, config, device), parse_method(method), stream, config, device)
    state = torch.random.get_rng_state()
    for _ in range(2):
        stepper.step()
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    with profile(activities=kinds) as profiler:
        for _ in range(steps):
            with record_function("step"):
                stepper.step()
    torch.random.set_rng_state(state)
    events = {event.key: event for event in profiler.key_averages()}
    cuda = device.type == "cuda"
    if cuda:
        # Use wall-clock times, which include a synchronisation after each part: the profiler does not attribute the kernels of a
        # backward pass to a step, because another thread launches them.
        total_us = {part: 1e6 * sum(each[-steps:]) for part, each in stepper.seconds.items()}
        total_us["step"] = sum(total_us.values())
    else:
        total_us = {name: event.cpu_time_total for name, event in events.items()}
    self_us = {
        name: event.self_device_time_total if cuda else event.self_cpu_time_total for name, event in events.items()
    }
    spent = {title: sum(self_us.get(name, 0.0) for name in names) for title, names in FORWARD.items()}
    spent |= {"optimizer": total_us["update"], "loader, crops, flips": total_us["data"], "mixing": total_us["mixing"]}
    shares = {title: 100 * us / total_us["step"] for title, us in spent.items()}
    return {**shares, "everything else": 100 - sum(shares.values())}
