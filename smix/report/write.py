"""Write the report of one or more comparisons into a folder.

    report.html   everything on one self-contained page
    report.md     the same in Markdown, with links to the figures
    tables/       each table as CSV and as LaTeX
    figures/      each figure as SVG and PNG; those that show photographs as PNG only

Everything is drawn before the first file is replaced: a report that fails leaves the previous one as it was.
"""

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

from smix import files, progress
from smix.errors import RunError, SmixError
from smix.lab.sweep import slug
from smix.plots.style import Style, styles
from smix.plots.svg import save, svg_text
from smix.report.accuracy import across_table
from smix.report.comparison import Comparison, Problem, ReportAssets
from smix.report.page import Chapter, Figure, FigureSpec, Maker, Page, Part, page_in_markdown, write_page
from smix.report.reading import comparison_of, load_masks, load_test_images, read_comparisons
from smix.report.sections import SECTIONS
from smix.report.table import Table, csv_text, latex
from smix.report.verdict import evidence, headline, highlights
from smix.reprs import short_repr
from smix.training.records import Run
from smix.untrusted import read_json
from smix.version import __version__

T = TypeVar("T")
FOLDERS = ("figures", "tables")
LAST = ("report.md", "report.html")
"""Files that are replaced last: they link to the others."""
INDEX = ".report.json"
"""File that lists the files of a report by name."""
OWN_FILES = re.compile(r"((figures|tables)/)?[a-z0-9][a-z0-9.+-]*\.(svg|png|csv|tex|md|html)")
LOCAL_FOLDER = re.compile(r"(?<![\w.])/(?:[^\s/:,;]+/)+")
SECONDS_PER_COMPARISON = 8.0
"""Rough duration of a comparison, used to estimate the remaining time until the first is done."""


@dataclass(frozen=True)
class Report:
    """A report that was written."""

    page: Path
    """Path of report.html."""
    text: Path
    """Path of report.md."""
    comparisons: tuple[Comparison, ...]
    problems: tuple[Problem, ...]
    """Runs, or parts of them, that were left out."""
    __repr__ = short_repr("open report.page in a browser; report.comparisons, report.problems")


@dataclass(frozen=True)
class _Target:
    """Folder that a report is staged in, and the comparison whose files are written."""

    folder: Path
    prefix: str = ""
    """Beginning of file names; empty if there is only one comparison."""
    name: str = ""
    """Name of the comparison, appended to titles; empty if there is only one."""


def write_report(
    runs: Path | str | Sequence[Path] | Sequence[Run],
    out: Path | str | None = None,
    data_root: Path | str = "data",
    quiet: bool = True,
) -> Report:
    """Write the report of a comparison, or of several: of other data sets, or of the cells of a sweep.

    Runs that differ only in method and seed are compared. Damaged, unfinished and different runs are named in the report and left out.
    The same runs give the same bytes. See docs/report.md for the content.

    Args:
        runs: Folder of a comparison as `smix.compare` fills it, several of them, a folder of such folders, or the runs of one comparison.
        out: Output folder. A previous report in it is replaced, other files are kept. Default: the folder `report` next to the runs.
        data_root: Root folder of the data sets; test images and masks are shown if they are available.
        quiet: Do not show a progress bar.

    Returns:
        The paths of the page and of its Markdown, the comparisons, and what was left out.

    Raises:
        RunError: No run is finished and readable, or the output folder cannot be written.

    Example:
        >>> config = smix.TrainConfig(model="resnet8", epochs=1, train_limit=64, test_limit=32, batch_size=32, method="cutmix")
        >>> result = smix.train(config, "runs/cutmix-0", smix.RunOptions(quiet=True, device="cpu"))
        >>> report = smix.write_report("runs")
        >>> str(report.page), list(report.comparisons[0].by_method), report.problems
        ('runs/report/report.html', ['cutmix'], ())
    """
    comparisons, problems, folder = _read(runs)
    if out is None:
        files.check_no_link(folder, folder / "report")
    out, data_root = Path(out) if out is not None else folder / "report", Path(data_root)
    names = _names(comparisons)
    method_styles = styles([method for comparison in comparisons for method in comparison.by_method])
    expected = SECONDS_PER_COMPARISON * len(comparisons)
    with _staged(out) as staged, progress.bar("report", len(comparisons), "comparisons", quiet, expected) as advance:
        chapters: list[Chapter] = []
        advance(0)
        for comparison, name in zip(comparisons, names, strict=True):
            assets = _load_assets(comparison, data_root, method_styles, problems)
            target = _Target(staged) if len(comparisons) == 1 else _Target(staged, f"{slug(name)}-", name)
            chapters.append(_chapter(comparison, assets, name, target))
            advance(len(chapters))
        alone = len(chapters) == 1
        page = Page(
            f"Comparison{'' if alone else 's'} on {', '.join(names)}",
            chapters,
            overview=None if alone else _table_part(across_table(comparisons, names), _Target(staged)),
            # A page is sent to others: it holds no local folders.
            problems=[replace(problem, why=LOCAL_FOLDER.sub("", problem.why)) for problem in problems],
            foot=f"Written by smix {__version__} from the files of the runs; the same runs give the same page.",
        )
        files.write_text(staged / "report.md", page_in_markdown(page))
        write_page(staged / "report.html", page)
    return Report(out / "report.html", out / "report.md", tuple(comparisons), tuple(problems))


def _read(runs: Path | str | Sequence[Path] | Sequence[Run]) -> tuple[list[Comparison], list[Problem], Path]:
    """Return the comparisons, what is left out of them, and the folder that the report is written next to."""
    if not isinstance(runs, Path | str) and runs and isinstance(runs[0], Run):
        folder = runs[0].path.parent
        comparison = comparison_of([run for run in runs if isinstance(run, Run)], folder)
        return [comparison], list(comparison.problems), folder
    folders = [Path(runs)] if isinstance(runs, Path | str) else [Path(str(folder)) for folder in runs]
    return *read_comparisons(folders), folders[0]


def _names(comparisons: Sequence[Comparison]) -> list[str]:
    """Return the names of the data sets if they differ, otherwise with as many of their folders as it takes, at most two."""
    names = [comparison.name for comparison in comparisons]
    for depth in (1, 2):
        if len(set(names)) < len(names):
            folders = ["/".join(comparison.folder.resolve().parts[-depth:]) for comparison in comparisons]
            names = [f"{comparison.name}, {folder}" for comparison, folder in zip(comparisons, folders, strict=True)]
    return names


def _load_assets(
    comparison: Comparison, data_root: Path, method_styles: dict[str, Style], problems: list[Problem]
) -> ReportAssets:
    """Load test images and masks. They may have been moved: the report is then written without them, and names them."""

    def available(load: Callable[[Comparison, Path], T]) -> T | None:
        try:
            return load(comparison, data_root)
        except (SmixError, OSError) as error:
            problems.append(Problem(comparison.folder, f"{error}; what shows them is left out"))
            return None

    return ReportAssets(method_styles, available(load_test_images), available(load_masks))


def _chapter(comparison: Comparison, assets: ReportAssets, name: str, target: _Target) -> Chapter:
    """Draw all sections of a comparison, and write their tables and figures."""
    sections = []
    for section in SECTIONS:
        parts = [_part(spec, comparison, assets, target) for spec in section.parts]
        if parts := [part for part in parts if part is not None]:
            lead = section.lead if isinstance(section.lead, str) else section.lead(comparison, assets)
            sections.append(replace(section, lead=lead, parts=parts))
    accuracy = comparison.accuracy
    return Chapter(slug(name), name, headline(accuracy), evidence(accuracy), highlights(comparison), sections)


def _part(
    spec: FigureSpec | Maker | Part, comparison: Comparison, assets: ReportAssets, target: _Target
) -> Part | None:
    """Make a table, a figure or facts, write its files, and return the part of the page; None if it is empty."""
    if isinstance(spec, Part):
        return spec
    if not isinstance(spec, FigureSpec):
        made = spec(comparison, assets)
        if made is None:
            return None
        return _table_part(made, target) if isinstance(made, Table) else Part(made)
    if (drawing := spec.draw(comparison, assets)) is None:
        return None
    names = tuple(f"figures/{target.prefix}{spec.name}{suffix}" for suffix in (".svg", ".png")[spec.raster :])
    for name in names:
        save(drawing, target.folder / name)
    image = (target.folder / names[0]).read_bytes() if spec.raster else svg_text(drawing)
    return Part(Figure(spec.name, str(drawing.get_label()), image), names)


def _table_part(table: Table, target: _Target) -> Part:
    name = f"{target.prefix}{table.name}"
    named = replace(table, name=name, title=f"{table.title}, {target.name}" if target.name else table.title)
    files.write_text(target.folder / f"tables/{name}.csv", csv_text(table))
    files.write_text(target.folder / f"tables/{name}.tex", latex(named))
    return Part(table, (f"tables/{name}.csv", f"tables/{name}.tex"))


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """Yield a folder to write a report into; when the block ends without an error, its files replace those of the previous report.

    Raises:
        RunError: A report cannot be written there.
    """
    files.check_writable(out)
    for folder in FOLDERS:
        if (out / folder).is_symlink() or ((out / folder).exists() and not (out / folder).is_dir()):
            raise RunError(f"{out / folder}: cannot write to this folder: it is a file or a link; choose another --out")
        (out / folder).mkdir(parents=True, exist_ok=True)
    with files.lock(out):
        for leftover in out.glob(".report.*.tmp"):  # of a report that was killed
            if not leftover.is_symlink():
                shutil.rmtree(leftover, ignore_errors=True)
        staged = Path(mkdtemp(dir=out, prefix=".report.", suffix=".tmp"))
        try:
            yield staged
            written = sorted(path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file())
            previous = _files_of(out)
            # If this is interrupted, the next report still knows which files belong to a report.
            files.write_json(out / INDEX, sorted({*previous, *written}))
            for name in sorted(written, key=lambda name: name in LAST):
                (staged / name).replace(out / name)
            for name in previous:
                if name not in written:
                    (out / name).unlink(missing_ok=True)
            files.write_json(out / INDEX, written)
        finally:
            shutil.rmtree(staged, ignore_errors=True)


def _files_of(out: Path) -> list[str]:
    """Return the files that the previous report has written, and no others."""
    try:
        names = read_json(out / INDEX, follow_links=False)
        return [name for name in names if isinstance(name, str) and OWN_FILES.fullmatch(name)]
    except (ValueError, TypeError):
        return []
