"""The errors that a user can cause. Each message says what was expected, what came, and what to do.

The command line prints such an error as one line and exits with 2; anything else is a bug and exits with 1.
"""

import difflib
import unicodedata
from collections.abc import Iterable

OBEYED = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Categories of Unicode of which a terminal could obey a character, or show none."""
JOINERS = "\u200c\u200d"
"""Format characters that words and emoji are written with."""
LONGEST = 2000
"""Maximum length of a message in characters; messages may quote untrusted files."""


class SmixError(ValueError):
    """User input cannot be used. The message is one printable line, whatever names it quotes."""

    def __str__(self) -> str:
        text = printable(super().__str__())
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


class OptionError(SmixError):
    """An option, a method or a name is unknown or out of its range."""


class DataError(SmixError):
    """A data set or a batch is missing, broken, or of a wrong shape, type or value."""


class MaskError(SmixError):
    """A mask store or a source of masks is missing, broken, or belongs to other images."""


class RunError(SmixError):
    """A run folder holds another run, is in use, or the training in it cannot go on."""


class FailedError(RunError):
    """A run cannot go on, though what it was given could be used. The command line exits with 1."""


class DivergedError(FailedError):
    """The loss is not finite any more."""


def unknown(kind: str, name: str, choices: Iterable[str]) -> OptionError:
    """The error for a name that is not among the choices; suggests the nearest one."""
    choices = list(choices)
    nearest = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    hint = f'did you mean "{nearest[0]}"?' if nearest else f"choose one of: {', '.join(choices)}"
    return OptionError(f'{kind}: expected a known name, got "{name}"; {hint}')


def printable(text: str) -> str:
    r"""Escape control characters and other characters that a terminal would interpret.

    >>> printable("cat\x1b[2J")
    'cat\\x1b[2J'
    """
    return "".join(
        one.encode("unicode_escape", "surrogatepass").decode()
        if unicodedata.category(one) in OBEYED and one not in JOINERS
        else one
        for one in text
    )
