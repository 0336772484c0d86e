"""Measure the cost of the calibration metrics: `python -m benchmarks.evaluation` (one minute; `--scale 0.1` for a quick run).

All metrics of `smix.evaluation.calibration.calibration` (ECE with equal-width and equal-mass bins, class-wise ECE, MCE, Brier score,
NLL, overconfidence, both reliability curves) on 1,000,000 x 100 float32 logits, compared with torchmetrics, which computes only the ECE
from the same logits. The candidates take turns; minimum and median times are kept. Needs 1 GB of memory. Writes a JSON file and a
table to benchmarks/results.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from benchmarks.harness import RESULTS, environment, markdown, seconds, take_turns, write
from smix.evaluation.calibration import BINS, calibration
from smix.evaluation.confidence import errors_by_confidence, risk_coverage
from smix.evaluation.softmax import top_class
from smix.evaluation.temperature import fit_temperature

SAMPLES, CLASSES = 1_000_000, 100


def random_logits(samples: int) -> tuple[Float[Tensor, "N K"], Int[Tensor, "N"]]:
    """Return float32 logits that are right for about half of the samples, and the labels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (samples,), generator=generator)
    logits = torch.randn(samples, CLASSES, generator=generator)
    return logits.mul_(2).scatter_add_(1, labels[:, None], torch.full((samples, 1), 5.0)), labels


def measure(samples: int, rounds: int) -> dict[str, Any]:
    """Return minimum and median seconds of each candidate, and the ECE of smix and of torchmetrics."""
    logits, labels = random_logits(samples)
    ece = {}

    def all_metrics() -> None:
        ece["smix"] = calibration(logits, labels).ece

    def peer_ece() -> None:
        ece["torchmetrics"] = multiclass_calibration_error(logits, labels, CLASSES, n_bins=BINS).item()

    def confidence() -> None:
        predictions = top_class(logits, labels)
        errors_by_confidence(predictions.confidence, predictions.correct)
        risk_coverage(predictions.confidence, predictions.correct)

    candidates: dict[str, Callable[[], object]] = {
        "smix, all calibration metrics": all_metrics,
        "torchmetrics, only the ECE": peer_ece,
        "smix, errors by confidence and risk-coverage curve": confidence,
        "smix, fit of the temperature": partial(fit_temperature, logits, labels),
    }
    times = take_turns({name: partial(seconds, run) for name, run in candidates.items()}, rounds)
    return {
        "samples": samples,
        "classes": CLASSES,
        "rounds": rounds,
        "seconds": {name: {"min_s": min(each), "median_s": statistics.median(each)} for name, each in times.items()},
        "ece": ece["smix"],
        "ece_of_torchmetrics": ece["torchmetrics"],
    }


def table(result: dict[str, Any]) -> str:
    rows = [[name, f"{each['min_s']:.2f}", f"{each['median_s']:.2f}"] for name, each in result["seconds"].items()]
    lines = [
        f"{result['samples']:,} x {result['classes']} float32 logits, {result['threads']} threads, {result['processor']}.",
        "",
        *markdown(["computation", "minimum, s", "median, s"], rows),
        "",
        f"ECE {result['ece']:.7f}, torchmetrics {result['ece_of_torchmetrics']:.7f}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="factor of the number of samples")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result = {
        **environment(f"CPU with {options.threads} threads", "torchmetrics"),
        **measure(max(100, int(SAMPLES * options.scale)), options.rounds),
    }
    write(options.out, f"evaluation_cpu_{result['date']}", result, table(result))
    print(table(result), end="")


if __name__ == "__main__":
    main()
