"""Write the files in this folder with labelme itself: run once by hand, `pip install labelme`, then `python make.py`.

The files are those of labelme 6.3.1 (its `version` is in each). The masks in expected.json are what `labelme.utils.shapes_to_label`
draws, with `__ignore__` and `_background_` below 1, as labelme's own examples number them; packed bits in hexadecimal digits.
"""

import json
import os
import tempfile
from pathlib import Path

os.environ["QT_QPA_PLATFORM"] = "offscreen"

import numpy as np
from labelme._automation._shape_builders import Detection, shapes_from_detections
from labelme._label_file import LabelFile, _load_shape_json_obj
from labelme._shape import Shape
from labelme.app import _shape_to_dict
from labelme.utils import img_data_to_pil, shapes_to_label
from PIL import Image
from PyQt5.QtCore import QPointF

HERE = Path(__file__).parent
WIDTH, HEIGHT = 60, 40


def drawn(kind: str, points: list[tuple[float, float]], label: str = "leaf", mask: np.ndarray | None = None) -> Shape:
    shape = Shape(label=label, shape_type=kind, mask=mask, flags={})
    for x, y in points:
        shape.add_point(QPointF(x, y))
    shape.close()
    return shape


y, x = np.mgrid[:19, :25]
DISC = np.hypot((x - 12) / 12.5, (y - 9) / 9.5) < 1
BOX = (10.0, 8.0, 34.0, 26.0)
FILES = {
    "polygon": [drawn("polygon", [(8.4, 5.2), (40.7, 9.9), (33.1, 31.6), (12, 28)])],
    "rectangle": [drawn("rectangle", [(40.3, 30.1), (8.6, 5.2)])],
    "circle": [drawn("circle", [(30.2, 20.5), (41.1, 24.3)])],
    "oriented_rectangle": [drawn("oriented_rectangle", [(20, 5), (50, 15), (45, 30), (15, 20)])],
    "line": [drawn("line", [(5.5, 6.5), (50.2, 33.3)])],
    "linestrip": [drawn("linestrip", [(5, 30), (20, 8), (35, 30), (55, 12)])],
    "point": [drawn("point", [(31.4, 17.7)])],
    "points": [drawn("points", [(31.4, 17.7), (8, 9)])],
    "mask": [drawn("mask", [BOX[:2], BOX[2:]], mask=DISC)],
    "reserved": [
        drawn("rectangle", [(5, 5), (50, 35)]),
        drawn("circle", [(20, 20), (26, 20)], "_background_"),
        drawn("rectangle", [(35, 10), (45, 20)], "__ignore__"),
        drawn("point", [(40, 15)], "vein"),
    ],
    **{
        f"ai_{kind}": shapes_from_detections([Detection(bbox=BOX, mask=DISC, label="leaf")], kind)
        for kind in ("polygon", "mask", "circle", "rectangle", "oriented_rectangle")
    },
}


def main() -> None:
    expected = {}
    for name, shapes in FILES.items():
        write(name, [_shape_to_dict(shape) for shape in shapes], HEIGHT, WIDTH)
        if name != "points":  # labelme itself refuses to draw them
            expected[name] = label_mask(read(name))
    with tempfile.TemporaryDirectory() as folder:  # a photograph that is held upright
        photograph = Path(folder) / "rotated.jpg"
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (WIDTH, HEIGHT)).save(photograph, exif=exif)
        width, height = img_data_to_pil(LabelFile.load_image_file(str(photograph))).size
    write("rotated", [_shape_to_dict(drawn("rectangle", [(3, 5), (20, 50)]))], height, width)
    (HERE / "expected.json").write_text(json.dumps(expected, indent=0) + "\n")


def write(name: str, shapes: list[dict], height: int, width: int) -> None:
    LabelFile().save(str(HERE / f"{name}.json"), shapes, f"{name}.jpg", height, width)


def read(name: str) -> list[dict]:
    """Read shapes back as labelme does."""
    content = json.loads((HERE / f"{name}.json").read_text())
    return [_load_shape_json_obj(shape) for shape in content["shapes"]]


def label_mask(shapes: list[dict]) -> str:
    numbers = {"__ignore__": -1, "_background_": 0, "leaf": 1, "vein": 2}
    classes, _ = shapes_to_label((HEIGHT, WIDTH), shapes, numbers)
    return np.packbits(classes > 0).tobytes().hex()


if __name__ == "__main__":
    main()
