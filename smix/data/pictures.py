"""Image files that are decoded when they are accessed, for data sets that do not fit in memory or have images of different sizes."""

import io
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
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image

from smix.data.orientation import Frame, frame_in, upright
from smix.errors import DataError
from smix.reprs import short_repr
from smix.untrusted import one_line, open_file

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Suffixes of images: those of torchvision's ImageFolder, so that both list the same files."""
MASK_ENDINGS = ("_mask", "-mask")
"""Endings of mask names. 001_mask.png next to image 001, or 001.png next to 001.jpg, is a mask if it has one channel or a palette."""
MASK_MODES = ("1", "L", "LA", "P", "I", "I;16")
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "PPM", "TIFF")
"""Formats that Pillow may open. For some other formats it would start a program, such as Ghostscript."""
MAX_PIXELS = 1 << 27
"""Maximum number of pixels of an image: 134 million, which take 1.5 GB while they are decoded."""
OBJECT_ABOVE = 127
"""A pixel of a resized mask belongs to the object if its value in [0, 255] is above this."""
UNREADABLE = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, struct.error, zlib.error),
    Image.DecompressionBombError,
)
"""Errors that Pillow raises for damaged files, depending on the format and on where the damage is."""
IMAGES_PER_TASK = 16
"""Number of images that a thread decodes at once."""
SIZES_READ = 1000
"""Number of images whose headers are read to find a common size: a million headers would take minutes to read."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images in files. `pictures[3]` decodes an image to uint8 (H, W, 3); `pictures[array or slice]` selects images without decoding."""

    home: Path
    """Folder of the images."""
    names: NDArray[np.object_]
    """(N,) paths relative to `home`, with "/"."""
    size: tuple[int, int] | None = None
    """Height and width of all images of the split. None: they differ; see `common_size`."""
    held: tuple[NDArray[np.uint8], ...] | None = None
    """The decoded images, if `read` has read them."""
    __repr__ = short_repr("pictures[row] decodes an image, pictures.decoded() all of them")

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

    def decode(self, name: str) -> UInt8[np.ndarray, "H W 3"]:
        """Return the image of this name as RGB. Raises DataError if it cannot be read."""
        return decode(self.home / name)

    def frame(self, name: str) -> Frame | None:
        """Return the upright size and the orientation in the header of the image of this name. None: it cannot be read."""
        return frame_of(self.home / name)

    def read(self) -> tuple["Pictures", dict[int, DataError]]:
        """Decode all images now.

        Returns:
            The decoded images, black where a file cannot be read, and the errors by index.
        """
        images: list[NDArray[np.uint8] | None] = []
        errors: dict[int, DataError] = {}
        for place in range(len(self)):
            try:
                images.append(self[place])
            except DataError as error:
                errors[place] = error
                images.append(None)
        size = next((image.shape for image in images if image is not None), (32, 32, 3))
        held = tuple(np.zeros(size, np.uint8) if image is None else image for image in images)
        return replace(self, held=held), errors

    def decoded(self) -> UInt8[np.ndarray, "N H W 3"]:
        """Return all images as one array.

        Raises:
            DataError: An image cannot be read, or its size differs from that of the first.
        """
        first = self[0]
        images = np.empty((len(self), *first.shape), np.uint8)

        def fill(start: int) -> None:
            for place in range(start, min(start + IMAGES_PER_TASK, len(self))):
                image = self[place]
                if image.shape != first.shape:
                    size, first_size = (f"{shape[1]}x{shape[0]}" for shape in (image.shape, first.shape))
                    raise DataError(
                        f"{self.home}: expected images of one size, got {first_size} and {size} ({self.names[place]}); "
                        "resize them first"
                    )
                images[place] = image

        with ThreadPoolExecutor() as pool:  # Pillow releases the interpreter while it decodes
            list(pool.map(fill, range(0, len(self), IMAGES_PER_TASK)))  # of several errors, the first is raised
        return images


@contextmanager
def open_picture(file: io.BufferedIOBase) -> Iterator[Image.Image]:
    """Open an image file without decoding it.

    Raises:
        ValueError: The image has more than `MAX_PIXELS` pixels.
        Exception: One of `UNREADABLE`, if the image cannot be opened.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # Pillow warns at half of the limit
        warnings.filterwarnings(
            "ignore", category=UserWarning, module=r"PIL\."
        )  # of damaged TIFF tags, which are not used
        with Image.open(cast(IO[bytes], file), formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"{picture.width}x{picture.height}, more than {MAX_PIXELS:,} pixels")
            yield picture


def common_size(home: Path, names: NDArray[np.object_]) -> tuple[int, int] | None:
    """Return the common height and width of images, read from about `SIZES_READ` headers. None: they differ."""
    return size_of(home / name for name in names[:: -(-len(names) // SIZES_READ)])


def size_of(images: Iterable[Path | io.BytesIO]) -> tuple[int, int] | None:
    """Return the upright height and width in the headers of images, files or their content. None: they differ, or none can be
    read."""
    sizes = set()
    for image in images:
        if (frame := frame_of(image)) is not None:  # other images are reported when they are decoded
            sizes.add(frame.upright)
        if len(sizes) > 1:
            return None
    return sizes.pop() if sizes else None


def frame_of(image: Path | io.BytesIO) -> Frame | None:
    """Return the upright size and the orientation in the header of an image, a file or its content. None: it cannot be read."""
    try:
        with (
            nullcontext(image) if isinstance(image, io.BytesIO) else open_file(image) as file,
            open_picture(file) as picture,
        ):
            return frame_in(picture, file)
    except UNREADABLE:
        return None


def orientation(path: Path) -> int:
    """Return the EXIF orientation of an image, 1 to 8; 1 if it has none or cannot be read."""
    frame = frame_of(path)
    return 1 if frame is None else frame.orientation


def decode(path: Path, content: bytes | None = None) -> UInt8[np.ndarray, "H W 3"]:
    """Decode an image as RGB, with its EXIF orientation applied.

    Args:
        path: Path of the file.
        content: Content of the file. None: it is read from `path`.

    Raises:
        DataError: The image cannot be read, or has more than 8 bits per channel.
    """
    try:
        with (
            open_file(path) if content is None else nullcontext(io.BytesIO(content)) as file,
            open_picture(file) as picture,
        ):
            if picture.mode.startswith(("I", "F")):
                raise ValueError(f"an image with more than 8 bits per channel (Pillow mode {picture.mode})")
            return np.array(upright(picture).convert("RGB"))  # a copy, since torch needs writeable arrays
    except UNREADABLE as error:
        raise DataError(f"{path}: the image cannot be read ({one_line(error)}); replace it") from None
