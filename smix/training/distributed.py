"""Train in several processes started by torchrun: each computes its part of every batch, and gradients are averaged.

    torchrun --nproc-per-node 2 -m smix train --data cifar10 --out runs/one

The batch size is that of all processes together. Samples are mixed only with samples of the same process.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from smix.errors import FailedError, OptionError

TIMEOUT = timedelta(minutes=30)
"""Maximum time that a process waits for the others: the main one may be writing a checkpoint or reading a large data set."""


@dataclass(frozen=True)
class World:
    """Processes that train together: the rank of this one, their number, and the device of this one."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def any(self, flag: bool) -> bool:
        """Return whether the flag is True in any process."""
        if self.size == 1:
            return flag
        largest = torch.tensor([float(flag)], device=self.device)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return bool(largest.item())

    def mean(self, values: Tensor) -> list[float]:
        """Return the mean of each value over the processes. This synchronises with the device."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values, dist.ReduceOp.SUM)
            values /= self.size
        return values.tolist()

    def gather(self, rows: Tensor, count: int) -> Tensor:
        """Return the rows of all processes on the CPU, in their original order.

        Args:
            rows: Rows of this process: every `size`-th row, starting with row `rank`.
            count: Number of rows of all processes together.
        """
        if self.size == 1:
            return rows
        longest = -(-count // self.size)
        mine = rows.new_zeros(longest, *rows.shape[1:], device=self.device)
        mine[: len(rows)] = rows.to(self.device)
        parts = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(parts, mine)
        return torch.stack(parts, 1).flatten(0, 1)[:count].cpu()

    def wrap_ddp(self, model: nn.Module, unused: bool = False) -> nn.Module:
        """Return the model wrapped in DistributedDataParallel if there are several processes.

        Args:
            model: Network.
            unused: Some parameters have no gradient in some of the steps.
        """
        if self.size == 1:
            return model
        device_ids = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(
            model, device_ids=device_ids, gradient_as_bucket_view=True, find_unused_parameters=unused
        )

    def broadcast_buffers(self, model: nn.Module) -> None:
        """Copy the buffers of the main process, such as the statistics of batch normalisation, to all processes."""
        if self.size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)

    def is_main(self) -> bool:
        """Return whether this is the main process, which writes files."""
        return self.rank == 0

    def wait_for_main(self) -> None:
        """Wait until the main process has left its block of `main_first`.

        Raises:
            SystemExit: The main process has failed, and has printed the reason.
        """
        if self.any(False):
            raise SystemExit(2)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Run the block in the main process while the others `wait_for_main`."""
        try:
            yield
        except BaseException:
            self.any(True)
            raise
        self.any(False)


ALONE = World()


_groups: list[object] = []
"""Process groups, kept until the process ends. A network in DistributedDataParallel outlives `joined`; if it were the last owner of its
group, its destructor would hold the interpreter lock while waiting for a thread that needs it (torch 2.7 to 2.11)."""


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """Join the processes that torchrun has started, for the duration of the block.

    Raises:
        OptionError: The device has no backend for several processes.
        FailedError: Another process has ended.
    """
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size == 1:
        yield World(device=device)
        return
    if device.type == "mps":
        raise OptionError("device: several processes need cuda or cpu, got mps; add --device cpu")
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    _groups.append(dist.group.WORLD)
    try:
        yield World(dist.get_rank(), size, device)
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):  # gloo has no class of its own
            raise FailedError(
                f"process {os.environ.get('RANK')}: one of {size} processes has ended; run the same command again to "
                "resume from the last checkpoint"
            ) from None
        raise
    finally:
        dist.destroy_process_group()
