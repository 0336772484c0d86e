"""Fit a segmenter further, also to images without masks (self-training); the experiments of docs/segmenter.md.

`python scripts/adapt_segmenter.py --objects objects.npz --init CHECKPOINT --work DIR --unlabelled cifar10.npz tiny-imagenet-20.npz` finds
masks of training images of each data set, keeps those on which all views agree, and fits to them and to the true masks alike. Without
`--unlabelled` it is the control: as many more steps on true masks only.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from fit_segmenter import load_objects

from smix.models.segmenter import Segmenter
from smix.segmenter.crops import Photographs, photographs
from smix.segmenter.fit import FitConfig, fit
from smix.segmenter.pseudo import pseudo_masks


def join(parts: list[Photographs]) -> Photographs:
    """Return the photographs of all parts."""
    planes, picture, boxes = zip(*((part.planes, part.picture, part.object_box) for part in parts), strict=True)
    return Photographs(np.concatenate(planes), np.concatenate(picture), np.concatenate(boxes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, required=True, help="objects.npz")
    parser.add_argument("--init", type=Path, required=True, help="checkpoint of scripts/fit_segmenter.py")
    parser.add_argument("--work", type=Path, required=True, help="folder of checkpoints")
    parser.add_argument("--unlabelled", type=Path, nargs="*", default=[], help="npz files of data sets")
    parser.add_argument("--count", type=int, default=4000, help="training images of each data set")
    parser.add_argument("--agreement", type=float, default=0.7, help="lowest agreement of the views")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--learning-rate", type=float, default=8e-4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = Segmenter()
    model.load_state_dict(torch.load(options.init, map_location="cpu", weights_only=True)["average"])
    data, rows = load_objects(options.objects)
    used = rows["fit"]
    for path in options.unlabelled:
        with np.load(path) as file:
            images = file["x_train"]
        chosen = np.sort(np.random.default_rng(0).choice(len(images), min(options.count, len(images)), replace=False))
        pictures, masks, agreement = pseudo_masks(model.eval(), images[chosen], data.size[0])
        kept = agreement >= options.agreement
        print(
            f"{path.name}: {kept.sum()} of {len(kept)} images kept, mean agreement {agreement.mean():.3f}", flush=True
        )
        used = np.concatenate([used, len(data) + np.arange(kept.sum())])
        data = join([data, photographs(pictures[kept], masks[kept])])
    config = FitConfig(
        steps=options.steps,
        cooldown=0.9,
        learning_rate=options.learning_rate,
        sizes={40: 0.15, 48: 0.6, 56: 0.1, 64: 0.15},
        blur=0.5,
        ema_decay=0.99,
    )
    fit(data, used, rows["validation"][:600], config, options.work, model)


if __name__ == "__main__":
    main()
