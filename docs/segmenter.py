"""Draw docs/segmenter.png, the reliability diagram of the score, from a result: `python docs/segmenter.py benchmarks/results/FILE.json`."""

import json
import sys
from pathlib import Path

from matplotlib.figure import Figure

COLOURS = {32: "#0072b2", 64: "#d55e00"}


def main() -> None:
    table = json.loads(Path(sys.argv[1]).read_text())["tables"]["Reliability of the score"]
    figure = Figure(figsize=(4.6, 4.2), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#5c5c5c", linewidth=1, linestyle="--")
    for size, colour in COLOURS.items():
        rows = [row for row in table["rows"] if row[0] == size and row[1][0].isdigit()]
        axes.plot([row[3] for row in rows], [row[4] for row in rows], "o-", color=colour, label=f"{size} px")
        for row in rows:
            axes.annotate(
                f"{row[2]:,}",
                (row[3], row[4]),
                (0, 5 if size == 32 else -13),
                fontsize=7,
                textcoords="offset points",
                ha="center",
                color=colour,
            )
    axes.set(xlabel="mean score", ylabel="share of masks with an IoU over 0.5", xlim=(0, 1.03), ylim=(0, 1.06))
    axes.legend(title="size, number of masks", loc="upper left", frameon=False)
    figure.savefig(Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main()
