"""Segmentation models of Hugging Face's transformers: semantic (SegFormer, UperNet, BEiT, ...), those that find instances by queries
(Mask2Former, MaskFormer, DETR, EoMT), and salient-object models with one channel of logits."""

import hashlib
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from smix.errors import MaskError
from smix.masks.sources.network import Network, chosen_precision, placed
from smix.masks.sources.reading import Instances

NO_MODEL = (OSError, ValueError, KeyError, RuntimeError, ImportError, TypeError, AttributeError)
"""Errors that transformers raises for a name or a folder that holds no model."""
OTHERS = ("oneformer", "videomt")
"""They find instances, too, but want to be told a task, or take films."""
ONE_SIZE = ("data2vec-vision", "eomt", "eomt_dinov3")
"""Their positions are learned for one input size, and are not interpolated."""
NATIVE = 512
"""The input size of a model whose image processor names none."""


def transformers_network(place: str, device: torch.device) -> Network:
    """The model in a folder, or of this name on the hub. Code that comes with a model is not run.

    Raises:
        MaskError: transformers is missing, or there is no such model, or none that segments.
    """
    try:
        import transformers
        from transformers.models.auto import modeling_auto as kinds
    except ImportError:
        raise MaskError(
            "transformers: expected the package transformers, got none; install smix[transformers]"
        ) from None
    try:
        config = transformers.AutoConfig.from_pretrained(place)
        processor = transformers.AutoImageProcessor.from_pretrained(place)
        if config.model_type in kinds.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES:
            auto: Any = transformers.AutoModelForSemanticSegmentation
        elif (
            config.model_type in kinds.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES
            and config.model_type not in OTHERS
        ):
            auto = transformers.AutoModelForUniversalSegmentation
        else:
            raise ValueError(f"a model of type {config.model_type}, which is not one that segments images by itself")
        with torch.random.fork_rng(devices=()):  # what the file lacks is drawn
            model, loaded = auto.from_pretrained(place, output_loading_info=True)
        if missing := sorted(loaded["missing_keys"]):
            raise ValueError(f"no weights of {missing[0]}")
    except NO_MODEL as error:
        reason = " ".join(str(error).split())[:160]
        raise MaskError(
            f"transformers: expected a segmentation model in the folder, or of the name, {place}, got {reason}; "
            "without a connection, download it elsewhere and give its folder"
        ) from None
    name, sha256 = f"transformers:{place.rstrip('/').rpartition('/')[2]}", _sha256(model)
    names = tuple(str(config.id2label[place]) for place in range(len(config.id2label)))
    # Weights that were saved with 16 bits are loaded with 16 bits.
    model, precision = placed(model.float(), device), chosen_precision(device)
    flipped = bool(getattr(processor, "do_flip_channel_order", False))

    def called(images: Float[Tensor, "B 3 h w"]) -> Any:
        images = (images.flip(1) if flipped else images).contiguous(memory_format=torch.channels_last)
        try:
            with (
                torch.random.fork_rng(devices=()),  # Mask2Former draws for its layer drop, in evaluation too
                torch.autocast(device.type, getattr(torch, precision), enabled=precision != "float32"),
            ):
                return model(pixel_values=images)
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]
            raise MaskError(
                f"{name}: expected a model that takes images of {tuple(images.shape[2:])}, got {reason}; "
                "give another --input-size"
            ) from None

    def scores(images: Float[Tensor, "B 3 h w"]) -> Tensor:
        return called(images).logits

    def instances(images: Float[Tensor, "B 3 h w"]) -> list[Instances]:
        found = called(images)
        queries = found.class_queries_logits if hasattr(found, "class_queries_logits") else found.logits
        masks = found.masks_queries_logits if hasattr(found, "masks_queries_logits") else found.pred_masks
        # The last class of a query is "no object".
        sure, labels = queries.float().softmax(-1)[..., :-1].max(-1)
        return [Instances(*one) for one in zip(masks, labels, sure, strict=True)]

    by_queries = auto is transformers.AutoModelForUniversalSegmentation
    one_channel = not by_queries and len(names) == 1
    lower = [name.lower() for name in names]
    mean, std = _normalisation(processor)
    any_size = config.model_type not in ONE_SIZE
    return Network(
        name,
        sha256,
        instances if by_queries else scores,
        _native_size(processor) if any_size else (config.image_size, config.image_size),
        mean,
        std,
        "instances" if by_queries else "object_logit" if one_channel else "class_scores",
        () if one_channel else names,
        lower.index("background") if "background" in lower else None,
        any_size,
        device=device,
        precision=precision,
    )


def _normalisation(processor: Any) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation on the 0..255 scale, from what the processor does to images."""
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
    edge = int(size.get("shortest_edge") or NATIVE)
    return edge, edge


def _sha256(model: nn.Module) -> str:
    """Return the sha256 of all weights, whatever files they came in."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
