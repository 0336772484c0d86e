"""Segmentation models from Hugging Face's transformers.

They are semantic (SegFormer, UperNet, BEiT, ...), find instances by queries (Mask2Former, MaskFormer, DETR, EoMT), or find salient
objects with one channel of logits.
"""

import hashlib
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from smix.data.optional import import_optional
from smix.errors import MaskError
from smix.masks.sources.network import Channels, Network, NetworkCard, TorchForward
from smix.masks.sources.reading import Instances
from smix.untrusted import one_line

NO_MODEL = (OSError, ValueError, KeyError, RuntimeError, ImportError, TypeError, AttributeError)
"""Errors that transformers raises if a name or a folder does not refer to a model."""
OTHER_INPUTS = ("oneformer", "videomt")
"""Model types that find instances, but need a task or a video as input."""
FIXED_SIZE = ("data2vec-vision", "eomt", "eomt_dinov3")
"""Model types whose position embeddings are learned for one input size and are not interpolated."""
NATIVE_SIZE = 512
"""Input size in pixels of models whose image processor does not define one."""


def transformers_network(place: str, device: torch.device) -> Network:
    """Load a segmentation model. Code that comes with it is not run.

    Args:
        place: Folder of the model, or its name on the Hugging Face hub.
        device: Device of the model.

    Raises:
        MaskError: transformers is not installed, or the model is missing or does not segment images.
    """
    transformers = import_optional("transformers", "transformers", MaskError)
    from transformers.models.auto import modeling_auto as kinds

    try:
        config = transformers.AutoConfig.from_pretrained(place)
        processor = transformers.AutoImageProcessor.from_pretrained(place)
        universal = kinds.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES
        by_queries = config.model_type not in kinds.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES
        if by_queries and (config.model_type not in universal or config.model_type in OTHER_INPUTS):
            raise ValueError(f"a model of type {config.model_type} that needs other inputs to segment images")
        auto = (
            transformers.AutoModelForUniversalSegmentation
            if by_queries
            else transformers.AutoModelForSemanticSegmentation
        )
        with torch.random.fork_rng(devices=()):  # missing weights would be random
            model, loaded = auto.from_pretrained(place, output_loading_info=True)
        if missing := sorted(loaded["missing_keys"]):
            raise ValueError(f"no weights of {missing[0]}")
    except NO_MODEL as error:
        raise MaskError(
            f"transformers: {place} is neither the folder nor the name of a usable segmentation model ({one_line(error)}); "
            "if this machine is offline, download the model on another one and pass its folder"
        ) from None
    names = tuple(str(config.id2label[label]) for label in range(len(config.id2label)))
    checksum = _sha256(model)
    # In float32, because weights that were saved with 16 bits are loaded with 16 bits.
    forward = TorchForward(f"transformers:{place.rstrip('/').rpartition('/')[2]}", model.float(), device)
    bgr = bool(getattr(processor, "do_flip_channel_order", False))

    def scores(images: Float[Tensor, "B 3 h w"]) -> Tensor:
        logits: Tensor = forward(images.flip(1) if bgr else images).logits
        return logits

    def instances(images: Float[Tensor, "B 3 h w"]) -> list[Instances]:
        output = forward(images.flip(1) if bgr else images)
        queries = output.class_queries_logits if hasattr(output, "class_queries_logits") else output.logits
        masks = output.masks_queries_logits if hasattr(output, "masks_queries_logits") else output.pred_masks
        # The last class of a query is "no object".
        confidence, labels = queries.float().softmax(-1)[..., :-1].max(-1)
        return [Instances(*image) for image in zip(masks, labels, confidence, strict=True)]

    one_channel = not by_queries and len(names) == 1
    lower = [name.lower() for name in names]
    mean, std = _normalisation(processor)
    any_size = config.model_type not in FIXED_SIZE
    card = NetworkCard(
        input_size=_native_size(processor) if any_size else (config.image_size, config.image_size),
        mean=mean,
        std=std,
        output="instances" if by_queries else "object_logit" if one_channel else "class_scores",
        classes=() if one_channel else names,
        background=lower.index("background") if "background" in lower else None,
        any_size=any_size,
    )
    return forward.to_network(checksum, card, instances if by_queries else scores)


def _normalisation(processor: Any) -> tuple[Channels, Channels]:
    """Return the mean and standard deviation with which an image processor normalises images in [0, 255]."""
    scale = 1 / processor.rescale_factor if getattr(processor, "do_rescale", True) else 1.0
    if not getattr(processor, "do_normalize", True):
        return (0.0, 0.0, 0.0), (scale, scale, scale)
    mean, std = (
        tuple(scale * float(number) for number in numbers) for numbers in (processor.image_mean, processor.image_std)
    )
    return mean, std  # type: ignore[return-value]


def _native_size(processor: Any) -> tuple[int, int]:
    size = dict(getattr(processor, "size", None) or {})
    if size.get("height"):
        return int(size["height"]), int(size["width"])
    edge = int(size.get("shortest_edge") or NATIVE_SIZE)
    return edge, edge


def _sha256(model: nn.Module) -> str:
    """Return the sha256 of all weights, whatever files they were stored in."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
