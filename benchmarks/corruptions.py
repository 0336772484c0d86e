"""Measure the cost of the corruption suite relative to a forward pass: `python -m benchmarks.corruptions`.

All 15 corruptions at 5 severities on images of 32 pixels, compared with forward passes of a ResNet-20 over the same images (evaluation
mode, batches of 500, normalisation included). Corruptions and forward passes alternate, so that the load of the machine affects both
alike; the minimum time of each counts. Writes a JSON file and a table to benchmarks/results.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from benchmarks.harness import RESULTS, environment, markdown, seconds, write
from smix.data.batches import Batches, Normalisation
from smix.device import find_device, in_words
from smix.evaluation.corruptions.suite import CORRUPTIONS, LABEL, SEVERITIES, corrupt
from smix.evaluation.predict import predict
from smix.models.build import build_model

MODEL = "resnet20"


def smooth_images(count: int) -> UInt8[Tensor, "B 32 32 3"]:
    """Return smooth random images. The cost of JPEG and of the noises depends a little on the content."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, (32, 32), mode="bicubic").clamp(0, 1)
    return (smooth * 255).byte().movedim(1, -1).contiguous()


def measure(count: int, rounds: int, device: torch.device) -> dict[str, dict[str, list[float]]]:
    """Return the minimum microseconds per image of each corruption at each severity, and of the forward pass next to it."""
    images = smooth_images(count).to(device)
    labels = torch.zeros(count, dtype=torch.long, device=device)
    batches = Batches(images, labels, Normalisation((0.5,) * 3, (0.25,) * 3))
    torch.manual_seed(0)
    model = build_model(MODEL, 10).to(device)
    index = range(count)

    def forward() -> object:
        return predict(model, batches.in_order())

    forward()
    result: dict[str, dict[str, list[float]]] = {}
    for name in CORRUPTIONS:
        corrupt(images, name, 5, index)
        result[name] = {"corruption_us": [], "forward_us": []}
        for severity in SEVERITIES:
            run = partial(corrupt, images, name, severity, index)
            pairs = [(seconds(run, device), seconds(forward, device)) for _ in range(rounds)]
            result[name]["corruption_us"].append(1e6 * min(pair[0] for pair in pairs) / count)
            result[name]["forward_us"].append(1e6 * min(pair[1] for pair in pairs) / count)
    return result


def table(result: dict[str, Any]) -> str:
    head = [result["suite"], "us per image, severity 1 to 5", "us of the forward pass", "relative cost"]
    rows = []
    for name, times in result["corruptions"].items():
        corruption, forward = times["corruption_us"], times["forward_us"]
        by_severity = ", ".join(f"{value:.0f}" for value in corruption)
        relative = f"{100 * sum(corruption) / sum(forward):.1f} %"
        rows.append([name, by_severity, f"{np.mean(forward):.0f}", relative])
    means = (f"{result['mean_corruption_us']:.0f}", f"{result['mean_forward_us']:.0f}", f"{100 * result['part']:.1f} %")
    rows.append([f"**{cell}**" for cell in ("all", *means)])
    return "\n".join(markdown(head, rows)) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = find_device(options.device)
    times = measure(options.images, options.rounds, device)
    corruption = float(np.mean([each["corruption_us"] for each in times.values()]))
    forward = float(np.mean([each["forward_us"] for each in times.values()]))
    result = {
        **environment(in_words(device), "torchvision"),
        "suite": LABEL,
        "model": MODEL,
        "images": options.images,
        "rounds": options.rounds,
        "mean_corruption_us": corruption,
        "mean_forward_us": forward,
        "part": corruption / forward,
        "corruptions": times,
    }
    print(write(options.out, f"corruptions_{options.device}_{result['date']}", result, table(result)))


if __name__ == "__main__":
    main()
