"""Everything that there is to say about comparisons, into a folder: a page, Markdown, tables, figures.

    report.html   all of it on one page that asks for nothing
    report.md     the same in Markdown, with links to the figures
    tables/       each table as CSV and as LaTeX
    figures/      each figure as SVG and PNG; what shows images as PNG alone

All is drawn before the first file is replaced: a report that fails leaves the old one as it was.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

from smix import files, progress
from smix.errors import SmixError
from smix.lab.sweep import slug
from smix.report.across import across_table, answer_across
from smix.report.comparison import Comparison, Problem, comparison_of, comparisons_in
from smix.report.conclusion import evidence, headline
from smix.report.highlights import highlights
from smix.report.material import judged_masks, test_images
from smix.report.page import Chapter, Facts, Linked, Page, Picture, Section, write_page
from smix.report.render import save, svg_text
from smix.report.style import styles
from smix.report.table import Table, csv_text, in_markdown, latex, markdown
from smix.report.topic import Beside, Drawn, Part, Topic
from smix.report.topics import topics_of
from smix.training.records import Run

Found = TypeVar("Found")
FOLDERS = {"figures": (".svg", ".png"), "tables": (".csv", ".tex")}


@dataclass(frozen=True)
class Report:
    """Where a report is, and what it is of."""

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
    root: Path | str = "data",
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
    out = Path(out) if out is not None else beside / "report"
    names, look = _names(comparisons), styles([method for one in comparisons for method in one.methods])
    with ExitStack() as held, _staged(out) as staged:
        chapters = []
        with progress.bar("report", len(comparisons), "comparisons", quiet) as done:
            for comparison, name in zip(comparisons, names, strict=True):
                there = Beside(
                    _if_there(lambda: test_images(comparison, Path(root)), comparison, problems),  # noqa: B023
                    _if_there(lambda: held.enter_context(judged_masks(comparison, Path(root))), comparison, problems),  # noqa: B023
                )
                prefix = "" if len(comparisons) == 1 else f"{slug(name)}-"
                sections = [_section(topic, staged, prefix) for topic in topics_of(comparison, there, look)]
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
    """Of the data sets, if they tell them apart; else with their folders."""
    names = [one.name for one in comparisons]
    if len(set(names)) < len(names):
        names = [f"{one.name}, {one.folder.resolve().name}" for one in comparisons]
    if len(set(names)) < len(names):
        names = [f"{one.name}, {one.folder}" for one in comparisons]
    return names


def _if_there(get: Callable[[], Found], comparison: Comparison, problems: list[Problem]) -> Found | None:
    """Images and masks may have been moved since: a report without them is better than none, and says so."""
    try:
        return get()
    except (SmixError, OSError) as error:
        problems.append(Problem(comparison.folder, f"{error}; what shows them is left out"))
        return None


def _section(topic: Topic, staged: Path, prefix: str) -> Section:
    """The topic as the page has it; its tables and figures are written as files."""
    return Section(
        topic.name, topic.title, topic.lead, [_part(part, staged, prefix) for part in topic.parts], topic.folded
    )


def _part(part: Part, staged: Path, prefix: str) -> Linked | Picture | Facts | str:
    match part:
        case Table():
            names = _table_files(part, staged, prefix)
            return Linked(part, names)
        case Drawn():
            suffixes = (".png",) if part.photographs else (".svg", ".png")
            names = tuple(f"figures/{prefix}{part.name}{suffix}" for suffix in suffixes)
            for name in names:
                save(part.figure, staged / name)
            shown = {"png": (staged / names[0]).read_bytes()} if part.photographs else {"svg": svg_text(part.figure)}
            return Picture(part.name, part.title, part.alt, caption=part.caption, files=names, **shown)
    return part


def _table_files(table: Table, staged: Path, prefix: str) -> tuple[str, ...]:
    names = tuple(f"tables/{prefix}{table.name}{suffix}" for suffix in (".csv", ".tex"))
    for name, content in zip(names, (csv_text(table), latex(table)), strict=True):
        files.write_text(staged / name, content)
    return names


def _page(
    comparisons: Sequence[Comparison],
    names: Sequence[str],
    chapters: Sequence[Chapter],
    problems: Sequence[Problem],
    staged: Path,
) -> Page:
    foot = f"Made by smix {version('smix')} from the files of the runs; the same runs give the same page."
    if len(chapters) == 1:
        return Page(f"Comparison on {names[0]}", chapters, problems=problems, foot=foot)
    table = across_table(comparisons, names)
    overview = Linked(table, _table_files(table, staged, ""))
    title = f"Comparisons on {', '.join(names)}"
    return Page(title, chapters, answer_across(comparisons, names), overview, problems, foot)


def _in_markdown(page: Page) -> str:
    """The same in Markdown, for a repository."""
    parts = [f"# {in_markdown(page.title)}"]
    if page.answer:
        parts.append(in_markdown(page.answer))
    if isinstance(page.overview, Linked):
        parts += _table_in_markdown(page.overview)
    alone = len(page.chapters) == 1
    for chapter in page.chapters:
        parts += [] if alone else [f"## {in_markdown(chapter.title)}"]
        parts += [f"**{in_markdown(chapter.answer)}**", in_markdown(chapter.evidence)]
        for section in chapter.sections:
            parts += [f"{'##' if alone else '###'} {in_markdown(section.title)}", in_markdown(section.lead)]
            for part in section.parts:
                match part:
                    case Linked():
                        parts += _table_in_markdown(part)
                    case Picture():
                        parts.append(f"![{in_markdown(part.alt)}]({part.files[0]})")
                    case Facts():
                        parts.append("\n".join(f"- {in_markdown(f'{name}: {what}')}" for name, what in part.rows))
                    case str():
                        parts.append(in_markdown(part))
    if page.problems:
        named = (f"- {in_markdown(f'{one.path.name}: {one.why}')}" for one in page.problems)
        parts += ["## Left out", "\n".join(named)]
    return "\n\n".join(parts) + "\n"


def _table_in_markdown(linked: Linked) -> list[str]:
    note = linked.table.note
    return [
        f"{in_markdown(linked.table.title)}:",
        markdown(linked.table).rstrip(),
        *([in_markdown(note)] if note else []),
    ]


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A folder to write a report into; when the block ends well its files take the place of those of the report before."""
    files.check_writable(out)
    out.mkdir(parents=True, exist_ok=True)
    staged = Path(mkdtemp(dir=out, prefix=".report.", suffix=".tmp"))
    try:
        yield staged
        for folder, suffixes in FOLDERS.items():
            (out / folder).mkdir(exist_ok=True)
            new = {path.name for path in staged.glob(f"{folder}/*")}
            for name in new:
                (staged / folder / name).replace(out / folder / name)
            for path in (out / folder).iterdir():
                if path.name not in new and path.suffix in suffixes:  # of a report of other runs
                    path.unlink()
        for name in ("report.md", "report.html"):
            (staged / name).replace(out / name)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
