"""`smix masks build`: one mask store, built in this process or in parts by several."""

import dataclasses
import re
import sys
from pathlib import Path

from smix import progress
from smix.config import MachineOptions, MaskConfig, arguments, cores
from smix.data import load_data
from smix.data.outputs import check_outside
from smix.device import threads
from smix.errors import MaskError, OptionError
from smix.lab import engines
from smix.masks import MaskStore, build_masks, load_source
from smix.masks.build import rows_per_shard
from smix.masks.manifest import BUILDING
from smix.masks.sources.carried import carries_masks
from smix.masks.store import Flag
from smix.untrusted import read_end


def build_store(
    config: MaskConfig,
    out: Path | str,
    options: MachineOptions | None = None,
    strict: bool = False,
    shard: str | None = None,
    engine: engines.Engine = "local",
    jobs: int = 1,
) -> MaskStore | None:
    """Build the missing masks of a store.

    Args:
        config: Data, source and settings of the masks.
        out: Folder of the store.
        options: Machine options. Default: `MachineOptions()`.
        strict: Stop at the first image without a mask.
        shard: "I/N": build only the I-th of N parts, in this process.
        engine: Where the parts are built if `jobs` is larger than 1.
        jobs: Number of parts that are built concurrently.

    Returns:
        The store, or None while other parts are missing.

    Raises:
        SmixError: The data, the source or an option cannot be used, `out` holds other masks, or no image has a mask.
    """
    out, options = Path(out), options or MachineOptions()
    engines.check_jobs(jobs)
    if shard is not None and (jobs > 1 or engine != "local"):
        raise OptionError(f"shard: --shard {shard} is one part of the work; omit --jobs and --engine")
    part = _parse_shard(shard or "1/1")
    check_outside(out, config.data)
    # Loaded here for parts in other processes, too, so that a mistake is one line and not one in the log of each part.
    data = load_data(config.data, options.data_root, config.built_split)
    if not options.quiet and data.files is not None:
        for line in data.files.notes:
            sys.stderr.write(f"{line}\n")
    name = config.source or ("carried" if carries_masks(data) else "builtin")
    if config.source is None and not options.quiet:
        sys.stderr.write(f"Mask source: {name}; --source chooses another\n")
    config = dataclasses.replace(config, source=name)
    source = load_source(
        name,
        config.weights,
        config.input_size,
        hflip_tta=config.hflip_tta,
        upscale=config.upscale,
        classes=config.classes,
        object_classes=config.object_classes,
        score_threshold=config.score_threshold,
        style=config.style,
        mask_frame=config.mask_frame,
        device=options.device,
    )
    if engine == "local" and jobs == 1:
        size = None if config.size is None else (config.size,) * len(data.size or (0, 0))
        with threads(options.threads):
            store = build_masks(
                data,
                source,
                out,
                config.refinement,
                config.limit,
                options.quiet,
                size=size,
                save_classes=config.save_classes,
                strict=strict,
                part=part,
            )
    else:
        source.describe(data)
        shards = -(-len(data) // rows_per_shard(len(data)))
        del data, source  # the parts need the memory
        store = _build_parts(config, shards, out, options, strict, engine, jobs)
    if store is not None and (store.stats["flags"][store.built] & Flag.BROKEN).all():
        problems = list(store.problems.values())
        # A mask that cannot be used says more than one that is missing.
        first = next((problem for problem in problems if not problem.endswith(": no mask")), problems[0])
        raise MaskError(f"{store.path}: none of {store.built.sum():,} images has a mask; the first: {first}")
    return store


def _build_parts(
    config: MaskConfig, shards: int, out: Path, options: MachineOptions, strict: bool, engine: engines.Engine, jobs: int
) -> MaskStore:
    if engine == "local":
        options = dataclasses.replace(options, threads=options.threads or max(1, cores() // jobs))
    words = ["masks", "build", *arguments(config), *arguments(dataclasses.replace(options, quiet=True))]
    words += ["--strict"] if strict else []
    logs = out.with_name(f"{out.name}-logs")
    tasks = [
        engines.Task([*words, f"--shard={number}/{jobs}", f"--out={out}"], logs / f"part-{number}.txt")
        for number in range(1, jobs + 1)
    ]
    with progress.bar("masks", shards, "shards", options.quiet) as update:
        codes = engines.launch(tasks, engine, jobs, lambda: update(len(list(out.glob(f"{BUILDING}/[0-9]*.json")))))
    failed = [task for task, code in zip(tasks, codes, strict=True) if code]
    if failed:
        lines = read_end(failed[0].log).strip().splitlines() or ["no message"]
        raise MaskError(f"{out}: {len(failed)} of {jobs} parts failed: {lines[-1]} ({failed[0].log})")
    return MaskStore(out)


def _parse_shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if match is None:
        raise OptionError(f'shard: expected I/N, such as 3/8, got "{text}"')
    return int(match[1]), int(match[2])
