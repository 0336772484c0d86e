"""Test cells, and tables as Markdown, CSV, LaTeX and on the terminal."""

import csv
import io
import math
import re

import numpy as np
import pytest
from rich.console import Console

from smix.report.table import Cell, Table, csv_text, latex, markdown, number, over_seeds, terminal

TABLE = Table(
    "made-up",
    "Made up, 100 %",
    ("Method", "Mean (%)", "Runs"),
    (
        (Cell("smix(alpha=0.7)"), Cell("82.00 ± 2.00", 82.0, 2.0, best=True), Cell("3", 3)),
        (Cell("a|b_c & <b>"), Cell("-"), Cell("2 of 3")),
    ),
)


@pytest.mark.parametrize(
    ("cell", "text", "value"),
    [
        (number(0.12345), "0.12", 0.12345),
        (number(0.12345, 1, 100), "12.3", 12.345),
        (number(-0.5, sign=True), "-0.50", -0.5),
        (number(0.5, sign=True), "+0.50", 0.5),
        (number(math.nan), "-", None),
        (number(math.inf), "-", None),
        (over_seeds([]), "-", None),
        (over_seeds([math.nan]), "-", None),
        (over_seeds([0.5], 1, 100), "50.0", 50.0),
        (over_seeds([0.4, math.nan, 0.6], 1, 100), "50.0 ± 14.1", 50.0),
    ],
)
def test_cells_are_formatted_and_keep_their_value(cell, text, value):
    assert cell.text == text
    assert cell.value == (value if value is None else pytest.approx(value))


def test_the_deviation_is_over_n_minus_1():
    values = [0.3, 0.5, 0.55]
    cell = over_seeds(values, scale=100)
    assert cell.deviation == pytest.approx(100 * np.std(values, ddof=1))
    assert over_seeds([0.5]).deviation is None


def test_markdown_has_the_best_in_bold_and_shows_names_as_they_are():
    lines = markdown(TABLE).splitlines()
    assert lines[0] == "| Method | Mean (%) | Runs |"
    assert lines[1] == "| --- | ---: | ---: |"
    assert lines[2] == "| smix(alpha=0.7) | **82.00 ± 2.00** | 3 |"
    assert lines[3] == r"| a\|b\_c &amp; &lt;b&gt; | - | 2 of 3 |"


def test_latex_is_escaped_and_of_booktabs():
    text = latex(TABLE)
    assert r"\caption[Made up, 100 \%]{Made up, 100 \%.}" in text
    assert r"\label{tab:made-up}" in text
    assert r"smix(alpha=0.7) & \textbf{82.00 $\pm$ 2.00} & 3 \\" in text
    assert r"a|b\_c \& \textless{}b\textgreater{} & - & 2 of 3 \\" in text
    assert text.count("&") - text.count(r"\&") == 2 * 3
    for rule in ("toprule", "midrule", "bottomrule"):
        assert text.count(rule) == 1


@pytest.mark.parametrize("name", ["\\input{x}", "50%", "$x$", "a_b^c~d#{}", "&"])
def test_names_are_escaped_in_latex(name):
    text = latex(Table("t", name, ("A",), ((Cell(name),),)))
    row = text.splitlines()[text.splitlines().index("\\midrule") + 1].removesuffix(" \\\\")
    plain = re.sub(r"\\(textbackslash|textasciitilde|textasciicircum)\{\}", "", row)
    assert not re.search(r"(?<!\\)[&%$#_{}~^]", plain)
    assert not re.search(r"\\[a-z]", plain)


def test_csv_has_values_deviations_and_empty_unknown_cells():
    rows = list(csv.DictReader(io.StringIO(csv_text(TABLE))))
    assert rows[0] == {"Method": "smix(alpha=0.7)", "Mean (%)": "82.0", "Mean (%), std": "2.0", "Runs": "3"}
    assert rows[1] == {"Method": "a|b_c & <b>", "Mean (%)": "", "Mean (%), std": "", "Runs": "2 of 3"}


def test_csv_has_full_precision_and_no_formula():
    rows = list(csv.reader(io.StringIO(csv_text(Table("t", "T", ("A", "B"), ((Cell("=1+1"), number(1 / 3)),))))))
    assert rows[1][0] == "'=1+1"
    assert float(rows[1][1]) == 1 / 3


def test_the_terminal_shows_the_table_without_control_characters():
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(terminal(Table("t", "[red]T", ("A",), ((Cell("[bold]x[/bold]\x1b[31m"),),))))
    text = console.export_text()
    assert "[red]T" in text
    assert "[bold]x[/bold]\N{REPLACEMENT CHARACTER}[31m" in text
