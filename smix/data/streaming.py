"""Batches of images that do not fit in memory, or have different sizes: decoded and cropped by processes of a DataLoader.

Draws are keyed by seed, epoch and image: they do not depend on how many processes there are, nor on where a training was cut.
"""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from smix import rng, signals
from smix.config import cores
from smix.data.batches import Batch, Normalisation, Pixels, full_batches, order_of
from smix.data.sets import ImageSet
from smix.errors import DataError, SmixError

RESIDENT_BYTES = 2**31
"""Images of one size with at most so many bytes are kept on the device. A constant: the same set is read in the same way on
every machine."""
SIDE = 224
"""Default side of images that have different sizes, in pixels."""
LARGER = 256 / 224
"""Evaluation enlarges the shorter side to this times the size, and cuts out the centre (He et al., CVPR 2016)."""
STATISTICS = 2000
"""Images that mean and standard deviation are taken from."""
AT_ONCE = 250
CUTOUT = 127
"""A resized mask is object where it is brighter than this."""

Rows = NDArray[np.int64]


@runtime_checkable
class Masks(Protocol):
    """An array of masks, or what reads them when they are asked for."""

    def __getitem__(self, rows: Rows) -> NDArray[np.bool_]: ...


def fits(data: ImageSet, image_size: int | None) -> bool:
    """Return whether images are kept on the device: if they have one size, no other is wanted, and they are few."""
    if data.size is None or (image_size is not None and data.size != (image_size,) * len(data.size)):
        return False
    return len(data) * int(np.prod(data.size)) * data.channels <= RESIDENT_BYTES


@dataclass(frozen=True, eq=False)
class Reader(Dataset):
    """Reads images and masks, cropped alike. It travels to the processes that read."""

    data: ImageSet
    size: tuple[int, int]
    crop_padding: int = 0
    """Above 0: random crops; of images of just `size`, after padding by so many pixels, else of 8 to 100 % of the image."""
    hflip: bool = False
    masks: Masks | None = None
    """Object masks, of any size: each covers its whole image."""
    key: tuple[int, int] | None = None
    """Seed and epoch; None: as for evaluation."""
    larger: float = LARGER
    """Evaluation enlarges images to cover this times the size, and cuts out the centre; 1: only what the other shape needs."""

    def __getitems__(self, rows: list[int]) -> tuple[UInt8[Tensor, "b H W C"], Bool[Tensor, "b H W"] | None] | str:
        """Images, and their masks; or why one of either cannot be read."""
        try:
            pairs = [self.read(row) for row in rows]
        except SmixError as error:  # torch would wrap it in a page of text
            return str(error)
        images = torch.stack([image for image, _ in pairs])
        return images, None if self.masks is None else torch.stack([mask for _, mask in pairs if mask is not None])

    def read(self, row: int) -> tuple[UInt8[Tensor, "H W C"], Bool[Tensor, "H W"] | None]:
        image = tv_tensors.Image(torch.from_numpy(np.array(self.data.images[row])).movedim(-1, 0))
        if self.masks is None:
            return self._moved(row, image)[0].movedim(0, -1).contiguous(), None
        mask = torch.from_numpy(self.masks[np.array([row])])
        mask = v2.functional.resize_image(mask.to(torch.uint8) * 255, list(image.shape[1:]), antialias=True)
        # An image, not tv_tensors.Mask: that is resized by another interpolation, and would not lie on its object.
        image, moved = self._moved(row, image, tv_tensors.Image(mask))
        return image.movedim(0, -1).contiguous(), moved[0] > CUTOUT

    def _moved(self, row: int, *pictures: tv_tensors.Image) -> tuple[tv_tensors.Image, ...]:
        """All pictures moved alike, by one draw."""
        same = self.data.size == tuple(pictures[0].shape[1:]) == self.size
        if self.key is None:
            return pictures if same else _several(self._centre(pictures[0]), pictures)
        steps: list[v2.Transform] = []
        if same and self.crop_padding:
            steps = [v2.RandomCrop(self.size, padding=self.crop_padding)]
        elif self.crop_padding:
            steps = [v2.RandomResizedCrop(self.size, antialias=True)]
        elif not same:
            steps = [self._centre(pictures[0])]
        if self.hflip:
            steps.append(v2.RandomHorizontalFlip())
        if not steps:
            return pictures
        seed, epoch = self.key
        with torch.random.fork_rng(devices=[]):
            rng.seed(rng.key(seed, "crop", epoch * len(self.data) + row))
            return _several(v2.Compose(steps), pictures)

    def _centre(self, picture: tv_tensors.Image) -> v2.Transform:
        """The centre of the image that just covers `larger` times the size: of squares, as torchvision's Resize(side)."""
        (height, width), (rows, columns) = picture.shape[-2:], (round(side * self.larger) for side in self.size)
        wide = height * columns <= width * rows
        size = (rows, int(rows * width / height)) if wide else (int(columns * height / width), columns)
        return v2.Compose([v2.Resize(size, antialias=True), v2.CenterCrop(self.size)])


def _several(change: v2.Transform, pictures: tuple[tv_tensors.Image, ...]) -> tuple[tv_tensors.Image, ...]:
    moved = change(*pictures)
    return moved if len(pictures) > 1 else (moved,)


@dataclass(frozen=True, eq=False)
class Streamed:
    """A `Loader` of images that are read anew in each epoch."""

    reader: Reader
    normalise: Normalisation
    device: torch.device
    workers: int
    valid: Bool[Tensor, "N"] | None = None
    at_once: int = field(default_factory=lambda: AT_ONCE)
    """Images in a batch of `in_order`."""

    def __len__(self) -> int:
        return len(self.reader.data)

    def steps(self, batch_size: int) -> int:
        return full_batches(len(self), batch_size)

    def shuffled(
        self, seed: int, epoch: int, batch_size: int, first_step: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[Batch]:
        order = order_of(len(self), seed, epoch)
        batches = []
        for step in range(first_step, self.steps(batch_size)):
            batch = order[step * batch_size : (step + 1) * batch_size]
            batches.append(batch[rank * len(batch) // world : (rank + 1) * len(batch) // world].tolist())
        reader = replace(self.reader, key=(seed, epoch))
        for rows, (images, masks) in zip(batches, self._read(reader, batches), strict=True):
            valid = None if self.valid is None else self._there(self.valid[rows])
            yield Batch(self.normalise(images), self._labels(rows), masks, valid)

    def in_order(self, rank: int = 0, world: int = 1) -> Iterator[tuple[Float[Tensor, "B C *S"], Int[Tensor, "B"]]]:
        rows = list(range(rank, len(self), world))
        if not rows:  # more processes than images
            nothing = torch.zeros(0, *self.reader.size, self.reader.data.channels, dtype=torch.uint8)
            yield self._there(self.normalise(nothing)), self._labels(rows)
            return
        for images, labels, _ in self.pixels(torch.tensor(rows)):
            yield self.normalise(images), labels

    def pixels(self, rows: Int[Tensor, "n"] | None = None) -> Iterator[Pixels]:
        rows = torch.arange(len(self)) if rows is None else rows
        batches = [some.tolist() for some in rows.split(self.at_once)]
        for some, (images, masks) in zip(batches, self._read(self.reader, batches), strict=True):
            yield Pixels(images, self._labels(some), masks)

    def _read(self, reader: Reader, batches: list[list[int]]) -> Iterator[tuple[Tensor, Tensor | None]]:
        loading = DataLoader(
            reader,
            batch_sampler=batches,
            num_workers=min(self.workers, len(batches)),
            collate_fn=_as_they_are,
            worker_init_fn=_leave_signals_to_the_parent,
            generator=torch.Generator(),  # else it would draw from the global one
            pin_memory=self.device.type == "cuda",
        )
        for read in loading:
            if isinstance(read, str):
                raise DataError(read)
            images, masks = read
            yield self._there(images), None if masks is None else self._there(masks)

    def _labels(self, rows: list[int]) -> Int[Tensor, "B"]:
        return self._there(torch.from_numpy(self.reader.data.labels[rows]))

    def _there(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, non_blocking=True)


def _leave_signals_to_the_parent(worker: int) -> None:
    """A signal to the whole group of processes shall not end those that the parent reads its last batches from."""
    for number in signals.STOP_OR_CTRL_C:
        signal.signal(number, signal.SIG_IGN)


def _as_they_are(read: object) -> object:
    return read


def looked_at(
    data: ImageSet, size: tuple[int, int], rows: Rows | None = None, masks: Masks | None = None
) -> tuple[ImageSet, NDArray[np.bool_] | None]:
    """These images as evaluation sees them, in memory, and their masks; rows: None, `STATISTICS` of them, evenly spread."""
    if rows is None:
        rows = np.arange(0, len(data), -(-len(data) // STATISTICS))
    reader = Reader(data, size, masks=masks)
    with ThreadPoolExecutor(cores()) as pool:
        pairs = list(pool.map(reader.read, rows.tolist()))
    chosen = data.rows(rows)
    images = replace(chosen, images=np.stack([image.numpy() for image, _ in pairs]), masks=None)
    return images, None if masks is None else np.stack([mask.numpy() for _, mask in pairs if mask is not None])
