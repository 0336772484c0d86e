"""What do figures of calibration cost? `python -m benchmarks.evaluation` (a minute; `--scale 0.1` for a look).

All figures of `smix.evaluation.calibration.calibration` (ECE of equal width and of equal mass, class-wise ECE, MCE, Brier score,
NLL, overconfidence, both reliability curves) on 1,000,000 x 100 float32 logits, beside torchmetrics' ECE alone on the same
logits. Both take turns; the least and the median time of each are kept. A GB of memory. Writes a JSON file and a table to
benchmarks/results.
"""

import argparse
import datetime
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchmetrics
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

import smix
from benchmarks.mixing import processor
from smix.evaluation.calibration import BINS, calibration
from smix.evaluation.confidence import errors_by_confidence, risk_coverage
from smix.evaluation.softmax import top_class
from smix.evaluation.temperature import fit_temperature

HERE = Path(__file__).parent / "results"
SAMPLES, CLASSES = 1_000_000, 100


def made(samples: int) -> tuple[Tensor, Tensor]:
    """Logits of a network that is right on about half of the samples, float32."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (samples,), generator=generator)
    logits = torch.randn(samples, CLASSES, generator=generator)
    return logits.mul_(2).scatter_add_(1, labels[:, None], torch.full((samples, 1), 5.0)), labels


def seconds(what: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    value = what()
    return time.perf_counter() - began, value


def measure(samples: int, rounds: int) -> dict[str, Any]:
    logits, labels = made(samples)

    def theirs() -> float:
        return multiclass_calibration_error(logits, labels, CLASSES, n_bins=BINS).item()

    def levels() -> None:
        found = top_class(logits, labels)
        errors_by_confidence(found.confidence, found.correct)
        risk_coverage(found.confidence, found.correct)

    candidates: dict[str, Callable[[], Any]] = {
        "smix, all figures of calibration": lambda: calibration(logits, labels).ece,
        "torchmetrics, ECE alone": theirs,
        "smix, errors by confidence and risk-coverage curve": levels,
        "smix, fit of the temperature": lambda: fit_temperature(logits, labels),
    }
    times: dict[str, list[float]] = {name: [] for name in candidates}
    values: dict[str, Any] = {}
    for _ in range(rounds):
        for name, what in candidates.items():
            took, values[name] = seconds(what)
            times[name].append(took)
    return {
        "samples": samples,
        "classes": CLASSES,
        "rounds": rounds,
        "seconds": {name: {"min_s": min(took), "median_s": statistics.median(took)} for name, took in times.items()},
        "ece": values["smix, all figures of calibration"],
        "ece_of_torchmetrics": values["torchmetrics, ECE alone"],
    }


def table(result: dict[str, Any]) -> str:
    """As Markdown."""
    lines = [
        f"{result['samples']:,} x {result['classes']} float32 logits, {result['threads']} threads, {result['processor']}.",
        "",
        "| what | least, s | median, s |",
        "| --- | ---: | ---: |",
    ]
    for name, took in result["seconds"].items():
        lines.append(f"| {name} | {took['min_s']:.2f} | {took['median_s']:.2f} |")
    lines += ["", f"ECE {result['ece']:.7f}, torchmetrics {result['ece_of_torchmetrics']:.7f}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="part of the samples")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result = {
        "date": datetime.date.today().isoformat(),
        "hardware": f"CPU with {options.threads} threads",
        "processor": processor(),
        "threads": options.threads,
        "versions": {
            "smix": smix.__version__,
            "torch": torch.__version__,
            "torchmetrics": torchmetrics.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        **measure(max(100, int(SAMPLES * options.scale)), options.rounds),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"evaluation_cpu_{result['date']}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    path.with_suffix(".md").write_text(table(result))
    print(table(result), end="")


if __name__ == "__main__":
    main()
