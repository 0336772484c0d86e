"""Names of mask sources, and the place of downloaded weights: data that the command line reads without importing torch."""

import os
from collections.abc import Collection
from pathlib import Path

from smix.errors import OptionError, unknown

NO_MASK = "no mask"
"""Reason that a source gives for an image for which it has neither a file nor an annotation."""
NETWORK = ("input-size", "hflip-tta", "upscale", "classes", "object-classes")
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "builtin": ("builtin", ()),
    "torchvision": ("torchvision:MODEL", ("weights", *NETWORK)),
    "onnx": ("onnx:FILE", NETWORK),
    "transformers": ("transformers:MODEL_OR_DIR", NETWORK),
    "smp": ("smp:ARCH/ENCODER", ("weights", *NETWORK)),
    "masks": ("masks:DIR", ("classes", "object-classes", "style", "mask-frame")),
    "labelme": ("labelme:DIR", ("classes", "object-classes", "mask-frame")),
    "carried": ("carried", ()),
}
"""Form of the names of each kind of source, and the options that it supports."""
REPORT_NETWORK = "deeplabv3_mobilenet_v3_large"
REPORT_WEIGHTS = "https://download.pytorch.org/models/deeplabv3_mobilenet_v3_large-fc3c493d.pth"
"""Segmentation network of the SMix report, and the address of its weights, as torchvision names them."""


def check_source(name: str, options: Collection[str] = ()) -> str:
    """Return the kind of a source, such as "masks" for "masks:DIR".

    Args:
        name: Name of the source.
        options: Options that are given, such as "input-size".

    Raises:
        OptionError: The name is unknown, or the source does not support an option.
    """
    kind, _, place = name.partition(":")
    if kind not in KINDS or bool(place) != (":" in KINDS[kind][0]):
        raise unknown("source", name, [form for form, _ in KINDS.values()])
    for option in options:
        if option not in KINDS[kind][1]:
            raise OptionError(f"{option}: the source {name} has no such option; omit --{option}")
    return kind


def downloaded_weights(url: str) -> Path:
    """Return the path in the cache of PyTorch to which `url` is downloaded, as torch.hub.get_dir determines it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    home = Path(os.environ.get("TORCH_HOME") or cache / "torch").expanduser()
    return home / "hub" / "checkpoints" / url.rsplit("/", 1)[1]


def problem_of(image: str, reason: str) -> str:
    """Return the message that a mask store keeps for an image without a mask, in which the name of the image occurs once.

    Args:
        image: Name of the image without suffix.
        reason: Reason, which may begin with the name of a file.

    >>> problem_of("a/10", "no mask"), problem_of("a/10", "10.json: cat: a point needs 1 point, got 2")
    ('a/10: no mask', 'a/10.json: cat: a point needs 1 point, got 2')
    """
    file, colon, _ = reason.partition(": ")
    name = file.rpartition(".")[0]
    if colon and (name == image or name.endswith(f"/{image}")):
        return reason
    folder, _, last = image.rpartition("/")
    return f"{folder}/{reason}" if colon and folder and name == last else f"{image}: {reason}"


def says_no_mask(problem: str) -> bool:
    """Return whether a message of `problem_of` says that the source has no mask for the image."""
    return problem.endswith(f": {NO_MASK}")
