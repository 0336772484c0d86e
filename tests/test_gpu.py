"""Test a GPU against the CPU end to end: streamed images, training, masks, evaluation, a comparison."""

import pytest
import torch

from smix.config import MachineOptions, RunOptions, SharedConfig
from smix.data.batches import Normalisation
from smix.data.streaming import Reader, Streamed
from smix.device import in_words
from smix.lab.evaluate import evaluate
from smix.lab.run_all import compare
from smix.masks.build import build_masks
from smix.masks.sources.network import Network, NetworkCard, NetworkSource, for_inference
from smix.training.runs import train
from tests.conftest import make_set
from tests.lab.trained import ALL, sets, write_sets
from tests.training.small import FILES, contents, small_config, stop_after

pytestmark = pytest.mark.gpu


@pytest.fixture
def data(tmp_path) -> str:
    return write_sets(tmp_path, *sets())


def test_streamed_images_equal_those_on_the_cpu(gpu):
    images = make_set(40, (20, 24))
    reader = Reader(images, (16, 16), crop_padding=4, hflip=True, masks=images.masks)
    here, there = (
        Streamed(reader, Normalisation((0.5,) * 3, (0.25,) * 3), torch.device(device), 2, torch.ones(40).bool())
        for device in ("cpu", gpu)
    )
    for one, other in zip(here.shuffled(0, 0, 8), there.shuffled(0, 0, 8), strict=True):
        assert {tensor.device.type for tensor in other if tensor is not None} == {gpu}
        torch.testing.assert_close(other.images.cpu(), one.images)
        for expected, tensor in zip(one[1:], other[1:], strict=True):
            assert torch.equal(tensor.cpu(), expected)
    for (one, labels), (other, their_labels) in zip(here.in_order(), there.in_order(), strict=True):
        torch.testing.assert_close(other.cpu(), one)
        assert torch.equal(their_labels.cpu(), labels)


def test_an_interrupted_run_resumes_and_is_evaluated_as_on_the_cpu(gpu, data, tmp_path, monkeypatch):
    config = small_config(
        data, method="smix(feather=1)+fmix", epochs=3, lr=0.05, ema_decay=0.9, grad_accum_steps=2, crop_padding=2
    )
    options = RunOptions(device=gpu, threads=1, quiet=True)
    with monkeypatch.context() as patch:
        stop_after(6, patch)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "run", options)
    result = train(config, tmp_path / "run", options)
    assert result.device == in_words(torch.device(gpu), 1)
    assert set(contents(tmp_path / "run")) == FILES
    evaluations = {
        device: evaluate(tmp_path / "run", ALL, MachineOptions(device=device, quiet=True), tmp_path / device)
        for device in ("cpu", gpu)
    }
    numbers = {device: evaluation.numbers for device, evaluation in evaluations.items()}
    assert numbers[gpu].keys() == numbers["cpu"].keys()
    assert numbers[gpu]["accuracy"] == pytest.approx(numbers["cpu"]["accuracy"], abs=0.1)


def test_training_on_images_resized_by_workers(gpu, data, tmp_path):
    config = small_config(data, method="cutmix", epochs=1, image_size=20)
    result = train(config, tmp_path / "run", RunOptions(device=gpu, threads=1, workers=2, quiet=True))
    assert 0 <= result.test_accuracy <= 1


def test_masks_of_a_network_equal_those_on_the_cpu(gpu, tmp_path):
    images = make_set(100)
    stores = {}
    for device in ("cpu", gpu):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layers = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 3, 1))
        forward, mean, std = for_inference(layers, torch.device(device)), (127.5,) * 3, (64.0,) * 3
        card = NetworkCard(input_size=(32, 32), mean=mean, std=std)
        network = Network("small", "0" * 64, forward, card, torch.device(device))
        stores[device] = build_masks(images, NetworkSource(network, hflip_tta=True), tmp_path / device, refine="none")[
            :
        ]
    assert stores["cpu"].any()
    assert (stores[gpu] == stores["cpu"]).mean() > 0.99


def test_two_runs_share_a_gpu(gpu, data, tmp_path):
    pytest.importorskip("cyclopts", reason="runs next to each other are started by the command line")
    config = SharedConfig(data=data, model="resnet8", epochs=1, batch_size=16)
    options = RunOptions(device=gpu, threads=1, quiet=True)
    runs = compare(config, ["vanilla", "mixup"], 1, tmp_path / "runs", options, jobs=2)
    assert len(runs) == 2
    assert all(run.result is not None for run in runs)
