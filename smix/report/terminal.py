"""Show lines and tables on standard output. Imports nothing heavy."""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from smix.errors import printable

if TYPE_CHECKING:
    from smix.lab.doctor import Finding


def show(*parts: RenderableType) -> None:
    """Print lines and tables. Without a terminal nothing is wrapped or cut: it stays whole for whatever reads it."""
    terminal = sys.stdout.isatty()
    console = Console(highlight=False, width=None if terminal else 200)
    for part in parts:
        part = "\n".join(map(printable, part.split("\n"))) if isinstance(part, str) else part
        console.print(part, soft_wrap=isinstance(part, str) and not terminal, markup=False)


def table(heads: Sequence[str], rows: Iterable[tuple[str, ...]]) -> Table:
    """Cells are plain text: brackets in names and advice are not markup."""
    made = Table(box=box.SIMPLE_HEAD)
    for head in heads:
        made.add_column(head, overflow="fold")  # addresses and paths are never cut
    for row in rows:
        made.add_row(*map(Text, map(printable, row)))
    return made


def findings(title: str, found: "Sequence[Finding]") -> Table:
    """Return a table of what is ready, with advice about what is not."""
    rows = [
        ("✓" if one.ready else "✗", one.name, one.state if one.ready else f"{one.state}: {one.advice}") for one in found
    ]
    return table(["", title, ""], rows)
