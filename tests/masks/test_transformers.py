"""Models of transformers, tiny and with random weights, from folders."""

import json

import huggingface_hub
import numpy as np
import pytest
import torch
import transformers

from smix.errors import MaskError
from smix.masks import build_masks, load_source
from tests.conftest import make_set

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # else it tries for twenty seconds
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", dict, raising=False
    )  # float32, as transformers computes by itself


def save(model, folder, **processor):
    model.save_pretrained(folder)
    given = {
        "image_processor_type": "SegformerImageProcessor",
        "image_mean": MEAN,
        "image_std": STD,
        "rescale_factor": 1 / 255,
    }
    given |= {"do_rescale": True, "do_normalize": True, "size": {"height": 32, "width": 32}, **processor}
    (folder / "preprocessor_config.json").write_text(json.dumps(given))
    return folder


def segformer(folder, names, **processor):
    config = transformers.SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 16],
        patch_sizes=[3, 3],
        strides=[2, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=16,
        id2label=dict(enumerate(names)),
        label2id={name: place for place, name in enumerate(names)},
    )
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = transformers.SegformerForSemanticSegmentation(config).eval()
    return save(model, folder, **processor), model


def fed(data, mean=MEAN, std=STD):
    images = torch.from_numpy(data.array[:3]).movedim(-1, 1) / 255
    return (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def test_a_semantic_model_is_fed_as_its_processor_says_and_read_by_its_names(tmp_path):
    folder, model = segformer(tmp_path, ["wall", "Background", "cat", "dog"])
    data = make_set(8, size=(32, 32))
    source = load_source(f"transformers:{folder}", input_size="own")
    found = source(data, np.arange(3))
    with torch.inference_mode():
        scores = model(pixel_values=fed(data)).logits
    assert torch.equal(found.mask(), scores.argmax(1) != 1)
    assert torch.allclose(found.object, 1 - scores.softmax(1)[:, 1], atol=1e-5)
    described = source.describe(data)
    assert described["mean"] == pytest.approx([102, 127.5, 153])
    assert described["std"] == pytest.approx([51, 63.75, 76.5])
    assert described["background"] == 1
    assert source.classes == ("wall", "cat", "dog")
    only = load_source(f"transformers:{folder}", input_size="own", classes=["cat"])(data, np.arange(3))
    assert torch.equal(only.mask(), scores.argmax(1) == 2)
    assert load_source(f"transformers:{folder}").describe(data)["input_size"] == [32, 32]
    store = build_masks(data, source, tmp_path / "store", refine="none", keep_classes=True)
    assert store.manifest.classes == ("wall", "cat", "dog")


def test_without_a_background_the_objects_must_be_named(tmp_path):
    folder, _ = segformer(tmp_path, ["wall", "cat"])
    with pytest.raises(
        MaskError, match="expected --classes, the classes that are objects, since it knows no background"
    ):
        load_source(f"transformers:{folder}")
    load_source(f"transformers:{folder}", classes=["cat"])


def test_one_channel_is_a_salient_object_and_bgr_and_values_as_they_are_are_understood(tmp_path):
    changes = {"do_normalize": False, "do_flip_channel_order": True, "image_processor_type": "MobileViTImageProcessor"}
    folder, model = segformer(tmp_path, ["object"], **changes)
    data = make_set(8, size=(32, 32))
    found = load_source(f"transformers:{folder}", input_size="own")(data, np.arange(3))
    with torch.inference_mode():
        logits = model(pixel_values=fed(data, (0, 0, 0), (1, 1, 1)).flip(1)).logits
    assert found.classes is None
    assert torch.allclose(found.object, logits[:, 0].sigmoid(), atol=1e-5)


def test_a_model_of_queries_gives_the_union_of_its_instances(tmp_path):
    config = transformers.MaskFormerConfig(
        fpn_feature_size=32,
        mask_feature_size=32,
        backbone_config=transformers.ResNetConfig(
            embedding_size=8,
            hidden_sizes=[8, 8, 16, 16],
            depths=[1, 1, 1, 1],
            layer_type="basic",
            out_features=["stage1", "stage2", "stage3", "stage4"],
        ),
        decoder_config=transformers.DetrConfig(
            d_model=32,
            encoder_layers=1,
            decoder_layers=1,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            num_queries=6,
        ),
        id2label={0: "cat", 1: "dog"},
        label2id={"cat": 0, "dog": 1},
    )
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = transformers.MaskFormerForInstanceSegmentation(config).eval()
    folder = save(model, tmp_path)
    data = make_set(8, size=(64, 64))
    with torch.inference_mode():
        answer = model(pixel_values=fed(data))
    sure, labels = answer.class_queries_logits.softmax(-1)[..., :-1].max(-1)
    least = sure.median().item()
    masks = answer.masks_queries_logits.sigmoid()
    for name, label in ((None, None), ("dog", 1)):
        options = {} if name is None else {"classes": [name]}
        source = load_source(f"transformers:{folder}", input_size="own", least_score=least, **options)
        found = source(data, np.arange(3))
        for image in range(3):
            chosen = sure[image] >= least if label is None else (sure[image] >= least) & (labels[image] == label)
            expected = masks[image][chosen].amax(0) if chosen.any() else torch.zeros(masks.shape[2:])
            assert torch.allclose(found.object[image], expected, atol=1e-4)
        assert source.describe(data)["least_score"] == least


@pytest.mark.parametrize("what", ["nothing", "a classifier", "no weights"])
def test_what_is_no_segmentation_model_is_one_line(tmp_path, what):
    if what == "a classifier":
        config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic")
        with torch.random.fork_rng(devices=()):
            save(transformers.ResNetForImageClassification(config), tmp_path)
    elif what == "no weights":
        folder, _ = segformer(tmp_path, ["background", "cat"])
        (folder / "model.safetensors").unlink()
    with pytest.raises(
        MaskError, match=r"transformers: expected a segmentation model in the folder, or of the name, .*, got "
    ) as caught:
        load_source(f"transformers:{tmp_path}")
    assert "\n" not in str(caught.value)


def test_a_name_that_cannot_be_downloaded_says_what_to_do():
    with pytest.raises(MaskError, match="without a connection, download it elsewhere and give its folder"):
        load_source("transformers:nobody/nothing")
