"""`smix masks build`: one store, made here or in parts by many processes, anywhere."""

import dataclasses
import re
from pathlib import Path

from smix import launch, progress
from smix.config import MachineOptions, MaskConfig, arguments, cores
from smix.data import load_data
from smix.device import threads
from smix.errors import MaskError, OptionError
from smix.masks import MaskStore, build_masks, load_source
from smix.masks.build import rows_per_shard
from smix.masks.manifest import BUILDING
from smix.masks.sources import Source
from smix.masks.store import Flag
from smix.untrusted import read_end


def build_store(
    config: MaskConfig,
    out: Path | str,
    options: MachineOptions | None = None,
    strict: bool = False,
    shard: str | None = None,
    engine: launch.Engine = "local",
    jobs: int = 1,
) -> MaskStore | None:
    """Build the masks that `config` describes, or what is missing of them.

    Args:
        out: The folder of the store.
        strict: Stop at the first image without a mask.
        shard: "I/N": only the I-th of N parts, here.
        engine: Where `jobs` parts are built at once.

    Returns:
        The store; None if other parts are missing.

    Raises:
        SmixError: the data, the source or an option cannot be used, or `out` holds other masks.
    """
    out, options = Path(out), options or MachineOptions()
    if jobs < 1:
        raise OptionError(f"jobs: expected 1 or more, got {jobs}")
    if shard is not None and (jobs > 1 or engine != "local"):
        raise OptionError(
            f"shard: expected no --jobs and no --engine with --shard {shard}, which is one part of the work"
        )
    part = (1, 1) if shard is None else _parse_part(shard)
    if engine == "local" and jobs == 1:
        return _with_masks(_build(config, out, options, strict, part))
    # Asked here, once, so that a mistake is one line and not one in each job's log.
    data = load_data(config.data, options.data_root, config.split)
    _source(config, options).describe(data)
    count = -(-len(data) // rows_per_shard(len(data)))
    each = dataclasses.replace(options, quiet=True, threads=options.threads or max(1, cores() // jobs))
    of_all = [
        "masks",
        "build",
        *arguments(config),
        *arguments(each if engine == "local" else dataclasses.replace(options, quiet=True)),
    ]
    tasks = [
        launch.Task(
            [*of_all, *(["--strict"] if strict else []), "--shard", f"{number}/{jobs}", "--out", str(out)],
            out.with_name(f"{out.name}-logs") / f"part-{number}.txt",
        )
        for number in range(1, jobs + 1)
    ]
    with progress.bar("masks", count, "shards", options.quiet) as done:
        codes = launch.launch(tasks, engine, jobs, lambda: done(len(list(out.glob(f"{BUILDING}/[0-9]*.json")))))
    failed = [task for task, code in zip(tasks, codes, strict=True) if code]
    if failed:
        lines = read_end(failed[0].log).strip().splitlines() or ["it said nothing"]
        raise MaskError(
            f"{out}: expected all of {jobs} parts to be built, got {len(failed)} that failed: {lines[-1]} ({failed[0].log})"
        )
    return _with_masks(MaskStore(out))


def _with_masks(store: MaskStore | None) -> MaskStore | None:
    """Raises MaskError if not one image has a mask: something is wrong with all of them."""
    if store is not None and (store.stats["flags"][store.built] & Flag.BROKEN).all():
        raise MaskError(
            f"{store.path}: expected masks, got none of {store.built.sum():,} images: {next(iter(store.problems.values()))}"
        )
    return store


def _build(
    config: MaskConfig, out: Path, options: MachineOptions, strict: bool, part: tuple[int, int]
) -> MaskStore | None:
    data = load_data(config.data, options.data_root, config.split)
    size = None if config.size is None else (config.size,) * len(data.size or (0, 0))
    with threads(options.threads):
        return build_masks(
            data,
            _source(config, options),
            out,
            config.refinement,
            config.limit,
            options.quiet,
            size=size,
            save_classes=config.save_classes,
            strict=strict,
            part=part,
        )


def _source(config: MaskConfig, options: MachineOptions) -> Source:
    return load_source(
        config.source,
        config.weights,
        config.input_size,
        hflip_tta=config.hflip_tta,
        upscale=config.upscale,
        classes=config.classes,
        object_classes=config.object_classes,
        score_threshold=config.score_threshold,
        style=config.style,
        device=options.device,
    )


def _parse_part(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if found is None:
        raise OptionError(f'shard: expected I/N, such as 3/8, got "{text}"')
    return int(found[1]), int(found[2])
