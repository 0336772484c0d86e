"""Draw the shapes of labelme as labelme itself does: the same pixels as `labelme.utils.shapes_to_label` of version 6."""

import base64
import io
import math
from collections.abc import Container, Mapping, Sequence

import msgspec
import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from smix.errors import MaskError
from smix.masks.sources.run_lengths import MAX_PIXELS
from smix.untrusted import UnreadableError

UNKNOWN, BACKGROUND = "__ignore__", "_background_"
"""Labels that do not mark an object: pixels of unknown class, and background."""
NO_OBJECT = (UNKNOWN, BACKGROUND)
MANY = 1 << 62
POINTS: Mapping[str, tuple[Container[int], str]] = {
    "polygon": (range(3, MANY), "3 points or more"),
    "rectangle": ((2, 4), "2 or 4 points"),
    "oriented_rectangle": ((4,), "4 points"),
    "circle": ((2,), "2 points"),
    "line": ((2,), "2 points"),
    "linestrip": (range(2, MANY), "2 points or more"),
    "point": ((1,), "1 point"),
    "mask": ((2,), "2 points"),
}
"""Kinds of shapes that can be drawn, with the numbers of points that they may have, also in words. A rectangle is given by two opposite
corners or by all four."""
LINE_WIDTH, POINT_RADIUS = 10, 5
"""Width of lines and radius of points in pixels, as labelme draws them."""
MAX_COORDINATE = 1 << 14
"""Distance in pixels beyond which Pillow's coordinates overflow."""


class Shape(msgspec.Struct, frozen=True):
    """A shape that was drawn. Keys that are not listed are ignored."""

    label: str
    points: list[tuple[float, float]]
    """x and y in pixels."""
    shape_type: str | None = None
    """Kind of the shape. None: a polygon, in files of old versions."""
    mask: str | None = None
    """PNG in base64 that fills the box of a shape of type "mask"."""


def draw_shapes(shapes: Sequence[Shape], size: tuple[int, int], labels: set[str] | None) -> Bool[np.ndarray, "H W"]:
    """Return the union of shapes, True inside. Where `__ignore__` or `_background_` was drawn later, there is no object.

    Args:
        shapes: The shapes, in the order in which they were drawn.
        size: Height and width of the image.
        labels: Labels of the shapes that are objects. None: all but `__ignore__` and `_background_`.

    Raises:
        MaskError: A shape is of a kind that has no pixels, has too few or too many points, or is outside the image. The message
            begins with its label.
        UnreadableError: The mask of a shape is too large.
        Exception: One of `smix.data.pictures.UNREADABLE`: its mask is not a PNG image.
    """
    picture = Image.new("L", (size[1], size[0]))
    for shape in shapes:
        if shape.label in NO_OBJECT:
            _draw(picture, shape, 0)
        elif labels is None or shape.label in labels:
            _draw(picture, shape, 1)
            if not _is_drawn(picture, shape):
                raise MaskError(
                    f"{shape.label}: the {shape.shape_type or 'polygon'} has no pixel in the picture of {_shown(picture)} pixels; "
                    "correct imageWidth and imageHeight, or remove the shape"
                )
    inside: NDArray[np.bool_] = np.array(picture) != 0
    return inside


def _draw(picture: Image.Image, shape: Shape, value: int) -> None:
    """Fill a shape and its outline."""
    kind, points = shape.shape_type or "polygon", shape.points
    if kind not in POINTS:
        raise MaskError(
            f'{shape.label}: a shape of type "{kind}" has no area; draw a polygon instead, or remove the shape'
        )
    allowed, needed = POINTS[kind]
    if len(points) not in allowed:
        raise MaskError(f"{shape.label}: a {kind} needs {needed}, got {len(points)}")
    draw = ImageDraw.Draw(picture)
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    top, bottom = min(y for _, y in points), max(y for _, y in points)
    if kind == "circle":
        _draw_circle(picture, points[0], math.dist(*points), value)
    elif kind == "rectangle":
        # What lies outside of the image is not drawn anyway, and far outside Pillow draws nothing.
        left, right = np.clip((left, right), -1, picture.width)
        top, bottom = np.clip((top, bottom), -1, picture.height)
        draw.rectangle([left, top, right, bottom], fill=value, outline=value)
    elif not max(-left, -top, right, bottom) <= MAX_COORDINATE + max(picture.size):
        raise MaskError(
            f"{shape.label}: the {kind} is far outside the picture of {_shown(picture)} pixels; correct or remove the shape"
        )
    elif kind in ("polygon", "oriented_rectangle"):
        draw.polygon(points, fill=value, outline=value)
    elif kind in ("line", "linestrip"):
        draw.line(points, fill=value, width=LINE_WIDTH)
    elif kind == "point":
        _draw_circle(picture, points[0], POINT_RADIUS, value)
    else:
        picture.paste(value, (int(left), int(top)), _stencil(shape.mask or ""))


def _is_drawn(picture: Image.Image, shape: Shape) -> bool:
    """Return whether there is an object in the box around a shape that was drawn."""
    (x, y), kind = shape.points[0], shape.shape_type
    if kind in ("circle", "point"):
        radius = POINT_RADIUS if kind == "point" else math.dist(*shape.points)
        left, top, right, bottom = x - radius, y - radius, x + radius, y + radius
    else:
        margin = LINE_WIDTH / 2 if kind in ("line", "linestrip") else 0
        left, right = min(x for x, _ in shape.points) - margin, max(x for x, _ in shape.points) + margin
        top, bottom = min(y for _, y in shape.points) - margin, max(y for _, y in shape.points) + margin
    # Pillow rounds coordinates, so that a shape may reach a pixel further.
    left, right = np.clip((left - 1, right + 2), 0, picture.width)
    top, bottom = np.clip((top - 1, bottom + 2), 0, picture.height)
    box = (int(left), int(top), int(right), int(bottom))
    return box[0] < box[2] and box[1] < box[3] and picture.crop(box).getbbox() is not None


def _shown(picture: Image.Image) -> str:
    return f"{picture.width}x{picture.height}"


def _draw_circle(picture: Image.Image, centre: tuple[float, float], radius: float, value: int) -> None:
    x, y = centre
    if max(abs(x), abs(y)) + radius <= MAX_COORDINATE:
        draw = ImageDraw.Draw(picture)
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=value, outline=value)
    else:  # Pillow's coordinates would overflow
        rows, columns = np.ogrid[: picture.height, : picture.width]
        inside = np.hypot(rows - y, columns - x) <= radius
        picture.paste(value, mask=Image.fromarray(inside.astype(np.uint8) * 255))


def _stencil(code: str) -> Image.Image:
    """Return the PNG of a shape of type "mask" as 0 and 255."""
    content = base64.b64decode("".join(code.split()), validate=True)
    with Image.open(io.BytesIO(content), formats=["PNG"]) as mask:
        if mask.width * mask.height > MAX_PIXELS:
            raise UnreadableError(f"a mask of {mask.width}x{mask.height} pixels")
        return Image.fromarray(np.where(np.asarray(mask) != 0, np.uint8(255), np.uint8(0)))
