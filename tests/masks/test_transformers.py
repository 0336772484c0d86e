"""Test models of transformers, tiny and with random weights, from folders."""

import dataclasses
import json

import huggingface_hub
import numpy as np
import pytest
import torch
import transformers

from smix.errors import MaskError
from smix.masks import build_masks, load_source
from tests.conftest import make_set
from tests.masks.stores import threshold_in_gap

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # otherwise it retries for twenty seconds
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)  # float32, the default of transformers


def random_model(build, *args):
    """Return a model with reproducible random weights."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return build(*args).eval()


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
    model = random_model(transformers.SegformerForSemanticSegmentation, config)
    return save(model, folder, **processor), model


def enlarge(logits, size=(32, 32)):
    """Enlarge scores to the size of the images, like the post-processing of transformers."""
    return torch.nn.functional.interpolate(logits, size, mode="bilinear", align_corners=False)


def normalise(data, mean=MEAN, std=STD):
    images = torch.from_numpy(data.array[:3]).movedim(-1, 1) / 255
    return (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


@pytest.mark.slow
def test_a_semantic_model_is_fed_by_its_processor_settings_and_read_by_class_name(tmp_path):
    folder, model = segformer(tmp_path, ["wall", "Background", "cat", "dog"])
    data = make_set(8, size=(32, 32))
    source = load_source(f"transformers:{folder}", input_size="own")
    found = source(data, np.arange(3))
    with torch.inference_mode():
        answer = model(pixel_values=normalise(data))
    scores = enlarge(answer.logits)
    theirs = transformers.SegformerImageProcessor().post_process_semantic_segmentation(answer, [(32, 32)] * 3)
    assert answer.logits.shape[2:] == (16, 16)
    assert len(scores.argmax(1).unique()) > 2
    assert torch.equal(torch.stack(theirs), scores.argmax(1))
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
    store = build_masks(data, source, tmp_path / "store", refine="none", save_classes=True)
    assert store.manifest.classes == ("wall", "cat", "dog")


def test_models_without_background_require_object_classes(tmp_path):
    folder, _ = segformer(tmp_path, ["wall", "cat"])
    with pytest.raises(
        MaskError, match="the network has no background class; list the classes that are objects with --classes"
    ):
        load_source(f"transformers:{folder}")
    load_source(f"transformers:{folder}", classes=["cat"])


def test_one_channel_is_a_salient_object_and_bgr_and_unscaled_input_are_supported(tmp_path):
    changes = {"do_normalize": False, "do_flip_channel_order": True, "image_processor_type": "MobileViTImageProcessor"}
    folder, model = segformer(tmp_path, ["object"], **changes)
    data = make_set(8, size=(32, 32))
    found = load_source(f"transformers:{folder}", input_size="own")(data, np.arange(3))
    with torch.inference_mode():
        logits = model(pixel_values=normalise(data, (0, 0, 0), (1, 1, 1)).flip(1)).logits
    assert found.classes is None
    assert torch.allclose(found.object, enlarge(logits)[:, 0].sigmoid(), atol=1e-5)


STAGES = ["stage1", "stage2", "stage3", "stage4"]
NAMES = {"id2label": {0: "cat", 1: "dog"}, "label2id": {"cat": 0, "dog": 1}}


def backbone():
    return transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=STAGES,
    )


def detr(**changes):
    given = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    given |= {"encoder_attention_heads": 8, "decoder_attention_heads": 8, "num_queries": 6, **changes}
    return transformers.DetrConfig(**given)


def maskformer():
    return transformers.MaskFormerForInstanceSegmentation(
        transformers.MaskFormerConfig(
            fpn_feature_size=32,
            mask_feature_size=32,
            backbone_config=backbone(),
            decoder_config=detr(),
            **NAMES,
        )
    )


def mask2former():
    swin = transformers.SwinConfig(
        image_size=32, embed_dim=8, depths=[1] * 4, num_heads=[1, 1, 2, 2], window_size=4, out_features=STAGES
    )
    return transformers.Mask2FormerForUniversalSegmentation(
        transformers.Mask2FormerConfig(
            backbone_config=swin,
            feature_size=32,
            mask_feature_size=32,
            hidden_dim=32,
            encoder_layers=1,
            decoder_layers=2,
            encoder_feedforward_dim=16,
            dim_feedforward=16,
            num_attention_heads=4,
            num_queries=6,
            **NAMES,
        )
    )


def detr_of_masks():
    return transformers.DetrForSegmentation(
        detr(use_timm_backbone=False, backbone=None, backbone_config=backbone(), **NAMES)
    )


def eomt():
    return transformers.EomtForUniversalSegmentation(
        transformers.EomtConfig(
            image_size=64,
            patch_size=16,
            hidden_size=16,
            num_hidden_layers=3,
            num_attention_heads=2,
            num_blocks=1,
            num_queries=6,
            num_upscale_blocks=1,
            **NAMES,
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize("build", [maskformer, mask2former, detr_of_masks, eomt])
def test_a_query_model_gives_the_union_of_its_instances(tmp_path, build):
    model = random_model(build)
    folder = save(model, tmp_path)
    data = make_set(8, size=(64, 64))
    with torch.inference_mode(), torch.random.fork_rng(devices=()):
        answer = model(pixel_values=normalise(data))
    classes, masks = (
        (answer.logits, answer.pred_masks)
        if build is detr_of_masks
        else (answer.class_queries_logits, answer.masks_queries_logits)
    )
    sure, labels = classes.softmax(-1)[..., :-1].max(-1)
    assert masks.shape[2] < 64
    least = threshold_in_gap(sure[:3])
    masks = enlarge(masks, (64, 64)).sigmoid()
    source = load_source(f"transformers:{folder}", input_size=None if build is eomt else "own", score_threshold=least)
    assert source.describe(data)["score_threshold"] == least
    for keep, label in (((), None), (("dog",), 1)):
        found = dataclasses.replace(source, keep=keep)(data, np.arange(3))
        for image in range(3):
            chosen = sure[image] >= least if label is None else (sure[image] >= least) & (labels[image] == label)
            expected = masks[image][chosen].amax(0) if chosen.any() else torch.zeros(64, 64)
            assert torch.allclose(found.object[image], expected, atol=1e-4)


def test_a_model_with_a_fixed_size_receives_that_size(tmp_path):
    folder = save(random_model(eomt), tmp_path)
    assert load_source(f"transformers:{folder}").describe(make_set(4))["input_size"] == [64, 64]
    with pytest.raises(MaskError, match=r"the network only accepts images of 64x64 pixels, got 96"):
        load_source(f"transformers:{folder}", input_size="96")


def test_a_size_unsupported_by_a_model_is_a_one_line_error(tmp_path):
    config = transformers.BeitConfig(image_size=64, hidden_size=16, num_hidden_layers=4, num_attention_heads=2)
    config.update({"intermediate_size": 16, "out_indices": [1, 2, 3, 4], "pool_scales": [1], **NAMES})
    folder = save(random_model(transformers.BeitForSemanticSegmentation, config), tmp_path)
    source = load_source(f"transformers:{folder}", input_size="own", classes=["cat"])
    with pytest.raises(MaskError, match=r"the network does not accept images of 10x14 pixels \(.*\); choose another"):
        source(make_set(4), np.arange(1))


def test_weights_stored_in_16_bits_are_computed_in_32_bits(tmp_path):
    folder, model = segformer(tmp_path, ["background", "cat", "dog"])
    save(model.half(), folder)
    data = make_set(8, size=(32, 32))
    source = load_source(f"transformers:{folder}", input_size="own")
    assert source.describe(data)["precision"] == "float32"
    with torch.inference_mode():
        scores = enlarge(model.float()(pixel_values=normalise(data)).logits)
    assert torch.allclose(source(data, np.arange(3)).object, 1 - scores.softmax(1)[:, 0], atol=1e-5)


@pytest.mark.parametrize("what", ["nothing", "a classifier", "one of films", "no weights"])
def test_a_model_that_is_not_for_segmentation_is_a_one_line_error(tmp_path, what):
    if what == "a classifier":
        config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic")
        save(random_model(transformers.ResNetForImageClassification, config), tmp_path)
    elif what == "one of films":
        if not hasattr(transformers, "VideomtConfig"):
            pytest.skip("this transformers has no segmentation model of films")
        config = transformers.VideomtConfig(image_size=64, hidden_size=16, num_hidden_layers=3, num_attention_heads=2)
        save(random_model(transformers.VideomtForUniversalSegmentation, config), tmp_path)
    elif what == "no weights":
        folder, _ = segformer(tmp_path, ["background", "cat"])
        (folder / "model.safetensors").unlink()
    with pytest.raises(
        MaskError, match=r"transformers: .* is neither the folder nor the name of a usable segmentation model \("
    ) as caught:
        load_source(f"transformers:{tmp_path}")
    assert "\n" not in str(caught.value)


def test_a_failed_download_is_reported_with_advice():
    with pytest.raises(
        MaskError, match="if this machine is offline, download the model on another one and pass its folder"
    ):
        load_source("transformers:nobody/nothing")
