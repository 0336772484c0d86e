"""Define the file formats that smix reads, with functions to write and read a valid file, for the fuzzers."""

import base64
import hashlib
import io
import json
import shutil
import wave
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from PIL import Image
from pycocotools import mask as codes
from torch import nn

from smix import files
from smix.config import SharedConfig, TrainConfig
from smix.data import load_data
from smix.data.pictures import decode
from smix.data.speech import _waves
from smix.evaluation.cifar_c import read_cifar_c
from smix.evaluation.records import read_evaluation, write_evaluation
from smix.lab.label_map import read_label_map
from smix.lab.sweep import cross, read_sweep, write_sweep
from smix.masks import MaskStore, build_masks, load_source
from smix.masks.sources.choice import read_object_classes
from smix.masks.sources.labelme import read_shapes
from smix.masks.sources.places import EXPORTED, check_exported
from smix.masks.staged import Shard, StagedStore
from smix.report.reading import predicted_by
from smix.training.checkpoint import load_checkpoint, save_checkpoint
from smix.training.distributed import ALONE
from smix.training.learner import Learner
from smix.training.loop import Epoch, Progress
from smix.training.records import check_unchanged, read_run
from smix.training.samples import read_samples
from smix.training.weights import read_weights
from tests.attacks.mutations import make_json_hostile, make_npz_hostile
from tests.conftest import make_set, write_npz
from tests.masks.stores import SourceWithMissingRows
from tests.report.evaluations import evaluation
from tests.report.runs import TESTED, made_samples, write_run
from tests.sealed import reseal

Mutate = Callable[[bytes, Any], bytes]


@dataclass(frozen=True)
class Format:
    """A file format that smix reads."""

    name: str
    make: Callable[[Path], Path]
    """Write a file with all that belongs to it into a new folder, and return its path."""
    read: Callable[[Path], object]
    """Read the file as smix does. Equal contents give equal values."""
    forge: Mutate | None = None
    """Modify the content and update its own checksum, so that only a checksum in another file can reveal the change."""
    checked: bool = True
    """True if a checksum covers the file, so that any change must be refused."""
    forged_checked: bool = False
    """True if a checksum in another file covers it, so that even a forged file must be refused."""


def digest(*values: object) -> str:
    """Return a sha256 of arrays, tensors and texts."""
    hasher = hashlib.sha256()
    for value in values:
        if isinstance(value, torch.Tensor):
            value = value.numpy()
        hasher.update(
            repr((value.shape, value.dtype)).encode() + value.tobytes()
            if isinstance(value, np.ndarray)
            else repr(value).encode()
        )
    return hasher.hexdigest()


def sealed_json(content: bytes, draws: Any) -> bytes:
    return make_json_hostile(content, draws, seal=True)


def plain_json(content: bytes, draws: Any) -> bytes:
    return make_json_hostile(content, draws)


def json_lines(content: bytes, draws: Any) -> bytes:
    return make_json_hostile(content, draws, lines=True)


# Stores


def store(name: str, save_classes: bool = False) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        build_masks(make_set(24), SourceWithMissingRows(3, 17), folder / "store", save_classes=save_classes)
        return folder / "store" / name

    return make


def read_store(file: Path) -> object:
    masks = MaskStore(file.parent)
    classes = None if masks.manifest.classes is None else masks.classes(slice(None))
    return digest(masks[:], masks.stats, sorted(masks.problems.items()), masks.manifest, classes)


def part(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        build_masks(make_set(24), SourceWithMissingRows(3, 17), folder / "store")
        finished, building = MaskStore(folder / "store"), folder / "interrupted" / "building"
        building.mkdir(parents=True)
        manifest = replace(finished.manifest, files={})
        work = StagedStore(folder / "interrupted", manifest)
        packed = np.packbits(finished[:].reshape(24, -1), axis=1)
        work.write(0, Shard(packed, finished.stats, None, finished.problems))
        shutil.copytree(folder / "interrupted", folder / "kept")
        return folder / "interrupted" / "building" / name

    return make


def finish_build(file: Path) -> object:
    interrupted = file.parent.parent
    try:
        masks = build_masks(make_set(24), SourceWithMissingRows(3, 17), interrupted)
        assert masks is not None
        return digest(masks[:], masks.stats)
    finally:
        shutil.rmtree(interrupted)
        shutil.copytree(interrupted.with_name("kept"), interrupted)


def commit(folder: Path) -> Path:
    (folder / "victim").write_text("precious")
    (folder / "in").mkdir()
    (folder / "in" / "a").write_text("old")
    (folder / "in" / ".a.next.tmp").write_text("new")
    (folder / "in" / files.COMMIT).write_text(json.dumps({"a": ".a.next.tmp"}))
    return folder / "in" / files.COMMIT


def finish_commit(file: Path) -> object:
    folder = file.parent
    try:
        with files.lock(folder):
            pass
    finally:
        assert (folder.parent / "victim").read_text() == "precious"
        assert {path.name for path in folder.parent.iterdir()} == {"victim", "in"}
        for path in folder.iterdir():
            path.unlink()
        (folder / "a").write_text("old")
        (folder / ".a.next.tmp").write_text("new")
    return None


# Data


def dataset(folder: Path) -> Path:
    return write_npz(folder / "set.npz", make_set(24), make_set(8, seed=1, split="test"))


def read_dataset(file: Path) -> object:
    splits = [load_data(f"npz:{file}", split=split) for split in ("train", "test")]
    return digest(*(value for data in splits for value in (data.images, data.labels, data.masks, data.classes)))


def picture(suffix: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        Image.fromarray(make_set(1, (40, 30)).array[0]).save(folder / f"a.{suffix}")
        return folder / f"a.{suffix}"

    return make


def read_picture(file: Path) -> object:
    image = decode(file)
    assert image.ndim == 3
    assert image.shape[2] == 3
    return digest(image)


def recording(folder: Path) -> Path:
    with wave.open(str(folder / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(np.random.default_rng(0).integers(-999, 999, 16000).astype("<i2").tobytes())
    return folder / "a.wav"


def tiny_imagenet(folder: Path) -> Path:
    home = folder / "tiny-imagenet-200"
    for number, wnid in enumerate(("n01", "n02")):
        (home / "train" / wnid / "images").mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(home / "train" / wnid / "images" / f"{wnid}_0.JPEG")
    (home / "val" / "images").mkdir(parents=True)
    for number in range(2):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(home / "val" / "images" / f"val_{number}.JPEG")
    (home / "wnids.txt").write_text("n01\nn02\n")
    (home / "words.txt").write_text("n01\tcat, puss\nn02\tdog\n")
    (home / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn01\t0\t0\t7\t7\nval_1.JPEG\tn02\t0\t0\t7\t7\n")
    return home / "val" / "val_annotations.txt"


def read_tiny_imagenet(file: Path) -> object:
    data = load_data("tiny-imagenet", file.parents[2], "test")
    return digest(data.labels, data.classes, data.images.names.tolist())  # type: ignore[union-attr]


def corrupt_archive(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    np.save(folder / "fog.npy", rng.integers(0, 255, (10, 32, 32, 3)).astype(np.uint8))
    np.save(folder / "labels.npy", np.arange(10) % 3)
    return folder / "fog.npy"


def coco(folder: Path) -> Path:
    mask = np.random.default_rng(0).random((10, 14)) < 0.4
    code = codes.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    size = {"height": 10, "width": 14}
    content = {
        "images": [{"id": 4, "file_name": "000000.jpg", **size}, {"id": 5, "file_name": "000001.jpg", **size}],
        "annotations": [
            {"id": 1, "image_id": 4, "category_id": 3, "segmentation": {"size": [10, 14], "counts": code}},
            {"id": 2, "image_id": 5, "category_id": 3, "segmentation": [[0, 6, 14, 6, 14, 8, 0, 8]]},
            {"id": 3, "image_id": 5, "category_id": 7, "segmentation": {"size": [10, 14], "counts": [100, 40]}},
        ],
        "categories": [{"id": 3, "name": "cup"}, {"id": 7, "name": "dog"}],
    }
    (folder / "coco").mkdir()
    (folder / "coco" / "annotations.json").write_text(json.dumps(content))
    return folder / "coco" / "annotations.json"


def read_coco(file: Path) -> object:
    data, source = make_set(2), load_source(f"masks:{file.parent}")
    source.describe(data)
    segmentation = source(data, np.arange(2))
    assert segmentation.object.shape[0] == 2
    assert all(message.isprintable() for message in segmentation.problems.values())
    return digest(segmentation.object, sorted(segmentation.problems))


def labelme(folder: Path) -> Path:
    png = io.BytesIO()
    Image.fromarray(np.full((4, 5), 255, np.uint8)).save(png, "png")
    shapes = [
        {"label": "cat", "shape_type": "polygon", "points": [[1, 1], [20, 3], [9, 15]]},
        {"label": "cat", "shape_type": "circle", "points": [[10, 10], [14, 10]]},
        {"label": "dog", "shape_type": "rectangle", "points": [[2, 3], [9, 8]]},
        {
            "label": "dog",
            "shape_type": "mask",
            "points": [[2, 3], [7, 7]],
            "mask": base64.b64encode(png.getvalue()).decode(),
        },
    ]
    (folder / "a.json").write_text(json.dumps({"imageHeight": 20, "imageWidth": 30, "shapes": shapes}))
    return folder / "a.json"


def export_masks(folder: Path) -> Path:
    data = make_set(4)
    (folder / EXPORTED).write_text(
        json.dumps({"name": data.name, "split": data.split, "fingerprint": data.fingerprint})
    )
    return folder / EXPORTED


# Runs


def run(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = write_run(folder, "smix", 0)
        np.savez(path / "samples.npz", **made_samples())
        safetensors.torch.save_file({"weight": torch.arange(6.0), "bias": torch.zeros(2)}, path / "weights.safetensors")
        reseal(path)
        return path / name

    return make


def read_complete_run(file: Path) -> object:
    record = read_run(file.parent)
    for name in record.files:
        check_unchanged(record, name)
    predicted = predicted_by(record)
    assert predicted.scores.correct.shape == (TESTED,)
    return digest(
        record.config, record.metrics, record.result, predicted.labels, predicted.scores.numbers(), read_samples(record)
    )


def read_forged_run(file: Path) -> object:
    """Update the checksums in result.json to match the modified file, then read the run."""
    try:
        reseal(file.parent)
        return read_complete_run(file)
    finally:
        shutil.rmtree(file.parent)
        run(file.name)(file.parent.parent)


def write_example_evaluation(folder: Path) -> Path:
    write_evaluation(folder / "test.json", evaluation(0.5))
    return folder / "test.json"


CONFIG = TrainConfig(epochs=4)
EPOCH = Epoch(1, 0.1, 1.0, 0.5, 0.0, 1.0, 0.5, 3.0)


def learner() -> Learner:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Learner.of(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), CONFIG, ALONE)


def checkpoint(folder: Path) -> Path:
    save_checkpoint(folder / "checkpoint.pt", learner(), Progress(epoch=1), CONFIG, [EPOCH])
    return folder / "checkpoint.pt"


def read_checkpoint(file: Path) -> object:
    state = learner()
    progress = load_checkpoint(file, state, CONFIG, [EPOCH])
    return digest(progress, *state.model.state_dict().values())


def weights(suffix: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        state = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.zeros(2)}
        file = folder / f"a.{suffix}"
        safetensors.torch.save_file(state, file) if suffix == "safetensors" else torch.save(state, file)
        return file

    return make


def read_weight_file(file: Path) -> object:
    return digest(*(item for pair in sorted(read_weights(file).items()) for item in pair))


def sweep(folder: Path) -> Path:
    write_sweep(folder / "s.jsonl", cross(SharedConfig(epochs=3), ["vanilla", "smix"], [0, 1], {"lr": [0.1, 0.05]}))
    return folder / "s.jsonl"


def class_map(folder: Path) -> Path:
    (folder / "map.json").write_text(json.dumps({"cat": ["tabby", "tiger cat"], "dog": ["beagle"], "car": None}))
    return folder / "map.json"


FORMATS = (
    Format("store: shard", store("shard-00000.npy"), read_store),
    Format("store: class maps", store("classes-00000.npy", True), read_store),
    Format("store: stats", store("stats.npy"), read_store),
    Format("store: broken.json", store("broken.json"), read_store, plain_json),
    Format("store: manifest", store("manifest.json"), read_store, sealed_json),
    Format("store: finished part", part("00000.json"), finish_build, sealed_json),
    Format("store: masks of a part", part("shard-00000.npy"), finish_build),
    Format("commit", commit, finish_commit, plain_json, checked=False),
    Format("npz data set", dataset, read_dataset, make_npz_hostile, checked=False),
    Format("png", picture("png"), read_picture, checked=False),
    Format("jpeg", picture("jpg"), read_picture, checked=False),
    Format("bmp", picture("bmp"), read_picture, checked=False),
    Format("webp", picture("webp"), read_picture, checked=False),
    Format("wav", recording, lambda file: digest(_waves(file.parent, [file.name])), checked=False),
    Format("Tiny ImageNet's lists", tiny_imagenet, read_tiny_imagenet, checked=False),
    Format("CIFAR-10-C", corrupt_archive, lambda file: digest(*read_cifar_c(file.parent, "fog", 2)), checked=False),
    Format("COCO", coco, read_coco, plain_json, checked=False),
    Format("labelme", labelme, lambda file: digest(read_shapes(file, None)), plain_json, checked=False),
    Format(
        "exported.json", export_masks, lambda file: check_exported(file.parent, make_set(4)), plain_json, checked=False
    ),
    Format("object classes", class_map, lambda file: read_object_classes(file), plain_json, checked=False),
    Format("label map", class_map, lambda file: read_label_map(file), plain_json, checked=False),
    Format("sweep", sweep, lambda file: repr(read_sweep(file)), json_lines, checked=False),
    Format("run: config", run("config.json"), read_complete_run, sealed_json, forged_checked=True),
    Format("run: config, forged", run("config.json"), read_forged_run, sealed_json, checked=False),
    Format("run: result", run("result.json"), read_complete_run, sealed_json),
    Format("run: metrics", run("metrics.jsonl"), read_complete_run, json_lines, forged_checked=True),
    Format("run: metrics, forged", run("metrics.jsonl"), read_forged_run, json_lines, checked=False),
    Format("run: predictions", run("predictions.npz"), read_complete_run, make_npz_hostile, forged_checked=True),
    Format("run: predictions, forged", run("predictions.npz"), read_forged_run, make_npz_hostile, checked=False),
    Format("run: validation", run("validation.npz"), read_complete_run, make_npz_hostile, forged_checked=True),
    Format("run: validation, forged", run("validation.npz"), read_forged_run, make_npz_hostile, checked=False),
    Format("run: samples", run("samples.npz"), read_complete_run, make_npz_hostile, forged_checked=True),
    Format("run: samples, forged", run("samples.npz"), read_forged_run, make_npz_hostile, checked=False),
    Format("run: weights", run("weights.safetensors"), read_complete_run),
    Format("checkpoint", checkpoint, read_checkpoint),
    Format("evaluation", write_example_evaluation, lambda file: repr(read_evaluation(file)), sealed_json),
    Format("weights: safetensors", weights("safetensors"), read_weight_file, checked=False),
    Format("weights: torch", weights("pt"), read_weight_file, checked=False),
)
