"""Everything that there is to say about comparisons, into a folder: a page, Markdown, tables, figures.

    report.html   all of it on one page that asks for nothing
    report.md     the same in Markdown, with links to the figures
    tables/       each table as CSV and as LaTeX
    figures/      each figure as SVG and PNG; what shows images as PNG alone

All is drawn before the first file is replaced: a report that fails leaves the old one as it was.
"""

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

from smix import files, progress
from smix.errors import RunError, SmixError
from smix.lab.sweep import slug
from smix.report.across import across_table
from smix.report.comparison import Comparison, comparison_of, comparisons_in
from smix.report.conclusion import evidence, headline
from smix.report.highlights import highlights
from smix.report.material import judged_masks, test_images
from smix.report.page import Chapter, Facts, Linked, Page, Picture, Section, write_page
from smix.report.records import Problem
from smix.report.render import save, svg_text
from smix.report.style import styles
from smix.report.table import Table, csv_text, in_markdown, latex, markdown
from smix.report.topic import Beside, Drawn, Part, Topic
from smix.report.topics import topics_of
from smix.training.records import Run
from smix.untrusted import read_json
from smix.version import __version__

Found = TypeVar("Found")
FOLDERS = ("figures", "tables")
LAST = ("report.md", "report.html")
FILES = ".report.json"
"""The files of a report, by name."""
SECONDS_PER_COMPARISON = 8.0
"""Roughly what a comparison takes: the time left that is shown until the first is done."""
OURS = re.compile(r"((figures|tables)/)?[a-z0-9][a-z0-9.+-]*\.(svg|png|csv|tex|md|html)")


@dataclass(frozen=True)
class Report:
    """A written report: its place and its content."""

    page: Path
    """report.html"""
    text: Path
    """report.md"""
    comparisons: tuple[Comparison, ...]
    problems: tuple[Problem, ...]
    """Runs, or parts of them, that were left out."""


def write_report(
    runs: Path | str | Sequence[Path] | Sequence[Run],
    out: Path | str | None = None,
    data_root: Path | str = "data",
    quiet: bool = True,
) -> Report:
    """Write the report of a comparison, or of several: of other data sets, or of the cells of a sweep.

    Args:
        runs: The folder of a comparison, several of them, a folder of such folders, or the runs of one.
        out: Where to; None: the folder `report` beside the runs.
        root: Folder of the data sets that are looked for by name: test images and masks are shown if they are there.

    Raises:
        RunError: no run there has finished and can be read.
    """
    comparisons, problems, beside = _read(runs)
    if out is None:
        files.check_no_link(beside, beside / "report")
    out = Path(out) if out is not None else beside / "report"
    data_root = Path(data_root)
    names, look = _names(comparisons), styles([method for one in comparisons for method in one.methods])
    with ExitStack() as held, _staged(out) as staged:
        chapters = []
        expected = SECONDS_PER_COMPARISON * len(comparisons)
        with progress.bar("report", len(comparisons), "comparisons", quiet, expected) as done:
            done(0)
            for comparison, name in zip(comparisons, names, strict=True):
                there = Beside(
                    _if_there(lambda: test_images(comparison, data_root), comparison, problems),  # noqa: B023
                    _if_there(lambda: held.enter_context(judged_masks(comparison, data_root)), comparison, problems),  # noqa: B023
                )
                own = ("", "") if len(comparisons) == 1 else (f"{slug(name)}-", name)
                sections = [_section(topic, staged, *own) for topic in topics_of(comparison, there, look)]
                chapters.append(
                    Chapter(
                        slug(name),
                        name,
                        headline(comparison.runs),
                        evidence(comparison.runs),
                        highlights(comparison),
                        sections,
                    )
                )
                done(len(chapters))
        page = _page(comparisons, names, chapters, problems, staged)
        files.write_text(staged / "report.md", _in_markdown(page))
        write_page(staged / "report.html", page)
    return Report(out / "report.html", out / "report.md", tuple(comparisons), tuple(problems))


def _read(runs: Path | str | Sequence[Path] | Sequence[Run]) -> tuple[list[Comparison], list[Problem], Path]:
    """The comparisons, what is wrong in them, and the folder that the report goes beside."""
    if not isinstance(runs, Path | str) and runs and isinstance(runs[0], Run):
        folder = runs[0].path.parent
        comparisons = [comparison_of([run for run in runs if isinstance(run, Run)], folder)]
        return comparisons, list(comparisons[0].problems), folder
    given = [Path(runs)] if isinstance(runs, Path | str) else [Path(str(one)) for one in runs]
    comparisons, problems = comparisons_in(given)
    return comparisons, problems, given[0]


def _names(comparisons: Sequence[Comparison]) -> list[str]:
    """Return the names of the data sets if they differ, else with their folders."""
    names = [one.name for one in comparisons]
    if len(set(names)) < len(names):
        names = [f"{one.name}, {one.folder.resolve().name}" for one in comparisons]
    if len(set(names)) < len(names):
        names = [f"{one.name}, {'/'.join(one.folder.resolve().parts[-2:])}" for one in comparisons]
    return names


def _if_there(get: Callable[[], Found], comparison: Comparison, problems: list[Problem]) -> Found | None:
    """Images and masks may have been moved since: a report without them is better than none, and says so."""
    try:
        return get()
    except (SmixError, OSError) as error:
        problems.append(Problem(comparison.folder, f"{error}; what shows them is left out"))
        return None


def _section(topic: Topic, staged: Path, prefix: str, name: str) -> Section:
    """The topic as the page has it; its tables and figures are written as files.

    Args:
        prefix: Of the files; empty if there is one comparison alone.
        name: Of the comparison, likewise.
    """
    parts = [_part(part, staged, prefix, name) for part in topic.parts]
    return Section(topic.name, topic.title, topic.lead, parts, topic.folded)


def _part(part: Part, staged: Path, prefix: str, name: str) -> Linked | Picture | Facts | str:
    match part:
        case Table():
            return Linked(part, _table_files(part, staged, prefix, name))
        case Drawn():
            suffixes = (".png",) if part.photographs else (".svg", ".png")
            names = tuple(f"figures/{prefix}{part.name}{suffix}" for suffix in suffixes)
            for file in names:
                save(part.figure, staged / file)
            shown = {"png": (staged / names[0]).read_bytes()} if part.photographs else {"svg": svg_text(part.figure)}
            return Picture(part.name, part.title, part.alt, caption=part.caption, files=names, **shown)
    return part


def _table_files(table: Table, staged: Path, prefix: str, name: str) -> tuple[str, ...]:
    stem = f"tables/{prefix}{table.name}"
    title = f"{table.title}, {name}" if name else table.title
    files.write_text(staged / f"{stem}.csv", csv_text(table))
    files.write_text(staged / f"{stem}.tex", latex(replace(table, name=f"{prefix}{table.name}", title=title)))
    return f"{stem}.csv", f"{stem}.tex"


def _page(
    comparisons: Sequence[Comparison],
    names: Sequence[str],
    chapters: Sequence[Chapter],
    problems: Sequence[Problem],
    staged: Path,
) -> Page:
    foot = f"Made by smix {__version__} from the files of the runs; the same runs give the same page."
    problems = [Problem(one.path, _short(one.why)) for one in problems]
    if len(chapters) == 1:
        return Page(f"Comparison on {names[0]}", chapters, problems=problems, foot=foot)
    table = across_table(comparisons, names)
    overview = Linked(table, _table_files(table, staged, "", ""))
    return Page(f"Comparisons on {', '.join(names)}", chapters, overview=overview, problems=problems, foot=foot)


def _in_markdown(page: Page) -> str:
    """The same in Markdown, for a repository."""
    parts = [f"# {in_markdown(page.title)}"]
    if isinstance(page.overview, Linked):
        parts += _table_in_markdown(page.overview)
    alone = len(page.chapters) == 1
    for chapter in page.chapters:
        parts += [] if alone else [f"## {in_markdown(chapter.title)}"]
        parts += [f"**{in_markdown(chapter.answer)}**", in_markdown(chapter.evidence)]
        figures = (f"- {in_markdown(f'{one.label}: {one.value} ({one.detail})')}" for one in chapter.highlights)
        parts.append("\n".join(figures))
        for section in chapter.sections:
            parts += [f"{'##' if alone else '###'} {in_markdown(section.title)}", in_markdown(section.lead)]
            for part in section.parts:
                match part:
                    case Linked():
                        parts += _table_in_markdown(part)
                    case Picture():
                        parts.append(f"![{in_markdown(part.alt)}]({part.files[0]})")
                    case Facts():
                        parts.append(f"{in_markdown(part.title)}:")
                        parts.append("\n".join(f"- {in_markdown(f'{name}: {what}')}" for name, what in part.rows))
                    case str():
                        parts.append(in_markdown(part))
    if page.problems:
        named = (f"- {in_markdown(f'{one.path.name}: {one.why}')}" for one in page.problems)
        parts += ["## Left out", "\n".join(named)]
    return "\n\n".join(parts) + "\n"


def _table_in_markdown(linked: Linked) -> list[str]:
    note, title = linked.table.note, in_markdown(linked.table.title)
    return [
        title if title.endswith("?") else f"{title}:",
        markdown(linked.table).rstrip(),
        *([in_markdown(note)] if note else []),
    ]


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A folder to write a report into; when the block ends well its files take the place of those of the report before.

    Raises:
        RunError: a report cannot be written there.
    """
    files.check_writable(out)
    for folder in FOLDERS:
        if (out / folder).is_symlink() or ((out / folder).exists() and not (out / folder).is_dir()):
            raise RunError(f"{out / folder}: expected a folder to write, got a file or a link; choose another --out")
        (out / folder).mkdir(parents=True, exist_ok=True)
    with files.lock(out):
        for leftover in out.glob(".report.*.tmp"):  # of a report that was killed
            if not leftover.is_symlink():
                shutil.rmtree(leftover, ignore_errors=True)
        staged = Path(mkdtemp(dir=out, prefix=".report.", suffix=".tmp"))
        try:
            yield staged
            new = sorted(path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file())
            before = _files_of(out)
            files.write_json(
                out / FILES, sorted({*before, *new})
            )  # whatever happens now, the next report knows what is ours
            for name in sorted(new, key=lambda name: name in LAST):
                (staged / name).replace(out / name)
            for name in before:
                if name not in new:
                    (out / name).unlink(missing_ok=True)
            files.write_json(out / FILES, new)
        finally:
            shutil.rmtree(staged, ignore_errors=True)


def _files_of(out: Path) -> list[str]:
    """Return the files that the existing report has written, and none of anybody else."""
    try:
        names = read_json(out / FILES, links=False)
        return [name for name in names if isinstance(name, str) and OURS.fullmatch(name)]
    except (ValueError, TypeError):
        return []


def _short(message: str) -> str:
    """Without the folders in front of files: a page is sent to others."""
    return re.sub(r"(?<![\w.])/(?:[^\s/:,;]+/)+", "", message)
