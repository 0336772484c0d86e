"""A network with its optimizer, learning rate schedule, weight average and precision."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from smix.config import SharedConfig
from smix.training.distributed import World
from smix.training.optimizer import build_optimizer

ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START / 1e4


@dataclass(frozen=True, eq=False)
class Learner:
    """A network and everything that updates it."""

    model: nn.Module
    """Network whose weights are trained."""
    forward: Callable[[Tensor], Tensor]
    """The model, compiled and wrapped for several processes where requested."""
    optimizer: Optimizer
    average: AveragedModel | None = None
    """Exponential moving average of the weights."""
    precision: torch.dtype = torch.float32
    class_weight: Float[Tensor, "K"] | None = None
    """Weight of each class in the loss."""
    best: dict[str, Tensor] = field(default_factory=dict)
    """Weights of the best epoch so far, on the CPU; empty unless training stops early."""

    @classmethod
    def of(cls, model: nn.Module, config: SharedConfig, world: World, compiled: bool = False) -> "Learner":
        """Return the learner of a model, which is moved to the device of `world`."""
        model = model.to(world.device)
        average = None
        if config.ema_decay:
            average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True)
        forward = world.wrap_ddp(
            torch.compile(model) if compiled else model,  # type: ignore[arg-type]
            unused=config.freeze_epochs > 0,
        )
        return cls(model, forward, build_optimizer(model, config), average, precision(world.device))

    @property
    def eval_model(self) -> nn.Module:
        """The network to evaluate and save: the weight average if there is one, else the model."""
        return self.model if self.average is None else self.average.module

    def autocast(self) -> AbstractContextManager[object]:
        """Return a context in which the network computes in `precision`."""
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(next(self.model.parameters()).device.type, self.precision)

    def sync_gradients(self, last: bool) -> AbstractContextManager[object]:
        """Return a context in which a backward pass averages gradients over the processes only if `last`, for gradient accumulation."""
        if last or not isinstance(self.forward, nn.parallel.DistributedDataParallel):
            return nullcontext()
        return self.forward.no_sync()

    def update(self, lr: float) -> None:
        """Take an optimizer step with learning rate `lr`, and update the weight average."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self.model)

    def keep_best(self) -> None:
        """Copy the weights of the network to evaluate, as those of the best epoch."""
        self.best.update((name, tensor.cpu().clone()) for name, tensor in self.eval_model.state_dict().items())

    def restore_best(self) -> None:
        """Load the weights of the best epoch into the network to evaluate."""
        self.eval_model.load_state_dict(self.best)

    def state(self) -> dict[str, Any]:
        """Return the state that a checkpoint contains."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "best": dict(self.best),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Load a state in place.

        Raises:
            KeyError, RuntimeError, ValueError: The state belongs to another network.
        """
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.best.clear()
        self.best.update(state["best"])


def learning_rate(config: SharedConfig, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of a step, counted from 0 over the whole training.

    - multistep: divided by 10 after each epoch of `config.drops`.
    - cosine: half a cosine to 0, updated at each step (Loshchilov and Hutter, ICLR 2017, eq. 5, without restarts).
    - onecycle: along half a cosine from lr / 25 up to lr over 30 % of the steps, then down to lr / 250,000 (Smith and Topin, 2019;
      as PyTorch's OneCycleLR, with a constant momentum).

    multistep and cosine begin with `config.warmup_epochs` epochs of linear warm-up.

    Args:
        config: Options of the run.
        step: Step, from 0.
        steps_per_epoch: Number of steps per epoch.
    """
    total, warmup = config.epochs * steps_per_epoch, round(config.warmup_epochs * steps_per_epoch)
    if config.schedule == "onecycle":
        peak = ONE_CYCLE_RISE * total - 1
        if step <= peak:
            return config.lr * _cosine(ONE_CYCLE_START, 1, step / peak)
        return config.lr * _cosine(1, ONE_CYCLE_END, (step - peak) / max(total - 1 - peak, 1))
    if step < warmup:
        return config.lr * (step + 1) / warmup
    if config.schedule == "cosine":
        return config.lr * _cosine(1, 0, (step - warmup) / max(total - warmup, 1))
    return config.lr * 0.1 ** sum(step // steps_per_epoch >= drop for drop in config.drops)


def _cosine(start: float, end: float, fraction: float) -> float:
    """Return the value at this fraction of half a cosine from `start` to `end`."""
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2


def precision(device: torch.device) -> torch.dtype:
    """Return bfloat16 (by autocast) for GPUs that support it, from NVIDIA's Ampere on, else float32.

    The choice depends on the hardware only, never on timing, so that a run is reproducible.
    """
    return (
        torch.bfloat16 if device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8 else torch.float32
    )
