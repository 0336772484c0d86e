"""Test downloads of pre-trained weights: they are given up after seconds, with a command that makes them unnecessary."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import timm
import torch
from torch import nn
from torchvision.models import ResNet18_Weights, resnet18

from smix.errors import OptionError
from smix.models import build_model, pretrained
from smix.training.weights import describe_pretrained

constants = pytest.importorskip("huggingface_hub.constants")


@pytest.fixture(params=["closed", "silent"])
def endpoint(request, monkeypatch, tmp_path) -> Iterator[str]:
    """Let the hub of Hugging Face be a port that refuses connections, or a server that never answers."""
    monkeypatch.setattr(pretrained, "SECONDS", 0.3)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        if request.param == "closed":
            server.close()
        yield address


@pytest.mark.slow
def test_timm_gives_up_after_seconds(endpoint):
    started = time.monotonic()
    with torch.random.fork_rng(devices=[]), pytest.raises(OptionError) as caught:
        build_model("timm:resnet18", 4, 3, (32, 32), pretrained=True)
    assert time.monotonic() - started < 8
    message = str(caught.value)
    assert message.startswith(
        f"init_weights: cannot download the weights of timm:resnet18 ({endpoint} does not answer); where"
    )
    assert message.endswith(
        "where there is a connection, run python -c \"import timm, torch; torch.save(timm.create_model('resnet18', "
        "pretrained=True).state_dict(), 'resnet18.pt')\", then pass --init-weights resnet18.pt"
    )
    assert constants.HF_HUB_OFFLINE is False
    assert socket.getdefaulttimeout() is None


def test_torchvision_gives_up_and_names_the_command(monkeypatch):
    def no_connection(self, *args, **options):
        assert socket.getdefaulttimeout() == pretrained.SECONDS
        raise OSError("no connection")

    monkeypatch.setattr(type(ResNet18_Weights.DEFAULT), "get_state_dict", no_connection)
    with torch.random.fork_rng(devices=[]), pytest.raises(OptionError) as caught:
        build_model("resnet18-imagenet", 4, 3, (128, 128), pretrained=True)
    assert "(OSError: no connection); where there is a connection, run python -c" in str(caught.value)
    assert str(caught.value).endswith("then pass --init-weights resnet18.pt")


def test_weights_of_torchvision_are_loaded_except_for_the_last_layer(monkeypatch):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        source = resnet18()
        monkeypatch.setattr(type(ResNet18_Weights.DEFAULT), "get_state_dict", lambda self, *a, **o: source.state_dict())
        torch.manual_seed(2)
        model = build_model("resnet18-imagenet", 4, 3, (128, 128), pretrained=True)
        torch.manual_seed(2)
        fresh = build_model("resnet18-imagenet", 4, 3, (128, 128))
        with pytest.raises(OptionError, match=r"are for images with 3 channels \(conv1\.weight differs\)"):
            build_model("resnet18-imagenet", 4, 1, (128, 128), pretrained=True)
    for name, tensor in model.state_dict().items():
        expected = fresh if name.startswith("fc.") else source
        assert torch.equal(tensor, expected.state_dict()[name])
    assert describe_pretrained("resnet18-imagenet", model).splitlines() == [
        "initial weights: 120 tensors of the pre-trained weights of resnet18-imagenet",
        "  new, with random values: fc.weight, fc.bias",
    ]


def test_networks_of_smix_have_no_pretrained_weights():
    with pytest.raises(
        OptionError, match=r"^init_weights: resnet8 has no pretrained weights, only timm:NAME, resnet18-imagenet, "
    ):
        build_model("resnet8", 4, pretrained=True)


def test_a_server_that_answers_with_an_error_answers():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert pretrained._answers(f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join()


def test_the_tag_of_timm_is_named():
    with torch.random.fork_rng(devices=[]):
        model: nn.Module = timm.create_model("test_resnet", num_classes=4)
    assert "of timm:test_resnet (r160_in1k)\n" in describe_pretrained("timm:test_resnet", model)
