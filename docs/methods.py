"""Draws the pictures of docs/methods.md: `python docs/methods.py`. The same two photographs, mixed by every method.

The photographs are scikit-learn's samples; their masks, beside the pictures, were found by a salient-object network (U2-Net).
"""

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_sample_images

from smix import METHODS, Fallback, FMix, Method, RandomChoice, SMix, Validity
from smix.plots.pictures import paint

HERE = Path(__file__).parent / "methods"
NAMES = ("temple", "flower")
SIZE = (160, 240)
DPI = 150


def photographs() -> tuple[torch.Tensor, torch.Tensor]:
    """Images (2, 3, H, W) in [0, 1] and object masks (2, 1, H, W)."""
    photos = [
        Image.fromarray(photo).resize(SIZE[::-1], Image.Resampling.LANCZOS) for photo in load_sample_images().images
    ]
    x = torch.from_numpy(np.stack([np.asarray(photo) for photo in photos])).movedim(-1, 1) / 255
    masks = [np.asarray(Image.open(HERE / f"{name}-mask.png")) for name in NAMES]
    return x, torch.from_numpy(np.stack(masks))[:, None]


def draw(method: Method, x: torch.Tensor, masks: torch.Tensor) -> Figure:
    """Above the two mixes, below their weight maps (white: the own image) and label shares."""
    mean = x.mean((0, 2, 3), keepdim=True)
    plans = (method.plan(x - mean, masks=masks, generator=torch.Generator().manual_seed(seed)) for seed in range(100))
    # Two images are paired with each other in one batch of two; a share near 0 or 1 would show one photograph only.
    plan = next(plan for plan in plans if plan.mixed.all() and (plan.weight.flatten(1).mean(1) > 0.08).all())
    assert 0 <= plan.weight.min() <= plan.weight.max() <= 1
    assert 0 <= plan.share.min() <= plan.share.max() <= 1
    mixed = plan.blend(x - mean) + mean
    figure = Figure(figsize=(3.2, 2.5))
    for own in range(2):
        weight = plan.weight[own].expand(1, *SIZE)[0]
        label = f"{plan.share[own]:.2f} {NAMES[own]}, {1 - plan.share[own]:.2f} {NAMES[1 - own]}"
        if plan.partner[own] == own:
            label = f"1 {NAMES[own]}"
        panel(figure, own, 0, mixed[own].movedim(0, -1).clamp(0, 1).numpy())
        panel(figure, own, 1, weight.numpy())
        figure.text(0.25 + 0.5 * own, 0.06, label, ha="center", va="center", fontsize=7)
    return figure


def panel(figure: Figure, column: int, row: int, image: np.ndarray) -> None:
    axes = figure.add_axes((0.5 * column + 0.01, 0.55 - 0.43 * row, 0.48, 0.42), xticks=[], yticks=[])
    axes.imshow(image, cmap="gray", vmin=0, vmax=1)
    axes.spines[:].set(color="#999999", linewidth=0.5)


def main() -> None:
    x, masks = photographs()
    shown = Figure(figsize=(3.2, 2.5))
    for own in range(2):
        image = (x[own].movedim(0, -1) * 255).to(torch.uint8).numpy()
        panel(shown, own, 0, image)
        panel(shown, own, 1, paint(image, masks[own, 0].numpy()))
        shown.text(0.25 + 0.5 * own, 0.06, NAMES[own], ha="center", va="center", fontsize=7)
    shown.savefig(HERE / "photographs.jpg", dpi=DPI)
    methods = {name: method() for name, method in METHODS.items()} | {
        "cutout": METHODS["cutout"](length=80),
        "smix-object": SMix(alpha=1.0, labels="visible"),
        "objectpaste-avoid": METHODS["objectpaste"](overlap="avoid"),
        "fmix-official": FMix(spectrum="official"),
        "fmix-soft": FMix(max_soft=0.3),
        # The temple's mask covers 27 % of its image, the flower's 22 %.
        "fallback": Fallback(SMix(), FMix(), valid=Validity(min_coverage=0.25)),
        "randomchoice": RandomChoice((METHODS["mixup"](), METHODS["cutmix"]())),
    }
    del methods["vanilla"]
    for name, method in methods.items():
        draw(method, x, masks).savefig(HERE / f"{name}.jpg", dpi=DPI)


if __name__ == "__main__":
    main()
