"""Test fitting: it learns, resumes to the same weights, follows a teacher, and calibrates the score."""

import json

import numpy as np
import pytest
import torch

from smix.errors import RunError
from smix.models.segmenter import STATISTICS, Segmenter
from smix.segmenter.crops import Framing
from smix.segmenter.fit import FitConfig, TeacherFeatures, fit, iou, learning_rate, predict, validation_crops
from smix.segmenter.score import fit_score, segment_crops
from tests.segmenter.test_crops import squares

QUICK = FitConfig(
    steps=24,
    pixels_per_step=8 * 16 * 16,
    sizes={16: 0.8, 24: 0.2},
    warmup_steps=2,
    ema_decay=0.5,
    validate_every=8,
    learning_rate=5e-3,
    framing=Framing(),
)


def small() -> Segmenter:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return Segmenter((8, 8, 16, 16), (0, 0, 0, 0))


def test_a_red_square_is_learnt(tmp_path):
    data = squares()
    model = fit(data, np.arange(30), np.arange(30, 40), QUICK, tmp_path, small())
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [8, 16, 24]
    crops = validation_crops(data, np.arange(30, 40), 32)
    assert iou(predict(model, crops), crops).mean() > 0.7
    assert lines[-1]["iou_32"] > 0.7


def test_an_interrupted_fit_resumes_to_the_same_weights(tmp_path):
    data, rows = squares(), np.arange(40)
    constant = FitConfig(**{**vars(QUICK), "cooldown": 0.0})
    first = FitConfig(**{**vars(constant), "steps": 8})
    whole = fit(data, rows, rows[:4], constant, tmp_path / "whole", small())
    fit(data, rows, rows[:4], first, tmp_path / "cut", small())
    resumed = fit(data, rows, rows[:4], constant, tmp_path / "cut", small())
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_the_encoder_follows_a_teacher(tmp_path):
    data, rows = squares(), np.arange(40)
    red = np.float16(data.planes[:, :1, ::8, ::8].transpose(0, 2, 3, 1) / 255)
    fit(data, rows, rows[:4], QUICK, tmp_path, small(), [TeacherFeatures(red, 2)])
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert 0 < lines[-1]["feature_loss"] < lines[0]["feature_loss"]


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    data, rows = squares(), np.arange(40)
    fit(data, rows, rows[:4], FitConfig(**{**vars(QUICK), "steps": 1}), tmp_path, small())
    with pytest.raises(
        RunError, match=r"expected a checkpoint of a fit with the same settings .*; choose another folder"
    ):
        fit(data, rows, rows[:4], QUICK, tmp_path)


def test_the_learning_rate_rises_stays_and_falls():
    config = FitConfig(steps=1000, cooldown=0.2, warmup_steps=100, learning_rate=1.0)
    rates = [learning_rate(step, config) for step in range(1000)]
    assert rates[0] == 0.01
    assert rates[100:800] == [1.0] * 700
    assert rates[799:] == sorted(rates[799:], reverse=True)
    assert rates[-1] < 0.01


def test_the_score_separates_good_masks_from_bad_ones(tmp_path):
    data = squares()
    model = fit(data, np.arange(30), np.arange(30, 40), QUICK, tmp_path, small())
    score = fit_score(model, data, np.arange(40), (16,))
    assert score.weight.shape == (STATISTICS,)
    crops = validation_crops(data, np.arange(40), 32)
    maps, views = segment_crops(model, crops)
    found = score(views)
    good = iou(maps, crops) > 0.5
    assert found.mean() == pytest.approx(good.mean(), abs=0.25)


def test_the_score_of_masks_that_are_all_bad_is_constant_and_low():
    model = small().eval()
    torch.nn.init.constant_(model.heads[0].bias, -50.0)
    score = fit_score(model, squares(), np.arange(40), (16,))
    assert score.weight.abs().max() == 0
    assert score.bias < -3


def test_iou_counts_known_pixels_only():
    crops = validation_crops(squares(), np.arange(4), 32)
    truth = crops.objects.numpy()
    assert iou(truth, crops).tolist() == [1] * 4
    assert iou(1 - truth, crops).max() < 0.01
    outside = np.where(crops.known.numpy(), truth, 1 - truth)
    assert iou(outside, crops).tolist() == [1] * 4
