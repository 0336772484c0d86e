"""Define every option as a field of a frozen dataclass, without importing torch.

Options that determine the result are part of the fingerprint of a run; options of the machine may change when it resumes. Help
texts, JSON files and command lines are generated from these fields.
"""

import dataclasses
import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from smix.errors import OptionError
from smix.paths import PATH_OPTIONS, normalise_path
from smix.untrusted import UnreadableError, is_text, typed

TRACKERS = ("tensorboard", "mlflow", "wandb")
"""Names of --track."""


@dataclass(frozen=True, kw_only=True)
class SharedConfig:
    """Options shared by all runs of a comparison. A recipe (smix/training/recipes.py) is an instance of this class.

    Raises:
        OptionError: A value is out of range, or contradicts another option.

    >>> SharedConfig(data="cifar10", epochs=9).drops
    (3, 6)
    """

    data: str = "digits-on-photos"
    """Data set: a name listed by "smix data", npz:FILE, folder:DIR, csv:FILE or hf:NAME_OR_DIR."""
    train_limit: int | None = None
    """Number of training images, drawn so that the classes are balanced, including those held out for validation. Default: all."""
    test_limit: int | None = None
    """Number of test images, drawn so that the classes are balanced. Default: all."""
    val_fraction: float = 0.1
    """Fraction of the training images held out for validation, the same images for all seeds and methods; not used if folder:
    or csv: has splits val and test. With 0, all images are used for training, and the accuracy on 1,000 of them is shown
    instead."""
    image_size: int | None = None
    """Height and width in pixels to which images are cropped and resized. Default: their size; 224 if sizes differ."""
    masks: str = "carried"
    """Object masks for the methods that use them: the folder of a mask store, or "carried" to use the masks included in the
    data set."""
    model: str = "resnet18"
    """Model, such as resnet18, resnet8, wrn-28-10, vit-tiny or timm:NAME (listed in docs/models.md)."""
    init_weights: str | None = None
    """Initial weights: a file (safetensors or a torch checkpoint), or "pretrained" for models of timm and torchvision. The last layer is
    not loaded if its classes differ from those of the data set. Default: random."""
    freeze: tuple[str, ...] = ()
    """Layers to freeze, given as prefixes of their names, such as --freeze stem layer1. Their batch normalisation stays in
    evaluation mode."""
    freeze_epochs: int = 0
    """Train only the last layer in the first N epochs, with batch normalisation in evaluation mode."""
    epochs: int = 150
    """Number of epochs."""
    mix_off_epochs: int = 0
    """Train the last N epochs without mixing."""
    batch_size: int = 128
    """Number of images per optimizer step, summed over all processes."""
    grad_accum_steps: int = 1
    """Number of gradient-accumulation steps per batch, to save memory; the batch is mixed before it is split."""
    drop_last: bool = False
    """Drop the last batch of each epoch if it is smaller. Default: use it if it has at least two images."""
    balanced_sampling: bool = False
    """Sample training images with replacement, so that all classes are equally frequent."""
    class_weights: Literal["none", "balanced"] = "none"
    """Class weights in the loss: "none", or "balanced" (inversely proportional to the number of training images of the class)."""
    optimizer: Literal["sgd", "adamw", "adam", "rmsprop"] = "sgd"
    """Optimizer. Options that are not listed here keep PyTorch's defaults."""
    lr: float = 0.1
    """Maximum learning rate. The default is for SGD; other optimizers need their own."""
    layer_decay: float = 1.0
    """Factor in (0, 1] by which the learning rate decreases with each layer below the last; 1: one learning rate for all layers."""
    clip_grad: float | None = None
    """Maximum norm of the gradients; larger gradients are scaled down. Default: no clipping."""
    schedule: Literal["multistep", "cosine", "onecycle"] = "multistep"
    """Learning rate schedule: "multistep" (divided by 10 at each milestone), "cosine" (annealed to 0) or "onecycle" (1cycle
    policy)."""
    warmup_epochs: float = 0.0
    """Number of epochs of linear warm-up before the schedule."""
    milestones: tuple[int, ...] = ()
    """Epochs after which --schedule multistep divides the learning rate by 10. Default: 1/3 and 2/3 of the epochs."""
    momentum: float = 0.9
    """Momentum of SGD and RMSprop."""
    nesterov: bool = False
    """Use Nesterov momentum with SGD."""
    weight_decay: float = 5e-4
    """Weight decay: an L2 penalty, decoupled from the gradient with AdamW."""
    decay_norm_and_bias: bool = True
    """Apply weight decay to biases and normalisation layers, too."""
    label_smoothing: float = 0.0
    """Label smoothing, in [0, 1)."""
    ema_decay: float = 0.0
    """Decay of the exponential moving average (EMA) of the weights; 0: no EMA. EMA weights are evaluated and saved."""
    patience: int | None = None
    """Stop early if the validation accuracy has not improved for N epochs, and keep the weights of the best epoch. Default: train all
    epochs and keep the weights of the last."""
    hflip: bool = True
    """Flip training images horizontally with probability 0.5."""
    crop_padding: int = 4
    """Pixels of zero padding before a random crop; 0: no crops. Images whose size differs from --image-size get a random
    resized crop of 8 to 100 % of their area instead."""
    augment: Literal["none", "trivialaugment", "randaugment", "augmix"] = "none"
    """Automatic augmentation by torchvision after crops and flips. Masks are transformed with their images; "augmix" cannot be used
    with methods that need masks."""
    random_erasing: float = 0.0
    """Probability of erasing a rectangle of 2 to 33 % of an image, and of its mask."""

    def __post_init__(self) -> None:
        # 1 and 1.0, a list and a tuple, file.npz and ./file.npz are one configuration and have one fingerprint.
        _normalise_paths(self)
        for name in _FLOATS:
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.clip_grad is not None:
            object.__setattr__(self, "clip_grad", float(self.clip_grad))
        for name in ("milestones", "freeze"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, minimum in _MINIMUM.items():
            _at_least(name, getattr(self, name), minimum)
        if not 0 < self.lr < math.inf:
            raise OptionError(f"lr: expected a finite learning rate above 0, got {self.lr}")
        for name in ("val_fraction", "label_smoothing", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise OptionError(f"{name}: expected a fraction in [0, 1), got {getattr(self, name)}")
        for name in ("mix_off_epochs", "warmup_epochs", "freeze_epochs"):
            if getattr(self, name) > self.epochs:
                raise OptionError(
                    f"{name}: expected at most {self.epochs}, the number of epochs, got {getattr(self, name)}"
                )
        if self.grad_accum_steps > self.batch_size:
            raise OptionError(
                f"grad_accum_steps: expected at most {self.batch_size}, the batch size, got {self.grad_accum_steps}"
            )
        if not 0 <= self.random_erasing <= 1:
            raise OptionError(f"random_erasing: expected a probability in [0, 1], got {self.random_erasing}")
        if not 0 < self.layer_decay <= 1:
            raise OptionError(f"layer_decay: expected a factor above 0 and at most 1, got {self.layer_decay}")
        if self.clip_grad is not None and not 0 < self.clip_grad < math.inf:
            raise OptionError(f"clip_grad: expected a finite norm above 0, got {self.clip_grad}")
        if self.balanced_sampling and self.class_weights != "none":
            raise OptionError("class_weights: --balanced-sampling already balances the classes; use one of the two")
        if self.patience is not None and not self.val_fraction:
            raise OptionError("patience: early stopping needs validation images; set --val-fraction above 0")
        self._check_optimizer()
        if self.nesterov and not self.momentum:
            raise OptionError(
                "nesterov: Nesterov momentum needs a momentum above 0; set --momentum or use --no-nesterov"
            )
        if self.milestones and self.schedule != "multistep":
            raise OptionError(f"milestones: --schedule {self.schedule} has none; omit --milestones")
        if self.warmup_epochs and self.schedule == "onecycle":
            raise OptionError("warmup_epochs: --schedule onecycle has its own warm-up; omit --warmup-epochs")
        if list(self.milestones) != sorted(set(self.milestones)) or not all(
            0 < m < self.epochs for m in self.milestones
        ):
            raise OptionError(
                f"milestones: expected increasing epochs between 0 and {self.epochs}, got {', '.join(map(str, self.milestones))}"
            )

    def _check_optimizer(self) -> None:
        """Refuse options that the optimizer does not have, and the learning rate of another one."""
        name, defaults = self.optimizer, {field.name: field.default for field in _SHARED}
        if name == "sgd":
            return
        if self.nesterov:
            raise OptionError(f"nesterov: only --optimizer sgd has Nesterov momentum, got {name}; omit --nesterov")
        if name != "rmsprop" and self.momentum != defaults["momentum"]:
            raise OptionError(f"momentum: --optimizer {name} has none; omit --momentum")
        if self.lr == defaults["lr"]:
            raise OptionError(f"lr: {self.lr}, the default, is for sgd; set --lr for {name}, such as --lr 0.001")

    @property
    def drops(self) -> tuple[int, ...]:
        """Epochs after which the learning rate is divided by 10."""
        if self.schedule != "multistep":
            return ()
        thirds = {round(self.epochs * part / 3) for part in (1, 2)} - {0, self.epochs}
        return self.milestones or tuple(sorted(thirds))

    def run(self, method: str, seed: int) -> "TrainConfig":
        """Return the configuration of one run of the comparison."""
        return TrainConfig(**{field.name: getattr(self, field.name) for field in _SHARED}, method=method, seed=seed)


_MINIMUM = {
    "train_limit": 1,
    "test_limit": 1,
    "image_size": 1,
    "epochs": 1,
    "mix_off_epochs": 0,
    "batch_size": 2,
    "grad_accum_steps": 1,
    "warmup_epochs": 0,
    "momentum": 0,
    "weight_decay": 0,
    "crop_padding": 0,
    "freeze_epochs": 0,
    "patience": 1,
}
_FLOATS = (
    "val_fraction",
    "lr",
    "layer_decay",
    "warmup_epochs",
    "momentum",
    "weight_decay",
    "label_smoothing",
    "ema_decay",
    "random_erasing",
)
_SHARED = dataclasses.fields(SharedConfig)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(SharedConfig):
    """Options that define a run; changing any of them defines a different run.

    >>> config = TrainConfig(data="cifar10", method="smix+fmix", seed=1)
    >>> TrainConfig.from_json(config.to_json()) == config
    True
    """

    method: str = "smix"
    """Mixing method: vanilla, mixup, stochasticmixup, cutout, cutmix, resizemix, hmix, gmix, gridmix, saliencymix, fmix, smix or
    objectpaste; with options: "smix(alpha=0.7,labels=area)"; "smix+fmix" uses FMix for images without a valid mask,
    "mixup|cutmix" chooses one of them at random for each batch."""
    seed: int = 0
    """Random seed for the initial weights, the image order, augmentation and mixing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least("seed", self.seed, 0)

    def to_json(self) -> dict[str, Any]:
        """Return the options as JSON values."""
        options: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return options

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "TrainConfig":
        """Return the configuration with the options in `values`; missing options have their defaults.

        Raises:
            OptionError: An option is unknown, has the wrong type, or is out of range.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise OptionError(f"config: the options {', '.join(unknown)} are unknown to this version; update smix")
        try:
            config: TrainConfig = typed(values, cls)
        except UnreadableError as error:
            raise OptionError(str(error)) from None
        return config

    def fingerprint(self) -> str:
        """Return the first 16 digits of the sha256 of the options as JSON."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class MachineOptions:
    """Machine options; an interrupted command can be resumed with other values."""

    data_root: Path = Path("data")
    """Root folder of the data sets; missing ones are downloaded into it."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device; "auto": CUDA if available, else MPS, else CPU."""
    threads: int | None = None
    """Number of CPU threads per run. Default: the number with which the run was started; for a new run, the number of cores
    divided by the number of concurrent runs. A different number changes floating-point rounding, and accuracies may differ by
    a few points."""
    quiet: bool = False
    """Do not show progress."""

    def __post_init__(self) -> None:
        _at_least("threads", self.threads, 1)


@dataclass(frozen=True, kw_only=True)
class RunOptions(MachineOptions):
    """Training options that do not define the run; a run or a comparison can be resumed with other values.

    >>> RunOptions(device="cpu", threads=1).quiet
    False
    """

    workers: int | None = None
    """Number of worker processes that load images if they do not fit in memory. Default: one per core, at most 8."""
    compile: bool = False
    """Use torch.compile: training starts a minute or more later, but steps on a GPU are faster."""
    track: str | None = None
    """Experiment trackers that receive parameters, metrics and mixed images, separated by commas: tensorboard, mlflow, mlflow:URI or
    wandb (docs/training.md)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least("workers", self.workers, 0)


@dataclass(frozen=True, kw_only=True)
class MaskConfig:
    """Options for building masks."""

    data: str
    """Data set: a name, npz:FILE, folder:DIR, csv:FILE or hf:NAME_OR_DIR."""
    source: str | None = None
    """Mask source: "builtin", the network included in smix; torchvision:deeplabv3_mobilenet_v3_large (or another network),
    onnx:FILE (described by FILE.json), transformers:MODEL_OR_DIR, smp:ARCH/ENCODER, masks:DIR, labelme:DIR, or "carried" to use the
    masks included in the data set. Default: "carried" if the data set includes masks, otherwise "builtin"."""
    split: Literal["train", "val", "test", "all"] | None = None
    """Split to build masks for. Default: "all" for folder: and csv: (masks are looked up by image path), "train" for other data
    sets."""
    limit: int | None = None
    """Number of images, class-balanced; a later build with a larger limit extends the same store. Default: all."""
    weights: Path | None = None
    """Weights file for torchvision:NETWORK (default: download) or smp:ARCH/ENCODER."""
    input_size: str | None = None
    """Size in pixels to which images are resized for the network, "own" for no resizing, or "auto" (default) for the size
    that gave the best masks in our measurements."""
    hflip_tta: bool = False
    """Average the predictions for each image and its mirror image (test-time augmentation); takes twice as long."""
    upscale: str | None = None
    """Super-resolution network that enlarges the images first: esrgan:FILE."""
    classes: tuple[str, ...] = ()
    """Classes of the source that count as objects, such as --classes cat dog. Default: all except the background."""
    object_classes: Path | None = None
    """JSON file that maps each class of the data set to a list of the source classes that count as objects in its images, or
    to null for all classes."""
    score_threshold: float = 0.5
    """Minimum score of a detected instance, in [0, 1], for networks that predict instances."""
    style: Literal["binary", "classes", "panoptic", "cityscapes", "trimap", "coco"] | None = None
    """Encoding of the mask images in masks:DIR. Default: detected automatically."""
    mask_frame: Literal["upright", "stored"] | None = None
    """Orientation of existing masks (masks:DIR, labelme:DIR) for photographs with an EXIF orientation: "upright", as viewers
    show them, or "stored", as the pixels are stored. Default: determined by comparing the sizes of masks and images; an error
    if both orientations fit."""
    refine: Literal["none", "published", "default"] | None = None
    """Mask refinement: "none", "published" (the four steps of the SMix report) or "default" (removes small pieces and holes).
    If not given: "default" for masks from networks, "none" for existing masks."""
    size: int | None = None
    """Height and width of the masks in pixels. Default: the image size, or 224 if sizes differ."""
    save_classes: bool = False
    """Also save the class of each pixel (8 more bits per pixel)."""

    @property
    def built_split(self) -> Literal["train", "val", "test", "all"]:
        """Split that is used: `split`, or the default for the kind of data set."""
        return self.split or ("all" if self.data.partition(":")[0] in ("folder", "csv") else "train")

    @property
    def refinement(self) -> Literal["none", "published", "default"]:
        """Refinement to apply: `refine`, or the default for the kind of source."""
        existing = (self.source or "").partition(":")[0] in ("carried", "masks", "labelme")
        return self.refine or ("none" if existing else "default")

    def __post_init__(self) -> None:
        _at_least("size", self.size, 1)
        if not 0 <= self.score_threshold <= 1:
            raise OptionError(f"score_threshold: expected a score in [0, 1], got {self.score_threshold}")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Options for an evaluation.

    >>> EvaluateConfig(corruptions=True, limit=500).seed
    0
    """

    data: str | None = None
    """Data set to evaluate on (test split): a name, npz:FILE, folder:DIR, csv:FILE or hf:NAME_OR_DIR. Default: the data set
    of the run."""
    label_map: Path | None = None
    """JSON file that maps each class of --data to one class of the model, a list of classes, or null to exclude its images.
    Default: match classes by name."""
    limit: int | None = None
    """Number of test images, drawn so that the classes are balanced. Default: all."""
    corruptions: bool = False
    """Also evaluate on images with 15 corruptions at 5 severities."""
    official: Path | None = None
    """Also evaluate on the published CIFAR-10-C or CIFAR-100-C arrays in this folder."""
    batch_size: int | None = None
    """Number of images per batch; smaller batches need less memory. Default: 500, or 250 for images read from files."""
    attacks: bool = False
    """Also evaluate under FGSM and PGD-10 attacks of at most 1/255 and 8/255 (L-infinity)."""
    masks: str | None = None
    """Also evaluate with swapped backgrounds and occlusion. Masks: a mask store of the test split, or "carried" to use the
    masks included in the data set."""
    model: str | None = None
    """Model architecture for a weights file, such as resnet18 or timm:NAME."""
    mean: tuple[float, ...] = ()
    """Mean of each channel with which the inputs of a weights file are normalised, for pixel values in [0, 1]. Default: the mean of
    the training images of the data set."""
    std: tuple[float, ...] = ()
    """Standard deviation of each channel with which they are normalised."""
    seed: int = 0
    """Random seed for the corruptions, the starting points of the attacks and the swapped backgrounds."""

    def __post_init__(self) -> None:
        _normalise_paths(self)
        _at_least("limit", self.limit, 1)
        _at_least("batch_size", self.batch_size, 1)
        _at_least("seed", self.seed, 0)
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
            if not all(map(math.isfinite, getattr(self, name))):
                raise OptionError(f"{name}: expected finite numbers, got {_shown(getattr(self, name))}")
        if len(self.mean) != len(self.std):
            raise OptionError(
                f"mean, std: expected one number per channel for both, got {_shown(self.mean)} and {_shown(self.std)}"
            )
        if not all(number > 0 for number in self.std):
            raise OptionError(f"std: expected numbers above 0, got {_shown(self.std)}")


def _normalise_paths(config: "SharedConfig | EvaluateConfig") -> None:
    for name in PATH_OPTIONS:
        if (text := getattr(config, name, None)) is not None:
            if not is_text(text):
                raise OptionError(f"{name}: expected a path in UTF-8 without control characters, got {text}; rename it")
            object.__setattr__(config, name, normalise_path(name, text))


def arguments(options: MachineOptions | MaskConfig) -> list[str]:
    """Return options as command-line arguments, omitting those that have their default value."""
    words: list[str] = []
    for field in dataclasses.fields(options):
        value, name = getattr(options, field.name), field.name.replace("_", "-")
        if value == field.default:
            continue
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words += [f"--{name}={item}" for item in (value if isinstance(value, tuple) else [value])]
    return words


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shown(numbers: tuple[float, ...]) -> str:
    return ", ".join(map(str, numbers)) or "none"


def _at_least(name: str, value: float | None, minimum: float) -> None:
    if value is not None and not minimum <= value < math.inf:
        raise OptionError(f"{name}: expected {minimum} or more, got {value}")
