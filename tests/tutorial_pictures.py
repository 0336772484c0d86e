"""Annotated pictures for the tutorials: digits pasted on photographs, in folders, with labelme files, and as a small Tiny ImageNet."""

import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_sample_image

from tests.data.photographs import as_stored

SIZES = ((72, 96), (80, 60), (66, 66))
"""Height and width of pictures, in turn."""
ORIENTATIONS = (1, 6, 3, 8, 1, 5)
"""EXIF orientation of photographs, in turn."""
Truth = dict[str, np.ndarray]
"""Upright mask of each picture, by its path."""


def scene(number: int, digit: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return a part of a photograph with a digit on it, and the mask of the digit."""
    rng, (height, width) = np.random.default_rng(number), size
    photograph = load_sample_image(("china.jpg", "flower.jpg")[number % 2])
    top, left = rng.integers(0, photograph.shape[0] - height), rng.integers(0, photograph.shape[1] - width)
    picture = photograph[top : top + height, left : left + width].copy()
    digits = load_digits()
    images = digits.images[digits.target == digit]
    side = int(min(size) * rng.uniform(0.5, 0.8))
    shape = cv2.resize(images[number % len(images)].astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC) > 7
    mask = np.zeros(size, bool)
    row, column = rng.integers(0, height - side), rng.integers(0, width - side)
    mask[row : row + side, column : column + side] = shape
    picture[mask] = rng.integers(0, 256, 3)
    return picture, mask


def save(path: Path, pixels: np.ndarray, orientation: int = 1) -> None:
    """Save pixels as a picture that is stored in an EXIF orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {} if orientation == 1 else {"exif": exif}
    as_stored(Image.fromarray(pixels), orientation).save(path, **options)


def write_birds(home: Path, count: int = 30) -> Truth:
    """Write birds/CLASS with masks in birds-masks/CLASS, and both in birds-together/CLASS: with damaged files and unusual names."""
    truth: Truth = {}
    suffixes = (".jpg", ".JPG", ".png", ".tif", ".webp")
    for number in range(count):
        digit, label = ((0, "owl"), (1, "Zaunkönig"))[number % 2]
        picture, mask = scene(number, digit, SIZES[number % 3])
        name = f"{label}/{('', 'im Nest ', 'é')[number % 3]}{number // 2:03d}"  # the same names in both classes
        suffix = suffixes[number % len(suffixes)]
        truth[f"{name}{suffix}"] = mask
        # Programs write masks of 0 and 255, of 0 and 1, with a palette, or larger than the picture.
        grey = Image.fromarray(mask.astype(np.uint8) * (1 if number % 4 == 1 else 255))
        drawn = (
            grey,
            grey,
            grey.convert("P"),
            grey.resize((grey.width * 2, grey.height * 2), Image.Resampling.NEAREST),
        )[number % 4]
        save(home / "birds" / f"{name}{suffix}", picture)
        save(home / "birds-together" / f"{name}{suffix}", picture)
        for file in (home / "birds-masks" / f"{name}.png", home / "birds-together" / f"{name}_mask.png"):
            file.parent.mkdir(parents=True, exist_ok=True)
            drawn.save(file)
    (home / "birds/owl/notes.txt").write_text("barn owls\n")
    write_new(home / "new-pictures")
    return truth


def write_leaves(home: Path, count: int = 60) -> Truth:
    """Write leaves/CLASS with photographs in several orientations and labelme files of upright polygons."""
    truth: Truth = {}
    for number in range(count):
        digit, label = ((0, "ash"), (1, "elm"), (7, "oak"))[number % 3]
        picture, mask = scene(number, digit, SIZES[number // 3 % 3])
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        filled = cv2.drawContours(np.zeros(mask.shape, np.uint8), outlines, -1, 1, cv2.FILLED).astype(bool)
        name = f"{label}/IMG_{number // 3:03d}"
        save(home / "leaves" / f"{name}.JPG", picture, ORIENTATIONS[number // 3 % 6])
        truth[f"{name}.JPG"] = filled
        polygons = [
            {"label": label, "shape_type": "polygon", "points": outline[:, 0].tolist(), "group_id": None, "flags": {}}
            for outline in outlines
            if len(outline) > 2
        ]
        content = {
            "version": "6.3.1",
            "flags": {},
            "shapes": polygons,
            "imagePath": f"{Path(name).name}.JPG",
            "imageData": None,
            "imageHeight": mask.shape[0],
            "imageWidth": mask.shape[1],
        }
        (home / "leaves" / f"{name}.json").write_text(json.dumps(content))
    write_new(home / "new-leaves")
    return truth


def write_new(folder: Path) -> None:
    """Write three pictures to predict, one of them damaged."""
    for number in range(3):
        save(folder / f"{number}.jpg", scene(1000 + number, number, SIZES[number])[0])
    (folder / "2.jpg").write_bytes((folder / "2.jpg").read_bytes()[:900])


def write_tiny(home: Path, wnids: dict[str, str], train: int = 20, val: int = 10) -> None:
    """Write a data set in the layout of Tiny ImageNet.

    Args:
        home: Its folder.
        wnids: Words of each WordNet id.
        train: Training images of each class.
        val: Validation images of each class.
    """
    lines = []
    for digit, wnid in enumerate(wnids):
        for number in range(train + val):
            picture, _ = scene(1000 * digit + number, digit, (64, 64))
            if number < train:
                save(home / f"train/{wnid}/images/{wnid}_{number}.JPEG", picture)
            else:
                save(home / f"val/images/val_{len(lines)}.JPEG", picture)
                lines.append(f"val_{len(lines)}.JPEG\t{wnid}\t0\t0\t63\t63\n")
        (home / f"train/{wnid}/{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t63\t63\n")
    save(home / "test/images/test_0.JPEG", scene(5000, 0, (64, 64))[0])
    (home / "val/val_annotations.txt").write_text("".join(lines))
    (home / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in reversed(wnids)))
    (home / "words.txt").write_text("".join(f"{wnid}\t{words}\n" for wnid, words in wnids.items()))
