"""Draw the figure of a result file of `benchmarks.mixing` and rewrite its table.

python -m benchmarks.mixing_figure benchmarks/results/mixing_cpu_DATE.json
"""

import json
import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.mixing_tables import FLOOR, page, times

SMIX_COLOUR, PEER_COLOUR = "#c2185b", "#607d8b"


def bar_charts(result: dict[str, Any]) -> Figure:
    """Return one bar chart of the times of all candidates for each size."""
    sizes = times(result["sizes"])
    names = [name for name in next(iter(sizes.values())) if ", " not in name or not name.startswith("smix")]
    names.remove(FLOOR)
    figure = Figure(figsize=(13, 0.27 * len(names) + 1.6))
    for place, (side, values) in enumerate(sizes.items()):
        axes = figure.add_subplot(1, len(sizes), place + 1)
        ordered = sorted(names, key=values.__getitem__, reverse=True)
        lengths = [values[name] for name in ordered]
        colours = [SMIX_COLOUR if name.startswith("smix") else PEER_COLOUR for name in ordered]
        axes.barh(ordered, lengths, color=colours)
        for row, ms in enumerate(lengths):
            axes.text(ms, row, f" {ms:.3g}", va="center", fontsize=7)
        axes.axvline(values[FLOOR], color="black", linewidth=0.8, linestyle=":")
        axes.set_xscale("log")
        axes.set_xlim(right=max(lengths) * 4)
        axes.tick_params(axis="y", labelsize=7, length=0)
        axes.tick_params(axis="x", labelsize=7)
        axes.set_title(f"{side} px, ms per batch of 128 (log)", fontsize=9, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    cpu = f"{result['processor']}, {result['threads']} threads"
    hardware = cpu if "CPU" in result["hardware"] else result["hardware"]
    figure.suptitle(
        f"Time to mix a batch, labels included: smix (pink) and others (grey). Dotted: read two batches, write one. {hardware}",
        fontsize=10,
        x=0.01,
        ha="left",
    )
    figure.tight_layout()
    return figure


def main(path: Path) -> None:
    """Write the page and the figure next to a JSON file of results."""
    result = json.loads(path.read_text())
    path.with_suffix(".md").write_text(page(result))
    bar_charts(result).savefig(path.with_suffix(".png"), dpi=110)
    print(path.with_suffix(".md"), path.with_suffix(".png"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
