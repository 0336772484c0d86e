"""Image files in a folder, decoded when they are asked for: data sets larger than the memory, of images of any size."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from smix.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm")
MASK_ENDINGS = ("_mask", "-mask")
"""001_mask.png, or 001.png beside 001.jpg, is the mask of an image and none itself."""
SIZES_READ = 1000
"""Whether images share one size is asked of this many of them: a million headers would take minutes to read."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images in files: `pictures[3]` is uint8 (H, W, 3), `pictures[array or slice]` are fewer pictures, not yet decoded."""

    home: Path
    names: NDArray[np.object_]
    """(N,) paths from `home`, with "/"."""
    held: tuple[NDArray[np.uint8], ...] | None = None
    """The images themselves, where they were read beforehand."""

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.uint8]: ...
    @overload
    def __getitem__(self, index: slice | NDArray[np.int64]) -> "Pictures": ...

    def __getitem__(self, index: int | slice | NDArray[np.int64]) -> "NDArray[np.uint8] | Pictures":
        if isinstance(index, slice | np.ndarray):
            return Pictures(self.home, self.names[index])
        return self.held[index] if self.held is not None else decode(self.home / self.names[index])

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[place] for place in range(len(self)))

    @cached_property
    def size(self) -> tuple[int, int] | None:
        """Height and width, if the first thousand share them."""
        from PIL import Image

        sizes = set()
        for name in self.names[:SIZES_READ]:
            try:
                with Image.open(self.home / name) as picture:
                    sizes.add((picture.height, picture.width))
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
                continue  # broken images are told where they are decoded
        return sizes.pop() if len(sizes) == 1 else None

    def read(self) -> tuple["Pictures", dict[int, DataError]]:
        """The same, read beforehand, and why some could not be: those are black."""
        images: list[NDArray[np.uint8]] = []
        broken: dict[int, DataError] = {}
        for place in range(len(self)):
            try:
                images.append(self[place])
            except DataError as error:
                broken[place] = error
                images.append(np.zeros((0, 0, 3), np.uint8))
        size = next((image.shape for image in images if image.size), (32, 32, 3))
        held = tuple(image if image.size else np.zeros(size, np.uint8) for image in images)
        return Pictures(self.home, self.names, held), broken

    def decoded(self) -> NDArray[np.uint8]:
        """All of them, (N, H, W, 3).

        Raises:
            DataError: one cannot be read, or has another size.
        """
        first = self[0]
        images = np.empty((len(self), *first.shape), np.uint8)
        for place, (name, image) in enumerate(zip(self.names, self, strict=True)):
            if image.shape != first.shape:
                got, wanted = (f"{one.shape[1]}x{one.shape[0]}" for one in (image, first))
                raise DataError(
                    f"{self.home}: expected images of one size, got {wanted} and {got} ({name}); resize them first"
                )
            images[place] = image
        return images


def list_images(folder: Path) -> list[Path]:
    """The images under a folder, sorted; masks that lie beside them are left out."""
    found = [file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES]
    others = {file.with_suffix("") for file in found if file.suffix.lower() != ".png"}
    return sorted(file for file in found if not _is_mask(file, others))


def _is_mask(file: Path, others: Iterable[Path]) -> bool:
    return file.suffix.lower() == ".png" and (file.with_suffix("") in others or file.stem.endswith(MASK_ENDINGS))


def decode(path: Path) -> NDArray[np.uint8]:
    """An image as RGB, (H, W, 3). Raises DataError if it cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.mode.startswith(("I", "F")):
                raise ValueError(f"{picture.mode}, more than 8 bits a channel")
            return np.asarray(picture.convert("RGB"))
    # What Pillow raises depends on the format and on the place of the damage.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"{path}: expected a readable image, got {reason}; replace it") from None
