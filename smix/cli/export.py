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

    Before the export is saved, it is loaded again and its predictions on test images are compared with those of the run.

    Parameters
    ----------
    run
        Folder of a finished run.
    to
        onnx, torch-export: a graph that maps uint8 images to calibrated probabilities. timm, hf: a folder that timm or
        transformers can load (only for models timm:NAME).
    out
        Output folder, which must be new or empty.
    data_root
        Root folder of the data sets. Random images are compared if the data set of the run is not available.
    """
    from smix.lab.export import export as export_run

    exported = export_run(run, to, out, data_root)
    files = ", ".join(sorted(path.name for path in out.iterdir()))
    show(f"Checked: {exported.check}", f"Written: {out} ({files})")
