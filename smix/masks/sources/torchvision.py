"""Torchvision's segmentation networks, such as the report's deeplabv3_mobilenet_v3_large, and its Mask R-CNN."""

from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from jaxtyping import Float
from torch import Tensor, nn

from smix.errors import MaskError, unknown
from smix.files import sha256
from smix.masks.sources.network import IMAGENET_MEAN, IMAGENET_STD, Network, chosen_precision, placed
from smix.masks.sources.reading import Instances
from smix.masks.sources.weights import expecting, load_weights

MASK_RCNN = ("maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2")


def torchvision_network(model: str, weights: Path | None, device: torch.device) -> Network:
    """The network `model` of torchvision.models.segmentation, or Mask R-CNN; weights from a file, or downloaded.

    Raises:
        OptionError: torchvision has no such network.
        MaskError: no weights, or not those of this network.
    """
    import torchvision

    known = [*torchvision.models.list_models(module=torchvision.models.segmentation), *MASK_RCNN]
    if model not in known:
        raise unknown("torchvision model", model, known)
    published = torchvision.models.get_model_weights(model).DEFAULT
    path = weights or _downloaded(published.url)
    network = placed(_loaded(model, path, published.url), device)
    precision = chosen_precision(device)
    name, classes = f"torchvision:{model}", tuple(published.meta["categories"])

    def called(images: Float[Tensor, "B 3 h w"]) -> Any:
        with torch.autocast(device.type, getattr(torch, precision), enabled=precision != "float32"):
            return network(images.contiguous(memory_format=torch.channels_last))

    if model in MASK_RCNN:
        transform: Any = network.transform

        def instances(images: Float[Tensor, "B 3 h w"]) -> list[Instances]:
            # It resizes by itself, to 800 pixels and more: images come here at the size they are to have.
            transform.min_size, transform.max_size = (min(images.shape[2:]),), max(images.shape[2:])
            return [
                Instances(one["masks"][:, 0].float().logit(), one["labels"], one["scores"]) for one in called(images)
            ]

        # It normalises by itself, what lies between 0 and 1.
        zero, scale = (0.0, 0.0, 0.0), (255.0, 255.0, 255.0)
        own = (transform.min_size[-1], transform.min_size[-1])
        return Network(
            name, sha256(path), instances, own, zero, scale, "instances", classes, device=device, precision=precision
        )

    def scores(images: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B K h w"]:
        return called(images)["out"]

    size = published.transforms().resize_size[0]
    return Network(
        name,
        sha256(path),
        scores,
        (size, size),
        IMAGENET_MEAN,
        IMAGENET_STD,
        "class_scores",
        classes,
        device=device,
        precision=precision,
    )


def _loaded(model: str, path: Path, url: str) -> nn.Module:
    import torchvision

    with expecting(model, path, f"download {url}"):
        state = load_weights(path)
        # Some have an auxiliary classifier, which is of no use here; lraspp and Mask R-CNN cannot be asked for one.
        auxiliary = {"aux_loss": True} if any(key.startswith("aux_classifier.") for key in state) else {}
        with torch.random.fork_rng(devices=()):  # the initial weights are drawn, then overwritten
            network = torchvision.models.get_model(model, weights=None, weights_backbone=None, **auxiliary)
        network.load_state_dict(state)
    return network


def weights_file(url: str) -> Path:
    """Return where torch keeps its download of `url`."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]


def _downloaded(url: str) -> Path:
    """The published weights, from torch's cache or the network."""
    path = weights_file(url)
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rsplit("-", 1)[1])
        except (URLError, OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise MaskError(
                f"weights: expected {path.name}, got no download ({reason}); fetch {url} elsewhere and put it at {path}, "
                "or give it with --weights"
            ) from None
    return path
