"""`smix report`: write the report of finished runs."""

from pathlib import Path

from smix.cli.options import Quiet
from smix.cli.output import show_report
from smix.config import MachineOptions
from smix.errors import RunError


def report(
    *runs: Path, out: Path | None = None, data_root: Path = MachineOptions.data_root, quiet: Quiet = False
) -> None:
    """Write the report of a comparison: an HTML page, Markdown, tables (CSV and LaTeX) and figures (SVG and PNG).

    Runs that failed, or whose options differ from those of the other runs, are listed and left out.

    Parameters
    ----------
    runs
        One or more comparison folders (for example one per data set), or a folder that contains them.
    out
        Output folder for the report. Default: the subfolder `report` of the first folder.
    data_root
        Root folder of the data sets; the report shows test images and masks if they are available.
    """
    from smix.report.write import write_report

    if not runs:
        raise RunError("runs: name a folder of runs, such as smix report runs/cifar10")
    show_report(write_report(runs, out, data_root, quiet))
