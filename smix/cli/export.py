"""`smix export`: write a trained network for other libraries."""

from pathlib import Path
from typing import Literal

from smix.config import MachineOptions
from smix.report.terminal import show


def export(
    run: Path,
    /,
    *,
    to: Literal["onnx", "torch-export", "timm", "hf"],
    out: Path,
    data_root: Path = MachineOptions.data_root,
) -> None:
    """Export a finished run with its labels, its preprocessing and a model card.

    The export is loaded again and compared with the run on test images before it is put in place.

    Parameters
    ----------
    run
        Folder of a finished run.
    to
        onnx or torch-export: a graph from uint8 images to calibrated probabilities. timm or hf: a folder that timm or transformers
        loads, for models timm:NAME.
    out
        New folder.
    data_root
        Folder in which the data set of the run is found; without it, random images are compared.
    """
    from smix.lab.export import export as export_run

    exported = export_run(run, to, out, data_root)
    files = ", ".join(sorted(path.name for path in out.iterdir()))
    show(f"Checked: {exported.check}", f"Written: {out} ({files})")
