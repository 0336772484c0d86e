"""Any classifier of timm (pytorch-image-models): `timm:NAME`."""

import difflib

import torch
from torch import nn

from smix.errors import OptionError
from smix.untrusted import one_line


def timm_model(
    name: str, num_classes: int, channels: int, size: tuple[int, ...], pretrained: bool = False
) -> nn.Module:
    """timm.create_model; with timm's own weights where they are asked for, else with fresh ones. Networks that are made for one
    size of images are made for this one.

    Raises:
        OptionError: timm is missing, has no such network or no weights of it, or the network cannot take such images.
    """
    try:
        import timm
    except ImportError:
        raise OptionError("model: expected the package timm for timm:NAME, got none; install smix[timm]") from None
    # The list has neither names of weights (resnet18.a1_in1k) nor of repositories (hf-hub:...): but for weights that are asked
    # for nothing is ever downloaded.
    known = timm.list_models()
    if name not in known:
        nearest = ", ".join(f"timm:{one}" for one in difflib.get_close_matches(name, known, n=3))
        hint = f"the nearest: {nearest}" if nearest else "timm.list_models() has all"
        raise OptionError(f'model: expected a name that timm knows, got "timm:{name}"; {hint}')
    try:
        try:
            model = timm.create_model(name, pretrained, num_classes=num_classes, in_chans=channels, img_size=size)
        except TypeError as error:
            # timm has no other way to ask; it is the constructor that refuses, before it draws any weight.
            if "img_size" not in str(error):
                raise
            model = timm.create_model(name, pretrained, num_classes=num_classes, in_chans=channels)
        with torch.no_grad():
            # Whether it takes this size, only a pass tells. In eval mode, which changes nothing in it.
            model.eval()(torch.zeros(1, channels, *size))
    except OSError as error:  # of the connection
        raise OptionError(
            f"init_weights: cannot load the pretrained weights of timm:{name} ({one_line(error, 120)}); check the connection, or "
            "give a file with --init-weights"
        ) from None
    except (AssertionError, RuntimeError, ValueError, TypeError) as error:
        raise OptionError(
            f"model: expected a network for images of {size[0]} x {size[1]}, got timm:{name}, which says: "
            f"{' '.join(str(error).split()) or type(error).__name__}; choose another"
        ) from None
    return model.train()
