"""Predict calibrated probabilities with a trained network; images are preprocessed as in the run's evaluation."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from smix.config import EvaluateConfig, MachineOptions, cores
from smix.data.listing import UnreadableFolder
from smix.data.orientation import upright
from smix.data.pictures import UNREADABLE, decode
from smix.data.streaming import AT_ONCE, centre_crop
from smix.device import find_device, in_words, is_out_of_memory
from smix.errors import DataError, OptionError, TemporaryError
from smix.evaluation.temperature import fit_temperature
from smix.lab.target import Classifier, check_number_of_classes, classifier_of_file, classifier_of_run, finished_run
from smix.training.predictions import read_predictions
from smix.training.records import Run
from smix.untrusted import one_line

Picture = NDArray[np.uint8] | Image.Image | Path | str
"""An image: a NumPy array, a PIL image, or a path."""
Probabilities = NDArray[np.float32]
FEW = 100
"""Number of validation images below which the description of a temperature says that they are few."""
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False, repr=False)
class TrainedModel:
    """A trained network on a device, with its classes, its preprocessing and its temperature: see `load_run`."""

    classifier: Classifier
    """Network, on the device, and its input."""
    classes: tuple[str, ...]
    """Names of the classes, in the order of the probabilities."""
    temperature: float
    """Number that the logits are divided by before the softmax; 1 if the probabilities are not calibrated."""
    calibration: str
    """Description of the temperature's origin, or the reason why the probabilities are not calibrated."""
    is_calibrated: bool
    device: torch.device
    run: Run | None = None
    """None for a weights file."""

    def __repr__(self) -> str:
        classes = ", ".join(self.classes[:5]) + (", ..." if len(self.classes) > 5 else "")
        size, channels = " x ".join(map(str, self.classifier.size)), len(self.classifier.normalise.mean)
        return (
            f"TrainedModel({str(self.classifier.path)!r})\n"
            f"  model: {self.classifier.architecture} on {in_words(self.device)}\n"
            f"  input: {size} pixels, {channels} channel{'s' if channels > 1 else ''}; images of other sizes are resized and cropped\n"
            f"  classes: {len(self.classes)} ({classes})\n"
            f"  probabilities: {self.calibration}\n"
            "  next: .predict(images), an array (N, H, W, C), or a list of arrays, PIL images or paths"
        )

    @property
    def enlargement(self) -> float:
        """Factor by which images are enlarged beyond the input before the centre crop; 1 if the run's own images have its size."""
        return 1.0 if self._stored_at_size else self.classifier.larger

    @property
    def _stored_at_size(self) -> bool:
        """True if the run read its own images without resizing them."""
        stored = None if self.run is None else self.run.provenance.get("stored_size")
        return self.classifier.resident or stored == list(self.classifier.size)

    def predict(self, images: Iterable[Any] | Picture, batch_size: int = AT_ONCE) -> Float32[np.ndarray, "N K"]:
        """Return the probability of each class for each image, calibrated by the temperature.

        Images are rotated as their EXIF orientation says. Images whose size differs from the input size are resized to cover
        it and centre-cropped, as in the evaluation of the run.

        Args:
            images: uint8 array (N, H, W, C), or a list of arrays (H, W, C), PIL images or paths of any size.
            batch_size: Number of images that the network processes at once.

        Raises:
            DataError: An image cannot be read, or has a wrong shape or type.
            TemporaryError: A batch does not fit in memory.
        """
        if isinstance(images, Tensor):
            raise DataError("images: expected a NumPy array, got a torch tensor; pass images.numpy()")
        if not isinstance(images, Iterable | Path | Image.Image):
            raise DataError(
                f"images: expected an array, or a list of arrays, PIL images or paths, got {type(images).__name__}; pass one of these"
            )
        if isinstance(images, str | Path | Image.Image):
            images = [images]
        if isinstance(images, np.ndarray) and images.ndim != len(self.classifier.size) + 2:
            raise DataError(
                f"images: expected an array of shape {self._shape('N, ')}, got {images.shape}; add the missing axes, such as images[None]"
            )
        rows = []
        for _, result in self.stream(images, batch_size):
            if isinstance(result, DataError):
                raise result
            rows.append(result)
        return np.stack(rows) if rows else np.zeros((0, len(self.classes)), np.float32)

    def stream(
        self, images: Iterable[Item], batch_size: int = AT_ONCE
    ) -> Iterator[tuple[Item, Probabilities | DataError]]:
        """Yield each image with its probabilities (K,), or with the error if it cannot be read, in the order of the images.

        Images are decoded in threads, at most four batches ahead, so that any number of them can be streamed.

        Args:
            images: Paths, PIL images or arrays (H, W, C). An `UnreadableFolder` counts as an image that cannot be read.
            batch_size: Number of images that the network processes at once.

        Raises:
            TemporaryError: A batch does not fit in memory.
        """
        if batch_size < 1:
            raise OptionError(f"batch_size: expected 1 or more, got {batch_size}")
        waiting: list[tuple[Item, Tensor | DataError]] = []
        for pair in chain(_in_threads(self._read, images, 4 * batch_size), [None]):
            if pair is not None:
                waiting.append(pair)
            if waiting and (pair is None or len(waiting) >= batch_size):
                yield from self._batch(waiting)
                waiting = []

    def read(self, image: object) -> UInt8[Tensor, "*S C"]:
        """Return an image as the network's evaluation sees it, before normalisation.

        Args:
            image: A path, a PIL image or an array (H, W, C).

        Raises:
            DataError: The image cannot be read, or has a wrong shape or type.
        """
        if isinstance(image, str | Path):
            pixels = self._channels(decode(Path(image)))
        elif isinstance(image, Image.Image):
            pixels = self._channels(_as_rgb(image))
        elif isinstance(image, np.ndarray):
            pixels = self._checked(image)
        elif isinstance(image, UnreadableFolder):
            raise image.error
        else:
            raise DataError(f"images: expected arrays, PIL images or paths, got {type(image).__name__}; convert them")
        size, stored = self.classifier.size, pixels.shape[:-1]
        if stored == size and self._stored_at_size:
            return torch.from_numpy(pixels)
        if len(size) != 2 or len(stored) != 2:
            expected, got = (" x ".join(map(str, shape)) for shape in (size, stored))
            raise DataError(f"images: expected size {expected}, got {got}; only images of 2 dimensions are resized")
        picture = tv_tensors.Image(torch.from_numpy(pixels).movedim(-1, 0))
        crop = centre_crop(stored, (size[0], size[1]), self.classifier.larger)
        cropped: Tensor = crop(picture)
        return cropped.movedim(0, -1).contiguous().as_subclass(Tensor)

    @torch.inference_mode()
    def probabilities(self, images: UInt8[Tensor, "B *S C"]) -> Float32[np.ndarray, "B K"]:
        """Return the calibrated probabilities of images that `read` has returned."""
        try:
            logits = self.classifier.model(self.classifier.normalise(images.to(self.device)))
            scaled = logits.cpu().double() / self.temperature
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise TemporaryError(
                f"batch_size: out of memory on {in_words(self.device)} with {len(images)} images at once; use a smaller batch_size"
            ) from None
        result: NDArray[np.float32] = scaled.softmax(1).float().numpy()
        return result

    def _read(self, image: Item) -> tuple[Item, Tensor | DataError]:
        try:
            return image, self.read(image)
        except DataError as error:
            where = f"{image}: " if isinstance(image, str | Path) and str(image) not in str(error) else ""
            return image, DataError(f"{where}{error}")

    def _batch(
        self, waiting: Sequence[tuple[Item, Tensor | DataError]]
    ) -> Iterator[tuple[Item, Probabilities | DataError]]:
        readable = [pixels for _, pixels in waiting if isinstance(pixels, Tensor)]
        rows = iter(self.probabilities(torch.stack(readable)) if readable else ())
        for image, pixels in waiting:
            yield image, pixels if isinstance(pixels, DataError) else next(rows)

    def _checked(self, image: NDArray[Any]) -> NDArray[np.uint8]:
        """Return an array of the caller if it has the right type and channels."""
        if image.dtype != np.uint8:
            raise DataError(f"images: expected uint8 images in [0, 255], got {image.dtype}; convert them")
        channels, axes = len(self.classifier.normalise.mean), len(self.classifier.size)
        if image.ndim != axes + 1 or image.shape[-1] != channels or 0 in image.shape:
            raise DataError(f"images: expected arrays of shape {self._shape()}, got {image.shape}; convert them")
        return np.array(image)  # torch needs arrays that are writeable

    def _channels(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert a PIL image to the number of channels that the network takes."""
        channels = len(self.classifier.normalise.mean)
        if channels not in (1, 3) or len(self.classifier.size) != 2:
            raise DataError(
                f"expected arrays of shape {self._shape()}, got an image; pass arrays to load_run(...).predict"
            )
        return rgb if channels == 3 else np.array(Image.fromarray(rgb).convert("L"))[..., None]

    def _shape(self, first: str = "") -> str:
        axes = {1: "L", 2: "H, W", 3: "D, H, W"}[len(self.classifier.size)]
        return f"({first}{axes}, {len(self.classifier.normalise.mean)})"


def load_run(
    path: Path | str, device: Literal["auto", "cpu", "cuda", "mps"] = "auto", config: EvaluateConfig | None = None
) -> TrainedModel:
    """Load the network of a finished run, ready to predict.

    The probabilities are calibrated: the logits are divided by a temperature that is fitted on the validation images of the run
    (Guo et al., ICML 2017). The predicted classes are those of the uncalibrated network.

    Args:
        path: Folder of a finished run, its weights.safetensors, or any weights file with `config`.
        device: Device; "auto": CUDA if available, else MPS, else CPU.
        config: Model and data set of a weights file, used for its classes and normalisation: see `smix.evaluate`.

    Raises:
        SmixError: There is no finished run, its files are damaged, or the device is not available.

    >>> import smix, tempfile
    >>> config = smix.TrainConfig(data="digits-on-photos", train_limit=60, test_limit=20, model="resnet8", epochs=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = smix.train(config, folder, smix.RunOptions(device="cpu", quiet=True))
    ...     model = smix.load_run(folder, device="cpu")
    >>> probabilities = model.predict(smix.load_data("digits-on-photos", split="test").images[:3])
    >>> probabilities.shape, model.classes[:3]
    ((3, 10), ('0', '1', '2'))
    """
    return load_trained(Path(path), config or EvaluateConfig(), MachineOptions(device=device))


def load_trained(path: Path, config: EvaluateConfig, options: MachineOptions) -> TrainedModel:
    """Load the network of a finished run or of a weights file: see `load_run`.

    Args:
        path: Folder of a run, or a file.
        config: Model, data set and normalisation of a weights file.
        options: Device, and root folder of the data sets.

    Raises:
        SmixError: See `load_run`.
    """
    device = find_device(options.device)
    if path.name == "weights.safetensors" and (path.parent / "config.json").is_file() and config.model is None:
        path = path.parent
    if path.is_file():
        classifier, images = classifier_of_file(path, config, options)
        check_number_of_classes(classifier, images)
        classifier.model.to(device)
        return TrainedModel(
            classifier, images.classes, 1.0, "not calibrated: a weights file has no validation images", False, device
        )
    if config.data is not None:
        raise OptionError("data: a run has its own data; omit --data")
    run = finished_run(path, config)
    classifier = classifier_of_run(run)
    classifier.model.to(device)
    temperature, calibration, is_calibrated = _fit(run)
    return TrainedModel(classifier, classifier.classes, temperature, calibration, is_calibrated, device, run)


def _fit(run: Run) -> tuple[float, str, bool]:
    """Return the temperature of a run, its description, and whether there is one."""
    if "validation.npz" not in run.files:
        return 1.0, "not calibrated: the run held out no validation images", False
    logits, labels = read_predictions(run, "validation.npz")
    images = f"{len(labels):,} validation image{'s' if len(labels) > 1 else ''}"
    temperature = fit_temperature(logits, labels)
    if temperature == 0:
        return 1.0, f"not calibrated: all {images} are predicted correctly, so no temperature can be fitted", False
    if not math.isfinite(temperature):
        return 1.0, f"not calibrated: the network is no better than chance on {images}", False
    few = f"; fewer than {FEW} fit a temperature only roughly" if len(labels) < FEW else ""
    return temperature, f"calibrated on {images} (temperature {temperature:.3g}){few}", True


def _in_threads(function: Callable[[Item], Result], items: Iterable[Item], ahead: int) -> Iterator[Result]:
    """Yield the results for all items, in order; at most `ahead` items are taken before their results are."""
    pool = ThreadPoolExecutor(max(1, cores()))
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _as_rgb(picture: Image.Image) -> NDArray[np.uint8]:
    """Return a PIL image upright and as RGB, as `decode` returns a file."""
    if picture.mode.startswith(("I", "F")):
        raise DataError(f"images: expected 8 bits per channel, got Pillow mode {picture.mode}; convert them")
    if 0 in picture.size:
        raise DataError(
            f"images: expected at least one pixel, got an image of {picture.width}x{picture.height}; omit it"
        )
    try:
        return np.array(upright(picture).convert("RGB"))
    except UNREADABLE as error:
        raise DataError(f"images: the PIL image cannot be read ({one_line(error)}); replace it") from None
