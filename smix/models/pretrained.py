"""Download pre-trained weights of timm and torchvision, and give up after seconds without a network connection."""

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torchvision.models import (
    MobileNet_V3_Large_Weights,
    MobileNet_V3_Small_Weights,
    ResNet18_Weights,
    ResNet50_Weights,
    WeightsEnum,
)

from smix.errors import OptionError
from smix.untrusted import one_line

SECONDS = 5.0
"""Seconds to wait for an answer of a server."""
TORCHVISION: dict[str, tuple[str, WeightsEnum]] = {
    "resnet18-imagenet": ("resnet18", ResNet18_Weights.DEFAULT),
    "resnet50-imagenet": ("resnet50", ResNet50_Weights.DEFAULT),
    "mobilenetv3-small": ("mobilenet_v3_small", MobileNet_V3_Small_Weights.DEFAULT),
    "mobilenetv3-large": ("mobilenet_v3_large", MobileNet_V3_Large_Weights.DEFAULT),
}
"""Networks of torchvision: their names there, and their weights for ImageNet."""


@contextmanager
def giving_up(name: str) -> Iterator[None]:
    """Limit the seconds that a download in the block waits for an answer. Weights that were downloaded before are found at once.

    Args:
        name: Name of the network.

    Raises:
        OptionError: The weights cannot be downloaded.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS)
    silent = ""
    try:
        with _hub_offline(if_unreachable=name.startswith("timm:")) as silent:
            yield
    except OSError as error:  # no connection, or no space
        library, code = _command(name)
        reason = f"{silent} does not answer" if silent else one_line(error, 120)
        raise OptionError(
            f"init_weights: cannot download the weights of {name} ({reason}); where there is a connection, run "
            f'python -c "{code}", then pass --init-weights {library}.pt'
        ) from None
    finally:
        socket.setdefaulttimeout(before)


def load_torchvision(model: nn.Module, name: str, head: str) -> None:
    """Load the ImageNet weights of torchvision into a network of the same shape, except for the last layer.

    Raises:
        OptionError: There are none for this network, or they cannot be downloaded.
    """
    with giving_up(name):
        state: dict[str, Tensor] = dict(TORCHVISION[name][1].get_state_dict(progress=False, check_hash=True))
    own = model.state_dict()
    if differ := [key for key in own if not key.startswith(f"{head}.") and own[key].shape != state[key].shape]:
        raise OptionError(
            f"init_weights: the pre-trained weights of {name} are for images with 3 channels ({differ[0]} differs); omit --init-weights"
        )
    model.load_state_dict({key: own[key] if key.startswith(f"{head}.") else state[key] for key in own})


def _command(name: str) -> tuple[str, str]:
    """Return the name of a network in its library, and Python code that saves its weights."""
    if name in TORCHVISION:
        known = TORCHVISION[name][0]
        return known, (
            f"import torch, torchvision; torch.save(torchvision.models.{known}(weights='DEFAULT').state_dict(), '{known}.pt')"
        )
    known = name.removeprefix("timm:")
    return (
        known,
        f"import timm, torch; torch.save(timm.create_model('{known}', pretrained=True).state_dict(), '{known}.pt')",
    )


@contextmanager
def _hub_offline(if_unreachable: bool) -> Iterator[str]:
    """Let huggingface_hub look only in its cache during the block if its server does not answer: it would retry for half a minute.

    Yields:
        The address of the server that does not answer, or an empty text.
    """
    try:
        from huggingface_hub import constants
    except ImportError:
        yield ""
        return
    before = constants.HF_HUB_OFFLINE
    silent = if_unreachable and not before and not _answers(constants.ENDPOINT)
    constants.HF_HUB_OFFLINE = before or silent
    try:
        yield constants.ENDPOINT if silent else ""
    finally:
        constants.HF_HUB_OFFLINE = before


def _answers(address: str) -> bool:
    """Return True if a server answers within `SECONDS`, looking up its name included, which no timeout of a socket limits."""
    answered = threading.Event()

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=SECONDS):
                answered.set()
        except urllib.error.HTTPError:  # also an answer
            answered.set()
        except OSError:
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(SECONDS)
    return answered.is_set()
