"""`smix train`: train one network."""

from pathlib import Path

from smix.cli.options import Config, Options
from smix.cli.output import is_main_process
from smix.config import RunOptions, TrainConfig
from smix.report.terminal import show


def train(
    *,
    config: Config = TrainConfig(),  # noqa: B008
    options: Options = RunOptions(),  # noqa: B008
    recipe: str | None = None,
    out: Path,
) -> None:
    """Train one network. Run the command again to resume an interrupted run; a finished run is not trained again.

    On several GPUs or machines: torchrun --nproc-per-node 4 -m smix train ...

    Parameters
    ----------
    recipe
        Recipe that sets all options that are not given: report, report-augmented, openmixup, modern, finetune or
        small-data (docs/training.md).
    out
        Folder for the run.
    """
    from smix.training.records import held_out, read_run
    from smix.training.runs import train as train_run

    result = train_run(config, out, options)
    if is_main_process():
        epoch = "last" if config.patience is None else "best"
        validation = "validation accuracy" if held_out(read_run(out)) else "accuracy on training images"
        show(
            f"{out}: test accuracy {100 * result.test_accuracy:.2f} % at the {epoch} epoch, {validation} {100 * result.val_accuracy:.2f} %"
        )
