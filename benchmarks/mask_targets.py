"""Quality of a source of masks on images that no fit has seen, for `python -m benchmarks.mask_quality --targets SOURCE`.

DIR contains `objects.npz`, of which the parts that are held out are measured (smix/segmenter/holdout.py), `people`, `shapes16`,
`tiny-imagenet-20` and, for the share of valid masks and the time, `cifar10.npz`, `cifar100-small.npz` and `tiny-imagenet-20.npz`. Sets that
are missing are left out.
"""

import csv
import dataclasses
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

from benchmarks.mask_data import Table, in_boxes, iou
from smix.data import load_data
from smix.data.sets import ImageSet
from smix.device import threads
from smix.masks import build_masks
from smix.masks.build import confidence, resize_masks
from smix.masks.criteria import StoreValidity
from smix.masks.refine import Refinement, refine
from smix.masks.sources import Source
from smix.masks.sources.builtin import SegmenterSource
from smix.segmenter.crops import photographs
from smix.segmenter.fit import validation_crops
from smix.segmenter.holdout import rows_of

REFINED: tuple[Refinement, ...] = ("none", "default")
LEVELS = np.linspace(0, 1, 11)
ARCHIVES = ("cifar10", "cifar100-small", "tiny-imagenet-20")
FULL = 160
"""Longest side in pixels of the photographs of people and shapes16."""


def as_set(images: UInt8[np.ndarray, "N h w 3"], name: str) -> ImageSet:
    """Return images as a data set of one class."""
    return ImageSet(images, np.zeros(len(images), np.int64), ("object",), name=name, split="test")


def segment(
    source: Source, images: UInt8[np.ndarray, "N h w 3"]
) -> tuple[Bool[np.ndarray, "N h w"], Float[np.ndarray, "N"]]:
    """Return the masks of images at their size, and their scores."""
    data, masks, scores = as_set(images, "photographs"), [], []
    for start in range(0, len(images), 128):
        result = source(data, np.arange(start, min(start + 128, len(images))))
        masks.append(resize_masks(result.mask(), images.shape[1:3]).numpy())
        scores.append(confidence(result).numpy())
    return np.concatenate(masks), np.concatenate(scores)


def held_out(source: Source, objects: Path) -> list[Table]:
    """Return the IoU on the parts of `objects` that no fit has seen, by size and source of the photographs, and the reliability."""
    with np.load(objects) as file:
        names = [file[column] for column in ("source", "key", "cls")]
        parts = {part: rows_of(part, *names) for part in ("test", "classes")}
        rows = np.concatenate(list(parts.values()))
        data = photographs(file["images"][rows], file["masks"][rows], file["box"][rows])
    kind = np.repeat(list(parts), [len(part) for part in parts.values()])
    origin = names[0][rows]
    lines: list[list[Any]] = []
    reliability: list[list[Any]] = []
    for size in (32, 64):
        crops = validation_crops(data, np.arange(len(rows)), size)
        images = crops.images.mul(255).round().byte().movedim(1, -1).numpy()
        truth, known = crops.objects.numpy() > 0.5, crops.known.numpy()
        masks, score = segment(source, images)
        by_refinement = [iou(refine(masks, name), truth, known) for name in REFINED]
        groups = {
            "all": np.full(len(rows), True),
            "a tenth of each source": kind == "test",
            "classes held out": kind == "classes",
        }
        groups |= {str(name): origin == name for name in np.unique(origin)}
        for name, chosen in ((name, chosen) for name, chosen in groups.items() if chosen.any()):
            cells = [float(scores[chosen].mean()) for scores in by_refinement]
            share, empty = float((by_refinement[0][chosen] > 0.5).mean()), float((~masks[chosen].any((1, 2))).mean())
            lines.append([size, name, int(chosen.sum()), *cells, share, empty])
        reliability += [[size, *line] for line in reliability_of(score, by_refinement[1] > 0.5)]
    head = ["px", "photographs", "number", *(f"IoU, {name}" for name in REFINED), "IoU over 0.5", "empty"]
    return [
        Table("Objects held out: mean IoU", head, lines),
        Table(
            "Reliability of the score",
            ["px", "score", "number", "mean score", "share with an IoU over 0.5"],
            reliability,
        ),
    ]


def reliability_of(score: Float[np.ndarray, "N"], good: Bool[np.ndarray, "N"]) -> list[list[Any]]:
    """Return for each tenth of the scores the number of masks, the mean score and the share of good masks."""
    place = np.clip(np.digitize(score, LEVELS) - 1, 0, len(LEVELS) - 2)
    lines: list[list[Any]] = []
    for level in range(len(LEVELS) - 1):
        chosen = place == level
        if chosen.any():
            span = f"{LEVELS[level]:.1f} to {LEVELS[level + 1]:.1f}"
            lines.append([span, int(chosen.sum()), float(score[chosen].mean()), float(good[chosen].mean())])
    error = sum(line[1] * abs(line[2] - line[3]) for line in lines) / len(score)
    return [*lines, ["expected calibration error", len(score), float(score.mean()), float(error)]]


def true_masks(source: Source, folder: Path, sides: Sequence[int]) -> Table:
    """Return the mean IoU on photographs with true masks, shrunk so that their longer side is each of `sides`, and at full size."""
    with (folder / "images.tsv").open() as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    lines: list[list[Any]] = []
    for side in (*sides, None):
        scores: dict[Refinement, list[float]] = {name: [] for name in REFINED}
        empty = 0
        for row in table:
            picture, mask = Image.open(folder / row["image"]).convert("RGB"), Image.open(folder / row["mask"])
            shape = picture.size
            if side is not None:
                scale = side / max(shape)
                shape = (max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale)))
                picture = picture.resize(shape, Image.Resampling.BICUBIC)
            values = torch.from_numpy(np.array(mask.resize(picture.size, Image.Resampling.NEAREST)))
            if side is not None:
                whole = torch.from_numpy(np.array(mask))
                values = torch.where(
                    resize_masks((whole != 255)[None], shape[::-1])[0],
                    resize_masks((whole == 1)[None], shape[::-1])[0].byte(),
                    255,
                )
            found, _ = segment(source, np.asarray(picture)[None])
            empty += int(not found.any())
            truth, known = (values == 1).numpy()[None], (values != 255).numpy()[None]
            for name in REFINED:
                scores[name].append(float(iou(refine(found, name), truth, known)[0]))
        lines.append(
            [side or "full", len(table), *(float(np.mean(scores[name])) for name in REFINED), empty / len(table)]
        )
    head = ["px", "number", *(f"IoU, {name}" for name in REFINED), "empty"]
    return Table(f"{folder.name}: mean IoU", head, lines)


def boxes(source: Source, folder: Path) -> Table:
    """Return the IoU of the bounding boxes of masks with the boxes of the objects, for the validation images of Tiny ImageNet."""
    with (folder / "images.tsv").open() as file:
        table = [row for row in csv.DictReader(file, delimiter="\t") if row["file"].startswith("val/")]
    images = np.stack([np.asarray(Image.open(folder / row["file"]).convert("RGB")) for row in table])
    true_boxes = np.array([[int(row[key]) for key in ("x0", "y0", "x1", "y1")] for row in table])
    masks, score = segment(source, images)
    lines: list[list[Any]] = []
    for name in REFINED:
        refined = refine(masks, name)
        inside, overlap = in_boxes(refined, true_boxes, images.shape[1])
        sure = overlap[score >= 0.5]
        empty = float((~refined.any((1, 2))).mean())
        constant = in_boxes(np.ones_like(refined), true_boxes, images.shape[1])[1]
        lines.append(
            [
                name,
                len(table),
                float(overlap.mean()),
                float(np.nanmean(inside)),
                empty,
                len(sure),
                float(sure.mean()),
                float(constant.mean()),
            ]
        )
    head = ["refinement", "number", "IoU of boxes", "share of the mask inside", "empty"]
    head += ["score 0.5 or more", "IoU of boxes of these", "IoU of boxes of the whole image"]
    return Table(
        f"{folder.name}, validation images, 64 px: IoU of the mask's box, empty masks counted as 0", head, lines
    )


def valid(source: Source, archives: Sequence[Path]) -> Table:
    """Return the share of masks that pass `Validity()`, and what the threshold of the score costs, with the time of each build."""
    lines: list[list[Any]] = []
    for path in archives:
        data = load_data(f"npz:{path}")
        with tempfile.TemporaryDirectory() as folder:
            start, cpu = time.perf_counter(), time.process_time()
            store = build_masks(data, source, folder)
            wall, busy = time.perf_counter() - start, time.process_time() - cpu
            assert store is not None
            masks, score = store[:], np.asarray(store.scores)
        passed = StoreValidity()(masks, score)
        cells = [float((passed & (score >= level)).mean()) for level in (0.0, 0.3, 0.5, 0.7)]
        lines.append([path.stem, len(data), *cells, float(masks.mean()), float(score.mean()), wall, busy])
    head = ["data", "images", "valid", "and score 0.3", "and score 0.5", "and score 0.7", "mean coverage", "mean score"]
    return Table("Share of masks that pass Validity(), and the build", [*head, "seconds", "CPU seconds"], lines)


def cost(source: SegmenterSource, archive: Path, count: int = 4096) -> Table:
    """Return the processor time of a build on one thread, inside and outside the network."""
    data = load_data(f"npz:{archive}")
    inside = 0.0

    def timed(images: Float[Tensor, "B 3 h w"]) -> Tensor:
        nonlocal inside
        start = time.thread_time()
        logits: Tensor = source.forward(images)
        inside += time.thread_time() - start
        return logits

    with threads(1), tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        build_masks(data, dataclasses.replace(source, forward=timed), folder, limit=min(count, len(data)))
        total = time.process_time() - start
    line = [
        archive.stem,
        min(count, len(data)),
        *(1e6 * part / min(count, len(data)) for part in (total, inside, total - inside)),
    ]
    head = ["data", "images", "microseconds an image", "in the network", "outside"]
    return Table("Processor time of a build on one thread", head, [line])


def tables(source: Source, root: Path) -> list[Table]:
    """Return all tables whose data are in `root`."""
    found = []
    if (root / "objects.npz").is_file():
        found += held_out(source, root / "objects.npz")
    found += [true_masks(source, root / name, (32, 64)) for name in ("people", "shapes16") if (root / name).is_dir()]
    if (root / "tiny-imagenet-20").is_dir():
        found.append(boxes(source, root / "tiny-imagenet-20"))
    if archives := [root / f"{name}.npz" for name in ARCHIVES if (root / f"{name}.npz").is_file()]:
        found.append(valid(source, archives))
        if isinstance(source, SegmenterSource):
            found.append(cost(source, archives[0]))
    return found
