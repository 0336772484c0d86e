"""Errors that a user can cause. Each message says what is wrong and what to do.

The command line prints such an error as one line and exits with the `exit_code` of its class; any other exception is a bug.
"""

import difflib
import unicodedata
from collections.abc import Iterable

CONTROL_CATEGORIES = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode categories of characters that a terminal interprets or does not show."""
JOINERS = "\u200c\u200d"
"""Format characters that are part of words and emoji."""
MAX_LENGTH = 2000
"""Maximum length of a message in characters; messages may quote untrusted files."""


class SmixError(ValueError):
    """Base class of the errors that a user can cause. The message is always one printable line."""

    exit_code = 2

    def __str__(self) -> str:
        text = printable(super().__str__())
        return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 3]}..."


class OptionError(SmixError):
    """An option, method or name is unknown, or a value is out of range."""


class DataError(SmixError):
    """A data set or a batch is missing, damaged, or has a wrong shape, type or value."""


class MaskError(SmixError):
    """A mask store or a source of masks is missing, damaged, or belongs to other images."""


class RunError(SmixError):
    """A run folder contains another run, is in use or cannot be written to, or its training cannot continue."""


class FailedError(RunError):
    """A run failed although its inputs are valid. It would fail again if it were repeated."""

    exit_code = 1


class DivergedError(FailedError):
    """The loss is no longer finite."""


class TemporaryError(FailedError):
    """A run failed for lack of a resource, such as memory, that may be available later."""

    exit_code = 75


BUG = 70
"""Exit code after an exception that is not a `SmixError`."""


def unknown(kind: str, name: str, choices: Iterable[str]) -> OptionError:
    """Return the error for a name that is not among the choices, with the most similar choice in its message.

    Args:
        kind: What the name stands for, such as "method".
        name: The unknown name.
        choices: All known names.

    >>> print(unknown("method", "cutmx", ["mixup", "cutmix"]))
    method: expected a known name, got "cutmx"; did you mean "cutmix"?
    """
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
        character.encode("unicode_escape", "surrogatepass").decode()
        if unicodedata.category(character) in CONTROL_CATEGORIES and character not in JOINERS
        else character
        for character in text
    )
