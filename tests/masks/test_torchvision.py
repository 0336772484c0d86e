"""Test torchvision's networks with weights from a file, and messages if weights are not available."""

import dataclasses
import pickle
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision

from smix.data.sets import ImageSet
from smix.errors import MaskError, OptionError
from smix.files import sha256
from smix.masks import load_source
from smix.masks.sources import Segmentation
from tests.conftest import make_set
from tests.masks.stores import threshold_in_gap

PUBLISHED = "deeplabv3_mobilenet_v3_large"
ADDRESS = "https://download.pytorch.org/models/deeplabv3_mobilenet_v3_large-fc3c493d.pth"
PLACE = Path("checkpoints/deeplabv3_mobilenet_v3_large-fc3c493d.pth")
NETWORKS = [(PUBLISHED, True), (PUBLISHED, False), ("lraspp_mobilenet_v3_large", False)]


def network(name: str, auxiliary: bool) -> torch.nn.Module:
    """Return torchvision's model with reproducible random weights.

    Its normalisation layers have seen images: with the initial statistics most outputs would be the same for any image.
    """
    options = {"aux_loss": True} if auxiliary else {}
    with torch.random.fork_rng(devices=()), torch.no_grad():
        torch.manual_seed(0)
        model = torchvision.models.get_model(name, weights=None, weights_backbone=None, **options)
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 1.0
        model.train()(normalise(make_set(8, size=(64, 64), seed=1), np.arange(8)))
    return model.eval()


def normalise(data: ImageSet, index: np.ndarray) -> torch.Tensor:
    """Normalise images as documented for torchvision's networks."""
    images = torch.from_numpy(data.images[index]).movedim(-1, 1) / 255
    return torchvision.transforms.functional.normalize(images, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture(scope="module")
def weight_files(tmp_path_factory) -> dict[tuple[str, bool], Path]:
    """Write weight files with and without the auxiliary classifier, which the published ones have."""
    folder = tmp_path_factory.mktemp("weights")
    files = {key: folder / f"{key[0]}-{key[1]}.pth" for key in NETWORKS}
    for key, path in files.items():
        torch.save(network(*key).state_dict(), path)
    return files


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """Provide an empty cache of torch without network access, and a CPU that computes exactly as torchvision's own code."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def download(url: str, *args, **options) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    return tmp_path / "torch" / "hub"


def classes_agree(found: Segmentation, scores: torch.Tensor) -> bool:
    """Return whether classes agree except where the two best scores are nearly equal: channels-last sums are ordered differently."""
    best = scores.topk(2, 1).values
    return bool(((found.classes.long() == scores.argmax(1)) | (best[:, 0] - best[:, 1] < 1e-3)).all())


@pytest.mark.slow
@pytest.mark.parametrize("key", NETWORKS, ids=str)
def test_a_network_with_weights_from_a_file_gives_the_output_of_torchvision(key, weight_files):
    name, _ = key
    data, index = make_set(size=(32, 48)), np.array([5, 2])
    source = load_source(f"torchvision:{name}", weights=weight_files[key], input_size="own")
    found = source(data, index)
    with torch.inference_mode():
        scores = network(*key)(normalise(data, index))["out"]
    assert tuple(found.object.shape) == (2, 32, 48)
    assert len(scores.argmax(1).unique()) > 3
    assert classes_agree(found, scores)
    assert torch.allclose(found.object, 1 - scores.softmax(1)[:, 0], atol=1e-3)
    assert source.describe(make_set(4)) == {
        "name": f"torchvision:{name}",
        "sha256": sha256(weight_files[key]),
        "input_size": "own",
        "resize": "bicubic",
        "mean": [123.675, 116.28, 103.53],
        "std": [58.395, 57.12, 57.375],
        "output": "class_scores",
        "background": 0,
        "precision": "float32",
        "hflip_tta": False,
        "upscale": None,
        "objects": "all",
        "object_classes": None,
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "size"), [(None, [257, 257]), ("auto", [257, 257]), ("520", [520, 520]), ("own", "own")]
)
def test_images_are_resized_to_the_requested_size(weight_files, asked, size):
    source = load_source(f"torchvision:{PUBLISHED}", weights=weight_files[PUBLISHED, True], input_size=asked)
    assert source.describe(make_set(4))["input_size"] == size
    assert source.describe(make_set(4, size=(128, 200)))["input_size"] == ([520, 520] if size == [257, 257] else size)


def test_missing_weights_are_one_line_errors_with_file_address_and_path(home):
    with pytest.raises(MaskError) as caught:
        load_source(f"torchvision:{PUBLISHED}")
    assert str(caught.value) == (
        f"weights: {PLACE.name} cannot be downloaded (<urlopen error no route to host>); "
        f"download {ADDRESS} on another machine and copy it to {home / PLACE}, or pass a weights file with --weights"
    )


@pytest.mark.slow
def test_weights_at_that_path_are_used_without_a_download(home, weight_files):
    (home / PLACE).parent.mkdir(parents=True)
    (home / PLACE).write_bytes(weight_files[PUBLISHED, True].read_bytes())
    source = load_source(f"torchvision:{PUBLISHED}", input_size="own")
    assert source.describe(make_set(4))["sha256"] == sha256(weight_files[PUBLISHED, True])


@pytest.mark.slow
def test_a_download_is_checked_against_the_hash_in_its_name_and_kept(home, weight_files, monkeypatch):
    asked = []

    def download(url: str, place: str, hash_prefix: str) -> None:
        asked.append((url, hash_prefix))
        Path(place).write_bytes(weight_files[PUBLISHED, True].read_bytes())

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for _ in range(2):
        load_source(f"torchvision:{PUBLISHED}", input_size="own")
    assert asked == [(ADDRESS, "fc3c493d")]
    assert (home / PLACE).is_file()


def nothing(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("<html>404 Not Found</html>")


def a_list(path: Path) -> None:
    torch.save([1, 2, 3], path)


def a_tensor(path: Path) -> None:
    torch.save(torch.zeros(3), path)


def another_network(path: Path) -> None:
    torch.save({"weight": torch.zeros(3, 2), "bias": torch.zeros(3)}, path)


def other_classes(path: Path) -> None:
    with torch.random.fork_rng(devices=()):
        model = torchvision.models.get_model(PUBLISHED, weights=None, weights_backbone=None, num_classes=5)
    torch.save(model.state_dict(), path)


def a_whole_module(path: Path) -> None:
    with torch.random.fork_rng(devices=()):
        torch.save(torch.nn.Linear(2, 3), path)


def malicious_pickle(path: Path) -> None:
    """Write a pickle that would run a command if it were loaded."""

    class Command:
        def __reduce__(self) -> tuple:
            return Path.touch, (path.with_suffix(".ran"),)

    path.write_bytes(pickle.dumps(Command(), protocol=2))


WRONG = [nothing, text, a_list, a_tensor, another_network, other_classes, a_whole_module, malicious_pickle]


@pytest.mark.slow
@pytest.mark.parametrize("write", WRONG)
def test_a_file_of_other_weights_is_a_one_line_error_with_the_address_of_the_right_ones(tmp_path, write):
    path = tmp_path / "weights.pth"
    write(path)
    with pytest.raises(
        MaskError, match=rf"weights\.pth does not contain the weights of {PUBLISHED} .*; download"
    ) as caught:
        load_source(f"torchvision:{PUBLISHED}", weights=path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(ADDRESS)
    assert not path.with_suffix(".ran").exists()


def test_truncated_weights_are_refused(tmp_path, weight_files):
    path = tmp_path / "weights.pth"
    path.write_bytes(weight_files[PUBLISHED, True].read_bytes()[:-1000])
    with pytest.raises(MaskError, match="does not contain the weights of"):
        load_source(f"torchvision:{PUBLISHED}", weights=path)


def test_a_missing_weight_file_is_named(tmp_path):
    with pytest.raises(
        MaskError, match=r"weights: .*none\.pth cannot be used \(No such file or directory\); check the path"
    ):
        load_source(f"torchvision:{PUBLISHED}", weights=str(tmp_path / "none.pth"))


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("torchvision:deeplabv3_mobilenet_v3_larg", "deeplabv3_mobilenet_v3_large"),
        ("torchvision:fcn_resnet51", "fcn_resnet5"),
        ("torchvision:", "torchvision:MODEL"),
        ("carryed", "carried"),
        ("onnx:", "onnx:FILE"),
        ("onnx", "onnx:FILE"),
        ("", None),
        ("carried:masks", "carried"),
    ],
)
def test_an_unknown_source_is_refused_with_the_nearest_name_or_all_names(name, suggested):
    with pytest.raises(OptionError, match=f'did you mean "{suggested}' if suggested else "choose one of: "):
        load_source(name)


@pytest.mark.parametrize("name", ["carried", "onnx:net.onnx", "masks:folder", "transformers:net"])
def test_weights_are_refused_for_sources_without_such_an_option(name, weight_files):
    with pytest.raises(OptionError, match=rf"weights: the source {name} has no such option; omit --weights"):
        load_source(name, weights=weight_files[PUBLISHED, True])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deeplabv3_resnet50", "deeplabv3_resnet101", "fcn_resnet50", "fcn_resnet101"])
def test_every_network_of_torchvision_finds_an_object(tmp_path, name):
    model = network(name, False)
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    source = load_source(f"torchvision:{name}", weights=tmp_path / "weights.pth", input_size="64")
    data = make_set(4, size=(64, 64))
    found = source(data, np.arange(2))
    with torch.inference_mode():
        scores = model(normalise(data, np.arange(2)))["out"]
    assert found.object.shape == (2, 64, 64)
    assert len(scores.argmax(1).unique()) > 3
    assert classes_agree(found, scores)
    assert source.classes[7] == "cat"


@pytest.mark.slow
def test_masks_in_16_bits_are_nearly_the_same_and_recorded_in_the_manifest(weight_files, monkeypatch):
    data, name = make_set(size=(32, 48)), f"torchvision:{PUBLISHED}"
    whole = load_source(name, weights=weight_files[PUBLISHED, True], input_size="64")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    half = load_source(name, weights=weight_files[PUBLISHED, True], input_size="64")
    assert [source.describe(data)["precision"] for source in (whole, half)] == ["float32", "bfloat16"]
    one, other = (source(data, np.arange(8)) for source in (whole, half))
    assert not torch.equal(one.object, other.object)
    # A network with random weights is far less confident than a trained one.
    assert (one.object - other.object).abs().mean() < 0.15
    assert (one.mask() == other.mask()).float().mean() > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("abilities", [{}, {"avx512_bf16": True}], ids=["float32", "bfloat16"])
def test_threads_and_other_images_of_the_batch_change_a_mask_only_by_rounding(weight_files, monkeypatch, abilities):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities, raising=False)
    data = make_set(size=(32, 48))
    source = load_source(f"torchvision:{PUBLISHED}", weights=weight_files[PUBLISHED, True], input_size="64")
    together = source(data, np.arange(3))
    assert 0.05 < together.mask().float().mean() < 0.95
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            alone = [source(data, np.array([place])) for place in range(3)]
            other = torch.cat([one.mask() for one in alone]) != together.mask()
            assert other.float().mean() < 1e-4
            assert (torch.cat([one.object for one in alone]) - together.object).abs().mean() < 1e-4
    finally:
        torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2"])
def test_mask_rcnn_gives_the_union_of_its_instances_at_its_input_size(tmp_path, name):
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        sizes = {"min_size": 32, "max_size": 40}
        model = torchvision.models.get_model(name, weights=None, weights_backbone=None, **sizes).eval()
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    source = load_source(f"torchvision:{name}", weights=tmp_path / "weights.pth", input_size="own", score_threshold=0.0)
    data = make_set(8, size=(32, 40))
    with torch.inference_mode():
        expected = model(list(torch.from_numpy(data.array[:2]).movedim(-1, 1) / 255))
    found = source(data, np.arange(2))
    assert found.object.shape == (2, 32, 40)
    assert (found.classes != 0).equal(found.object > 0.5)
    assert source.describe(data)["mean"] == [0, 0, 0]
    assert source.describe(data)["output"] == "instances"
    scores = torch.cat([one["scores"] for one in expected])
    least = threshold_in_gap(scores)
    some = dataclasses.replace(source, score_threshold=least)(data, np.arange(2))
    for image, one in enumerate(expected):
        assert torch.allclose(found.object[image], one["masks"][:, 0].amax(0), atol=1e-3)
        sure = one["masks"][one["scores"] >= least, 0]
        union = sure.amax(0) if len(sure) else torch.zeros(32, 40)
        assert torch.allclose(some.object[image], union, atol=1e-3)
    assert 10 < (scores >= least).sum() < len(scores)


def test_mask_rcnn_receives_pixels_between_0_and_1_at_the_requested_size(tmp_path, monkeypatch):
    """The network finds one cat in the right half of its input, with the red value of the first pixel as confidence."""
    name, sizes = "maskrcnn_resnet50_fpn", []

    class Fake(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.transform = torchvision.models.detection.transform.GeneralizedRCNNTransform(
                800, 1333, [0.0] * 3, [1.0] * 3
            )

        def forward(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
            fed = self.transform(list(images))[0]
            sizes.append(fed.image_sizes)
            answers = []
            for image in fed.tensors:
                mask = torch.zeros(1, 1, *images.shape[2:])
                mask[..., images.shape[3] // 2 :] = 0.75
                answers.append({"masks": mask, "labels": torch.tensor([17]), "scores": image[0, 0, :1]})
            return answers

    monkeypatch.setattr(torchvision.models, "get_model", lambda *args, **options: Fake())
    torch.save({}, tmp_path / "weights.pth")
    data = make_set(8, size=(30, 50))
    data.images[0], data.images[1] = 153, 51
    source = load_source(f"torchvision:{name}", weights=tmp_path / "weights.pth", input_size="own", score_threshold=0.5)
    found = source(data, np.arange(2))
    assert sizes == [[(30, 50)] * 2]
    assert source.classes[16] == "cat"
    assert found.classes[0, 0].tolist() == [0] * 25 + [17] * 25
    assert found.object[0, 0, [0, 49]].tolist() == pytest.approx([0, 0.75])
    assert not found.mask()[1].any()
