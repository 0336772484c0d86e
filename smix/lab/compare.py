"""Compare methods: train each with the same seeds under the same configuration. A comparison is a sweep in one folder."""

from collections.abc import Sequence
from pathlib import Path

from smix.config import RunOptions, SharedConfig
from smix.lab.engines import Engine
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
    engine: Engine = "local",
) -> list[Run]:
    """Train every method with every seed; everything else is the same.

    Runs that exist in `out` are not trained again, interrupted ones resume.

    Args:
        config: Options that all runs share. The method and the seed of a `TrainConfig` are ignored.
        methods: Methods as text that `parse_method` accepts.
        seeds: Number of seeds, counted from 0, or the seeds themselves.
        out: Folder of the runs.
        options: Options of the machine. Default: `RunOptions()`.
        jobs: Number of concurrent runs. Default: one per core on the CPU, one on a GPU, as many as SLURM allows.
        engine: Where the runs are started.

    Returns:
        All requested runs, seeds outermost, finished or not. A failed run has no result, and its folder contains log.txt.

    Raises:
        SmixError: An option, the data or the masks cannot be used, or `out` holds other runs. Nothing was started.

    >>> import smix, tempfile
    >>> config = smix.SharedConfig(data="digits-on-photos", train_limit=60, test_limit=20, model="resnet8", epochs=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     runs = smix.compare(config, ["vanilla", "smix"], 1, folder, smix.RunOptions(device="cpu", quiet=True))
    >>> [run.config.method for run in runs]
    ['vanilla', 'smix']
    """
    sweep = cross(config, methods, range(seeds) if isinstance(seeds, int) else seeds)
    return run_all(sweep, Path(out), options or RunOptions(), engine, jobs)
