"""Lines and tables on standard output. Importing this module loads nothing heavy: the command line does it for `--help`."""

import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from smix.errors import printable


def show(*parts: RenderableType) -> None:
    """Print lines and tables. Without a terminal nothing is wrapped or cut, so that programs can read it."""
    terminal = sys.stdout.isatty()
    console = Console(highlight=False, width=None if terminal else 200)
    for part in parts:
        part = "\n".join(map(printable, part.split("\n"))) if isinstance(part, str) else part
        console.print(part, soft_wrap=isinstance(part, str) and not terminal, markup=False)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = False, title: str = "") -> Table:
    """Return a table for `show`. Heads and cells are plain text: names cannot contain markup or control sequences.

    Args:
        heads: Heads of the columns.
        rows: Cells of each row.
        numbers: Align all columns but the first to the right.
        title: Line above the table.
    """
    result = Table(box=box.SIMPLE_HEAD, title=Text(title) if title else None, title_justify="left")
    for place, head in enumerate(heads):
        # Addresses and paths are folded, never cut.
        result.add_column(Text(head), overflow="fold", justify="right" if numbers and place else "left")
    for row in rows:
        result.add_row(*map(Text, map(printable, row)))
    return result
