"""The command line, a thin layer over the library: one file per command. torch is imported only inside the commands."""

import errno
import sys
import traceback
from io import TextIOWrapper
from typing import NoReturn

from cyclopts import App, CycloptsError, Parameter

from smix.cli.compare import compare
from smix.cli.data import data_app, doctor
from smix.cli.demo import demo
from smix.cli.evaluate import evaluate
from smix.cli.export import export
from smix.cli.masks import masks_app
from smix.cli.mix import mix
from smix.cli.options import check_names, convert_value, fill_from_recipe
from smix.cli.output import is_main_process, show_error
from smix.cli.predict import predict
from smix.cli.report import report
from smix.cli.sweep import sweep_app
from smix.cli.train import train
from smix.errors import BUG, SmixError, TemporaryError
from smix.signals import INTERRUPTED
from smix.version import __version__

ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some space and run the same command again"),
    **dict.fromkeys((errno.EACCES, errno.EROFS), "change its permissions, or choose another path"),
    **dict.fromkeys((errno.ELOOP, errno.ENAMETOOLONG), "choose another path"),
    **dict.fromkeys((errno.ENXIO, errno.EEXIST, errno.ENOTEMPTY, errno.EBUSY), "remove it, or choose another path"),
    **dict.fromkeys((errno.EIO, errno.ESTALE), "check the disk, and run the same command again"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "raise the limit on open files (ulimit -n)"),
}
"""Advice for errors of the operating system that a user can fix; any other is a bug."""

app = App(
    name="smix",
    config=(check_names, fill_from_recipe),
    help="Mixed-sample augmentation along object masks: build masks, train, compare and evaluate. Start with: smix demo",
    version=lambda: f"smix {__version__}",
    default_parameter=Parameter(negative_iterable=(), consume_multiple=True, converter=convert_value),
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
)
for command in (doctor, data_app, mix, train, compare, report, evaluate, predict, export, demo, masks_app, sweep_app):
    app.command(command)


def main() -> None:
    """Run the command of sys.argv and exit.

    Exit codes: 0 success; 1 a run failed; 2 invalid input; 70 a bug, with its traceback; 75 a lack of memory that may be temporary;
    130 interrupted.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may not be UTF-8
    try:
        sys.exit(app(sys.argv[1:]) or 0)
    except (SmixError, CycloptsError) as error:
        cause = _smix_error(error)
        show_error(cause)
        sys.exit(cause.exit_code if isinstance(cause, SmixError) else SmixError.exit_code)
    except OSError as error:
        if error.errno is None or error.errno not in ADVICE:
            _exit_with_traceback()
        prefix = f"{error.filename}: " if error.filename else ""
        show_error(f"{prefix}{error.strerror}; {ADVICE[error.errno]}")
        sys.exit(SmixError.exit_code)
    except MemoryError:
        show_error("out of memory; close other programs, or use fewer or smaller images")
        sys.exit(TemporaryError.exit_code)
    except KeyboardInterrupt:
        if is_main_process():
            show_error("interrupted; run the same command again to resume")
        sys.exit(INTERRUPTED)
    except Exception:
        _exit_with_traceback()


def _exit_with_traceback() -> NoReturn:
    traceback.print_exc()
    sys.exit(BUG)


def _smix_error(error: BaseException) -> BaseException:
    """Return the SmixError that the parser has wrapped, or else the error itself."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, SmixError):
        cause = cause.__cause__ or cause.__context__
    return cause or error
