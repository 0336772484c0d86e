"""Every option, as frozen dataclasses: what is trained (fingerprinted) and how (free to change). No torch here.

Help texts, JSON files and command lines are all made from these fields.
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
from smix.paths import PATH_OPTIONS, shortest
from smix.untrusted import UnreadableError, is_text, typed


@dataclass(frozen=True, kw_only=True)
class SharedConfig:
    """Options that all runs of a comparison have in common. Recipes (smix/training/recipes.py) are values of it."""

    data: str = "digits-on-photos"
    """Data set: a name, npz:FILE, folder:DIR or hf:NAME ("smix data" lists them)."""
    train_limit: int | None = None
    """Use this many training images, class-balanced, those for validation among them; none given: all."""
    test_limit: int | None = None
    """Use this many test images, class-balanced; none given: all."""
    val_fraction: float = 0.1
    """Part of the training images kept for validation, the same for all seeds and methods; 0: train on all of them, and show
    the accuracy on a thousand of them instead."""
    image_size: int | None = None
    """Height and width to which images are cropped and resized; none given: their own, or 224 if they differ."""
    masks: str = "carried"
    """Object masks, for the methods that use them: the folder of a mask store, or "carried": the data set's own."""
    model: str = "resnet18"
    """Network, such as resnet18, resnet8, wrn-28-10, vit-tiny or timm:NAME (docs/models.md lists them)."""
    init: str | None = None
    """Start from these weights: a file (safetensors, or a torch checkpoint), or "pretrained" for timm:NAME; a last layer for
    other classes is left out. None given: random ones."""
    epochs: int = 150
    """Passes over the training images."""
    plain_epochs: int = 0
    """The last so many epochs mix nothing."""
    batch_size: int = 128
    """Images a step, over all processes together."""
    accumulate: int = 1
    """Add up the gradients of so many parts of a batch, one after the other, to save memory; it is mixed as a whole."""
    lr: float = 0.1
    """Highest learning rate."""
    schedule: Literal["steps", "cosine", "onecycle"] = "steps"
    """Learning rate schedule: divided by 10 at each milestone; along half a cosine to 0; or one cycle, up and down."""
    warmup: float = 0.0
    """Epochs in which the learning rate rises from 0 before."""
    milestones: tuple[int, ...] = ()
    """Epochs after which the learning rate is divided by 10; none given: after 1/3 and 2/3 of the training."""
    momentum: float = 0.9
    """Momentum of SGD."""
    nesterov: bool = False
    """Nesterov's momentum."""
    weight_decay: float = 5e-4
    """L2 penalty of SGD."""
    decay_all: bool = True
    """The penalty is on biases and on the weights of normalisation, too."""
    label_smoothing: float = 0.0
    """Share of each label that is spread over all classes."""
    ema: float = 0.0
    """Evaluate an exponential moving average of the weights, which keeps this part of itself at each step; 0: none."""
    flip: bool = True
    """Flip half of the training images left to right."""
    crop: int = 4
    """Pad training images by this many black pixels and crop at random; 0: no crops. Images of another size than --image-size
    are cut out at random, 8 to 100 % of them, instead."""

    def __post_init__(self) -> None:
        # 1 and 1.0, a list and a tuple, made.npz and ./made.npz, are one configuration and have one fingerprint.
        _normalise_paths(self)
        for name in ("val_fraction", "lr", "warmup", "momentum", "weight_decay", "label_smoothing", "ema"):
            object.__setattr__(self, name, float(getattr(self, name)))
        object.__setattr__(self, "milestones", tuple(self.milestones))
        for name, least in _LEAST.items():
            _at_least(name, getattr(self, name), least)
        if not 0 < self.lr < math.inf:
            raise OptionError(f"lr: expected a finite learning rate above 0, got {self.lr}")
        for name in ("val_fraction", "label_smoothing", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise OptionError(f"{name}: expected a part from 0 to below 1, got {getattr(self, name)}")
        for name in ("plain_epochs", "warmup"):
            if getattr(self, name) > self.epochs:
                raise OptionError(f"{name}: expected at most all {self.epochs} epochs, got {getattr(self, name)}")
        if self.accumulate > self.batch_size:
            raise OptionError(f"accumulate: expected at most {self.batch_size}, the batch size, got {self.accumulate}")
        if self.nesterov and not self.momentum:
            raise OptionError("nesterov: expected a momentum above 0, got 0")
        if self.milestones and self.schedule != "steps":
            raise OptionError(f"milestones: expected none with --schedule {self.schedule}, got {self.milestones}")
        if self.warmup and self.schedule == "onecycle":
            raise OptionError("warmup: expected none with --schedule onecycle, which rises by itself")
        if list(self.milestones) != sorted(set(self.milestones)) or not all(
            0 < m < self.epochs for m in self.milestones
        ):
            raise OptionError(
                f"milestones: expected rising epochs between 0 and {self.epochs}, got {', '.join(map(str, self.milestones))}"
            )

    @property
    def drops(self) -> tuple[int, ...]:
        """The epochs after which the learning rate is divided by 10."""
        if self.schedule != "steps":
            return ()
        thirds = {round(self.epochs * part / 3) for part in (1, 2)} - {0, self.epochs}
        return self.milestones or tuple(sorted(thirds))

    def run(self, method: str, seed: int) -> "TrainConfig":
        """The configuration of one run of the comparison."""
        return TrainConfig(**{field.name: getattr(self, field.name) for field in _SHARED}, method=method, seed=seed)


_LEAST = {
    "train_limit": 1,
    "test_limit": 1,
    "image_size": 1,
    "epochs": 1,
    "plain_epochs": 0,
    "batch_size": 2,
    "accumulate": 1,
    "warmup": 0,
    "momentum": 0,
    "weight_decay": 0,
    "crop": 0,
}
_SHARED = dataclasses.fields(SharedConfig)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(SharedConfig):
    """Options that define a run: another value is another run."""

    method: str = "smix"
    """Mixing method: vanilla, mixup, stochasticmixup, cutout, cutmix, resizemix, hmix, gmix, gridmix, saliencymix, fmix, smix or
    objectpaste; with options: "smix(alpha=0.7,labels=area)"; "smix+fmix" falls back where no mask is valid, "mixup|cutmix"
    takes either by chance."""
    seed: int = 0
    """Seed of initial weights, order, crops and mixing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least("seed", self.seed, 0)

    def to_json(self) -> dict[str, Any]:
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "TrainConfig":
        """Return the configuration of JSON values; what they leave out has its default.

        Raises:
            OptionError: An option is unknown, of another type, or out of its range.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise OptionError(
                f"config: expected the options of this version, got also {', '.join(unknown)}; update smix"
            )
        try:
            config: TrainConfig = typed(values, cls)
        except UnreadableError as error:
            raise OptionError(str(error)) from None
        return config

    def fingerprint(self) -> str:
        """Sha256 of the fields as JSON, its first 16 digits."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class MachineOptions:
    """Options of the machine, which may change when work is resumed."""

    root: Path = Path("data")
    """Folder of the data sets that are downloaded or looked for by name."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device to compute on; auto: CUDA, else MPS, else the CPU."""
    threads: int | None = None
    """CPU threads of one run; none given: as it began, at first the cores divided by the runs side by side. Another count
    rounds differently, and a training can end some points apart."""
    quiet: bool = False
    """No progress on the terminal."""

    def __post_init__(self) -> None:
        _at_least("threads", self.threads, 1)


@dataclass(frozen=True, kw_only=True)
class RunOptions(MachineOptions):
    """Options of how a network is trained, which may change when a run or a comparison is resumed."""

    workers: int | None = None
    """Processes that read and crop images which do not fit in the memory; none given: one a core, at most 8."""
    compile: bool = False
    """torch.compile the network: a minute or more at the start, faster steps on a GPU."""
    tensorboard: bool = False
    """Write curves, mixed images and masks for TensorBoard into the run folder."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least("workers", self.workers, 0)


@dataclass(frozen=True, kw_only=True)
class MaskConfig:
    """Options of a mask build."""

    data: str
    """Data set: a name, npz:FILE or folder:DIR."""
    source: str
    """torchvision:deeplabv3_mobilenet_v3_large (or another), onnx:FILE (FILE.json beside it says how to feed it),
    transformers:MODEL_OR_DIR, smp:ARCH/ENCODER, masks:DIR, labelme:DIR, or carried."""
    split: Literal["train", "test"] = "train"
    """Whose masks; training uses those of train."""
    limit: int | None = None
    """Only this many images, class-balanced; a larger limit later adds to the same store."""
    weights: Path | None = None
    """File of weights, for torchvision: (none given: downloaded) and smp:."""
    input_size: str | None = None
    """Pixels that images are resized to before segmenting, "own": not resized, or "auto" (as if none is given): what served
    images of their size best."""
    flip: bool = False
    """Take the mean over each image and its mirror image; twice the work."""
    upscale: str | None = None
    """esrgan:FILE, a super-resolution network that enlarges images first."""
    classes: tuple[str, ...] = ()
    """The classes that are objects, by the source's names, such as --classes cat dog; none given: all but background."""
    class_map: Path | None = None
    """JSON file that names, for each label of the data set, the classes that are objects in its images."""
    least_score: float = 0.5
    """Networks that find instances: leave out those of less confidence."""
    style: Literal["binary", "classes", "panoptic", "cityscapes", "trimap", "coco"] | None = None
    """Style of the pictures of masks:DIR; none given: found out."""
    refine: Literal["none", "published", "default"] | None = None
    """none; published: the report's four steps; default: see docs/masks.md. None given: default for what a network finds, none
    for masks that exist already."""
    size: int | None = None
    """Height and width of the masks; none given: the images' own, or 224 if they have different sizes."""
    keep_classes: bool = False
    """Store the class of each pixel, too: 8 bits instead of 1."""

    @property
    def refinement(self) -> Literal["none", "published", "default"]:
        """The refinement, if need be by what kind of source it is."""
        drawn = self.source.partition(":")[0] in ("carried", "masks", "labelme")
        return self.refine or ("none" if drawn else "default")

    def __post_init__(self) -> None:
        _at_least("size", self.size, 1)
        if not 0 <= self.least_score <= 1:
            raise OptionError(f"least_score: expected 0 to 1, got {self.least_score}")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Options of an evaluation."""

    data: str | None = None
    """Data set whose test split is shown: a name, npz:FILE or folder:DIR; none given: the run's own."""
    class_map: Path | None = None
    """JSON file that gives each class of --data its class of the network, a list of them that count as one, or null to leave its
    images out; none given: classes of the same names."""
    limit: int | None = None
    """Use this many test images, class-balanced; none given: all."""
    corruptions: bool = False
    """Evaluate 15 corruptions, too, at 5 severities."""
    official: Path | None = None
    """Evaluate the arrays of CIFAR-10-C or CIFAR-100-C in this folder."""
    batch_size: int | None = None
    """Images per evaluation batch; smaller batches need less memory. Default: 500, or 250 for images read from files."""
    attacks: bool = False
    """Evaluate FGSM, too, and ten steps of PGD, by 1/255 and 8/255 at most."""
    masks: str | None = None
    """Evaluate objects on other backgrounds and hidden parts, too: a mask store of the test split, or "carried"."""
    model: str | None = None
    """Network of a file of weights, such as resnet18 or timm:NAME."""
    mean: tuple[float, ...] = ()
    """Mean of each channel on the 0..1 scale, for a file of weights; none given: as the training images of the data say."""
    std: tuple[float, ...] = ()
    """Standard deviation of each channel on the 0..1 scale, for a file of weights."""
    seed: int = 0
    """Seed of corruptions, starts of attacks and backgrounds."""

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
                f"mean, std: expected one number a channel of each, got {_shown(self.mean)} and {_shown(self.std)}"
            )
        if not all(number > 0 for number in self.std):
            raise OptionError(f"std: expected numbers above 0, got {_shown(self.std)}")


def _normalise_paths(config: "SharedConfig | EvaluateConfig") -> None:
    for name in PATH_OPTIONS:
        if (text := getattr(config, name, None)) is not None:
            if not is_text(text):
                raise OptionError(f"{name}: expected a path in UTF-8 without control characters, got {text}; rename it")
            object.__setattr__(config, name, shortest(name, text))


def arguments(options: TrainConfig | MachineOptions | MaskConfig) -> list[str]:
    """These options as arguments of the command line, leaving out what is the default."""
    words: list[str] = []
    for field in dataclasses.fields(options):
        value, name = getattr(options, field.name), field.name.replace("_", "-")
        if value == field.default:
            continue
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, tuple):
            words += [word for number in value for word in (f"--{name}", str(number))]
        else:
            words += [f"--{name}", str(value)]
    return words


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shown(numbers: tuple[float, ...]) -> str:
    return ", ".join(map(str, numbers)) or "none"


def _at_least(name: str, value: float | None, least: float) -> None:
    if value is not None and not least <= value < math.inf:
        raise OptionError(f"{name}: expected {least} or more, got {value}")
