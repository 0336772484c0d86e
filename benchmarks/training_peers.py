"""Compare the training loop of smix with a plain PyTorch loop: torchvision's transforms, DataLoader, timm's Mixup, float32."""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import Image
from timm.data.mixup import Mixup as TimmMixup
from timm.loss import SoftTargetCrossEntropy
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.harness import seconds, take_turns
from benchmarks.training_steps import Stepper, endless, new_learner
from smix.config import TrainConfig
from smix.data.batches import Batches, Normalisation
from smix.evaluation.accuracy import accuracy
from smix.evaluation.predict import predict
from smix.mixing import CutMix, Mixup, RandomChoice, parse_method
from smix.models import build_model
from smix.training.learner import learning_rate
from smix.training.loop import Progress, fit

METHOD = "mixup|cutmix"
PER_BATCH_METHOD = RandomChoice((Mixup(per_batch=True), CutMix(per_batch=True)), per_batch=True)
"""Method of the accuracy comparison: one draw per batch, as in timm. The default of smix, one draw per sample, is another method."""
PLAIN = "plain PyTorch loop"
WORKERS = 2
UNTIMED_STEPS = 6
"""Steps before timing starts. They use up the batches that the workers prepared while the other loop ran."""


@dataclass
class ArrayDataset(Dataset[tuple[Tensor, int]]):
    """Data set that converts each array to a Pillow image, as torchvision's CIFAR10 does."""

    images: UInt8[np.ndarray, "N H W 3"]
    labels: list[int]
    transform: Callable[[Image.Image], Tensor]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[place])), self.labels[place]


def plain_loader(
    images: UInt8[np.ndarray, "N H W 3"], labels: Int[np.ndarray, "N"], normalise: Normalisation, batch_size: int
) -> DataLoader[tuple[Tensor, int]]:
    """Return a shuffling loader with random crops and flips."""
    steps = [
        transforms.RandomCrop(images.shape[1], padding=4),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(normalise.mean, normalise.std),
    ]
    data = ArrayDataset(images, labels.tolist(), transforms.Compose(steps))
    return DataLoader(
        data,
        batch_size,
        shuffle=True,
        num_workers=WORKERS,
        drop_last=True,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=True,
    )


def plain_model(model: str, classes: int, device: torch.device) -> nn.Module:
    """Return a model in torch's default memory format (smix uses channels last)."""
    return build_model(model, classes).to(memory_format=torch.contiguous_format).to(device).train()


def processor_seconds() -> float:
    """Return the processor time of this process and of its workers."""
    ticks = 0
    for worker in multiprocessing.active_children():
        stat = Path(f"/proc/{worker.pid}/stat")
        if stat.is_file():  # not on every system
            ticks += sum(int(each) for each in stat.read_text().rpartition(")")[2].split()[11:13])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


class PlainLoop:
    """Training steps of a plain PyTorch loop."""

    def __init__(
        self,
        model: nn.Module,
        loader: DataLoader[tuple[Tensor, int]],
        classes: int,
        config: TrainConfig,
        device: torch.device,
    ) -> None:
        self.model, self.loader, self.device = model, loader, device
        self.mixup = TimmMixup(mixup_alpha=1.0, cutmix_alpha=1.0, label_smoothing=0.0, num_classes=classes)
        self.loss = SoftTargetCrossEntropy()
        self.optimizer = torch.optim.SGD(
            model.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
        self.stream = self._endless()

    def _endless(self) -> Generator[Any, None, None]:
        while True:
            yield from self.loader

    def step(self, lr: float = 1e-3) -> None:
        images, labels = next(self.stream)
        images, labels = self.mixup(images.to(self.device), labels.to(self.device))
        loss = self.loss(self.model(images), labels)
        self.optimizer.param_groups[0]["lr"] = lr
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        loss.item()  # synchronises: typical scripts log the loss


def measure_peers(
    arrays: tuple[np.ndarray, np.ndarray],
    batches: Batches,
    classes: int,
    model: str,
    batch_size: int,
    rounds: int,
    steps: int,
    device: torch.device,
) -> dict[str, Any]:
    """Return the images per second of each loop. They take turns of `steps` timed steps."""
    config = TrainConfig(model=model, batch_size=batch_size)
    learner = new_learner(model, classes, config, device)
    without_masks = replace(batches, masks=None, valid=None)
    loader = plain_loader(*arrays, batches.normalise, batch_size)
    loops: dict[str, PlainLoop | Stepper] = {
        PLAIN: PlainLoop(plain_model(model, classes, device), loader, classes, config, device),
        "smix": Stepper(learner, parse_method(METHOD), endless(without_masks, batch_size), config, device),
    }

    def turn(loop: PlainLoop | Stepper) -> tuple[float, float]:
        """Return images per second, and processor seconds per image."""
        for _ in range(UNTIMED_STEPS):
            loop.step()
        used = processor_seconds()
        elapsed = seconds(lambda: [loop.step() for _ in range(steps)])
        images = steps * batch_size
        return images / elapsed, (processor_seconds() - used) / images

    state = torch.random.get_rng_state()
    turns = take_turns({name: partial(turn, loop) for name, loop in loops.items()}, rounds)
    torch.random.set_rng_state(state)
    speeds = {name: [speed for speed, _ in each] for name, each in turns.items()}
    work = {name: statistics.median(used for _, used in each) for name, each in turns.items()}
    base = speeds[PLAIN]
    return {
        "precision": str(learner.precision).removeprefix("torch."),
        "rounds": rounds,
        "steps": steps,
        **{
            name: {
                "images_per_second_median": statistics.median(each),
                "images_per_second_best": max(each),
                "times_as_fast_median": statistics.median(np.divide(each, base).tolist()),
                "times_as_fast_best": max(each) / max(base),
                "processor_ms_an_image": 1e3 * work[name],
                "times_as_little_work": work[PLAIN] / work[name],
            }
            for name, each in speeds.items()
        },
    }


def measure_parity(
    arrays: dict[str, tuple[np.ndarray, np.ndarray]],
    normalise: Normalisation,
    classes: int,
    epochs: int,
    seeds: int,
    batch_size: int,
    device: torch.device,
    model: str = "resnet8",
) -> dict[str, Any]:
    """Return the test accuracies of both loops: SGD, momentum 0.9, weight decay 5e-4, cosine from 0.1 to 0, crops and flips."""
    sets = {
        split: Batches(
            torch.from_numpy(images).to(device),
            torch.from_numpy(labels).to(device),
            normalise,
            crop_padding=4 if split == "train" else 0,
            hflip=split == "train",
            drop_last=True,  # as the loaders of the other libraries here
        )
        for split, (images, labels) in arrays.items()
    }
    train, test = sets["train"], sets["test"]
    accuracies: dict[str, list[float]] = {PLAIN: [], "smix": []}
    state = torch.random.get_rng_state()
    for seed in range(seeds):
        config = TrainConfig(
            model=model, epochs=epochs, batch_size=batch_size, schedule="cosine", seed=seed, method=METHOD
        )
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (timm draws from it)
        loader = plain_loader(*arrays["train"], normalise, batch_size)
        plain = PlainLoop(plain_model(model, classes, device), loader, classes, config, device)
        steps = train.steps(batch_size)
        for step in range(epochs * steps):
            plain.step(learning_rate(config, step, steps))
        plain.stream.close()  # or the workers of the next loop would inherit the workers of this one
        accuracies[PLAIN].append(accuracy(*predict(plain.model, test.in_order())))
        learner = new_learner(model, classes, config, device)
        torch.manual_seed(seed)
        learner.model.load_state_dict(build_model(model, classes).state_dict())
        for _ in fit(learner, PER_BATCH_METHOD, train, test, config, Progress(), lambda: False):
            pass
        with learner.autocast():
            accuracies["smix"].append(accuracy(*predict(learner.model, test.in_order())))
    torch.random.set_rng_state(state)
    return {
        "images": {split: len(each) for split, each in sets.items()},
        "epochs": epochs,
        "batch": batch_size,
        **{
            name: {
                "accuracies": each,
                "mean": statistics.mean(each),
                "std": statistics.stdev(each) if seeds > 1 else 0.0,
            }
            for name, each in accuracies.items()
        },
    }
