"""Test that the benchmarks run with small sizes and write valid result files; times are not checked."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.test_streaming import write_folder
from tests.masks.networks import write_network
from tests.training.processes import in_processes

ROOT = Path(__file__).parents[1]
PEERS = [name for name in ("timm", "kornia") if importlib.util.find_spec(name) is None]


def benchmark(folder: Path, name: str, *words: str, **constants: object) -> None:
    """Run a benchmark in a new process, with other values of constants of its module."""

    def run(rank: int) -> None:
        module = importlib.import_module(f"benchmarks.{name}")
        for constant, value in constants.items():
            setattr(module, constant, value)
        sys.argv = [name, *words, "--out", str(folder)]
        module.main()

    (ended,) = in_processes(1, folder / "logs", run)
    assert ended.code == 0, ended.err


@pytest.mark.slow
@pytest.mark.skipif(bool(PEERS), reason=f"needs {' and '.join(PEERS)}")
def test_the_benchmark_of_mixing(tmp_path: Path):
    benchmark(tmp_path, "mixing", "--sizes", "16", "--threads", "1", "--scale", "0.01")
    (path,) = tmp_path.glob("mixing_cpu_*.json")
    values = json.loads(path.read_text())["sizes"]["16"]
    assert all(0 < value["min_ms"] <= value["median_ms"] for value in values.values())
    assert 0 <= values["smix CutMix"]["peak_batches"] < 1
    subprocess.run([sys.executable, "-m", "benchmarks.mixing_figure", path], cwd=ROOT, check=True)
    assert "| smix FMix |" in path.with_suffix(".md").read_text()
    assert path.with_suffix(".png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.skipif(bool(PEERS), reason=f"needs {' and '.join(PEERS)}")
def test_the_benchmark_of_training(tmp_path: Path):
    words = ("--models", "resnet8", "--threads", "1", "--batch", "8", "--scale", "0.001", "--parity")
    benchmark(tmp_path, "training", *words)
    (path,) = tmp_path.glob("training_*.json")
    result = json.loads(path.read_text())
    steps = result["steps of resnet8"]
    assert all(0 < step["min_ms"] <= step["median_ms"] for step in steps.values())
    assert steps["vanilla"]["min_over_vanilla"] == 1
    assert sum(result["operations of resnet8"].values()) == pytest.approx(100)
    assert result["peers of resnet8"]["plain PyTorch loop"]["times_as_fast_median"] == 1
    assert result["start"]["total"] > result["start"]["imports"] > 0
    assert len(result["parity"]["smix"]["accuracies"]) == 3
    assert "| smix | " in path.with_suffix(".md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["finetune", "small-data"])
def test_the_benchmark_of_recipes_for_pretrained_networks(tmp_path: Path, recipe: str):
    timm = pytest.importorskip("timm")
    with torch.random.fork_rng(devices=[]):
        torch.save(timm.create_model("test_efficientnet").state_dict(), tmp_path / "weights.pt")
    words = [
        "--data",
        write_folder(tmp_path / "images"),
        "--weights",
        str(tmp_path / "weights.pt"),
        "--model",
        "timm:test_efficientnet",
    ]
    words += [
        "--recipe",
        recipe,
        "--image-size",
        "32",
        "--train",
        "36",
        "--test",
        "8",
        "--epochs",
        "1",
        "--seeds",
        "1",
        "--device",
        "cpu",
    ]
    benchmark(tmp_path, "finetune", *words)
    (path,) = tmp_path.glob(f"finetune_{recipe}_*.json")
    result = json.loads(path.read_text())
    assert result["runs"].keys() == {recipe, "plain timm loop"}
    assert all(
        0 <= run["accuracy"] <= 1 < 1000 * run["processor_seconds"] for runs in result["runs"].values() for run in runs
    )
    assert str(tmp_path) not in path.read_text()
    assert "| plain timm loop | " in path.with_suffix(".md").read_text()


@pytest.mark.slow
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torchmetrics", "timm", "kornia")),
    reason="needs torchmetrics, timm and kornia",
)
def test_the_benchmark_of_calibration_metrics(tmp_path: Path):
    benchmark(tmp_path, "evaluation", "--scale", "0.002", "--rounds", "1", "--threads", "1")
    (path,) = tmp_path.glob("evaluation_cpu_*.json")
    result = json.loads(path.read_text())
    assert result["samples"] == 2000
    assert all(0 < value["min_s"] <= value["median_s"] for value in result["seconds"].values())
    assert result["ece"] == pytest.approx(result["ece_of_torchmetrics"], abs=1e-5)
    assert "| torchmetrics, only the ECE |" in path.with_suffix(".md").read_text()


@pytest.mark.slow
@pytest.mark.skipif(bool(PEERS), reason=f"needs {' and '.join(PEERS)}")
def test_the_benchmark_of_corruptions(tmp_path: Path):
    benchmark(tmp_path, "corruptions", "--images", "4", "--rounds", "1", "--threads", "1")
    (path,) = tmp_path.glob("corruptions_cpu_*.json")
    result = json.loads(path.read_text())
    assert len(result["corruptions"]) == 15
    assert all(min(times["corruption_us"]) > 0 for times in result["corruptions"].values())
    assert result["part"] == pytest.approx(result["mean_corruption_us"] / result["mean_forward_us"])
    assert path.with_suffix(".md").read_text().count("%") == 16


def write_photographs(folder: Path) -> None:
    """Write images of red boxes on green ground in the three folders of the mask benchmark."""
    boxes = [
        (20, 30, 89, 119),
        (0, 60, 59, 159),
        (40, 40, 139, 99),
        (60, 0, 159, 79),
        (24, 8, 119, 139),
        (80, 80, 143, 151),
    ]
    for name, side in (("people", 160), ("shapes16", 160), ("tiny-imagenet-20", 64)):
        (folder / name / "val").mkdir(parents=True)
        lines = ["file\tx0\ty0\tx1\ty1"] if side == 64 else ["image\tmask\tsha1_mask"]
        for number, box in enumerate(boxes):
            x0, y0, x1, y1 = (side * place // 160 for place in box)
            image, mask = np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.uint8)
            image[..., 1], mask[y0 : y1 + 1, x0 : x1 + 1] = 200, 1
            image[mask == 1] = (220, 0, 0)
            Image.fromarray(image).save(folder / name / f"val/{number}.png")
            Image.fromarray(mask).save(folder / name / f"val/mask-{number}.png")
            file = f"val/{number}.png"
            lines.append(
                f"{file}\t{x0}\t{y0}\t{x1}\t{y1}" if side == 64 else f"{file}\tval/mask-{number}.png\t{number}"
            )
        (folder / name / "images.tsv").write_text("\n".join(lines) + "\n")


@pytest.mark.slow
@pytest.mark.skipif(bool(PEERS), reason=f"needs {' and '.join(PEERS)}")
def test_the_benchmark_of_mask_quality_with_a_network_that_finds_red(tmp_path: Path):
    write_photographs(tmp_path)
    facts = {"input_size": [96, 96], "output": "object_logit"}
    network = write_network(tmp_path, np.array([[5.0, -5.0, 0.0]]), np.zeros(1), facts=facts)
    words = ("--data", str(tmp_path), "--networks", str(network), "--cache", str(tmp_path / "cache"))
    for _ in range(2):  # the second time from what is kept
        benchmark(tmp_path / "out", "mask_quality", *words, DISC_SIDES=(32,), INPUT_SIZES=(96, 128))
    (path,) = (tmp_path / "out").glob("mask_quality_cpu_*.json")
    tables = json.loads(path.read_text())["tables"]
    rows = {title.split(":")[0]: table["rows"] for title, table in tables.items()}
    assert all(value > 0.9 for row in rows["Maps of full photographs, shrunk and refined"] for value in row[2::3])
    (inside, box) = rows["tiny-imagenet-20, 64 px"][0][1], rows["tiny-imagenet-20, 64 px"][0][4]
    assert inside > 0.95
    assert box > 0.9
    assert all(value > 0.85 for row in rows["Photographs shrunk first"] for value in row[3:5])
    assert rows["Lost"][2][1] == 0
    assert "| own | " in path.with_suffix(".md").read_text()


@pytest.mark.slow
def test_the_benchmark_of_a_source_on_images_that_no_fit_has_seen(tmp_path: Path):
    write_photographs(tmp_path)
    images, masks = np.full((12, 96, 96, 3), (0, 200, 0), np.uint8), np.zeros((12, 96, 96), np.uint8)
    images[:, 30:70, 20:60], masks[:, 30:70, 20:60] = (220, 0, 0), 1
    names = {"source": np.full(12, "duts-tr"), "key": np.arange(12).astype(str), "cls": np.full(12, "n03188531")}
    np.savez(
        tmp_path / "objects.npz", images=images, masks=masks, box=np.tile(np.uint8([0, 0, 96, 96]), (12, 1)), **names
    )
    small, labels = images[:, ::3, ::3], np.arange(12) % 2
    np.savez(tmp_path / "cifar10.npz", x_train=small, y_train=labels, x_test=small, y_test=labels)
    benchmark(tmp_path / "out", "mask_quality", "--data", str(tmp_path), "--targets", "builtin")
    (path,) = (tmp_path / "out").glob("mask_targets_builtin_cpu_*.json")
    tables = {
        title.split(":")[0].split(",")[0]: table["rows"]
        for title, table in json.loads(path.read_text())["tables"].items()
    }
    assert [row[:2] for row in tables["Objects held out"][:2]] == [[32, "all"], [32, "classes held out"]]
    assert tables["Objects held out"][0][3] > 0.8
    assert {row[0] for row in tables["people"]} == {32, 64, "full"}
    assert all(row[2] > 0.6 for row in tables["people"])
    assert tables["tiny-imagenet-20"][0][2] > 0.6
    assert tables["Share of masks that pass Validity()"][0][2] == 1
    assert "expected calibration error" in path.with_suffix(".md").read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks/results").glob("*.json")), ids=lambda path: path.name)
def test_results_name_their_hardware_and_versions(path: Path):
    result = json.loads(path.read_text())
    assert result["processor"]
    assert {"torch", "python", "smix"} <= set(result["versions"])
    assert path.with_suffix(".md").is_file()
