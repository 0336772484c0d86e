"""Networks from segmentation_models_pytorch: U-Net, PSPNet, FPN, DeepLabV3+ and others, with any of its encoders.

FILE.json next to the weights file may contain {"mean": [...], "std": [...], "input_size": [256, 256], "classes": ["background", ...]},
with mean and std for images in [0, 255]. Without it, images are normalised as for the ImageNet weights of the encoder.
"""

from pathlib import Path

import msgspec
import torch

from smix.data.optional import import_optional
from smix.errors import MaskError, OptionError, unknown
from smix.files import sha256
from smix.masks.sources.network import IMAGENET_MEAN, IMAGENET_STD, Channels, Network, NetworkCard, TorchForward
from smix.masks.sources.weights import expect_weights_of, load_weights
from smix.untrusted import UnreadableError, read_json, typed

INPUT_SIZE = (256, 256)
"""Default height and width of the input: multiples of every encoder's stride."""
GREY = (127.5, 127.5, 127.5)
GREY_ENCODERS = ("inceptionresnetv2", "inceptionv4", "xception", "timm-tf_efficientnet_lite")
"""Encoders whose ImageNet weights expect inputs in [-1, 1]."""
DPN_MEAN, DPN_STD = (124.0, 117.0, 104.0), (1 / 0.0167,) * 3
"""Normalisation for the weights of dual path networks: their authors subtract the mean and multiply by 0.0167."""


def smp_network(place: str, weights: Path | None, device: torch.device) -> Network:
    """Load a network from segmentation_models_pytorch with the weights in a file.

    Args:
        place: ARCH/ENCODER, such as unet/resnet34.
        weights: Weights file.
        device: Device of the network.

    Raises:
        OptionError: The architecture or the encoder is unknown, or `weights` is None.
        MaskError: segmentation_models_pytorch is not installed, or the weights belong to another network.
    """
    smp = import_optional("segmentation_models_pytorch", "smp", MaskError)
    architecture, _, encoder = place.partition("/")
    known = sorted(name.lower() for name in smp.MODEL_ARCHITECTURES_MAPPING)
    if architecture.lower() not in known:
        raise unknown("smp architecture", architecture, known)
    if not encoder.startswith("tu-") and encoder not in smp.encoders.encoders:
        raise unknown("smp encoder", encoder, sorted(smp.encoders.encoders))
    if weights is None:
        raise OptionError(f"weights: smp:{place} has no published weights; pass a weights file with --weights")
    mean, std, fixed_size = encoder_preprocessing(encoder)
    card = _read_card(weights.with_suffix(".json"), mean, std, fixed_size or INPUT_SIZE)
    with expect_weights_of(place, weights, "check the name of the network and the file"):
        state = load_weights(weights)
        heads = [tensor for key, tensor in state.items() if key.startswith("segmentation_head.") and tensor.ndim == 4]
        if not heads:
            raise ValueError("no segmentation_head")
        count = heads[-1].shape[0]
        with torch.random.fork_rng(devices=()):  # the initial weights are random, then overwritten
            model = smp.create_model(architecture, encoder, encoder_weights=None, classes=count)
        model.load_state_dict(state)
    forward = TorchForward(f"smp:{place}", model, device)
    stride = model.encoder.output_stride if model.requires_divisible_input_shape else 1
    changes = {"any_size": fixed_size is None, "stride": stride}
    if count == 1:
        changes |= {"output": "object_logit", "classes": ()}
    return forward.to_network(sha256(weights), msgspec.structs.replace(card, **changes))


def encoder_preprocessing(name: str) -> tuple[Channels, Channels, tuple[int, int] | None]:
    """Return the normalisation that an encoder's ImageNet weights need, and its input size if that is fixed.

    The settings are repeated here, since segmentation_models_pytorch would download those of its own encoders.

    Returns:
        Mean and standard deviation for images in [0, 255], and height and width; None: images may have any size.
    """
    if name.startswith(GREY_ENCODERS):
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
    fixed_size = tuple(settings.input_size[1:]) if settings.fixed_input_size else None
    return mean, std, fixed_size  # type: ignore[return-value]


def _read_card(path: Path, mean: Channels, std: Channels, input_size: tuple[int, int]) -> NetworkCard:
    """Read the JSON file next to the weights file. The other arguments are defaults for missing keys."""
    defaults = {"mean": mean, "std": std, "input_size": input_size}
    try:
        values = read_json(path) if path.is_file() else {}
        card: NetworkCard = typed(defaults | values if isinstance(values, dict) else values, NetworkCard)
    except UnreadableError as error:
        raise MaskError(
            f"{path}: expected JSON with mean, std, input_size or classes, got {error}; correct or remove the file"
        ) from None
    return card
