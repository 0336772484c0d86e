"""A comparison: methods x seeds, the same otherwise; a sweep whose runs lie in one folder."""

from collections.abc import Sequence
from pathlib import Path

from smix import launch
from smix.config import RunOptions, SharedConfig, TrainConfig
from smix.lab.run_all import run_all
from smix.lab.sweep import cross
from smix.training.records import Run


def compare(
    config: SharedConfig,
    methods: Sequence[str],
    seeds: int | Sequence[int],
    out: Path | str,
    options: RunOptions | None = None,
    jobs: int | None = None,
    engine: launch.Engine = "local",
) -> list[Run]:
    """Train every method with every seed, under the same configuration otherwise.

    Args:
        config: What all runs share; the method and the seed of a `TrainConfig` do not matter.
        methods: Texts that `parse_method` understands.
        seeds: How many, counted from 0; or which.
        out: The folder of the runs.
        jobs: Runs side by side; None: one a core on the CPU, one on a GPU, all that SLURM lets.
        engine: Where they run.

    Returns:
        All runs that were asked for, finished or not: a failed one has no result, and its folder holds log.txt.

    Raises:
        SmixError: an option, the data or the masks cannot be used, or `out` holds other runs. Nothing has begun then.
    """
    out = Path(out)
    plan = planned(config, methods, range(seeds) if isinstance(seeds, int) else seeds, out)
    return run_all(plan, out, options or RunOptions(), engine, jobs)


def planned(config: SharedConfig, methods: Sequence[str], seeds: Sequence[int], out: Path) -> dict[Path, TrainConfig]:
    """The folder and configuration of each run, seeds outermost: a comparison that is cut has equal seeds of all methods."""
    return {out / name: one for name, one in cross(config, methods, seeds).items()}
