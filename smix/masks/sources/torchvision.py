"""Segmentation networks from torchvision, such as the report's deeplabv3_mobilenet_v3_large, and its Mask R-CNN."""

from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from jaxtyping import Float
from torch import Tensor, nn

from smix.errors import MaskError, unknown
from smix.files import sha256
from smix.masks.sources.network import IMAGENET_MEAN, IMAGENET_STD, Network, NetworkCard, TorchForward
from smix.masks.sources.reading import Instances
from smix.masks.sources.weights import expect_weights_of, load_weights

MASK_RCNN = ("maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2")


def torchvision_network(model: str, weights: Path | None, device: torch.device) -> Network:
    """Load a network from torchvision.models.segmentation, or Mask R-CNN.

    Args:
        model: Name of the network in torchvision.
        weights: Weights file. None: the published weights, which are downloaded on first use.
        device: Device of the network.

    Raises:
        OptionError: torchvision has no such network.
        MaskError: The weights cannot be downloaded, or belong to another network.
    """
    import torchvision

    known = [*torchvision.models.list_models(module=torchvision.models.segmentation), *MASK_RCNN]
    if model not in known:
        raise unknown("torchvision model", model, known)
    published = torchvision.models.get_model_weights(model).DEFAULT
    path = weights or _downloaded(published.url)
    forward = TorchForward(f"torchvision:{model}", _loaded(model, path, published.url), device)
    classes = tuple(published.meta["categories"])
    if model not in MASK_RCNN:
        side = published.transforms().resize_size[0]
        card = NetworkCard(input_size=(side, side), mean=IMAGENET_MEAN, std=IMAGENET_STD, classes=classes)
        return forward.to_network(sha256(path), card, lambda images: forward(images)["out"])
    transform: Any = forward.model.transform
    side = transform.min_size[-1]
    # The network itself normalises images of values from 0 to 1.
    mean, std = (0.0, 0.0, 0.0), (255.0, 255.0, 255.0)
    card = NetworkCard(input_size=(side, side), mean=mean, std=std, output="instances", classes=classes)

    def instances(images: Float[Tensor, "B 3 h w"]) -> list[Instances]:
        # The network would resize images to 800 pixels or more; they already have the right size here.
        transform.min_size, transform.max_size = (min(images.shape[2:]),), max(images.shape[2:])
        results = forward(images)
        return [Instances(image["masks"][:, 0].float().logit(), image["labels"], image["scores"]) for image in results]

    return forward.to_network(sha256(path), card, instances)


def _loaded(model: str, path: Path, url: str) -> nn.Module:
    import torchvision

    with expect_weights_of(model, path, f"download {url}"):
        state = load_weights(path)
        # Some weights include an auxiliary classifier, which is not used here; lraspp and Mask R-CNN do not accept aux_loss.
        auxiliary = {"aux_loss": True} if any(key.startswith("aux_classifier.") for key in state) else {}
        with torch.random.fork_rng(devices=()):  # the initial weights are random, then overwritten
            network: nn.Module = torchvision.models.get_model(model, weights=None, weights_backbone=None, **auxiliary)
        network.load_state_dict(state)
    return network


def weights_file(url: str) -> Path:
    """Return the path in PyTorch's cache to which `url` is downloaded."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]


def _downloaded(url: str) -> Path:
    """Return the path of published weights, and download them if they are not in PyTorch's cache."""
    path = weights_file(url)
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rsplit("-", 1)[1])
        except (URLError, OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise MaskError(
                f"weights: {path.name} cannot be downloaded ({reason}); download {url} on another machine and copy it to {path}, "
                "or pass a weights file with --weights"
            ) from None
    return path
