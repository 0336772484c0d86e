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


@dataclass(frozen=True, kw_only=True)
class SharedConfig:
    """Options that all runs of a comparison share. A recipe (smix/training/recipes.py) is one value of this class.

    Raises:
        OptionError: A value is out of range, or contradicts another option.

    >>> SharedConfig(data="cifar10", epochs=9).drops
    (3, 6)
    """

    data: str = "digits-on-photos"
    """Data set: a name that "smix data" lists, npz:FILE, folder:DIR, csv:FILE or hf:NAME_OR_DIR."""
    train_limit: int | None = None
    """Number of training images, class-balanced, including those held out for validation. Default: all."""
    test_limit: int | None = None
    """Number of test images, class-balanced. Default: all."""
    val_fraction: float = 0.1
    """Fraction of the training images held out for validation, the same images for all seeds and methods; not used if folder: or csv:
    has val and test. With 0 all images are trained on, and the accuracy on 1,000 of them is shown instead."""
    image_size: int | None = None
    """Height and width in pixels to which images are cropped and resized. Default: their own size, or 224 if sizes differ."""
    masks: str = "carried"
    """Object masks for the methods that use them: the folder of a mask store, or "carried" for masks that the data set includes."""
    model: str = "resnet18"
    """Model, such as resnet18, resnet8, wrn-28-10, vit-tiny or timm:NAME (listed in docs/models.md)."""
    init_weights: str | None = None
    """Initial weights: a file (safetensors or a torch checkpoint), or "pretrained" for timm:NAME. A last layer for other classes
    is not loaded. Default: random."""
    epochs: int = 150
    """Number of epochs."""
    mix_off_epochs: int = 0
    """Train the last N epochs without mixing."""
    batch_size: int = 128
    """Images per optimizer step, over all processes."""
    grad_accum_steps: int = 1
    """Number of gradient-accumulation steps per batch, to save memory; the batch is mixed before it is split."""
    drop_last: bool = False
    """Leave out the last, smaller batch of each epoch. Default: train on it, too, if it has two images or more."""
    lr: float = 0.1
    """Maximum learning rate."""
    schedule: Literal["multistep", "cosine", "onecycle"] = "multistep"
    """Learning rate schedule: divide by 10 at each milestone, anneal to 0 along half a cosine, or one cycle."""
    warmup_epochs: float = 0.0
    """Number of epochs of linear warm-up before the schedule."""
    milestones: tuple[int, ...] = ()
    """Epochs after which --schedule multistep divides the learning rate by 10. Default: 1/3 and 2/3 of all epochs."""
    momentum: float = 0.9
    """Momentum of SGD."""
    nesterov: bool = False
    """Use Nesterov momentum."""
    weight_decay: float = 5e-4
    """Weight decay (L2 penalty) of SGD."""
    decay_norm_and_bias: bool = True
    """Apply weight decay to biases and normalisation layers, too."""
    label_smoothing: float = 0.0
    """Label smoothing, in [0, 1)."""
    ema_decay: float = 0.0
    """Decay of the exponential moving average of the weights, which is then evaluated and saved; 0: no average."""
    hflip: bool = True
    """Flip training images horizontally with probability 0.5."""
    crop_padding: int = 4
    """Pixels of zero padding before a random crop; 0: no crops. Images of another size than --image-size get a random resized
    crop of 8 to 100 % of their area instead."""

    def __post_init__(self) -> None:
        # 1 and 1.0, a list and a tuple, file.npz and ./file.npz are one configuration and have one fingerprint.
        _normalise_paths(self)
        for name in ("val_fraction", "lr", "warmup_epochs", "momentum", "weight_decay", "label_smoothing", "ema_decay"):
            object.__setattr__(self, name, float(getattr(self, name)))
        object.__setattr__(self, "milestones", tuple(self.milestones))
        for name, minimum in _MINIMUM.items():
            _at_least(name, getattr(self, name), minimum)
        if not 0 < self.lr < math.inf:
            raise OptionError(f"lr: expected a finite learning rate above 0, got {self.lr}")
        for name in ("val_fraction", "label_smoothing", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise OptionError(f"{name}: expected a fraction in [0, 1), got {getattr(self, name)}")
        for name in ("mix_off_epochs", "warmup_epochs"):
            if getattr(self, name) > self.epochs:
                raise OptionError(
                    f"{name}: expected at most {self.epochs}, the number of epochs, got {getattr(self, name)}"
                )
        if self.grad_accum_steps > self.batch_size:
            raise OptionError(
                f"grad_accum_steps: expected at most {self.batch_size}, the batch size, got {self.grad_accum_steps}"
            )
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
}
_SHARED = dataclasses.fields(SharedConfig)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(SharedConfig):
    """Options that define a run; another value of any option makes another run.

    >>> config = TrainConfig(data="cifar10", method="smix+fmix", seed=1)
    >>> TrainConfig.from_json(config.to_json()) == config
    True
    """

    method: str = "smix"
    """Mixing method: vanilla, mixup, stochasticmixup, cutout, cutmix, resizemix, hmix, gmix, gridmix, saliencymix, fmix, smix or
    objectpaste; with options: "smix(alpha=0.7,labels=area)"; "smix+fmix" uses FMix for images without a valid mask,
    "mixup|cutmix" chooses one of them at random for each batch."""
    seed: int = 0
    """Seed of the initial weights, the order of the images, augmentation and mixing."""

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
            OptionError: An option is unknown, has another type, or is out of range.
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
    """Options of the machine, which may change when an interrupted command resumes."""

    data_root: Path = Path("data")
    """Folder in which data sets are found by name, and to which they are downloaded."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device; auto: CUDA if available, else MPS, else CPU."""
    threads: int | None = None
    """CPU threads per run. Default: as when the run was started; for a new run, the cores divided by the number of concurrent runs.
    With another number results are rounded differently, and accuracies may differ by some points."""
    quiet: bool = False
    """Show no progress."""

    def __post_init__(self) -> None:
        _at_least("threads", self.threads, 1)


@dataclass(frozen=True, kw_only=True)
class RunOptions(MachineOptions):
    """Options of a training that do not define the run, and may change when a run or a comparison resumes.

    >>> RunOptions(device="cpu", threads=1).quiet
    False
    """

    workers: int | None = None
    """Number of worker processes that read images which do not fit in memory. Default: one per core, at most 8."""
    compile: bool = False
    """Use torch.compile, which takes a minute or more at the start and makes steps on a GPU faster."""
    tensorboard: bool = False
    """Write curves, mixed images and masks for TensorBoard into the run folder."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least("workers", self.workers, 0)


@dataclass(frozen=True, kw_only=True)
class MaskConfig:
    """Options of a mask build."""

    data: str
    """Data set: a name, npz:FILE, folder:DIR, csv:FILE or hf:NAME_OR_DIR."""
    source: str
    """Mask source: torchvision:deeplabv3_mobilenet_v3_large (or another network), onnx:FILE (described by FILE.json),
    transformers:MODEL_OR_DIR, smp:ARCH/ENCODER, masks:DIR, labelme:DIR, or carried for masks that the data set includes."""
    split: Literal["train", "val", "test", "all"] | None = None
    """Split to build masks for. Default: all images of folder: and csv:, whose masks are found by their paths; train for other data
    sets."""
    limit: int | None = None
    """Number of images, class-balanced; a larger limit later adds to the same store. Default: all."""
    weights: Path | None = None
    """Weights file for torchvision: (default: downloaded) and smp:."""
    input_size: str | None = None
    """Size in pixels to which images are resized for the network, "own" for no resizing, or "auto" (default) for the best measured
    size for images of this size."""
    hflip_tta: bool = False
    """Average the predictions for each image and its mirror image (test-time augmentation); takes twice as long."""
    upscale: str | None = None
    """esrgan:FILE, a super-resolution network that enlarges the images first."""
    classes: tuple[str, ...] = ()
    """Classes that count as objects, by the names of the source, such as --classes cat dog. Default: all but background."""
    object_classes: Path | None = None
    """JSON file that lists, for each label of the data set, the classes of the source that count as objects in its images."""
    score_threshold: float = 0.5
    """Minimum score of an instance, in [0, 1], for networks that predict instances."""
    style: Literal["binary", "classes", "panoptic", "cityscapes", "trimap", "coco"] | None = None
    """Encoding of the mask images of masks:DIR. Default: detected."""
    mask_frame: Literal["upright", "stored"] | None = None
    """Frame of existing masks (masks:DIR, labelme:DIR) of photographs that are stored rotated or mirrored (EXIF): upright, as viewers
    show them, or as the pixels are stored. Default: determined from the sizes, and refused where these do not tell."""
    refine: Literal["none", "published", "default"] | None = None
    """Refinement of the masks: none; published, the four steps of the SMix report; default (docs/masks.md). Default: default for
    masks from networks, none for existing masks."""
    size: int | None = None
    """Height and width of the masks in pixels. Default: those of the images, or 224 if sizes differ."""
    save_classes: bool = False
    """Also save the class of each pixel, which takes 8 more bits per pixel."""

    @property
    def built_split(self) -> Literal["train", "val", "test", "all"]:
        """Split that is used: `split`, or the default for the kind of data set."""
        return self.split or ("all" if self.data.partition(":")[0] in ("folder", "csv") else "train")

    @property
    def refinement(self) -> Literal["none", "published", "default"]:
        """Refinement to apply: `refine`, or the default for the kind of source."""
        existing = self.source.partition(":")[0] in ("carried", "masks", "labelme")
        return self.refine or ("none" if existing else "default")

    def __post_init__(self) -> None:
        _at_least("size", self.size, 1)
        if not 0 <= self.score_threshold <= 1:
            raise OptionError(f"score_threshold: expected a score in [0, 1], got {self.score_threshold}")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Options of an evaluation.

    >>> EvaluateConfig(corruptions=True, limit=500).seed
    0
    """

    data: str | None = None
    """Data set whose test split is evaluated: a name, npz:FILE, folder:DIR, csv:FILE or hf:NAME_OR_DIR. Default: that of the run."""
    label_map: Path | None = None
    """JSON file that maps each class of --data to a class of the model, a list of classes, or null to exclude its images. Default:
    classes with the same names."""
    limit: int | None = None
    """Number of test images, class-balanced. Default: all."""
    corruptions: bool = False
    """Also evaluate 15 corruptions at 5 severities."""
    official: Path | None = None
    """Also evaluate the arrays of CIFAR-10-C or CIFAR-100-C in this folder."""
    batch_size: int | None = None
    """Images per evaluation batch; smaller batches need less memory. Default: 500, or 250 for images read from files."""
    attacks: bool = False
    """Also evaluate FGSM and PGD-10 within 1/255 and 8/255 (L-infinity)."""
    masks: str | None = None
    """Also evaluate swapped backgrounds and occlusion, with these masks: a mask store of the test split, or "carried"."""
    model: str | None = None
    """Model of a weights file, such as resnet18 or timm:NAME."""
    mean: tuple[float, ...] = ()
    """Mean per channel on the 0..1 scale, for a weights file. Default: that of the training images."""
    std: tuple[float, ...] = ()
    """Standard deviation per channel on the 0..1 scale, for a weights file."""
    seed: int = 0
    """Seed of the corruptions, the starting points of attacks and the swapped backgrounds."""

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
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shown(numbers: tuple[float, ...]) -> str:
    return ", ".join(map(str, numbers)) or "none"


def _at_least(name: str, value: float | None, minimum: float) -> None:
    if value is not None and not minimum <= value < math.inf:
        raise OptionError(f"{name}: expected {minimum} or more, got {value}")
