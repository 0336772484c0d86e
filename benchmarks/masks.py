"""What does a mask cost? `python -m benchmarks.masks` (about ten minutes on two cores; `--scale 0.1` for a look).

- build: `build_masks` beside the loop that people write (one image at a time, the same network, OpenCV's refinement, a PNG a
  mask), taking turns on the same images, and how much of a build is the network's forward pass;
- growth: 1,000, 10,000 and 100,000 images from a source that costs nothing;
- store: opening, pickling and reading random batches of 128 masks, of a store of a gigabyte and more.

Writes a JSON file and a table to benchmarks/results.
"""

import argparse
import dataclasses
import datetime
import hashlib
import json
import pickle
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torchvision
from PIL import Image

import smix
from benchmarks.mixing import processor
from smix.data.sets import ImageSet
from smix.device import find_device, in_words
from smix.masks import MaskStore, build_masks, load_source
from smix.masks.manifest import Manifest, SplitId, packed_bytes
from smix.masks.sources import Segmentation
from smix.masks.sources.network import NetworkSource
from smix.masks.staged import npy
from smix.masks.store import STATS_DTYPE

REPORTS_NETWORK = "torchvision:deeplabv3_mobilenet_v3_large"
HERE = Path(__file__).parent / "results"
READS, BATCH, ROUNDS = 200, 128, 3


def photographs(count: int, side: int) -> ImageSet:
    """Pieces of the two photographs that scikit-learn brings, at random places."""
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


def published_by_opencv(mask: np.ndarray) -> np.ndarray:
    """The report's four steps, as people write them."""
    blurred = cv2.GaussianBlur(mask * 255, (0, 0), 1)
    marked = cv2.adaptiveThreshold(blurred, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 5, -2)
    opened = cv2.morphologyEx(marked, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)))
    contours, _ = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    filled = np.zeros_like(opened)
    if contours:
        cv2.drawContours(filled, [max(contours, key=cv2.contourArea)], -1, 255, cv2.FILLED)
    return filled


@torch.inference_mode()
def plain_loop(source: NetworkSource, forward: Callable[[torch.Tensor], Any], data: ImageSet, out: Path) -> None:
    """One image after another, as a script does it; the same network, at the same input size."""
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
        cv2.imwrite(str(out / f"{place:06d}.png"), published_by_opencv(small))


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure_build(
    name: str, weights: Path | None, input_size: str | None, count: int, side: int, rounds: int, folder: Path
) -> dict[str, Any]:
    """Seconds of both, in turns, and of the forward passes inside a build."""
    data = photographs(count, side)
    source = load_source(name, weights, input_size)
    assert isinstance(source, NetworkSource)
    in_network: list[float] = []

    def forward(images: torch.Tensor) -> Any:
        start = time.perf_counter()
        answer = source.network.forward(images)
        if images.device.type == "cuda":
            torch.cuda.synchronize()
        in_network.append(time.perf_counter() - start)
        return answer

    watched = dataclasses.replace(source, network=dataclasses.replace(source.network, forward=forward))
    plain = source.network.forward if weights is None else plainly_loaded(weights, source.network.device)
    few = photographs(32, side)
    build_masks(few, source, folder / "warm", refine="published")
    plain_loop(source, plain, few, folder / "warm-loop")
    ours, theirs, rest = [], [], []
    for turn in range(rounds):
        out, loop = folder / f"store-{turn}", folder / f"loop-{turn}"
        in_network.clear()
        ours.append(timed(lambda out=out: build_masks(data, watched, out, refine="published")))
        rest.append(1 - sum(in_network) / ours[-1])
        theirs.append(timed(lambda loop=loop: plain_loop(source, plain, data, loop)))
    store, loop = folder / "store-0", folder / "loop-0"
    same = np.mean(
        [(np.asarray(Image.open(loop / f"{row:06d}.png")) > 0) == mask for row, mask in enumerate(MaskStore(store)[:])]
    )
    shards = sum(path.stat().st_size for path in store.glob("shard-*.npy"))
    return {
        "network": name if weights is None or name != REPORTS_NETWORK else f"{name}, random weights",
        "images": count,
        "side": side,
        "input_size": source.describe(data)["input_size"],
        "precision": source.network.precision,
        "images_per_second": count / min(ours),
        "images_per_second_loop": count / min(theirs),
        "ratio": min(theirs) / min(ours),
        "ratio_of_medians": statistics.median(theirs) / statistics.median(ours),
        "share_outside_of_the_forward_pass": min(rest),
        "equal_pixels": float(same),
        "bytes_per_mask": shards / count,
        "bytes_per_mask_loop": sum(path.stat().st_size for path in loop.iterdir()) / count,
        "bits_per_pixel": 8 * shards / count / side**2,
    }


class Nothing:
    """A source that costs nothing: a disc in every image."""

    def __init__(self, side: int) -> None:
        y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        self.disc = ((y - side / 2) ** 2 + (x - side / 2) ** 2 < side**2 / 9).float()

    def describe(self, data: ImageSet) -> dict[str, Any]:
        return {"name": "nothing"}

    def __call__(self, data: ImageSet, index: np.ndarray) -> Segmentation:
        return Segmentation(self.disc.expand(len(index), -1, -1), None)


def measure_growth(counts: Sequence[int], folder: Path) -> list[dict[str, Any]]:
    rows = []
    for count in counts:
        images = np.zeros((count, 32, 32, 3), np.uint8)
        data = ImageSet(images, np.arange(count) % 10, tuple("0123456789"), name="n", split="train")
        seconds = []
        for turn in range(3):
            start = time.perf_counter()
            build_masks(data, Nothing(32), folder / f"{count}-{turn}")
            seconds.append(time.perf_counter() - start)
        least = min(seconds)
        rows.append({"images": count, "seconds": least, "microseconds_per_image": 1e6 * least / count})
    return rows


def random_store(side: int, gigabytes: float, out: Path) -> MaskStore:
    """A store of random bits, written as a build writes it."""
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
    store = random_store(side, gigabytes, folder / f"random-{side}")
    first = timed(lambda: [store[row] for row in range(0, len(store), store.manifest.rows_per_shard)])
    rng = np.random.default_rng(1)
    batches = [rng.integers(0, len(store), BATCH) for _ in range(READS)]
    for batch in batches:
        store[batch]
    reads = [timed(lambda batch=batch: store[batch]) for batch in batches]
    opened = [timed(lambda: MaskStore(store.path)) for _ in range(20)]
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
        "microseconds_per_mask_least": 1e6 * min(reads) / BATCH,
    }


def random_weights(path: Path) -> Path:
    """Of the report's network, in torchvision's format: the published ones are a download away, and time is the same."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        network = torchvision.models.get_model(
            REPORTS_NETWORK.partition(":")[2], weights=None, weights_backbone=None, aux_loss=True
        )
    torch.save(network.state_dict(), path)
    return path


def plainly_loaded(weights: Path, device: torch.device) -> Callable[[torch.Tensor], Any]:
    """The report's network as torchvision's documentation shows it."""
    network = torchvision.models.get_model(
        REPORTS_NETWORK.partition(":")[2], weights=None, weights_backbone=None, aux_loss=True
    )
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.eval().to(device)
    return lambda images: network(images)["out"]


def table(result: dict[str, Any]) -> str:
    """Return the parts that were measured as Markdown."""
    shown = [rows(result[part]) for part, rows in TABLES.items() if part in result]
    return "\n\n".join("\n".join(lines) for lines in shown) + "\n"


def _build_table(found: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| network | images | input | images/s | plain loop, images/s | times as fast | outside of the forward pass "
        "| bits a pixel | bytes a mask (PNG) |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in found:
        lines.append(
            f"| {one['network']} | {one['images']} of {one['side']} px | {one['input_size'][0]} | {one['images_per_second']:.1f} "
            f"| {one['images_per_second_loop']:.1f} | {one['ratio']:.2f} | {100 * one['share_outside_of_the_forward_pass']:.1f} % "
            f"| {one['bits_per_pixel']:.4f} | {one['bytes_per_mask']:.0f} ({one['bytes_per_mask_loop']:.0f}) |"
        )
    return lines


def _growth_table(found: list[dict[str, Any]]) -> list[str]:
    lines = ["| images, of a source that costs nothing | seconds | us an image |", "| ---: | ---: | ---: |"]
    return lines + [f"| {g['images']:,} | {g['seconds']:.2f} | {g['microseconds_per_image']:.1f} |" for g in found]


def _store_table(found: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| side | masks | shards | GB | opens in | pickles to | random batch, us a mask | all checksums | 1,281,167 masks |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in found:
        lines.append(
            f"| {one['side']} | {one['masks']:,} | {one['shards']} | {one['gigabytes']:.2f} | {one['open_ms']:.1f} ms "
            f"| {one['pickled_bytes']} bytes | {one['microseconds_per_mask']:.1f} | {one['checksums_of_all_shards_s']:.2f} s "
            f"| {one['gigabytes_of_1281167']:.2f} GB |"
        )
    return lines


TABLES = {"build": _build_table, "growth": _growth_table, "store": _store_table}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=[], help="ONNX files to measure besides the report's network")
    parser.add_argument("--only", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--images", type=int, default=256, help="images of the build, at --scale 1")
    parser.add_argument(
        "--input-size", help="pixels of the square that the networks are fed; default: as smix masks build"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of the build")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the images and of the store")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--scratch", type=Path, help="a folder with room for 4 GB; none given: the system's")
    options = parser.parse_args()
    device, scale = find_device(), options.scale
    folder = Path(tempfile.mkdtemp(dir=options.scratch))
    try:
        weights = random_weights(folder / "random.pth")
        count = max(32, int(options.images * scale))
        networks = [(REPORTS_NETWORK, weights), *((f"onnx:{path}", None) for path in options.networks)]
        result: dict[str, Any] = {
            "processor": processor(),
            "device": in_words(device),
            "versions": {
                "smix": smix.__version__,
                "torch": torch.__version__,
                "torchvision": torchvision.__version__,
                "opencv": cv2.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        }
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
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"masks_{device.type}_{datetime.date.today().isoformat()}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    path.with_suffix(".md").write_text(table(result))
    print(table(result), end="")


if __name__ == "__main__":
    main()
