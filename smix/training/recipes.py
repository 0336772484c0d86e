"""Recipes: configurations that reproduce published results, and a modern one, such as `smix train --recipe modern`.

Each recipe is a function of the data set and the number of epochs (default: that of its source; milestones and warm-up are scaled with
it). It returns a frozen configuration, which `dataclasses.replace` can change. Docstrings state the differences from the source.
"""

import dataclasses
from collections.abc import Callable

from smix.config import SharedConfig
from smix.errors import unknown

TINY = "tiny-imagenet"


def report(data: str = "cifar10", epochs: int | None = None) -> SharedConfig:
    """Return the recipe of the SMix report, "Enhancing Model Performance" (University of Southampton, 2025).

    ResNet-18, SGD with momentum, learning rate 0.1, batch size 128; 150 epochs with milestones 50 and 100, for Tiny ImageNet 200
    epochs with milestones 100 and 150. All training images, without crops and flips.

    The report does not state momentum (0.9 here), decay factor (0.1), weight decay (0), crops and flips (none, which its vanilla
    accuracy of 89.96 % on CIFAR-10 suggests). Its results on CIFAR-10: vanilla 89.96, mixup 92.57, cutmix 93.16, fmix 94.83, smix
    93.66 %.
    """
    epochs = epochs or (200 if data == TINY else 150)
    parts = (1 / 2, 3 / 4) if data == TINY else (1 / 3, 2 / 3)
    milestones = sorted({round(part * epochs) for part in parts} - {0, epochs})
    return SharedConfig(
        data=data,
        val_fraction=0,
        model="resnet18",
        epochs=epochs,
        batch_size=128,
        lr=0.1,
        momentum=0.9,
        weight_decay=0,
        milestones=tuple(milestones),
        hflip=False,
        crop_padding=0,
    )


def report_augmented(data: str = "cifar10", epochs: int | None = None) -> SharedConfig:
    """Return `report` with crops (4 pixels of padding), flips and weight decay 5e-4.

    The accuracies of smix and fmix in the SMix report are as high as with this recipe.
    """
    return dataclasses.replace(report(data, epochs), weight_decay=5e-4, hflip=True, crop_padding=4)


def openmixup(data: str = "cifar10", epochs: int | None = None) -> SharedConfig:
    """Return the recipe of Westlake-AI/openmixup (docs/en/mixup_benchmarks).

    ResNet-18, SGD with momentum 0.9, weight decay 1e-4 on all parameters, cosine schedule to 0, batch size 100, crops with 4 pixels of
    padding, and flips. CIFAR: learning rate 0.1, 200 epochs; Tiny ImageNet: 0.2, 400 epochs.

    Differences: openmixup reports the median test accuracy of the last ten epochs of one run, smix that of the last epoch;
    openmixup pads by reflection, smix with zeros. Results that openmixup reports after 200 epochs on CIFAR-10: vanilla 94.87,
    mixup 95.70, cutmix 96.11, fmix 96.17 %.
    """
    tiny = data == TINY
    return SharedConfig(
        data=data,
        val_fraction=0,
        model="resnet18",
        epochs=epochs or (400 if tiny else 200),
        batch_size=100,
        lr=0.2 if tiny else 0.1,
        schedule="cosine",
        momentum=0.9,
        weight_decay=1e-4,
        hflip=True,
        crop_padding=4,
    )


def modern(data: str = "cifar10", epochs: int | None = None) -> SharedConfig:
    """Return a modern recipe.

    ResNet-18, SGD with Nesterov momentum, learning rate 0.1, batch size 128, 200 epochs with 5 epochs of warm-up and a cosine schedule,
    weight decay 5e-4 on convolutions and matrices only, crops and flips.

    `ema_decay=0.999`, `mix_off_epochs=10`, `label_smoothing=0.1` or `schedule="onecycle", warmup_epochs=0` may improve it; they are
    off so that methods differ in nothing but the mixing.
    """
    epochs = epochs or 200
    return SharedConfig(
        data=data,
        model="resnet18",
        epochs=epochs,
        batch_size=128,
        lr=0.1,
        schedule="cosine",
        warmup_epochs=epochs / 40,
        momentum=0.9,
        nesterov=True,
        weight_decay=5e-4,
        decay_norm_and_bias=False,
        hflip=True,
        crop_padding=4,
    )


def finetune(data: str = "cifar10", epochs: int | None = None) -> SharedConfig:
    """Return a recipe to fine-tune a pre-trained network, for thousands of images.

    torchvision's ResNet-50 for ImageNet, images of 224 pixels, AdamW, learning rate 5e-4, batch size 32, 20 epochs with a cosine
    schedule and a twentieth of them as warm-up, weight decay 0.05 on convolutions and matrices only, label smoothing 0.1, gradients
    clipped at norm 1. Each layer has 0.9 times the learning rate of the next one. With 10 epochs or more, the first tenth trains only
    the last layer, which starts from random weights.

    `model` and `init_weights` are meant to be replaced: any timm:NAME, or weights in a file. The values are those that are usual with
    timm for fine-tuning; only the layer decay was compared with another value (0.8), on one small data set (docs/training.md).
    """
    epochs = epochs or 20
    return SharedConfig(
        data=data,
        image_size=224,
        model="resnet50-imagenet",
        init_weights="pretrained",
        freeze_epochs=epochs // 10,
        epochs=epochs,
        batch_size=32,
        optimizer="adamw",
        lr=5e-4,
        layer_decay=0.9,
        clip_grad=1.0,
        schedule="cosine",
        warmup_epochs=epochs / 20,
        weight_decay=0.05,
        decay_norm_and_bias=False,
        label_smoothing=0.1,
    )


def small_data(data: str = "cifar10", epochs: int | None = None) -> SharedConfig:
    """Return a recipe to fine-tune a pre-trained network on a few hundred images.

    As `finetune`, with 60 epochs, batch size 16, TrivialAugment and random erasing of a quarter of the images, and classes drawn
    equally often. A tenth of a few hundred images is too few to choose an epoch by their accuracy, so training does not stop early.
    """
    epochs = epochs or 60
    return dataclasses.replace(
        finetune(data, epochs),
        batch_size=16,
        balanced_sampling=True,
        augment="trivialaugment",
        random_erasing=0.25,
    )


RECIPES: dict[str, Callable[[str, int | None], SharedConfig]] = {
    "report": report,
    "report-augmented": report_augmented,
    "openmixup": openmixup,
    "modern": modern,
    "finetune": finetune,
    "small-data": small_data,
}


def recipe(name: str, data: str, epochs: int | None = None) -> SharedConfig:
    """Return the configuration of a recipe.

    Args:
        name: One of `RECIPES`.
        data: Data set.
        epochs: Number of epochs. Default: that of the recipe's source.

    Raises:
        OptionError: The name is unknown.
    """
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name](data, epochs)


def methods_of(name: str, data: str) -> tuple[str, ...]:
    """Return the methods that the publication of a recipe compares, with its options; they draw once per batch, as its code does."""
    if name in ("report", "report-augmented"):
        return (
            "vanilla",
            "mixup(alpha=0.2,per_batch=True)",
            "cutmix(per_batch=True)",
            "fmix(spectrum=official,per_batch=True)",
            "smix",
        )
    if name == "openmixup":
        alpha = 1.0 if data == TINY else 0.2
        return (
            "vanilla",
            "mixup(per_batch=True)",
            f"cutmix(alpha={alpha},per_batch=True)",
            f"fmix(alpha={alpha},spectrum=official,per_batch=True)",
            f"saliencymix(alpha={alpha},per_batch=True)",
            "gridmix(alpha=0.2,per_batch=True)",
            "resizemix(per_batch=True)",
        )
    return ("vanilla", "mixup", "cutmix", "fmix", "smix", "smix+fmix")
