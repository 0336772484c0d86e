"""Fit a segmenter to photographs with masks, with checkpoints."""

import copy
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float16, Float32, Int
from torch import Tensor, nn

from smix.device import best_precision
from smix.errors import RunError
from smix.models.segmenter import Segmenter, SegmenterOutput, normalise
from smix.segmenter.augment import augment
from smix.segmenter.crops import Crops, Frames, Framing, Photographs, cut, draw_frames, sampling_grid

CHECKPOINT = "checkpoint.pt"
VALIDATION_SIZES = (32, 48, 64)
"""Sizes of the crops that are measured at each checkpoint."""
STAGE_WEIGHT = 0.3
"""Weight of the loss at each coarser stage."""


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Settings of a fit."""

    steps: int = 20_000
    """Number of optimiser steps."""
    cooldown: float = 0.3
    """Share of the steps at the end during which the learning rate falls; before, it is constant. A finished fit with a cooldown
    of 0 can be resumed with more steps."""
    pixels_per_step: int = 64 * 32 * 32
    """Number of pixels in the crops of a step."""
    sizes: Mapping[int, float] = field(default_factory=lambda: {32: 0.55, 40: 0.06, 48: 0.10, 64: 0.24, 96: 0.05})
    """Probability of each size of crops, in pixels."""
    blur: float = 0.3
    """Share of crops that are shrunk and enlarged again, which prepares for images smaller than the size that they are segmented at."""
    learning_rate: float = 2.5e-3
    warmup_steps: int = 200
    weight_decay: float = 0.05
    ema_decay: float = 0.998
    """Decay of the exponential moving average of the weights, which is the result."""
    dice_weight: float = 1.0
    """Weight of the Dice loss next to that of the binary cross-entropy, which is 1."""
    feature_weight: float = 0.5
    """Weight of the loss of features, if there are features of another network."""
    clip_norm: float = 2.0
    """Maximum norm of the gradient."""
    validate_every: int = 250
    """Number of steps between checkpoints."""
    seed: int = 0
    framing: Framing = field(default_factory=Framing)


@dataclass(frozen=True, eq=False)
class TeacherFeatures:
    """Features of another network on whole photographs, which a stage of the encoder learns to predict at the place of each crop."""

    values: Float16[np.ndarray, "N h w C"]
    stage: int
    """Stage of the encoder."""


@dataclass(frozen=True, eq=False)
class _State:
    """Everything that a fit changes."""

    model: Segmenter
    average: Segmenter
    projections: nn.ModuleList
    optimiser: torch.optim.Optimizer


def fit(
    data: Photographs,
    rows: Int[np.ndarray, "n"],
    validation_rows: Int[np.ndarray, "_"],
    config: FitConfig,
    folder: Path,
    model: Segmenter | None = None,
    teachers: Sequence[TeacherFeatures] = (),
) -> Segmenter:
    """Fit a segmenter. A fit that was interrupted resumes from its last checkpoint.

    Where torch.distributed is initialised, all workers average their gradients.

    Args:
        data: Photographs with masks.
        rows: Photographs to fit to.
        validation_rows: Photographs that are only measured.
        config: Settings.
        folder: Folder of the checkpoint, and of `history.jsonl` with the mean IoU on the validation photographs.
        model: Segmenter to start from. None: a new one.
        teachers: Features of other networks to learn next to the masks.

    Returns:
        The segmenter with averaged weights, in evaluation mode.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rank = dist.get_rank() if dist.is_initialized() else 0
    state = _new_state(config, model, teachers)
    step = _resume(folder / CHECKPOINT, state)
    validation = [validation_crops(data, validation_rows, size) for size in VALIDATION_SIZES]
    numbers, chances = np.array(list(config.sizes)), np.array(list(config.sizes.values()))
    start, losses = time.monotonic(), [0.0, 0.0]
    while step < config.steps:
        for group in state.optimiser.param_groups:
            group["lr"] = learning_rate(step, config)
        # Each step has its own random numbers, so that a checkpoint needs to store none. The size is the same in all workers.
        size = int(np.random.default_rng((config.seed, step)).choice(numbers, p=chances / chances.sum()))
        rng = np.random.default_rng((config.seed, step, 1 + rank))
        drawn = rng.choice(rows, max(8, config.pixels_per_step // size**2), replace=len(rows) < 1024)
        frames = draw_frames(data, drawn, rng, config.framing)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        loss = _step(state, cut(data, frames, size), frames, data, teachers, config, generator)
        losses = [total + value for total, value in zip(losses, loss, strict=True)]
        step += 1
        if rank == 0 and (step % config.validate_every == 0 or step == config.steps):
            measured = [float(iou(predict(state.average, crops), crops).mean()) for crops in validation]
            done = (step - 1) % config.validate_every + 1
            line: dict[str, float] = {
                "step": step,
                "seconds": round(time.monotonic() - start),
                "cpu_seconds": round(time.process_time()),
            }
            line |= {"loss": round(losses[0] / done, 4), "feature_loss": round(losses[1] / done, 4)}
            line |= {f"iou_{size}": round(value, 4) for size, value in zip(VALIDATION_SIZES, measured, strict=True)}
            _save(folder, state, step, line)
            losses = [0.0, 0.0]
    return state.average.eval()


def learning_rate(step: int, config: FitConfig) -> float:
    """Return the learning rate: a linear warmup, a constant, and a fall by 1 - sqrt (Hägele et al., 2024)."""
    warm = min(1.0, (step + 1) / config.warmup_steps)
    fall = round(config.steps * (1 - config.cooldown))
    if step < fall:
        return config.learning_rate * warm
    return config.learning_rate * warm * max(0.005, 1 - math.sqrt((step - fall) / max(1, config.steps - fall)))


def _new_state(config: FitConfig, model: Segmenter | None, teachers: Sequence[TeacherFeatures]) -> _State:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(config.seed)
        model = (copy.deepcopy(model) if model is not None else Segmenter()).to(memory_format=torch.channels_last)
        projections = nn.ModuleList(
            nn.Conv2d(model.widths[teacher.stage], teacher.values.shape[-1], 1) for teacher in teachers
        )
    average = copy.deepcopy(model).requires_grad_(False)
    parameters = [*model.parameters(), *projections.parameters()]
    groups = [
        {"params": [value for value in parameters if value.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [value for value in parameters if value.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99))
    return _State(model, average, projections, optimiser)


def _step(
    state: _State,
    crops: Crops,
    frames: Frames,
    data: Photographs,
    teachers: Sequence[TeacherFeatures],
    config: FitConfig,
    generator: torch.Generator,
) -> tuple[float, float]:
    state.model.train()
    images = normalise(augment(crops.images, generator, config.blur) * 255)
    with autocast():
        output = state.model.all_stages(images)
        predicted = [
            project(output.features[teacher.stage])
            for project, teacher in zip(state.projections, teachers, strict=True)
        ]
    mask_loss = segmentation_loss(output, crops, config.dice_weight)
    feature_loss = torch.zeros(())
    for features, teacher in zip(predicted, teachers, strict=True):
        feature_loss = feature_loss + F.smooth_l1_loss(features.float(), _aligned(teacher, frames, features, data))
    loss = mask_loss + config.feature_weight * feature_loss
    state.optimiser.zero_grad()
    loss.backward()
    _average_gradients(state)
    nn.utils.clip_grad_norm_(state.model.parameters(), config.clip_norm)
    state.optimiser.step()
    _update_average(state, config.ema_decay)
    return mask_loss.item(), feature_loss.item()


def _aligned(teacher: TeacherFeatures, frames: Frames, features: Tensor, data: Photographs) -> Float[Tensor, "B C h w"]:
    """Return the features of the teacher at the place of each crop."""
    values = torch.from_numpy(np.ascontiguousarray(teacher.values[frames.rows])).movedim(-1, 1).float()
    grid = sampling_grid(frames, features.shape[-1], data.size)
    return F.grid_sample(values, grid, padding_mode="reflection", align_corners=False)


def segmentation_loss(output: SegmenterOutput, crops: Crops, dice_weight: float) -> Float[Tensor, ""]:
    """Return the binary cross-entropy and the Dice loss at all stages, of the pixels whose mask is known."""
    objects, known = crops.objects[:, None], crops.known[:, None].float()
    total = torch.zeros(())
    for stage, logits in enumerate(output.logits):
        if stage:
            objects, known = F.avg_pool2d(objects, 2), F.avg_pool2d(known, 2)
        logits = logits.float()
        entropy = (F.binary_cross_entropy_with_logits(logits, objects, reduction="none") * known).sum() / known.sum()
        found = logits.sigmoid() * known
        both, either = (found * objects).sum((1, 2, 3)), (found + objects * known).sum((1, 2, 3))
        dice = 1 - (2 * both + 4) / (either + 4)
        total = total + (STAGE_WEIGHT if stage else 1.0) * (entropy + dice_weight * dice.mean())
    return total


def _average_gradients(state: _State) -> None:
    """Average the gradients over all workers. DistributedDataParallel would need one forward method for masks and features."""
    if dist.is_initialized():
        gradients = [
            value.grad
            for value in (*state.model.parameters(), *state.projections.parameters())
            if value.grad is not None
        ]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))


@torch.no_grad()
def _update_average(state: _State, decay: float) -> None:
    for average, value in zip(state.average.state_dict().values(), state.model.state_dict().values(), strict=True):
        if average.dtype.is_floating_point:
            average.lerp_(value, 1 - decay)
        else:
            average.copy_(value)


def autocast() -> torch.autocast:
    """Return a context of 16 bits where the CPU computes faster with them."""
    precision = best_precision(torch.device("cpu"))
    return torch.autocast("cpu", getattr(torch, precision), enabled=precision != "float32")


def validation_crops(data: Photographs, rows: Int[np.ndarray, "n"], size: int) -> Crops:
    """Return one crop per photograph, the same in each call; the frame depends on nothing but the index of the photograph."""
    frames = [
        draw_frames(data, rows[place : place + 1], np.random.default_rng(int(row))) for place, row in enumerate(rows)
    ]
    return cut(data, Frames(np.asarray(rows), np.concatenate([frame.maps for frame in frames])), size)


@torch.inference_mode()
def predict(model: Segmenter, crops: Crops, hflip_tta: bool = True) -> Float32[np.ndarray, "B s s"]:
    """Return the probability of the object in each pixel.

    Args:
        model: The segmenter.
        crops: The crops.
        hflip_tta: Average over each image and its mirror image.
    """
    model.eval()
    maps = []
    for images in crops.images.split(64):
        with autocast():
            views = [model(normalise(images * 255))]
            if hflip_tta:
                views.append(model(normalise(images.flip(-1) * 255)).flip(-1))
        maps.append(torch.stack([view.float().sigmoid() for view in views]).mean(0)[:, 0])
    return torch.cat(maps).numpy()


def iou(maps: Float32[np.ndarray, "B s s"], crops: Crops) -> Float[np.ndarray, "B"]:
    """Return the IoU of each mask with the true one, over the pixels that are known; 1 if both are empty."""
    found: Bool[np.ndarray, "B s s"] = maps > 0.5
    truth, known = crops.objects.numpy() > 0.5, crops.known.numpy()
    both, either = (found & truth & known).sum((1, 2)), ((found | truth) & known).sum((1, 2))
    return np.where(either == 0, 1.0, both / np.maximum(either, 1))


def _resume(path: Path, state: _State) -> int:
    """Load the checkpoint, if there is one, and return its step."""
    if not path.is_file():
        return 0
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        state.model.load_state_dict(saved["model"])
        state.average.load_state_dict(saved["average"])
        state.projections.load_state_dict(saved["projections"])
        state.optimiser.load_state_dict(saved["optimiser"])
    except (RuntimeError, KeyError, ValueError) as error:
        raise RunError(
            f"{path}: expected a checkpoint of a fit with the same settings ({str(error).splitlines()[0]}); "
            "choose another folder"
        ) from None
    return int(saved["step"])


def _save(folder: Path, state: _State, step: int, line: Mapping[str, float]) -> None:
    saved = {
        "model": state.model.state_dict(),
        "average": state.average.state_dict(),
        "projections": state.projections.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "step": step,
    }
    partial = folder / f"{CHECKPOINT}.partial"
    torch.save(saved, partial)
    partial.replace(folder / CHECKPOINT)
    with (folder / "history.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def settings(config: FitConfig) -> str:
    """Return the settings as JSON, for the metadata of the weights."""
    return json.dumps(asdict(config), sort_keys=True)
