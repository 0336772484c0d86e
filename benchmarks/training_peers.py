"""smix's loop beside the one that people write: torchvision's data set and transforms, DataLoader, timm's Mixup, float32."""

import multiprocessing
import os
import random
import statistics
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data.mixup import Mixup as TimmMixup
from timm.loss import SoftTargetCrossEntropy
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.training_steps import Stepper, endless, learner_of
from smix.config import TrainConfig
from smix.data.batches import Batches, Normalisation
from smix.evaluation.accuracy import accuracy
from smix.evaluation.predict import predict
from smix.mixing import CutMix, Mixup, RandomChoice, parse_method
from smix.models import build_model
from smix.training.learner import learning_rate
from smix.training.loop import Progress, fit

METHOD = "mixup|cutmix"
AS_TIMM_DRAWS = RandomChoice((Mixup(per_batch=True), CutMix(per_batch=True)), per_batch=True)
"""One draw a batch, for accuracies that are to be the same; smix's default, one a sample, is another method."""
WORKERS = 2
DRAIN = 6
"""Steps before the clock starts: the workers have read ahead while the other loop had its turn."""


@dataclass
class Pictures(Dataset):
    """As torchvision's CIFAR10: arrays, each made a picture of Pillow's."""

    images: np.ndarray
    labels: list[int]
    transform: Any

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[place])), self.labels[place]


def peers_loader(images: np.ndarray, labels: np.ndarray, normalise: Normalisation, batch_size: int) -> DataLoader:
    steps = [
        transforms.RandomCrop(images.shape[1], padding=4),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(normalise.mean, normalise.std),
    ]
    data = Pictures(images, labels.tolist(), transforms.Compose(steps))
    return DataLoader(
        data,
        batch_size,
        shuffle=True,
        num_workers=WORKERS,
        drop_last=True,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=True,
    )


def peers_model(model: str, classes: int, device: torch.device) -> nn.Module:
    """In torch's own memory format, as it is without a word."""
    return build_model(model, classes).to(memory_format=torch.contiguous_format).to(device).train()  # type: ignore[call-overload]


def processor_seconds() -> float:
    """Of this process and its workers: other processes do not lengthen it."""
    ticks = 0
    for worker in multiprocessing.active_children():
        stat = Path(f"/proc/{worker.pid}/stat")
        if stat.is_file():  # not on every system
            ticks += sum(int(each) for each in stat.read_text().rpartition(")")[2].split()[11:13])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


class Peer:
    """The plain loop, a step at a time."""

    def __init__(self, model: nn.Module, loader: DataLoader, classes: int, config: TrainConfig, device: torch.device):
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
        loss.item()  # people look at it


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
    """Images a second of each loop; they take turns of `steps` timed steps, in random order."""
    config = TrainConfig(model=model, batch_size=batch_size)
    method, plain = parse_method(METHOD), replace(batches, masks=None, valid=None)
    ours = learner_of(model, classes, config, device)
    loops: dict[str, Any] = {
        "what people write": Peer(
            peers_model(model, classes, device),
            peers_loader(*arrays, batches.normalise, batch_size),
            classes,
            config,
            device,
        ),
        "smix": Stepper(ours, method, endless(plain, batch_size), config, device),
    }
    speeds: dict[str, list[float]] = {name: [] for name in loops}
    work: dict[str, list[float]] = {name: [] for name in loops}
    state = torch.random.get_rng_state()
    for _ in range(rounds):
        for name in random.sample(list(loops), len(loops)):
            for _ in range(DRAIN):
                loops[name].step()
            start, used = time.perf_counter(), processor_seconds()
            for _ in range(steps):
                loops[name].step()
            speeds[name].append(steps * batch_size / (time.perf_counter() - start))
            work[name].append((processor_seconds() - used) / (steps * batch_size))
    torch.random.set_rng_state(state)
    base, base_work = speeds["what people write"], statistics.median(work["what people write"])
    return {
        "precision": str(ours.precision).removeprefix("torch."),
        "rounds": rounds,
        "steps": steps,
        **{
            name: {
                "images_per_second_median": statistics.median(each),
                "images_per_second_best": max(each),
                "times_as_fast_median": statistics.median(one / other for one, other in zip(each, base, strict=True)),
                "times_as_fast_best": max(each) / max(base),
                "processor_ms_an_image": 1e3 * statistics.median(work[name]),
                "times_as_little_work": base_work / statistics.median(work[name]),
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
    """Test accuracy of both loops by one recipe: SGD, momentum 0.9, weight decay 5e-4, cosine from 0.1 to 0, crops and flips."""
    sets = {
        split: Batches(
            torch.from_numpy(images).to(device),
            torch.from_numpy(labels).to(device),
            normalise,
            crop_padding=crop,
            hflip=bool(crop),
        )
        for (split, (images, labels)), crop in zip(arrays.items(), (4, 0), strict=True)
    }
    train, test = sets["train"], sets["test"]
    found: dict[str, list[float]] = {"what people write": [], "smix": []}
    state = torch.random.get_rng_state()
    for seed in range(seeds):
        config = TrainConfig(
            model=model, epochs=epochs, batch_size=batch_size, schedule="cosine", seed=seed, method=METHOD
        )
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (timm's)
        peer = Peer(
            peers_model(model, classes, device),
            peers_loader(*arrays["train"], normalise, batch_size),
            classes,
            config,
            device,
        )
        steps = train.steps(batch_size)
        for step in range(epochs * steps):
            peer.step(learning_rate(config, step, steps))
        peer.stream.close()  # else the workers of the next one inherit those of this one
        found["what people write"].append(accuracy(*predict(peer.model, test.in_order())))
        learner = learner_of(model, classes, config, device)
        torch.manual_seed(seed)
        learner.model.load_state_dict(build_model(model, classes).state_dict())
        for _ in fit(learner, AS_TIMM_DRAWS, train, test, config, Progress(), lambda: False):
            pass
        with learner.autocast():
            found["smix"].append(accuracy(*predict(learner.model, test.in_order())))
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
            for name, each in found.items()
        },
    }
