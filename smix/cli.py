"""The command line: `smix --help`. Typed functions, thin over the library; torch is imported only inside them."""

import dataclasses
import errno
import os
import re
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter, Token, convert
from cyclopts.config import Dict

from smix.cli_evaluate import evaluate
from smix.cli_masks import masks_app
from smix.cli_sweep import sweep_app
from smix.config import RunOptions, SharedConfig, TrainConfig
from smix.errors import FailedError, RunError, SmixError, printable
from smix.report.terminal import findings, show, table
from smix.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cyclopts.argument import ArgumentCollection

    from smix.report.write import Report
    from smix.training.records import Run

ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some space and start the same command again"),
    **dict.fromkeys((errno.EACCES, errno.EROFS), "change its permissions, or choose another path"),
    **dict.fromkeys((errno.ELOOP, errno.ENAMETOOLONG), "choose another path"),
    **dict.fromkeys((errno.ENXIO, errno.EEXIST, errno.ENOTEMPTY, errno.EBUSY), "remove it, or choose another path"),
    **dict.fromkeys((errno.EIO, errno.ESTALE), "check the disk, and start the same command again"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "raise the limit of open files (ulimit -n)"),
}
"""Advice for errors of the operating system that a user can mend; any other is a bug."""


def _convert(kind: Any, tokens: "Sequence[Token]") -> Any:
    """Convert as cyclopts does, but refuse decimals for integers and empty texts (of unset variables)."""
    for token in tokens:
        if not token.value.strip():
            raise ValueError("expected a value, got an empty text")
        if kind in (int, int | None, tuple[int, ...]) and not re.fullmatch(r"[+-]?[0-9]+", token.value):
            raise ValueError(f'expected a whole number, got "{token.value}"')
    return convert(kind, tokens)


def _from_recipe(app: App, commands: "tuple[str, ...]", arguments: "ArgumentCollection") -> None:
    """Options that were not given come from --recipe, where a command has it."""
    given = {argument.name: argument.tokens[0].value for argument in arguments if argument.tokens}
    if "--recipe" not in given:
        return
    from smix.training.recipes import recipe

    epochs = given.get("--epochs", "")
    whole = int(epochs) if re.fullmatch(r"\+?[0-9]+", epochs) else None  # else it is refused where it is read
    values = recipe(given["--recipe"], given.get("--data", SharedConfig.data), whole)
    if "--schedule" in given:  # of another schedule
        values = dataclasses.replace(values, milestones=(), warmup_epochs=0.0)
    changed = {
        field.name: getattr(values, field.name)
        for field in dataclasses.fields(SharedConfig)
        if getattr(values, field.name) != field.default
    }
    Dict(changed, source="--recipe", allow_unknown=True, use_commands_as_keys=False)(app, commands, arguments)


app = App(
    name="smix",
    config=_from_recipe,
    help="Mix training images along their objects, and find out whether it helps. Start with: smix demo",
    version=lambda: f"smix {__version__}",
    default_parameter=Parameter(negative_iterable=(), consume_multiple=True, converter=_convert),
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
)
app.command(masks_app)
app.command(sweep_app)
app.command(evaluate)

Shared = Annotated[SharedConfig, Parameter(name="*")]
Config = Annotated[TrainConfig, Parameter(name="*")]
Options = Annotated[RunOptions, Parameter(name="*")]

ALL_METHODS = "vanilla,mixup,cutmix,fmix,smix,smix+fmix"


def main() -> None:
    """Run the command of sys.argv. Exit codes: 0 done, 1 a bug or a failed run, 2 the user's input, 130 interrupted."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name need not be UTF-8
    try:
        sys.exit(app(sys.argv[1:]) or 0)
    except (SmixError, CycloptsError) as error:
        _say_error(_first_cause(error))
        sys.exit(1 if isinstance(error, FailedError) else 2)
    except OSError as error:
        if error.errno not in ADVICE:
            raise
        where = f"{error.filename}: " if error.filename else ""
        _say_error(f"{where}{error.strerror}; {ADVICE[error.errno]}")
        sys.exit(2)
    except KeyboardInterrupt:
        if _speaks():
            _say_error("interrupted; start the same command again to go on")
        sys.exit(130)


@app.command
def doctor(*, data_root: Path = RunOptions.data_root) -> None:
    """Say what this machine is ready for, and what to do about what is missing.

    Parameters
    ----------
    root
        Folder of the data sets that are looked for by name.
    """
    from smix.lab.doctor import look_at_data, look_at_machine

    show(findings("This machine", look_at_machine()), findings("Data sets", look_at_data(data_root)))


@app.command
def data(name: str | None = None, /, *, data_root: Path = RunOptions.data_root) -> None:
    """List the data sets and whether they are here; or load one and say what is in it.

    Parameters
    ----------
    name
        A data set to load: one of those listed, npz:FILE, folder:DIR or hf:NAME_OR_DIR.
    root
        Folder of the data sets that are downloaded or looked for by name.
    """
    from smix.lab.doctor import OWN_DATA, look_at_data, scaling

    if name is None:
        show(findings("Data sets", look_at_data(data_root)), table(["Your own", "What it must hold"], OWN_DATA.items()))
        return
    from smix.data import load_data

    parts = [load_data(name, data_root, split) for split in ("train", "test")]
    rows = [
        (
            part.split,
            f"{len(part):,}",
            "different" if part.size is None else " x ".join(map(str, (*part.size, part.channels))),
            str(len(part.classes)),
            "no" if part.masks is None else f"yes, {100 * part.masks.mean():.1f} % of the pixels",
            part.fingerprint[:16],
        )
        for part in parts
    ]
    show(
        table([name, "Images", "Size", "Classes", "Masks", "Fingerprint"], rows),
        f"Classes: {', '.join(parts[0].classes[:20])}{', ...' if len(parts[0].classes) > 20 else ''}",
        *filter(None, [scaling(parts[0])]),
    )


@app.command
def mix(
    *,
    data: str = SharedConfig.data,
    masks: str = SharedConfig.masks,
    methods: str = ALL_METHODS,
    count: int = 8,
    seed: int = 0,
    data_root: Path = RunOptions.data_root,
    out: Path = Path("mix.png"),
) -> None:
    """Draw one picture: the same images under every method, with labels and weight maps.

    Parameters
    ----------
    data
        Data set: a name, npz:FILE or folder:DIR.
    masks
        Object masks: the folder of a mask store, or "carried": the data set's own.
    methods
        Comma-separated and quoted, such as "cutmix,smix(alpha=0.7),smix+fmix,mixup|cutmix"; names: docs/methods.md.
    count
        How many images, 2 to 16.
    seed
        Another seed draws other mixes.
    root
        Folder of the data sets that are looked for by name.
    out
        The picture, a PNG.
    """
    from smix.mixing import split_methods
    from smix.report.images import write_mixes

    show(f"Picture: {write_mixes(out, split_methods(methods), data, masks, count, seed, data_root)}")


@app.command
def train(
    *,
    config: Config = TrainConfig(),  # noqa: B008
    options: Options = RunOptions(),  # noqa: B008
    recipe: str | None = None,
    out: Path,
) -> None:
    """Train one network. Started again, it goes on where it was cut; a finished run is only read.

    On several GPUs or machines: torchrun --nproc-per-node 4 -m smix train ...

    Parameters
    ----------
    recipe
        report, report-augmented, openmixup or modern: options that are not given come from it (docs/training.md).
    out
        Folder of the run.
    """
    from smix.training.runs import train as train_one

    result = train_one(config, out, options)
    if not _speaks():
        return
    show(
        f"{out}: test accuracy {100 * result.test_accuracy:.2f} % at the last epoch, "
        f"{'validation accuracy' if config.val_fraction else 'accuracy on training images'} {100 * result.val_accuracy:.2f} %"
    )


@app.command
def compare(
    *,
    config: Shared = SharedConfig(),  # noqa: B008
    options: Options = RunOptions(),  # noqa: B008
    recipe: str | None = None,
    methods: str | None = None,
    seeds: int = 5,
    engine: Literal["local", "slurm", "ray"] = "local",
    jobs: int | None = None,
    out: Path,
) -> int:
    """Train methods x seeds and report which method is better. Started again, it does only what is missing.

    Parameters
    ----------
    recipe
        report, report-augmented, openmixup or modern: options that are not given come from it, and the methods.
    methods
        Comma-separated and quoted, such as "vanilla,smix(alpha=0.7),smix+fmix,mixup|cutmix"; names: docs/methods.md. None
        given: those of the recipe, or vanilla,mixup,cutmix,fmix,smix,smix+fmix.
    seeds
        How many seeds, counted from 0.
    engine
        Where the runs run: as processes here, on SLURM, or on Ray; see docs/cluster.md.
    jobs
        Runs side by side; none given: one a core on the CPU, one on a GPU, all that SLURM lets.
    out
        Folder of the runs; the report goes to its folder `report`.
    """
    from smix.lab.compare import compare as compare_all
    from smix.mixing import split_methods
    from smix.training.recipes import methods_of

    chosen = split_methods(methods) if methods is not None else methods_of(recipe or "modern", config.data)
    runs = compare_all(config, chosen, seeds, out, options, jobs, engine)
    code = _report(runs, out / "report", options)
    others = sorted(
        path.parent.name for path in out.glob("*/config.json") if path.parent not in {run.path for run in runs}
    )
    if others:
        show(f"Also in this folder, not asked for and not shown: {', '.join(others)}. All of it: smix report {out}")
    return code


@app.command
def report(*runs: Path, out: Path | None = None, data_root: Path = RunOptions.data_root, quiet: bool = False) -> None:
    """Write the report of a comparison: one page, Markdown, tables as CSV and LaTeX, figures as SVG and PNG.

    Runs that failed or have other options are named and left out; the others are reported.

    Parameters
    ----------
    runs
        Folder of a comparison, or several, such as of other data sets; a folder of such folders stands for all of them.
    out
        Folder of the report; none given: the folder `report` in the first.
    root
        Folder of the data sets that are looked for by name: test images and masks are shown if they are there.
    quiet
        No progress on the terminal.
    """
    from smix.report.write import write_report

    if not runs:
        raise RunError("runs: expected a folder of runs, got none; such as smix report runs/cifar10")
    _show_report(write_report(runs, out, data_root, quiet))


@app.command
def demo(*, options: Options = RunOptions(), out: Path = Path("runs/demo")) -> int:  # noqa: B008
    """Compare three methods over five seeds on built-in images, in about two minutes on two idle cores and without internet access.

    The images show real handwritten digits on real photographs with misleading backgrounds, and include the true mask of each
    digit.

    Parameters
    ----------
    out
        Output folder for the picture of the mixed images, the runs and the report.
    """
    from smix import demo as settings

    if not options.quiet:
        # Before the imports below, which take seconds.
        runs = len(settings.METHODS) * settings.SEEDS
        sys.stderr.write(f"Training a small network {runs} times: about two minutes on two idle cores\n")
    from smix.lab.compare import compare as compare_all
    from smix.lab.compare import planned
    from smix.lab.run_all import check_folders
    from smix.report.images import write_mixes

    check_folders(
        planned(settings.CONFIG, settings.METHODS, range(settings.SEEDS), out)
    )  # before the first file is written
    data, masks = settings.CONFIG.data, settings.CONFIG.masks
    picture = write_mixes(
        out / "mixes.png",
        settings.METHODS,
        data,
        masks,
        settings.PICTURE_COUNT,
        settings.PICTURE_SEED,
        options.data_root,
    )
    show(f"The same images mixed by each method:   {picture}")
    compared = compare_all(settings.CONFIG, settings.METHODS, settings.SEEDS, out, options)
    code = _report(compared, out / "report", options)
    show(
        "",
        settings.summary(compared),
        "",
        "The data set was designed to show this effect: without misleading backgrounds SMix is not better "
        "(docs/results.md). To try masks on your own images:",
        "  smix masks build --data folder:DIR --source torchvision:deeplabv3_mobilenet_v3_large --out masks/mine",
        "  smix compare --data folder:DIR --masks masks/mine --methods vanilla,cutmix,smix --out runs/mine",
    )
    return code


def _report(runs: "Sequence[Run]", out: Path, options: RunOptions) -> int:
    """Write and show the report of a comparison; 1 if a run has no result."""
    from smix.lab.status import what_is_missing
    from smix.report.verdict import conclusion
    from smix.report.write import write_report

    unfinished = [run for run in runs if run.result is None]
    if len(unfinished) < len(runs):
        _show_report(write_report(runs, out, options.data_root, options.quiet), unfinished)
    else:
        show(conclusion(runs))
    for run in unfinished:
        _say_error(what_is_missing(run))
    return 1 if unfinished else 0


def _show_report(written: "Report", said: "Sequence[Run]" = ()) -> None:
    """Table and conclusion of each comparison, where the report is, and what is not in it but of these runs."""
    from smix.report.accuracy_tables import accuracy_table
    from smix.report.table import terminal
    from smix.report.verdict import conclusion

    for comparison in written.comparisons:
        several = [f"{comparison.name} ({comparison.folder})"] if len(written.comparisons) > 1 else []
        show(*several, terminal(accuracy_table(comparison.runs, intervals=False)), conclusion(comparison.runs), "")
    show(f"Report:   {written.page}", f"Also:     {written.text}, and tables and figures beside it")
    for problem in written.problems:
        if problem.path not in {run.path for run in said}:
            _say_error(f"{problem.path}: {problem.why}")


def _first_cause(error: BaseException) -> BaseException:
    """Our own error, where the parser wrapped it."""
    cause = error
    while cause is not None and not isinstance(cause, SmixError):
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
    return cause or error


def _speaks() -> bool:
    """One of torchrun's processes speaks for all."""
    return os.environ.get("RANK", "0") == "0"


def _say_error(message: object) -> None:
    sys.stderr.write(f"smix: {printable(' '.join(str(message).split()))}\n")
