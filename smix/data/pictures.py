"""Image files in a folder, decoded when they are asked for: data sets larger than the memory, of images of any size."""

import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, cast, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smix.errors import DataError
from smix.untrusted import is_text, one_line, open_file

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm")
MASK_ENDINGS = ("_mask", "-mask")
"""001_mask.png beside an image 001, and 001.png beside 001.jpg, is a mask and no image, if it has one channel or a palette."""
MASK_MODES = ("1", "L", "LA", "P", "I", "I;16")
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "PPM")
"""Formats that Pillow may open: for some of the others it starts programs, Ghostscript for example."""
MOST_PIXELS = 1 << 27
"""Largest picture that is read, in pixels: 134 million take 1.5 GB while they are decoded."""
UNREADABLE = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, struct.error, zlib.error),
    Image.DecompressionBombError,
)
"""Errors of Pillow: which one depends on the format and on the place of the damage."""
TOGETHER = 16
"""Images that a thread decodes before it takes others."""
SIZES_READ = 1000
"""Number of images whose headers are read to find a common size: a million headers would take minutes to read."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images in files: `pictures[3]` is uint8 (H, W, 3), `pictures[array or slice]` are fewer pictures, not yet decoded."""

    home: Path
    names: NDArray[np.object_]
    """(N,) paths from `home`, with "/"."""
    size: tuple[int, int] | None = None
    """Height and width, if the images of the whole split share them; see `common_size`."""
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
            return replace(self, names=self.names[index], held=None)
        return self.held[index] if self.held is not None else self.decode(self.names[index])

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[place] for place in range(len(self)))

    def decode(self, name: str) -> NDArray[np.uint8]:
        """The image of this name, (H, W, 3). Raises DataError if it cannot be read."""
        return decode(self.home / name)

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
        return replace(self, held=held), broken

    def decoded(self) -> NDArray[np.uint8]:
        """All of them, (N, H, W, 3).

        Raises:
            DataError: one cannot be read, or has another size.
        """
        first = self[0]
        images = np.empty((len(self), *first.shape), np.uint8)

        def fill(begin: int) -> None:
            for place in range(begin, min(begin + TOGETHER, len(self))):
                image = self[place]
                if image.shape != first.shape:
                    got, wanted = (f"{one.shape[1]}x{one.shape[0]}" for one in (image, first))
                    raise DataError(
                        f"{self.home}: expected images of one size, got {wanted} and {got} ({self.names[place]}); "
                        "resize them first"
                    )
                images[place] = image

        pool = ThreadPoolExecutor()  # Pillow frees the interpreter while it decodes
        try:
            for _ in pool.map(fill, range(0, len(self), TOGETHER)):
                pass  # in order: of several broken images the first is told
        finally:
            pool.shutdown(cancel_futures=True)
        return images


@contextmanager
def open_picture(file: io.BufferedIOBase) -> Iterator[Image.Image]:
    """Open a picture, not yet decoded.

    Raises:
        ValueError: The picture is larger than `MOST_PIXELS`.
        Exception: One of `UNREADABLE`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # of half as many pixels
        opened = Image.open(cast(IO[bytes], file), formats=FORMATS)
    with opened as picture:
        if picture.width * picture.height > MOST_PIXELS:
            raise ValueError(f"{picture.width}x{picture.height}, more than {MOST_PIXELS:,} pixels")
        yield picture


def list_images(folder: Path) -> list[str]:
    """Return the images under a folder as sorted paths from it, without hidden ones and masks that lie next to images.

    Raises:
        DataError: A folder cannot be read, or an image has a name that is not UTF-8 or holds control characters.
    """
    found = []

    def fail(error: OSError) -> None:
        if isinstance(error, FileNotFoundError):
            return  # a class may have no images in this split
        raise DataError(f"{error.filename}: expected a folder of images, got {error.strerror}; make it readable")

    for where, inner, files in os.walk(folder, onerror=fail):  # several times as quick as pathlib, for a million files
        inner[:] = [name for name in inner if not name.startswith(".")]
        images = {file for file in files if file.lower().endswith(SUFFIXES) and not file.startswith(".")}
        start = Path(where).relative_to(folder).parts
        found += [(*start, file) for file in images - _masks(Path(where), images)]
    names = ["/".join(parts) for parts in sorted(found)]
    if (odd := next((name for name in names if not is_text(name)), None)) is not None:
        raise DataError(f"{folder}: expected file names in UTF-8 without control characters, got {odd}; rename it")
    return names


def _masks(folder: Path, files: set[str]) -> set[str]:
    """Return the files in a folder that are masks of other files in it."""
    stems = {file.rpartition(".")[0] for file in files}
    others = {file.rpartition(".")[0] for file in files if not file.lower().endswith(".png")}

    def is_mask(stem: str) -> bool:
        return stem in others or any(stem.endswith(end) and stem.removesuffix(end) in stems for end in MASK_ENDINGS)

    named_so = (file for file in files if file.lower().endswith(".png") and is_mask(file[:-4]))
    return {file for file in named_so if _mode(folder / file) in MASK_MODES}


def _mode(path: Path) -> str:
    """Return the mode of a picture by its header; empty if it cannot be read."""
    try:
        with open_file(path) as file, open_picture(file) as picture:
            return picture.mode
    except UNREADABLE:
        return ""


def common_size(home: Path, names: NDArray[np.object_]) -> tuple[int, int] | None:
    """Height and width of the images, if a thousand of them, evenly spread, share them."""
    return size_of(home / name for name in names[:: -(-len(names) // SIZES_READ)])


def size_of(images: Iterable[Path | io.BytesIO]) -> tuple[int, int] | None:
    """Return the height and width that all of them share, by their headers."""
    sizes = set()
    for image in images:
        try:
            with (
                nullcontext(image) if isinstance(image, io.BytesIO) else open_file(image) as file,
                open_picture(file) as picture,
            ):
                sizes.add((picture.height, picture.width))
        except UNREADABLE:
            continue  # broken images are told where they are decoded
        if len(sizes) > 1:
            return None
    return sizes.pop() if sizes else None


def decode(path: Path, content: bytes | None = None) -> NDArray[np.uint8]:
    """Return an image, a file or its content, as RGB (H, W, 3). Raises DataError if it cannot be read."""
    try:
        with (
            open_file(path) if content is None else nullcontext(io.BytesIO(content)) as file,
            open_picture(file) as picture,
        ):
            if picture.mode.startswith(("I", "F")):
                raise ValueError(f"{picture.mode}, more than 8 bits a channel")
            return np.array(picture.convert("RGB"))  # torch wants arrays that can be written
    except UNREADABLE as error:
        raise DataError(f"{path}: expected a readable image, got {one_line(error)}; replace it") from None
