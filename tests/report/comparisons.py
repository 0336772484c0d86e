"""Synthetic comparisons: runs, predictions and evaluations."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from smix.data.sets import ImageSet
from smix.evaluation.records import Attacked, Corrupted, Evaluation, ObjectAccuracies
from smix.evaluation.scores import Scores, compute_scores
from smix.plots.style import styles
from smix.report.comparison import AccuracySummary, Comparison, ReportAssets, prepare, summarise
from smix.report.masks import JudgedMasks
from smix.training.records import Run
from smix.training.samples import Samples
from tests.report.runs import made_runs

METHODS = (
    "vanilla",
    "mixup",
    "cutmix",
    "fmix",
    "smix",
    "smix(alpha=0.7,labels=coverage)+fmix",
    "stochasticmixup",
    "cutout",
    "resizemix(alpha=0.2)",
    "hmix",
    "gmix",
    "saliencymix",
    "objectpaste(scale=0.5:1.0,overlap=avoid)",
)
"""Thirteen, with the longest names that are seen."""


def made_scores(
    seed: int = 0, samples: int = 120, classes: int = 4, skill: float = 2.0, validation: bool = False
) -> Scores:
    """Return the scores of a network that is right more often the higher its skill."""
    rng = np.random.default_rng(seed)
    labels = torch.from_numpy(np.arange(samples) % classes)
    logits = torch.from_numpy(rng.normal(0, 1.5, (samples, classes)))
    logits[torch.arange(samples), labels] += skill
    return compute_scores(logits, labels, (logits, labels) if validation else None)


def compared(
    accuracies: dict[str, list[float | None]],
    classes: Sequence[str] = ("a", "b"),
    predictions: dict[Path, Scores] | None = None,
    evaluations: dict[Path, list[Evaluation]] | None = None,
    samples: dict[str, Samples] | None = None,
    masked: Sequence[str] = (),
) -> Comparison:
    """Return the comparison of runs with these test accuracies, `accuracies[method][seed]`; None: not finished."""
    runs = [_with(run, classes, masked) for run in made_runs(accuracies)]
    return prepare("made", Path("runs"), runs, (), predictions, evaluations, samples)


def with_runs(comparison: Comparison, runs: Sequence[Run]) -> Comparison:
    """Return the comparison of other runs, without predictions."""
    return prepare(comparison.name, comparison.folder, runs)


def made_summary(accuracies: dict[str, list[float | None]]) -> AccuracySummary:
    """Return the summary of runs with these test accuracies, `accuracies[method][seed]`; None: not finished."""
    return summarise(made_runs(accuracies))


def assets_of(
    methods: Sequence[str] = (), images: ImageSet | None = None, masks: JudgedMasks | None = None
) -> ReportAssets:
    """Return assets with the styles of these methods; by default those of all `METHODS`."""
    return ReportAssets(styles(methods or METHODS), images, masks)


PIXEL = np.zeros((1, 1, 1, 3), np.uint8)


class _WithShares(JudgedMasks):
    shares: Mapping[str, float]

    @property
    def class_shares(self) -> dict[str, float]:
        return dict(self.shares)


def judged(shares: Mapping[str, float], seconds: float = 0.0) -> JudgedMasks:
    """Return judged masks whose classes have these shares of valid masks, in percent; no mask is stored."""
    none, data = (
        np.zeros(0, np.float32),
        ImageSet(PIXEL, np.zeros(1, np.int64), ("a",), name="made", split="train"),
    )
    masks = _WithShares("made", data, np.zeros((0, 1, 1), bool), np.zeros(0, np.int64), none, none, {}, seconds)
    object.__setattr__(masks, "shares", shares)
    return masks


def _with(run: Run, classes: Sequence[str], masked: Sequence[str]) -> Run:
    masks = {"fingerprint": "0"} if run.config.method in masked else None
    return replace(
        run, provenance={**run.provenance, "data": {**run.provenance["data"], "classes": list(classes)}, "masks": masks}
    )


def place(method: str, seed: int) -> Path:
    """Return the folder of a run."""
    return Path("runs") / f"{method}-{seed}"


def made_comparison(
    methods: int = 3, seeds: int = 2, classes: int | Sequence[str] = 4, samples: int = 120, masked: Sequence[str] = ()
) -> Comparison:
    """Return a comparison of the first of `METHODS`, with predictions and evaluations of all their runs."""
    rng = np.random.default_rng(methods)
    names = [f"class {n}" for n in range(classes)] if isinstance(classes, int) else list(classes)
    chosen = METHODS[:methods]
    predictions, evaluations = {}, {}
    for n, method in enumerate(chosen):
        for seed in range(seeds):
            run = place(method, seed)
            predictions[run] = made_scores(100 * n + seed, samples, len(names), 2 + 0.05 * n)
            evaluations[run] = [made_evaluation(0.6 + 0.02 * n + 0.01 * seed)]
    accuracies = {method: [float(one) for one in rng.uniform(0.5, 0.6, seeds)] for method in chosen}
    return compared(accuracies, names, predictions, evaluations, masked=masked)


CORRUPTED = {
    "gaussian_noise": 0.6,
    "shot_noise": 0.65,
    "impulse_noise": 0.55,
    "defocus_blur": 0.8,
    "glass_blur": 0.5,
    "motion_blur": 0.7,
    "zoom_blur": 0.72,
    "snow": 0.75,
    "frost": 0.7,
    "fog": 0.85,
    "brightness": 0.95,
    "contrast": 0.75,
    "elastic_transform": 0.8,
    "pixelate": 0.78,
    "jpeg_compression": 0.77,
}
"""Share of the clean accuracy that is left at severity 1; each further one takes a tenth of it."""


def made_evaluation(clean: float = 0.8, suite: str = "own corruptions, CIFAR-C severities") -> Evaluation:
    """Return an evaluation with all suites."""
    left = {name: tuple(clean * share * 0.9**n for n in range(5)) for name, share in CORRUPTED.items()}
    return Evaluation(
        data="made",
        fingerprint="0",
        images=100,
        weights="0",
        numbers={"accuracy": clean},
        corruptions=(Corrupted(suite, 100, clean, left),),
        attacks=tuple(
            Attacked(name, eps / 255, 2 / 255, steps, 100, clean, clean * share ** (eps / 2))
            for name, steps, share in (("fgsm", 1, 0.8), ("pgd", 10, 0.6))
            for eps in (2, 4, 8)
        ),
        objects=ObjectAccuracies("u2net", 90, 10, clean, 0.7 * clean, 0.5 * clean, 0.8 * clean),
    )
