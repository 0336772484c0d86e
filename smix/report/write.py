"""Everything that there is to say about a comparison, into a folder: table, conclusion, pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smix import files
from smix.config import TrainConfig
from smix.report import figures
from smix.report.conclusion import conclusion
from smix.report.tables import (
    by_method,
    csv_runs,
    csv_table,
    differences,
    markdown_differences,
    markdown_table,
    rows_of,
)
from smix.training.records import Run, check_comparable, runs_in
from smix.training.samples import Samples

NOT_SHARED = ("method", "seed", "masks")


@dataclass(frozen=True)
class Report:
    """Where the parts of a report are."""

    text: Path
    """report.md, with the table, the differences, the conclusion, and how it was made."""
    table: Path
    runs: Path
    pictures: tuple[Path, ...]


def write_report(runs: Path | str | Sequence[Run], out: Path | str | None = None) -> Report:
    """Write report.md, table.csv (a line a method), runs.csv (a line a run) and the pictures.

    Args:
        runs: The folder of a comparison, or its runs.
        out: Where to; None: the folder `report` beside the runs.

    Raises:
        RunError: no runs there, broken ones, or runs that differ in more than method and seed.
    """
    if isinstance(runs, Path | str):
        out = out or Path(runs) / "report"
        runs = runs_in(runs)
    out = Path(out) if out is not None else runs[0].path.parent / "report"
    check_comparable(runs)
    begun = [run for run in runs if run.made]
    pictures = []
    if any(run.result is not None for run in runs):
        pictures.append(figures.save(figures.accuracy_distribution(runs), out / "accuracy-distribution.png"))
    if any(run.metrics for run in runs):
        pictures.append(figures.save(figures.accuracy_per_epoch(runs), out / "accuracy-per-epoch.png"))
    if samples := _samples_of(begun):
        classes = begun[0].made["data"]["classes"]
        pictures.append(figures.save(figures.mixes(samples, classes), out / "mixes.png"))
    rows = rows_of(runs)
    files.write_text(out / "table.csv", csv_table(rows))
    files.write_text(out / "runs.csv", csv_runs(runs))
    parts = [
        f"# Comparison on {_data_name(runs[0].config)}",
        conclusion(runs),
        "Test accuracy at the last epoch:\n\n" + markdown_table(rows).rstrip(),
    ]
    if pairs := differences(runs):
        parts.append("Paired over seeds, in percentage points:\n\n" + markdown_differences(pairs).rstrip())
    parts += [f"![{picture.stem}]({picture.name})" for picture in pictures]
    if begun:
        parts.append("How it was made:\n\n" + _how(begun))
    files.write_text(out / "report.md", "\n\n".join(parts) + "\n")
    return Report(out / "report.md", out / "table.csv", out / "runs.csv", tuple(pictures))


def _samples_of(runs: Sequence[Run]) -> dict[str, Samples]:
    """The mixes of the first seed of each method that has them; only images with two spatial dimensions can be shown."""
    found = {}
    for method, mine in by_method(runs).items():
        path = mine[0].path / "samples.npz"
        if path.is_file():
            with np.load(path) as arrays:
                samples = Samples(**arrays)
            if samples.images.ndim == 4:
                found[method] = samples
    return found


def _how(runs: Sequence[Run]) -> str:
    """Options, data, masks and versions that all runs share."""
    first = runs[0]
    config = {name: value for name, value in first.config.to_json().items() if name not in NOT_SHARED}
    config["milestones"] = list(first.config.drops)
    made = first.made
    lines = [f"- {name.replace('_', '-')}: {_text(value)}" for name, value in config.items()]
    counts = made["data"]["images"]
    lines.append(f"- images: {', '.join(f'{count:,} {part}' for part, count in counts.items())}")
    if masks := next((run.made["masks"] for run in runs if run.made["masks"]), None):
        source, refine = masks["source"], masks["refine"]
        side = source.get("input_size", "own")
        size = "" if side == "own" else f", input size {' x '.join(map(str, side))}"
        lines.append(f"- masks: {source['name']}{size}" + (f", refinement {refine['name']}" if refine else ""))
        lines.append(f"- masks that show no object: {100 * masks['empty']:.1f} % of the training images")
    for method, mine in by_method(runs).items():
        shares = [epoch.fell_back for run in mine for epoch in run.metrics]
        if any(shares):
            lines.append(f"- {method} gave {100 * sum(shares) / len(shares):.1f} % of its samples to the second method")
    lines.append(f"- versions: {', '.join(f'{name} {version}' for name, version in made['versions'].items())}")
    devices = sorted({run.result.device for run in runs if run.result is not None})
    if devices:
        lines.append(f"- device: {', '.join(devices)}")
    return "\n".join(lines)


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "all" if value is None else str(value)


def _data_name(config: TrainConfig) -> str:
    kind, colon, place = config.data.partition(":")
    return Path(place).stem if colon else kind
