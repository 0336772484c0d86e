"""Compare the recipes for pre-trained networks with a plain timm training of the same images: `python -m benchmarks.finetune`.

Both start from the same weights and train on the same images for as many epochs, in pairs of seeds and in random order. The plain
training is the usual loop around timm's own parts: its transforms for training and evaluation, AdamW (learning rate 5e-4, weight decay
0.05), a cosine schedule and label smoothing 0.1. Accuracy is that on the test images after the last epoch. Processor seconds are the
time that all cores spent on a run, and depend less than wall-clock seconds on what else the machine does.
"""

import argparse
import dataclasses
import os
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from timm.data import create_transform
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from benchmarks.harness import RESULTS, environment, markdown, write
from smix.config import RunOptions, TrainConfig
from smix.data.sets import ImageSet
from smix.device import find_device, in_words
from smix.paths import data_name
from smix.training.inputs import prepare
from smix.training.recipes import recipe
from smix.training.runs import train
from smix.training.weights import load_init

PLAIN = "plain timm loop"


class Transformed(Dataset[tuple[torch.Tensor, int]]):
    """Images of a data set after a transform of timm."""

    def __init__(self, data: ImageSet, transform: Any) -> None:
        self.data = data
        self.transform = transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.data.images[row])), int(self.data.labels[row])


def train_plainly(config: TrainConfig, options: RunOptions) -> float:
    """Train with timm's parts and return the test accuracy. Batch size, epochs and images are those of `config`."""
    inputs, device = prepare(config, options), find_device(options.device)
    torch.manual_seed(config.seed)
    model = timm.create_model(config.model.removeprefix("timm:"), num_classes=len(inputs.training.classes))
    load_init(model, str(config.init_weights))
    model.to(device)
    side, workers = inputs.size[0], options.workers or 0
    mean_std: dict[str, Any] = {"mean": inputs.normalise.mean, "std": inputs.normalise.std}
    batches = DataLoader(
        Transformed(inputs.training, create_transform(side, is_training=True, **mean_std)),
        config.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
    )
    evaluation = create_transform(side, **mean_std)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs * len(batches))
    for _ in range(config.epochs):
        model.train()
        for images, labels in batches:
            loss = cross_entropy(model(images.to(device)), labels.to(device), label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        evaluate(model, Transformed(inputs.validation, evaluation), workers, device)
    return evaluate(model, Transformed(inputs.test, evaluation), workers, device)


@torch.no_grad()
def evaluate(model: torch.nn.Module, data: Transformed, workers: int, device: torch.device) -> float:
    """Return the accuracy."""
    model.eval()
    batches = DataLoader(data, 250, num_workers=workers)
    correct = sum(int((model(x.to(device)).argmax(1).cpu() == y).sum()) for x, y in batches)
    return correct / len(data)


def measured(run: str, config: TrainConfig, options: RunOptions) -> dict[str, Any]:
    """Train once and return accuracy, wall-clock seconds and processor seconds of all processes."""
    start, before = time.perf_counter(), os.times()
    if run == PLAIN:
        accuracy = train_plainly(config, options)
    else:
        with tempfile.TemporaryDirectory() as folder:
            accuracy = train(config, Path(folder) / "run", options).test_accuracy
    after = os.times()
    spent = sum(after[:4]) - sum(before[:4])
    return {
        "accuracy": accuracy,
        "seconds": time.perf_counter() - start,
        "processor_seconds": spent,
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Run the comparison and write its results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="data set, such as folder:tiny-imagenet-20")
    parser.add_argument("--weights", required=True, help="weights file of the model")
    parser.add_argument("--model", default="timm:tf_efficientnet_lite0", help="model of timm")
    parser.add_argument("--recipe", choices=["finetune", "small-data"], required=True)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--train", type=int, default=400, help="number of training images")
    parser.add_argument("--test", type=int, default=400, help="number of test images")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    options = RunOptions(device=args.device, threads=args.threads, workers=0, quiet=True)
    shared = dataclasses.replace(
        recipe(args.recipe, args.data, args.epochs),
        model=args.model,
        init_weights=args.weights,
        image_size=args.image_size,
        train_limit=args.train,
        test_limit=args.test,
    )
    runs: dict[str, list[dict[str, Any]]] = {args.recipe: [], PLAIN: []}
    for seed in range(args.seeds):
        config = shared.run("vanilla", seed)
        for name in random.sample(list(runs), len(runs)):
            runs[name].append(measured(name, config, options))
            print(name, seed, runs[name][-1], flush=True)
    facts = environment(in_words(find_device(args.device), args.threads), "timm", "torchvision")
    named = {"data": data_name(args.data), "init_weights": Path(args.weights).name}  # without folders of this machine
    result = {**facts, "config": {**shared.run("vanilla", 0).to_json(), **named}, "runs": runs}
    path = write(args.out, f"finetune_{args.recipe}_{facts['date']}", result, page(args, facts, runs))
    print(path)


def page(args: argparse.Namespace, facts: dict[str, Any], runs: dict[str, list[dict[str, Any]]]) -> str:
    """Return the table of the results in Markdown."""
    rows = [
        [
            name,
            ", ".join(f"{100 * run['accuracy']:.1f}" for run in measured_runs),
            f"{100 * statistics.mean(run['accuracy'] for run in measured_runs):.1f}",
            f"{statistics.mean(run['seconds'] for run in measured_runs):.0f}",
            f"{statistics.mean(run['processor_seconds'] for run in measured_runs):.0f}",
        ]
        for name, measured_runs in runs.items()
    ]
    loads = [run["load"] for measured_runs in runs.values() for run in measured_runs]
    head = ["training", "test accuracy of each seed (%)", "mean (%)", "seconds", "processor seconds"]
    lines = [
        f"# Recipe {args.recipe} and a plain timm training, {facts['date']}",
        "",
        f"{args.model} from the same pre-trained weights; {args.train} training images (a tenth held out for validation), {args.test} test "
        f"images, {args.image_size} pixels, {args.epochs} epochs, {args.seeds} seeds in pairs, without mixing.",
        "",
        *markdown(head, rows),
        "",
        f"{facts['processor']}, {args.threads} threads, load average {min(loads):.0f} to {max(loads):.0f} from other programs; "
        + ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
        + ".",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
