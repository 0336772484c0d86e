"""Measure the time to mix a batch, compared with timm, torchvision, kornia and FMix's own code: `python -m benchmarks.mixing`.

Batches of 128 images with 3 channels at 32, 64 and 224 pixels, two CPU threads. All candidates take turns in a new random order each
round, so that the load of the machine affects all alike; minimum and median of each are kept. Methods of timm work in place: their input
is restored outside the timing. Labels are included (`soft(100)`), as in the peers, and omitted in one variant. Peers that are not
installed are left out. Writes a JSON file and a table to benchmarks/results, and a figure if matplotlib is installed.
"""

import argparse
import gc
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import smix
from benchmarks.harness import RESULTS, environment, seconds, take_turns, write
from benchmarks.memory import peak_bytes
from benchmarks.mixing_tables import page
from smix.device import in_words

BATCH, CHANNELS, CLASSES = 128, 3, 100
ROUNDS = {32: 120, 64: 100, 224: 20}
BOX_ALPHA = 100.0
"""Alpha of methods with boxes: all boxes have about the same size, half of the image before they are clipped."""

METHODS: dict[str, smix.Method] = {
    "Mixup": smix.Mixup(),
    "StochasticMixup": smix.StochasticMixup(),
    "Cutout": smix.Cutout(),
    "CutMix": smix.CutMix(alpha=BOX_ALPHA),
    "ResizeMix": smix.ResizeMix(),
    "HMix": smix.HMix(alpha=BOX_ALPHA),
    "GMix": smix.GMix(alpha=BOX_ALPHA),
    "GridMix": smix.GridMix(),
    "SaliencyMix": smix.SaliencyMix(alpha=BOX_ALPHA),
    "FMix": smix.FMix(),
    "FMix(official)": smix.FMix(spectrum="official"),
    "SMix": smix.SMix(),
    "SMix(visible)": smix.SMix(labels="visible"),
    "ObjectPaste": smix.ObjectPaste(),
    "ObjectPaste(avoid)": smix.ObjectPaste(overlap="avoid"),
    "SMix+FMix": smix.Fallback(smix.SMix(), smix.FMix()),
}


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Candidate:
    """A function to time, and the preparation before it that is not timed."""

    run: Callable[[], object]
    prepare: Callable[[], object] = _nothing

    def milliseconds(self, device: str) -> float:
        self.prepare()
        if device == "cpu":
            return 1000 * seconds(self.run)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        self.run()
        end.record()
        torch.cuda.synchronize()
        return float(start.elapsed_time(end))


def candidates(side: int, device: str) -> dict[str, Candidate]:
    """Return every method and every installed peer by name, on one random batch of this side."""
    x = torch.randn(BATCH, CHANNELS, side, side, device=device)
    y = torch.randint(CLASSES, (BATCH,), device=device)
    masks = torch.zeros(BATCH, side, side, dtype=torch.bool, device=device)
    masks[:, side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] = True
    buffer, other = torch.empty_like(x), x.flip(0).clone()
    result = {"read two batches, write one": Candidate(lambda: torch.lerp(x, other, 0.3, out=buffer))}

    def mix(method: smix.Method, labels: bool, out: Tensor | None) -> object:
        mixed, target = method(x, y, masks=masks if method.needs_masks else None, out=out)
        return mixed, target.soft(CLASSES) if labels else target

    for name, method in METHODS.items():
        result[f"smix {name}"] = Candidate(partial(mix, method, True, None))
        result[f"smix {name}, without soft"] = Candidate(partial(mix, method, False, None))
        result[f"smix {name}, out="] = Candidate(partial(mix, method, True, buffer))

    if importlib.util.find_spec("torchvision"):
        result |= torchvision_candidates(x, y)
    if importlib.util.find_spec("timm"):
        result |= timm_candidates(x, y)
    if device == "cpu":
        result |= cpu_candidates(x, y)
    return result


def torchvision_candidates(x: Tensor, y: Tensor) -> dict[str, Candidate]:
    from torchvision.transforms import v2

    mixup, cutmix = v2.MixUp(alpha=1.0, num_classes=CLASSES), v2.CutMix(alpha=BOX_ALPHA, num_classes=CLASSES)
    return {
        "torchvision MixUp (per batch)": Candidate(lambda: mixup(x, y)),
        "torchvision CutMix (per batch)": Candidate(lambda: cutmix(x, y)),
    }


def timm_candidates(x: Tensor, y: Tensor) -> dict[str, Candidate]:
    from timm.data.mixup import Mixup as TimmMixup

    scratch, result = x.clone(), {}
    alphas = {"mixup": {"mixup_alpha": 1.0}, "cutmix": {"mixup_alpha": 0.0, "cutmix_alpha": BOX_ALPHA}}
    for kind, options in alphas.items():
        for mode, draws in (("batch", "per batch"), ("elem", "per sample")):
            peer = TimmMixup(mode=mode, num_classes=CLASSES, label_smoothing=0.0, **options)
            run, restore = partial(peer, scratch, y), partial(scratch.copy_, x)
            result[f"timm {kind} ({draws}, in place)"] = Candidate(run, restore)
    return result


def cpu_candidates(x: Tensor, y: Tensor) -> dict[str, Candidate]:
    result, side = {}, x.shape[-1]
    if importlib.util.find_spec("kornia"):
        from kornia.augmentation import RandomCutMixV2, RandomMixUpV2

        keys = ["input", "class"]
        result["kornia RandomMixUpV2"] = Candidate(lambda: RandomMixUpV2(p=1.0, data_keys=keys)(x, y))
        result["kornia RandomCutMixV2"] = Candidate(
            lambda: RandomCutMixV2(p=1.0, beta=torch.tensor(BOX_ALPHA), data_keys=keys)(x, y)
        )
    if importlib.util.find_spec("scipy"):
        from benchmarks.peers import official_fmix_mask

        rng = np.random.RandomState(0)
        result["FMix's code, 128 masks"] = Candidate(
            lambda: [official_fmix_mask((side, side), rng) for _ in range(BATCH)]
        )
    return result


def measure(side: int, device: str, rounds: int) -> dict[str, dict[str, float]]:
    """Return minimum and median milliseconds of each candidate, and the peak memory of each method.

    Peak memory is in batches of images, in addition to the input and one output.
    """
    measured = candidates(side, device)
    for candidate in measured.values():
        candidate.milliseconds(device)
    gc.disable()
    times = take_turns({name: partial(each.milliseconds, device) for name, each in measured.items()}, rounds)
    gc.enable()
    batch = BATCH * CHANNELS * side * side * 4
    result = {name: {"min_ms": min(each), "median_ms": float(np.median(each))} for name, each in times.items()}
    for name in METHODS:
        peak = peak_bytes(measured[f"smix {name}"].run, device)
        result[f"smix {name}"]["peak_batches"] = round((peak - batch) / batch, 2)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 224])
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--scale", type=float, default=1.0, help="factor of the number of rounds")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    rounds = {side: max(3, round(ROUNDS.get(side, 100) * options.scale)) for side in options.sizes}
    result = {
        **environment(in_words(torch.device(options.device)), "torchvision", "timm", "kornia"),
        "batch": [BATCH, CHANNELS, "side", "side"],
        "rounds": {str(side): count for side, count in rounds.items()},
        "sizes": {str(side): measure(side, options.device, count) for side, count in rounds.items()},
    }
    path = write(options.out, f"mixing_{options.device}_{result['date']}", result, page(result))
    print(path)
    if importlib.util.find_spec("matplotlib"):
        from benchmarks import mixing_figure

        mixing_figure.main(path)


if __name__ == "__main__":
    main()
