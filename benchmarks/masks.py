"""Measure the cost of building and reading masks: `python -m benchmarks.masks` (ten minutes on two cores; `--scale 0.1` for a quick run).

- build: `build_masks` compared with a plain loop (one image at a time, the same network, OpenCV's refinement, a PNG per mask),
  alternating on the same images, and how much of a build is the network's forward pass;
- growth: 1,000, 10,000 and 100,000 images from a source without cost;
- store: opening, pickling and reading random batches of 128 masks, with a store of more than a gigabyte.

Writes a JSON file and a table to benchmarks/results.
"""

import argparse
import dataclasses
import hashlib
import pickle
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torchvision
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from benchmarks.harness import RESULTS, environment, markdown, seconds, write
from smix.data.sets import ImageSet
from smix.device import find_device, in_words
from smix.masks import MaskStore, build_masks, load_source
from smix.masks.manifest import Manifest, SplitId, packed_bytes
from smix.masks.sources import Segmentation
from smix.masks.sources.network import NetworkSource
from smix.masks.staged import npy
from smix.masks.store import STATS_DTYPE

REPORT_NETWORK = "torchvision:deeplabv3_mobilenet_v3_large"
"""Network of the report that proposed SMix."""
READS, BATCH, ROUNDS = 200, 128, 3

Forward = Callable[[Float[Tensor, "B C H W"]], Any]
"""A network: normalised images to scores."""


def photographs(count: int, side: int) -> ImageSet:
    """Return random crops of the two sample photographs of scikit-learn."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    photos = load_sample_images().images
    images = np.empty((count, side, side, 3), np.uint8)
    for image in images:
        photo = photos[rng.integers(len(photos))]
        top, left = (rng.integers(length - 4 * side if length > 4 * side else 1) for length in photo.shape[:2])
        piece = Image.fromarray(photo[top : top + 4 * side, left : left + 4 * side])
        image[:] = np.asarray(piece.resize((side, side), Image.Resampling.BOX))
    return ImageSet(images, np.arange(count) % 10, tuple("0123456789"), name="photographs", split="train")


def refine_with_opencv(mask: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    """Refine a mask of zeros and ones by the four steps of the report, with OpenCV."""
    blurred = cv2.GaussianBlur(mask * 255, (0, 0), 1)
    marked = cv2.adaptiveThreshold(blurred, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 5, -2)
    opened = cv2.morphologyEx(marked, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)))
    contours, _ = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    filled = np.zeros_like(opened)
    if contours:
        cv2.drawContours(filled, [max(contours, key=cv2.contourArea)], -1, 255, cv2.FILLED)
    return filled


@torch.inference_mode()
def plain_loop(source: NetworkSource, forward: Forward, data: ImageSet, out: Path) -> None:
    """Segment one image after another, as a typical script does, with the same network and input size as `source`."""
    out.mkdir(parents=True)
    network, size = source.network, source.describe(data)["input_size"]
    mean = torch.tensor(network.card.mean, device=network.device).view(3, 1, 1) / 255
    std = torch.tensor(network.card.std, device=network.device).view(3, 1, 1) / 255
    for place, pixels in enumerate(data.array):
        image = Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BICUBIC)
        x = (torchvision.transforms.functional.to_tensor(image).to(network.device) - mean) / std
        scores = forward(x[None])
        mask = (scores[0].argmax(0) != network.card.background).byte().cpu().numpy()
        small = cv2.resize(mask, pixels.shape[1::-1], interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(out / f"{place:06d}.png"), refine_with_opencv(small))


def measure_build(
    name: str, weights: Path | None, input_size: str | None, count: int, side: int, rounds: int, folder: Path
) -> dict[str, Any]:
    """Return the speed of `build_masks` and of the plain loop, and the part of a build outside of the forward passes."""
    data = photographs(count, side)
    source = load_source(name, weights, input_size)
    assert isinstance(source, NetworkSource)
    in_network: list[float] = []

    def forward(images: Float[Tensor, "B C H W"]) -> Any:
        start = time.perf_counter()
        scores = source.network.forward(images)
        if images.device.type == "cuda":
            torch.cuda.synchronize()
        in_network.append(time.perf_counter() - start)
        return scores

    timed_source = dataclasses.replace(source, network=dataclasses.replace(source.network, forward=forward))
    plain = source.network.forward if weights is None else load_plainly(weights, source.network.device)
    few = photographs(32, side)
    build_masks(few, source, folder / "warm", refine="published")
    plain_loop(source, plain, few, folder / "warm-loop")
    build_seconds, loop_seconds, rest = [], [], []
    for turn in range(rounds):
        out, loop = folder / f"store-{turn}", folder / f"loop-{turn}"
        in_network.clear()
        build_seconds.append(seconds(partial(build_masks, data, timed_source, out, refine="published")))
        rest.append(1 - sum(in_network) / build_seconds[-1])
        loop_seconds.append(seconds(partial(plain_loop, source, plain, data, loop)))
    store, loop = folder / "store-0", folder / "loop-0"
    loop_masks = [np.asarray(Image.open(path)) > 0 for path in sorted(loop.iterdir())]
    equal = np.mean(np.stack(loop_masks) == MaskStore(store)[:])
    shards = sum(path.stat().st_size for path in store.glob("shard-*.npy"))
    return {
        "network": name if weights is None or name != REPORT_NETWORK else f"{name}, random weights",
        "images": count,
        "side": side,
        "input_size": source.describe(data)["input_size"],
        "precision": source.network.precision,
        "images_per_second": count / min(build_seconds),
        "images_per_second_loop": count / min(loop_seconds),
        "ratio": min(loop_seconds) / min(build_seconds),
        "ratio_of_medians": statistics.median(loop_seconds) / statistics.median(build_seconds),
        "share_outside_of_the_forward_pass": min(rest),
        "equal_pixels": float(equal),
        "bytes_per_mask": shards / count,
        "bytes_per_mask_loop": sum(path.stat().st_size for path in loop.iterdir()) / count,
        "bits_per_pixel": 8 * shards / count / side**2,
    }


class FreeSource:
    """A source without cost: the same disc for every image."""

    def __init__(self, side: int) -> None:
        y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        self.disc = ((y - side / 2) ** 2 + (x - side / 2) ** 2 < side**2 / 9).float()

    def describe(self, data: ImageSet) -> dict[str, Any]:
        return {"name": "free"}

    def __call__(self, data: ImageSet, index: Int[np.ndarray, "n"]) -> Segmentation:
        return Segmentation(self.disc.expand(len(index), -1, -1), None)


def measure_growth(counts: Sequence[int], folder: Path) -> list[dict[str, Any]]:
    """Return the minimum seconds of a build for each number of images."""
    rows = []
    for count in counts:
        images = np.zeros((count, 32, 32, 3), np.uint8)
        data = ImageSet(images, np.arange(count) % 10, tuple("0123456789"), name="n", split="train")
        source = FreeSource(32)
        minimum = min(seconds(partial(build_masks, data, source, folder / f"{count}-{turn}")) for turn in range(3))
        rows.append({"images": count, "seconds": minimum, "microseconds_per_image": 1e6 * minimum / count})
    return rows


def random_store(side: int, gigabytes: float, out: Path) -> MaskStore:
    """Write a store of random bits in the format of a build."""
    width = packed_bytes((side, side))
    count = max(BATCH, int(gigabytes * 2**30 / width))
    rows = 1024 * max(1, -(-count // (1024 * 256)))
    rng = np.random.default_rng(0)
    out.mkdir(parents=True)
    checksums = {}
    for number, first in enumerate(range(0, count, rows)):
        content = npy(rng.integers(0, 256, (min(rows, count - first), width), dtype=np.uint8))
        name = f"shard-{number:05d}.npy"
        checksums[name] = hashlib.sha256(content).hexdigest()
        (out / name).write_bytes(content)
    stats = npy(np.zeros(count, STATS_DTYPE))
    (out / "stats.npy").write_bytes(stats)
    manifest = Manifest(
        data=SplitId("random", "train", "0" * 64, count),
        shape=(side, side),
        source={"name": "random"},
        refine={"name": "none"},
        rows_per_shard=rows,
        files={**checksums, "stats.npy": hashlib.sha256(stats).hexdigest()},
    )
    (out / "manifest.json").write_bytes(manifest.to_bytes())
    return MaskStore(out)


def measure_store(side: int, gigabytes: float, folder: Path) -> dict[str, Any]:
    """Return the times to check, open and read a random store, and its size."""
    store = random_store(side, gigabytes, folder / f"random-{side}")
    first_rows = range(0, len(store), store.manifest.rows_per_shard)
    first = seconds(lambda: [store[row] for row in first_rows])  # the first read of a shard checks its sha256
    rng = np.random.default_rng(1)
    batches = [rng.integers(0, len(store), BATCH) for _ in range(READS)]
    for batch in batches:
        store[batch]
    reads = [seconds(partial(store.__getitem__, batch)) for batch in batches]
    opened = [seconds(partial(MaskStore, store.path)) for _ in range(20)]
    size = sum(path.stat().st_size for path in store.path.iterdir())
    return {
        "side": side,
        "masks": len(store),
        "shards": store.manifest.shard_count,
        "gigabytes": size / 1e9,
        "gigabytes_of_1281167": (packed_bytes((side, side)) + STATS_DTYPE.itemsize) * 1_281_167 / 1e9,
        "open_ms": 1e3 * statistics.median(opened),
        "pickled_bytes": len(pickle.dumps(store)),
        "checksums_of_all_shards_s": first,
        "microseconds_per_mask": 1e6 * statistics.median(reads) / BATCH,
        "microseconds_per_mask_min": 1e6 * min(reads) / BATCH,
    }


def report_network() -> torch.nn.Module:
    name = REPORT_NETWORK.partition(":")[2]
    network: torch.nn.Module = torchvision.models.get_model(name, weights=None, weights_backbone=None, aux_loss=True)
    return network


def random_weights(path: Path) -> Path:
    """Write random weights of the report's network in torchvision's format.

    The published weights would have to be downloaded, and the time is the same.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        torch.save(report_network().state_dict(), path)
    return path


def load_plainly(weights: Path, device: torch.device) -> Forward:
    """Return the report's network, loaded as in torchvision's documentation."""
    network = report_network()
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.eval().to(device)
    return lambda images: network(images)["out"]


def table(result: dict[str, Any]) -> str:
    """Return the parts that were measured as Markdown."""
    tables = [rows(result[part]) for part, rows in TABLES.items() if part in result]
    return "\n\n".join("\n".join(lines) for lines in tables) + "\n"


def _build_table(builds: list[dict[str, Any]]) -> list[str]:
    head = [
        "network",
        "images",
        "input",
        "images/s",
        "plain loop, images/s",
        "speed-up",
        "outside of the forward pass",
        "bits per pixel",
        "bytes per mask (PNG)",
    ]
    rows = [
        [
            build["network"],
            f"{build['images']} of {build['side']} px",
            f"{build['input_size'][0]}",
            f"{build['images_per_second']:.1f}",
            f"{build['images_per_second_loop']:.1f}",
            f"{build['ratio']:.2f}",
            f"{100 * build['share_outside_of_the_forward_pass']:.1f} %",
            f"{build['bits_per_pixel']:.4f}",
            f"{build['bytes_per_mask']:.0f} ({build['bytes_per_mask_loop']:.0f})",
        ]
        for build in builds
    ]
    return markdown(head, rows)


def _growth_table(growth: list[dict[str, Any]]) -> list[str]:
    rows = [[f"{g['images']:,}", f"{g['seconds']:.2f}", f"{g['microseconds_per_image']:.1f}"] for g in growth]
    return markdown(["images, from a source without cost", "seconds", "us per image"], rows)


def _store_table(stores: list[dict[str, Any]]) -> list[str]:
    head = [
        "side",
        "masks",
        "shards",
        "GB",
        "time to open",
        "pickled size",
        "random batch, us per mask",
        "all checksums",
        "1,281,167 masks",
    ]
    rows = [
        [
            f"{store['side']}",
            f"{store['masks']:,}",
            f"{store['shards']}",
            f"{store['gigabytes']:.2f}",
            f"{store['open_ms']:.1f} ms",
            f"{store['pickled_bytes']} bytes",
            f"{store['microseconds_per_mask']:.1f}",
            f"{store['checksums_of_all_shards_s']:.2f} s",
            f"{store['gigabytes_of_1281167']:.2f} GB",
        ]
        for store in stores
    ]
    return markdown(head, rows)


TABLES = {"build": _build_table, "growth": _growth_table, "store": _store_table}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--networks", nargs="*", default=[], help="ONNX files to measure in addition to the report's network"
    )
    parser.add_argument("--only", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--images", type=int, default=256, help="images of the build, at --scale 1")
    parser.add_argument("--input-size", help="input size of the networks in pixels (default: as in smix masks build)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of the build")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="factor of the number of images and of the size of the store"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--scratch", type=Path, help="folder for 4 GB of temporary files (default: the system's)")
    options = parser.parse_args()
    device, scale = find_device(), options.scale
    folder = Path(tempfile.mkdtemp(dir=options.scratch))
    try:
        weights = random_weights(folder / "random.pth")
        count = max(32, int(options.images * scale))
        networks = [(REPORT_NETWORK, weights), *((f"onnx:{path}", None) for path in options.networks)]
        result = environment(in_words(device), "torchvision", "cv2")
        if "build" in options.only:
            result["build"] = [
                measure_build(name, file, options.input_size, count, 32, options.rounds, folder / f"build-{place}")
                for place, (name, file) in enumerate(networks)
            ]
        if "growth" in options.only:
            counts = [max(10, int(n * scale)) for n in (1_000, 10_000, 100_000)]
            result["growth"] = measure_growth(counts, folder / "growth")
        if "store" in options.only:
            result["store"] = [measure_store(side, 1.1 * scale, folder / "store") for side in (32, 64, 224)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    write(options.out, f"masks_{device.type}_{result['date']}", result, table(result))
    print(table(result), end="")


if __name__ == "__main__":
    main()
