"""Measure the speed of training: `python -m benchmarks.training --data cifar10.npz`.

Compares the steps of each method with a vanilla step, and the loop of smix with a plain PyTorch loop; measures the parts of a step and the
time from the command to the first step. Candidates take turns in random order in one process, so that the load of the machine affects
all alike: only ratios are meaningful. (While the machine is busy set OMP_WAIT_POLICY=PASSIVE. Otherwise a thread that waits for another
keeps its core busy, and a step takes up to ten times as long.) `--parity` also compares the accuracy of both loops over three seeds.
Writes a JSON file and a table to benchmarks/results after each part.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness import RESULTS, environment, write
from benchmarks.training_start import measure_start
from benchmarks.training_steps import measure_operations, measure_steps, new_learner
from benchmarks.training_tables import tables
from smix.config import TrainConfig
from smix.data.batches import Batches, Normalisation
from smix.data.sets import ImageSet, load_data
from smix.device import find_device, in_words
from smix.training.learner import precision

PARTS = ["steps", "peers", "start", "parity", "card"]
METHODS = ["vanilla", "mixup", "cutmix", "fmix", "smix", "mixup|cutmix"]
PEAKS = {"A100": 312e12, "H100": 989e12, "H200": 989e12}
"""Dense bfloat16 operations per second, from NVIDIA's data sheets."""


def random_npz(path: Path, train: int, test: int, side: int = 32) -> Path:
    """Write noise in the shape of CIFAR-10, which is sufficient to measure times."""
    rng = np.random.default_rng(0)
    x_train, x_test = (rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8) for count in (train, test))
    y_train, y_test = (np.arange(count) % 10 for count in (train, test))
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return path


def on_device(data: ImageSet, device: torch.device) -> Batches:
    """Return the data on the device, with crops, flips, and discs of random sizes as masks."""
    height, width = data.size or (0, 0)
    y, x = np.ogrid[:height, :width]
    radii = np.random.default_rng(0).uniform(0.15, 0.5, (len(data), 1, 1)) * height
    masks = np.hypot(y - height / 2, x - width / 2) < radii
    valid = np.ones(len(data), bool)
    return Batches.of(data, Normalisation.of(data), device, masks, valid, crop_padding=4, hflip=True)


def measure_card(
    data: Path, batches: Batches, classes: int, model: str, batch: int, rounds: int, device: torch.device
) -> dict[str, Any]:
    """Compare the speed of one run, and of four runs that share the device, with the peak of the device."""
    step = measure_steps(batches, classes, model, ["vanilla", "smix"], batch, rounds, device)["smix"]
    speed = 1e3 * batch / step["median_ms"]
    learner = new_learner(model, classes, TrainConfig(), device)
    images = batches.normalise(batches.images[:batch])
    with FlopCounterMode(display=False) as counter, learner.autocast():
        learner.model(images).float().sum().backward()
    flops = counter.get_total_flops() / batch
    peak = next((value for name, value in PEAKS.items() if name in in_words(device)), None)
    with tempfile.TemporaryDirectory() as folder:
        words = f"--data npz:{data} --model {model} --methods mixup --seeds 4 --jobs 4 --epochs 3".split()
        words += ["--batch-size", str(batch), "--device", device.type, "--out", f"{folder}/runs"]
        subprocess.run([sys.executable, "-m", "smix", "compare", *words], check=True)
        lines = [path.read_text().splitlines()[-1] for path in Path(folder).glob("runs/*/metrics.jsonl")]
        seconds = [json.loads(line)["seconds"] for line in lines]
    images_per_epoch = 0.9 * len(batches) // batch * batch
    together = sum(images_per_epoch / each for each in seconds)
    return {
        "model": model,
        "flops_an_image": flops,
        "images_per_second_one": speed,
        "images_per_second_four": together,
        "share_of_peak_one": None if peak is None else speed * flops / peak,
        "share_of_peak_four": None if peak is None else together * flops / peak,
    }


def measure(options: argparse.Namespace, data: Path, device: torch.device) -> Iterator[tuple[str, Any]]:
    """Yield the name of each part and its results as soon as it is measured."""
    train, test = (load_data(f"npz:{data}", split=split) for split in ("train", "test"))
    batches, classes, batch = on_device(train, device), len(train.classes), options.batch

    def rounds(count: int) -> int:
        return max(1, round(count * float(options.scale)))

    for model in options.models:
        # A step of a ResNet-18 on a CPU is almost only convolutions, so a few steps are enough.
        few = model == "resnet18" and device.type == "cpu"
        methods = ["vanilla", "smix"] if few else METHODS
        if "steps" in options.only:
            yield (
                f"steps of {model}",
                measure_steps(batches, classes, model, methods, batch, rounds(3 if few else 40), device),
            )
            count = rounds(1 if few else 10)
            yield f"operations of {model}", measure_operations(batches, classes, model, "smix", batch, count, device)
        if "peers" in options.only:
            from benchmarks.training_peers import measure_peers  # here, since it needs timm

            peers = (rounds(2 if few else 7), rounds(2 if few else 12))
            arrays = (train.array, train.labels)
            yield f"peers of {model}", measure_peers(arrays, batches, classes, model, batch, *peers, device)
    if "start" in options.only:
        yield "start", measure_start(data, "resnet8", rounds(3))
    if "parity" in options.only:
        from benchmarks.training_peers import measure_parity

        some = {"train": train.take(min(5000, len(train))), "test": test.take(min(2000, len(test)))}
        splits = {split: (part.array, part.labels) for split, part in some.items()}
        yield "parity", measure_parity(splits, batches.normalise, classes, rounds(6), 3, batch // 2, device)
    if "card" in options.only:
        yield "card", measure_card(data, batches, classes, options.models[-1], batch, rounds(50), device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="npz file (default: noise in the shape of CIFAR-10)")
    parser.add_argument("--models", nargs="+", default=["resnet8", "resnet18"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="factor of the numbers of rounds and of the size of the noise"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=PARTS,
        help="parts to measure; others stay in the file (default: steps, peers, start, and card on a GPU)",
    )
    parser.add_argument("--parity", action="store_true", help="also compare accuracies, which takes minutes")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = find_device()
    facts = environment(in_words(device), "torchvision", "timm")
    options.only = options.only or [*PARTS[:3], *(["card"] if device.type == "cuda" else [])]
    options.only = [*options.only, "parity"] if options.parity else options.only
    kind = f"cpu{options.threads}" if device.type == "cpu" else device.type
    name = f"training_{kind}_{facts['date']}"
    path = options.out / f"{name}.json"
    result: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    result |= {
        **facts,
        "batch": options.batch,
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", ""),
        "data": "noise" if options.data is None else options.data.stem,
        "precision": str(precision(device)).removeprefix("torch."),
    }
    with tempfile.TemporaryDirectory() as folder:
        size = [max(2 * options.batch, int(count * min(1.0, options.scale))) for count in (50_000, 10_000)]
        data = options.data or random_npz(Path(folder) / "noise.npz", *size)
        for part, measured in measure(options, data.resolve(), device):
            print(f"{part}: measured", file=sys.stderr)
            load = {**result.get("load", {}), part: round(os.getloadavg()[0], 1)}
            result |= {part: measured, "load": load}
            write(options.out, name, result, tables(result))
    print(tables(result), path, sep="\n")


if __name__ == "__main__":
    main()
