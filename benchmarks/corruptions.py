"""What do the corruptions cost beside the network that looks at them? `python -m benchmarks.corruptions`.

The own suite, 15 corruptions at 5 severities, on images of 32 pixels, beside as many forward passes of a ResNet-20 (evaluation
mode, batches of 500, normalisation included). Corruptions and passes take turns, so that the load of the machine hits both alike;
the least time of each counts. Measured on fewer images than the 10,000 of a test split.
Writes a JSON file and a table to benchmarks/results.
"""

import argparse
import datetime
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torchvision

import smix
from benchmarks.mixing import processor
from smix.data.batches import Batches, Normalisation
from smix.device import find_device, in_words
from smix.evaluation.corruptions.suite import CORRUPTIONS, LABEL, SEVERITIES, corrupt
from smix.evaluation.predict import predict
from smix.models.build import build_model

HERE = Path(__file__).parent / "results"
MODEL = "resnet20"


def seconds(run: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    begun = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def pictures(count: int) -> np.ndarray:
    """Smooth ones: JPEG and the noises depend a little on what is in them."""
    rough = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(rough, (32, 32), mode="bicubic").clamp(0, 1)
    return (smooth * 255).byte().movedim(1, -1).contiguous().numpy()


def measure(count: int, rounds: int, device: torch.device) -> dict[str, dict[str, list[float]]]:
    """Least microseconds an image: of each corruption at each severity, and of the forward pass beside it."""
    images = torch.from_numpy(pictures(count)).to(device)
    batches = Batches(
        images, torch.zeros(count, dtype=torch.long, device=device), Normalisation((0.5,) * 3, (0.25,) * 3)
    )
    torch.manual_seed(0)
    model = build_model(MODEL, 10).to(device)
    index = range(count)

    def forward() -> object:
        return predict(model, batches.in_order())

    forward()
    result: dict[str, dict[str, list[float]]] = {}
    for name in CORRUPTIONS:
        corrupt(images, name, 5, index)
        ours, network = [], []
        for severity in SEVERITIES:
            pairs = [
                (
                    seconds(lambda name=name, s=severity: corrupt(images, name, s, index), device),
                    seconds(forward, device),
                )
                for _ in range(rounds)
            ]
            ours.append(1e6 * min(pair[0] for pair in pairs) / count)
            network.append(1e6 * min(pair[1] for pair in pairs) / count)
        result[name] = {"corruption_us": ours, "forward_us": network}
    return result


def table(result: dict) -> str:
    lines = [
        f"| {result['suite']} | us an image, severity 1 to 5 | us of the forward pass | part |",
        "| --- | --- | ---: | ---: |",
    ]
    for name, times in result["corruptions"].items():
        ours, network = times["corruption_us"], times["forward_us"]
        each = ", ".join(f"{value:.0f}" for value in ours)
        lines.append(f"| {name} | {each} | {np.mean(network):.0f} | {100 * sum(ours) / sum(network):.1f} % |")
    lines.append(
        f"| **all** | **{result['mean_corruption_us']:.0f}** | **{result['mean_forward_us']:.0f}** | **{100 * result['part']:.1f} %** |"
    )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = find_device(options.device)
    times = measure(options.images, options.rounds, device)
    ours = float(np.mean([each["corruption_us"] for each in times.values()]))
    network = float(np.mean([each["forward_us"] for each in times.values()]))
    result = {
        "date": datetime.date.today().isoformat(),
        "hardware": in_words(device),
        "processor": processor(),
        "threads": options.threads,
        "suite": LABEL,
        "model": MODEL,
        "images": options.images,
        "rounds": options.rounds,
        "mean_corruption_us": ours,
        "mean_forward_us": network,
        "part": ours / network,
        "versions": {
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in (torch, torchvision, np, smix)},
        },
        "corruptions": times,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"corruptions_{options.device}_{result['date']}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    path.with_suffix(".md").write_text(table(result))
    print(path)


if __name__ == "__main__":
    main()
