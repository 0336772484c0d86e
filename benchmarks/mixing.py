"""How fast is a mixed batch? smix beside timm, torchvision, kornia and FMix's own code: `python -m benchmarks.mixing`.

Batch 128 of 3 channels at 32, 64 and 224 pixels, two CPU threads. All candidates take turns in a new random order each
round, so that the load of the machine hits all alike; the least time of each is kept. Methods of timm work in place: their
input is restored outside of the clock. Labels are included (`soft(100)`), as the peers build theirs, and once left out.
Peers that are not installed are left out. Writes a JSON file to benchmarks/results and, with matplotlib, a table and a picture.
"""

import argparse
import datetime
import gc
import importlib
import importlib.util
import json
import platform
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import smix
from benchmarks.memory import peak_bytes
from smix.device import in_words

BATCH, CHANNELS, CLASSES = 128, 3, 100
ROUNDS = {32: 120, 64: 100, 224: 20}
BOXES = 100.0
"""Alpha of methods with boxes: all boxes are alike, with half of the image before they are clipped."""
HERE = Path(__file__).parent / "results"

METHODS: dict[str, smix.Method] = {
    "Mixup": smix.Mixup(),
    "StochasticMixup": smix.StochasticMixup(),
    "Cutout": smix.Cutout(),
    "CutMix": smix.CutMix(alpha=BOXES),
    "ResizeMix": smix.ResizeMix(),
    "HMix": smix.HMix(alpha=BOXES),
    "GMix": smix.GMix(alpha=BOXES),
    "GridMix": smix.GridMix(),
    "SaliencyMix": smix.SaliencyMix(alpha=BOXES),
    "FMix": smix.FMix(),
    "FMix(official)": smix.FMix(spectrum="official"),
    "SMix": smix.SMix(),
    "SMix(visible)": smix.SMix(labels="visible"),
    "ObjectPaste": smix.ObjectPaste(),
    "ObjectPaste(avoid)": smix.ObjectPaste(overlap="avoid"),
    "SMix+FMix": smix.Fallback(smix.SMix(), smix.FMix()),
}


@dataclass(frozen=True)
class Candidate:
    """What is timed, and what happens before it outside of the clock."""

    run: Callable[[], object]
    prepare: Callable[[], object] = lambda: None


def candidates(side: int, device: str) -> dict[str, Candidate]:
    x = torch.randn(BATCH, CHANNELS, side, side, device=device)
    y = torch.randint(CLASSES, (BATCH,), device=device)
    masks = torch.zeros(BATCH, side, side, dtype=torch.bool, device=device)
    masks[:, side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] = True
    buffer, other = torch.empty_like(x), x.flip(0).clone()
    found = {"read two batches, write one": Candidate(lambda: torch.lerp(x, other, 0.3, out=buffer))}

    def ours(method: smix.Method, labels: bool, out: torch.Tensor | None) -> Callable[[], object]:
        given = masks if method.needs_masks else None

        def run() -> object:
            mixed, target = method(x, y, masks=given, out=out)
            return mixed, target.soft(CLASSES) if labels else target

        return run

    for name, method in METHODS.items():
        found[f"smix {name}"] = Candidate(ours(method, True, None))
        found[f"smix {name}, without soft"] = Candidate(ours(method, False, None))
        found[f"smix {name}, out="] = Candidate(ours(method, True, buffer))

    if importlib.util.find_spec("torchvision"):
        found |= torchvision_candidates(x, y)
    if importlib.util.find_spec("timm"):
        found |= timm_candidates(x, y)
    if device == "cpu":
        found |= cpu_candidates(x, y)
    return found


def torchvision_candidates(x: torch.Tensor, y: torch.Tensor) -> dict[str, Candidate]:
    from torchvision.transforms import v2

    mixup, cutmix = v2.MixUp(alpha=1.0, num_classes=CLASSES), v2.CutMix(alpha=BOXES, num_classes=CLASSES)
    return {
        "torchvision MixUp (per batch)": Candidate(lambda: mixup(x, y)),
        "torchvision CutMix (per batch)": Candidate(lambda: cutmix(x, y)),
    }


def timm_candidates(x: torch.Tensor, y: torch.Tensor) -> dict[str, Candidate]:
    from timm.data.mixup import Mixup as TimmMixup

    scratch, found = x.clone(), {}
    for kind, options in {"mixup": {"mixup_alpha": 1.0}, "cutmix": {"mixup_alpha": 0.0, "cutmix_alpha": BOXES}}.items():
        for mode in ("batch", "elem"):
            peer = TimmMixup(mode=mode, num_classes=CLASSES, label_smoothing=0.0, **options)
            found[f"timm {kind} ({'per batch' if mode == 'batch' else 'per sample'}, in place)"] = Candidate(
                lambda peer=peer: peer(scratch, y), lambda: scratch.copy_(x)
            )
    return found


def cpu_candidates(x: torch.Tensor, y: torch.Tensor) -> dict[str, Candidate]:
    found, side = {}, x.shape[-1]
    if importlib.util.find_spec("kornia"):
        from kornia.augmentation import RandomCutMixV2, RandomMixUpV2

        found["kornia RandomMixUpV2"] = Candidate(lambda: RandomMixUpV2(p=1.0, data_keys=["input", "class"])(x, y))
        found["kornia RandomCutMixV2"] = Candidate(
            lambda: RandomCutMixV2(p=1.0, beta=torch.tensor(BOXES), data_keys=["input", "class"])(x, y)
        )
    if importlib.util.find_spec("scipy"):
        from benchmarks.peers import official_fmix_mask

        draws = np.random.RandomState(0)
        found["FMix's code, 128 masks"] = Candidate(
            lambda: [official_fmix_mask((side, side), draws) for _ in range(BATCH)]
        )
    return found


def seconds(candidate: Candidate, device: str) -> float:
    candidate.prepare()
    if device == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        candidate.run()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1000
    begun = time.perf_counter()
    candidate.run()
    return time.perf_counter() - begun


def measure(side: int, device: str, rounds: int) -> dict[str, dict[str, float]]:
    """Least and median milliseconds of each candidate, and the most memory beyond input and output, in batches."""
    found = candidates(side, device)
    for candidate in found.values():
        seconds(candidate, device)
    times: dict[str, list[float]] = {name: [] for name in found}
    gc.disable()
    for _ in range(rounds):
        for name in random.sample(list(found), len(found)):
            times[name].append(1000 * seconds(found[name], device))
    gc.enable()
    batch = BATCH * CHANNELS * side * side * 4
    result = {name: {"min_ms": min(each), "median_ms": float(np.median(each))} for name, each in times.items()}
    for name in METHODS:
        run = found[f"smix {name}"].run
        result[f"smix {name}"]["peak_batches"] = round((peak_bytes(run, device) - batch) / batch, 2)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 224])
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the results")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of rounds")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    result = {
        "date": datetime.date.today().isoformat(),
        "hardware": in_words(torch.device(options.device)),
        "processor": processor(),
        "threads": options.threads,
        "batch": [BATCH, CHANNELS, "side", "side"],
        "rounds": {side: max(3, round(ROUNDS.get(side, 100) * options.scale)) for side in options.sizes},
        "versions": versions("torch", "torchvision", "timm", "kornia", "numpy", "smix"),
        "sizes": {},
    }
    for side in options.sizes:
        result["sizes"][side] = measure(side, options.device, result["rounds"][side])
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"mixing_{options.device}_{result['date']}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path)
    if importlib.util.find_spec("matplotlib"):
        from benchmarks import show

        show.main(path)


def versions(*names: str) -> dict[str, str]:
    """Return the versions of Python and of those of these packages that are installed."""
    installed = [name for name in names if importlib.util.find_spec(name)]
    return {
        "python": platform.python_version(),
        **{name: importlib.import_module(name).__version__ for name in installed},
    }


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


if __name__ == "__main__":
    main()
