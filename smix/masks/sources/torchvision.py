"""Torchvision's segmentation networks, such as the report's deeplabv3_mobilenet_v3_large."""

import pickle
from pathlib import Path
from urllib.error import URLError

import torch
from jaxtyping import Float
from torch import Tensor

from smix.errors import MaskError, unknown
from smix.files import sha256
from smix.masks.sources.network import IMAGENET_MEAN, IMAGENET_STD, NetworkSource, parse_input_size


def torchvision_source(model: str, weights: Path | None, input_size: str | None) -> NetworkSource:
    """The network `model` of torchvision.models.segmentation; weights from a file, or downloaded by torchvision.

    Raises:
        OptionError: torchvision has no such network.
        MaskError: no weights, or not those of this network.
    """
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models.segmentation)
    if model not in known:
        raise unknown("torchvision model", model, known)
    published = torchvision.models.get_model_weights(model).DEFAULT
    path = weights or _downloaded(published.url)
    if not path.is_file():
        raise MaskError(f"weights: expected a file {path}, got none; check the path")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        # Some have an auxiliary classifier, which is of no use here; lraspp cannot be asked for one.
        auxiliary = {"aux_loss": True} if any(key.startswith("aux_classifier.") for key in state) else {}
        with torch.random.fork_rng(devices=()):  # the initial weights are drawn, then overwritten
            network = torchvision.models.get_model(model, weights=None, weights_backbone=None, **auxiliary)
        network.load_state_dict(state)
    # Anything can come out of a file that is no weights; see Python's documentation of pickle.
    except (
        RuntimeError,
        pickle.UnpicklingError,
        EOFError,
        AttributeError,
        ImportError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        first = " ".join(str(error).split())[:120]
        raise MaskError(
            f"weights: expected the weights of {model} in {path}, got {first}; download {published.url}"
        ) from None
    network.eval()
    own = published.transforms().resize_size[0]

    @torch.inference_mode()
    def forward(images: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B K h w"]:
        return network(images)["out"]

    size = parse_input_size(input_size, (own, own))
    return NetworkSource(
        f"torchvision:{model}", sha256(path), forward, size, IMAGENET_MEAN, IMAGENET_STD, "class_scores"
    )


def weights_file(url: str) -> Path:
    """Where torch keeps its download of `url`."""
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
