"""A comparison: methods x seeds, each a run in its own folder, side by side on this machine.

The folder is the only state. Started again, it trains what is missing and goes on with the run that was cut.
"""

import copy
import dataclasses
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F

from smix import files, launch, progress
from smix.config import RunOptions, SharedConfig, TrainConfig, arguments, cores
from smix.device import find_device, in_words, threads
from smix.errors import OptionError
from smix.mixing import parse_method
from smix.training.material import Material, made_of, prepare
from smix.training.records import Run, check_same, read_result, read_run


def compare(
    config: SharedConfig,
    methods: Sequence[str],
    seeds: int | Sequence[int],
    out: Path | str,
    options: RunOptions | None = None,
    jobs: int | None = None,
) -> list[Run]:
    """Train every method with every seed, under the same configuration otherwise.

    Args:
        config: What all runs share; the method and the seed of a `TrainConfig` do not matter.
        methods: Texts that `parse_method` understands.
        seeds: How many, counted from 0; or which.
        out: The folder of the runs.
        jobs: Runs side by side; None: one a core on the CPU, one on a GPU.

    Returns:
        All runs that were asked for, finished or not: a failed one has no result, and its folder holds log.txt.

    Raises:
        SmixError: an option, the data or the masks cannot be used, or `out` holds other runs. Nothing has begun then.
    """
    out, options = Path(out), options or RunOptions()
    if jobs is not None and jobs < 1:
        raise OptionError(f"jobs: expected 1 or more, got {jobs}")
    plan = planned(config, methods, range(seeds) if isinstance(seeds, int) else seeds, out)
    for folder, one in plan.items():
        check_same(folder, {"config": one.to_json()})
    if any(read_result(folder) is None for folder in plan):
        material = _prepare(plan, options)
        with files.lock(out):
            _train_missing(plan, material, options, jobs)
    return [
        read_run(folder) if (folder / "config.json").is_file() else Run(folder, one, {}, [], None)
        for folder, one in plan.items()
    ]


def planned(config: SharedConfig, methods: Sequence[str], seeds: Sequence[int], out: Path) -> dict[Path, TrainConfig]:
    """The folder and configuration of each run, seeds outermost: a comparison that is cut has equal seeds of all methods."""
    if not methods or not seeds:
        raise OptionError(f"compare: expected at least one method and one seed, got {len(methods)} and {len(seeds)}")
    parsed = {method: parse_method(method) for method in methods}
    # Which masks there are is nothing to a method that uses none: it need not be trained again for others.
    of_all = {True: config, False: dataclasses.replace(config, masks=SharedConfig.masks)}
    plan = {
        out / f"{slug(method)}-{seed}": of_all[parsed[method].needs_masks].run(method, seed)
        for seed in seeds
        for method in methods
    }
    if len(set(parsed.values())) < len(methods) or len(plan) < len(methods) * len(seeds):
        raise OptionError(f"compare: expected different methods and seeds, got {', '.join(methods)} and {list(seeds)}")
    return plan


def slug(method: str) -> str:
    """A method's text as a part of a file name: smix(alpha=0.7,labels=area)+fmix is smix-alpha-0.7-labels-area+fmix."""
    return re.sub(r"[^a-z0-9.+]+", "-", method.lower().replace(")", "")).strip("-")


def _prepare(plan: dict[Path, TrainConfig], options: RunOptions) -> Material:
    """What the runs need, checked before any begins: one line for the user instead of a failed run each."""
    missing = [one for folder, one in plan.items() if read_result(folder) is None]
    material = prepare(max(missing, key=_needs_masks), options)  # only masks set methods apart
    for folder, one in plan.items():  # those that are finished were trained on the same images and masks
        made = made_of(one, material)
        check_same(folder, made if _needs_masks(one) else {**made, "masks": None})
    return material


def _train_missing(plan: dict[Path, TrainConfig], material: Material, options: RunOptions, jobs: int | None) -> None:
    missing = {folder: one for folder, one in plan.items() if read_result(folder) is None}
    if not missing:  # another command has finished them since
        return
    device = find_device(options.device)
    jobs = min(jobs or (cores() if device.type == "cpu" else 1), len(plan))
    # Not by what is missing: a comparison that was cut goes on with as many threads, and to the same bits.
    # The first run fixed it for the folder: other counts give other numbers, and --jobs or more seeds would change it.
    count = options.threads or _threads_of(plan) or max(1, cores() // jobs)
    jobs = min(jobs, len(missing))
    first = next(iter(missing.values()))
    if not options.quiet:
        # A forward pass is a third of a training step; each run starts as this process did.
        images = sum(one.epochs for one in missing.values()) * (len(material.training) + len(material.validation) / 3)
        total = (
            images * seconds_per_image(material, first.batch_size, device, count) + len(missing) * time.process_time()
        )
        known = len(plan) - len(missing)
        done_before = f" ({known} of {len(plan)} are done)" if known else ""
        sys.stderr.write(
            f"{len(missing)} runs{done_before}, {jobs} side by side on {in_words(device, count)}: "
            f"about {progress.duration(total / jobs)}\n"
        )
    of_each = dataclasses.replace(options, threads=count, quiet=True)
    tasks = [
        launch.Task(["train", *arguments(one), *arguments(of_each), "--out", str(folder)], folder / "log.txt")
        for folder, one in missing.items()
    ]
    epochs = sum(one.epochs for one in missing.values())
    with progress.bar("epochs of all runs", epochs, "epochs", options.quiet) as done:
        launch.run_tasks(tasks, jobs, lambda: done(sum(map(_epochs_done, missing))))


def seconds_per_image(material: Material, batch_size: int, device: torch.device, count: int) -> float:
    """Of training with `count` CPU threads, from timing two steps of the network after one to warm up."""
    images = torch.from_numpy(material.training.array[:batch_size]).to(device)
    labels = torch.from_numpy(material.training.labels[:batch_size]).to(device)
    model = copy.deepcopy(material.model).to(device).train()
    times = []
    with threads(count):
        for _ in range(3):
            started = time.perf_counter()
            loss = F.cross_entropy(model(material.normalise(images)), labels)
            loss.backward()
            loss.item()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - started)
    return min(times[1:]) / len(images)


def _threads_of(plan: dict[Path, TrainConfig]) -> int | None:
    """How many threads the runs that are there were begun with; None: there are none."""
    begun = [folder for folder in plan if (folder / "config.json").is_file()]
    return read_run(begun[0]).made.get("threads") if begun else None


def _needs_masks(config: TrainConfig) -> bool:
    return parse_method(config.method).needs_masks


def _epochs_done(folder: Path) -> int:
    file = folder / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.is_file() else 0
