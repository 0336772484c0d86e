"""Networks of segmentation_models_pytorch: U-Net, PSPNet, FPN, DeepLabV3+ and the rest, with any of its encoders.

FILE.json beside the weights may say {"mean": [...], "std": [...], "input_size": [256, 256], "classes": ["background", ...]}, mean and
std on the 0..255 scale. Without it, images are normalised as the encoder's ImageNet weights want them.
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from smix.errors import MaskError, OptionError, unknown
from smix.files import sha256
from smix.masks.sources.network import IMAGENET_MEAN, IMAGENET_STD, Network, Output, chosen_precision, placed
from smix.masks.sources.weights import expecting, load_weights
from smix.untrusted import one_line, read_json

INPUT_SIZE = (256, 256)
"""Unless the JSON says otherwise: a multiple of every encoder's stride."""
GREY = (127.5, 127.5, 127.5)
WITH_GREY = ("inceptionresnetv2", "inceptionv4", "xception", "timm-tf_efficientnet_lite")
"""Encoders whose ImageNet weights want values from -1 to 1."""
Three = tuple[float, float, float]
DPN_MEAN, DPN_STD = (124.0, 117.0, 104.0), (1 / 0.0167,) * 3
"""Normalisation of the dual path networks' weights: their authors subtract the mean and multiply by 0.0167."""


def smp_network(place: str, weights: Path | None, device: torch.device) -> Network:
    """The network ARCH/ENCODER, such as unet/resnet34, with the weights in a file.

    Raises:
        OptionError: no such architecture or encoder, or no weights given.
        MaskError: segmentation_models_pytorch is missing, or the weights are not of this network.
    """
    try:
        import segmentation_models_pytorch as smp
    except ImportError:
        raise MaskError("smp: expected the package segmentation_models_pytorch, got none; install smix[smp]") from None
    architecture, _, encoder = place.partition("/")
    known = sorted(name.lower() for name in smp.MODEL_ARCHITECTURES_MAPPING)
    if architecture.lower() not in known:
        raise unknown("smp architecture", architecture, known)
    if not encoder.startswith("tu-") and encoder not in smp.encoders.encoders:
        raise unknown("smp encoder", encoder, sorted(smp.encoders.encoders))
    if weights is None:
        raise OptionError(f"weights: expected --weights FILE for smp:{place}, which has none of its own, got none")
    facts = _facts(weights.with_suffix(".json"))
    with expecting(place, weights, "check the name"):
        state = load_weights(weights)
        classes = [
            tensor.shape[0]
            for key, tensor in state.items()
            if key.startswith("segmentation_head.") and tensor.ndim == 4
        ]
        if not classes:
            raise ValueError("no segmentation_head")
        with torch.random.fork_rng(devices=()):  # the initial weights are drawn, then overwritten
            network: Any = smp.create_model(architecture, encoder, encoder_weights=None, classes=classes[-1])
        network.load_state_dict(state)
    network, precision = placed(network, device), chosen_precision(device)

    def scores(images: Float[Tensor, "B 3 h w"]) -> Tensor:
        try:
            with torch.autocast(device.type, getattr(torch, precision), enabled=precision != "float32"):
                return network(images.contiguous(memory_format=torch.channels_last))
        except (RuntimeError, ValueError, AssertionError) as error:
            reason = " ".join(str(error).split())[:120]
            raise MaskError(
                f"smp:{place}: expected a network that takes images of {tuple(images.shape[2:])}, got {reason}; "
                "give another --input-size, such as a multiple of 32"
            ) from None

    output: Output = "object_logit" if classes[-1] == 1 else "class_scores"
    mean, std, own = _of_encoder(encoder)
    return Network(
        f"smp:{place}",
        sha256(weights),
        scores,
        tuple(facts.get("input_size", own or INPUT_SIZE)),
        tuple(facts.get("mean", mean)),
        tuple(facts.get("std", std)),
        output,
        tuple(facts.get("classes", ())) if output == "class_scores" else (),
        any_size=own is None,
        stride=network.encoder.output_stride if network.requires_divisible_input_shape else 1,
        device=device,
        precision=precision,
    )


def _of_encoder(name: str) -> tuple[Three, Three, tuple[int, int] | None]:
    """Mean and standard deviation that its ImageNet weights want, and its input size if it takes no other.

    What segmentation_models_pytorch itself says of its encoders would have to be downloaded.
    """
    if name.startswith(WITH_GREY):
        return GREY, GREY, None
    if name.startswith("dpn"):
        return DPN_MEAN, DPN_STD, None
    if not name.startswith("tu-"):
        return IMAGENET_MEAN, IMAGENET_STD, None
    import timm

    settings = timm.get_pretrained_cfg(name.removeprefix("tu-"))
    if settings is None:
        return IMAGENET_MEAN, IMAGENET_STD, None
    mean, std = (tuple(255 * float(number) for number in numbers) for numbers in (settings.mean, settings.std))
    own = tuple(settings.input_size[1:]) if settings.fixed_input_size else None
    return mean, std, own  # type: ignore[return-value]


def _facts(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        facts = read_json(path)
        for key, count in (("mean", 3), ("std", 3), ("input_size", 2)):
            if key in facts:
                kind = int if key == "input_size" else float
                facts[key] = [kind(number) for number in facts[key]]
                if len(facts[key]) != count or (key != "mean" and min(facts[key]) <= 0):
                    raise ValueError(f"{key} {facts[key]}")
        facts["classes"] = [str(name) for name in facts.get("classes", ())]
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise MaskError(f"{path}: expected mean, std, input_size or classes as JSON, got {one_line(error)}") from None
    return dict(facts)
