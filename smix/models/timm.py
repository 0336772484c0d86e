"""Build any classifier from timm (pytorch-image-models) by the name `timm:NAME`."""

import difflib
from contextlib import nullcontext
from functools import partial

import torch
from torch import nn

from smix.errors import OptionError
from smix.models.pretrained import giving_up


def timm_model(
    name: str, num_classes: int, channels: int, size: tuple[int, ...], pretrained: bool = False
) -> nn.Module:
    """Build a timm network, for this image size if the network takes only one size.

    Args:
        name: Name of the network in timm, without weights.
        num_classes: Number of classes.
        channels: Number of channels of the images.
        size: Height and width of the images.
        pretrained: Download timm's weights. By default the weights are random.

    Raises:
        OptionError: timm is not installed, has no such network or no weights for it, or the network cannot take such images.
    """
    try:
        import timm
    except ImportError:
        raise OptionError("model: timm is not installed; run pip install 'smix[timm]'") from None
    # This list has neither names of weights (resnet18.a1_in1k) nor of repositories (hf-hub:...), so nothing is downloaded without
    # `pretrained`.
    known = timm.list_models()
    if name not in known:
        nearest = ", ".join(f"timm:{match}" for match in difflib.get_close_matches(name, known, n=3))
        hint = f"did you mean {nearest}?" if nearest else "see timm.list_models()"
        raise OptionError(f'model: expected a name that timm knows, got "timm:{name}"; {hint}')
    create = partial(timm.create_model, name, pretrained, num_classes=num_classes, in_chans=channels)
    try:
        with giving_up(f"timm:{name}") if pretrained else nullcontext():
            try:
                model = create(img_size=size)
            except TypeError as error:
                # timm has no query for the arguments of a network; its constructor refuses this one before it draws any weight.
                if "img_size" not in str(error):
                    raise
                model = create()
        with torch.no_grad():
            # Only a forward pass shows whether the network takes this size; in evaluation mode it changes no statistics.
            model.eval()(torch.zeros(1, channels, *size))
    except OptionError:
        raise
    except (AssertionError, RuntimeError, ValueError, TypeError) as error:
        raise OptionError(
            f"model: timm:{name} cannot take images of {size[0]} x {size[1]} pixels "
            f"({' '.join(str(error).split()) or type(error).__name__}); choose another model or size"
        ) from None
    return model.train()
