"""Any classifier of timm (pytorch-image-models): `timm:NAME`."""

import difflib

import torch
from torch import nn

from smix.errors import OptionError
from smix.untrusted import one_line


def timm_model(
    name: str, num_classes: int, channels: int, size: tuple[int, ...], pretrained: bool = False
) -> nn.Module:
    """Build a network of timm, for this size of images if it is made for one size.

    Args:
        name: Name of the network in timm, without weights.
        num_classes: Number of classes.
        channels: Number of channels of the images.
        size: Height and width of the images.
        pretrained: Download timm's weights. By default the weights are random.

    Raises:
        OptionError: timm is not installed, has no such network or no weights of it, or the network cannot take such images.
    """
    try:
        import timm
    except ImportError:
        raise OptionError("model: timm is not installed; run pip install 'smix[timm]'") from None
    # The list has neither names of weights (resnet18.a1_in1k) nor of repositories (hf-hub:...): without `pretrained`, nothing is
    # ever downloaded.
    known = timm.list_models()
    if name not in known:
        nearest = ", ".join(f"timm:{match}" for match in difflib.get_close_matches(name, known, n=3))
        hint = f"the nearest: {nearest}" if nearest else "see timm.list_models()"
        raise OptionError(f'model: expected a name that timm knows, got "timm:{name}"; {hint}')
    try:
        try:
            model = timm.create_model(name, pretrained, num_classes=num_classes, in_chans=channels, img_size=size)
        except TypeError as error:
            # timm cannot be asked whether it takes the argument; the constructor refuses before it draws any weight.
            if "img_size" not in str(error):
                raise
            model = timm.create_model(name, pretrained, num_classes=num_classes, in_chans=channels)
        with torch.no_grad():
            # Only a forward pass shows whether it takes this size. In evaluation mode, which changes nothing in it.
            model.eval()(torch.zeros(1, channels, *size))
    except OSError as error:  # no connection
        raise OptionError(
            f"init_weights: cannot load the pretrained weights of timm:{name} ({one_line(error, 120)}); check the connection, or "
            "give a file with --init-weights"
        ) from None
    except (AssertionError, RuntimeError, ValueError, TypeError) as error:
        raise OptionError(
            f"model: timm:{name} cannot take images of {size[0]} x {size[1]} pixels "
            f"({' '.join(str(error).split()) or type(error).__name__}); choose another"
        ) from None
    return model.train()
