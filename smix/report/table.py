"""A table, and its forms: for the terminal, as Markdown, as CSV and as LaTeX. The page draws it from the same cells."""

import csv
import io
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from rich.table import Table as TerminalTable

from smix.evaluation.statistics import NOT_ENOUGH, summary
from smix.plots.layout import sanitised
from smix.report.terminal import table as terminal_table

UNKNOWN = "-"


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, and what it is sorted by."""

    text: str
    value: float | None = None
    """Number with full precision, in the unit of the column; None if it is text or unknown."""
    deviation: float | None = None
    """Standard deviation over seeds, where the text has one."""
    best: bool = False
    """Shown in bold."""


@dataclass(frozen=True)
class Table:
    """A heading row, and rows with the same number of cells; the first column names the row."""

    name: str
    """Name of its files."""
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    """One or two sentences on what the numbers are."""


def number(value: float, decimals: int = 2, scale: float = 1.0, sign: bool = False, best: bool = False) -> Cell:
    """Format a number times `scale` with this number of decimals; NaN and infinity are unknown."""
    if not math.isfinite(value):
        return Cell(UNKNOWN)
    shown = scale * value
    return Cell(f"{shown:{'+' if sign else ''},.{decimals}f}", shown, best=best)


def over_seeds(values: Iterable[float], decimals: int = 2, scale: float = 1.0, best: bool = False) -> Cell:
    """Format mean and standard deviation, or a single value alone, as the note below the table explains."""
    over_runs = summary([scale * value for value in values if math.isfinite(value)])
    cell = number(over_runs.mean, decimals, best=best)
    if over_runs.count < 2:
        return cell
    text = f"{over_runs.mean:.{decimals}f} \N{PLUS-MINUS SIGN} {over_runs.std:.{decimals}f}"
    return replace(cell, text=text, deviation=over_runs.std)


def p_value(p: float) -> str:
    """Format a p-value with three decimals, or as "< 0.001"."""
    return UNKNOWN if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def terminal(table: Table) -> TerminalTable:
    """Return the table for a terminal; rows with a best value are bold."""
    rows = [[sanitised(cell.text) for cell in row] for row in table.rows]
    result = terminal_table(table.head, rows, numbers=True, title=table.title)
    for row, cells in zip(result.rows, table.rows, strict=True):
        row.style = "bold" if any(cell.best for cell in cells) else None
    return result


def markdown(table: Table) -> str:
    """Return the table in Markdown: best values in bold, all columns but the first aligned to the right."""
    rule = ("---", *["---:"] * (len(table.head) - 1))
    lines = [tuple(map(in_markdown, table.head)), rule]
    for row in table.rows:
        texts = (in_markdown(cell.text) for cell in row)
        lines.append(tuple(f"**{text}**" if cell.best else text for text, cell in zip(texts, row, strict=True)))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex(table: Table) -> str:
    """Return the table in LaTeX: floating, with booktabs rules and best values in bold."""
    columns = "l" + "r" * (len(table.head) - 1)
    lines = [
        "\\begin{table}",
        "\\centering",
        f"\\caption[{_in_latex(table.title)}]{{{_in_latex(f'{table.title}. {table.note}'.strip())}}}",
        f"\\label{{tab:{re.sub('[^a-z0-9-]', '-', table.name)}}}",
        f"\\begin{{tabular}}{{{columns}}}",
        "\\toprule",
        f"{' & '.join(map(_in_latex, table.head))} \\\\",
        "\\midrule",
    ]
    for row in table.rows:
        texts = (_in_latex(cell.text) for cell in row)
        line = (f"\\textbf{{{text}}}" if cell.best else text for text, cell in zip(texts, row, strict=True))
        lines.append(f"{' & '.join(line)} \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}", ""])


def csv_text(table: Table) -> str:
    """Return the table as CSV: full precision, empty cells for unknown values, one more column for deviations."""
    deviates = [any(row[n].deviation is not None for row in table.rows) for n in range(len(table.head))]
    lines: list[list[object]] = [[]]
    for head, with_deviation in zip(map(_no_formula, table.head), deviates, strict=True):
        lines[0] += [head, f"{head}, std"] if with_deviation else [head]
    for row in table.rows:
        lines.append([])
        for cell, with_deviation in zip(row, deviates, strict=True):
            deviation = "" if cell.deviation is None else cell.deviation
            lines[-1] += [_in_csv(cell), deviation] if with_deviation else [_in_csv(cell)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _in_csv(cell: Cell) -> object:
    if cell.value is not None:
        return cell.value
    return "" if cell.text in (UNKNOWN, NOT_ENOUGH) else _no_formula(cell.text)


def _no_formula(text: str) -> str:
    """Escape text so that a spreadsheet does not read it as a formula."""
    return f"'{text}" if text[:1] in tuple("=+-@\t") else text


def in_markdown(text: str) -> str:
    """Escape text so that it contains no HTML, cell separators or emphasis."""
    text = sanitised(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", text)


LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{sign: f"{{{sign}}}" for sign in "[]*"},  # else arguments of the command before
}


def _in_latex(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in sanitised(text))
